"""The stages' work as one would write it with pandas and scikit-learn, a whole table in memory.

``python -m bench.plain train`` runs a step in a project's folder, where params.yaml is, and
prints the seconds it took, once everything was imported. The same checks, split fractions,
preprocessing, penalties and scores; no plots, intervals or list of what is wrong with the data.
"""

import json
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import RidgeCV
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ridgeline import config

SPLITS = ("train", "validation", "test")
PREPARED, FEATURES, MODELS = Path("data/prepared"), Path("data/features"), Path("models")
METRICS, PREDICTIONS = Path("metrics"), Path("predictions")


def prepare(settings: config.Settings) -> None:
    """Read the table, check it, drop rows with a missing value, split by a hash of the key."""
    data = settings.data
    frame = checked(read(Path(data.path), data), data)
    frame = frame.dropna(ignore_index=True)
    place = pd.util.hash_array(frame[data.key].to_numpy()) / 2.0**64
    test, validation = settings.prepare.test, settings.prepare.validation
    split = np.select([place < test, place < test + validation], ["test", "validation"], "train")
    for name in SPLITS:
        frame[split == name].to_parquet(PREPARED / f"{name}.parquet", index=False)


def featurize(settings: config.Settings) -> None:
    """Fit the preprocessing on the training rows and apply it to each split."""
    data = settings.data
    preprocessor = ColumnTransformer(
        [
            ("numeric", StandardScaler(), list(data.numeric)),
            (
                "categorical",
                OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                list(data.categorical),
            ),
        ],
        verbose_feature_names_out=False,
    )
    for name in SPLITS:
        frame = pd.read_parquet(PREPARED / f"{name}.parquet")
        transform = preprocessor.fit_transform if name == "train" else preprocessor.transform
        features = pd.DataFrame(transform(frame), columns=preprocessor.get_feature_names_out())
        features[[data.key, data.target]] = frame[[data.key, data.target]]
        features.to_parquet(FEATURES / f"{name}.parquet", index=False)
    joblib.dump(preprocessor, MODELS / "preprocessor.joblib")


def train(settings: config.Settings) -> None:
    """Fit ridge regression, the penalty chosen by leave-one-out; score it."""
    preprocessor = joblib.load(MODELS / "preprocessor.joblib")
    X, y = features("train", settings)
    model = RidgeCV(settings.train.alphas).fit(X, y)
    scores = {"train": scored(y, model.predict(X))}
    X, y = features("validation", settings)
    scores["validation"] = scored(y, model.predict(X))
    joblib.dump(Pipeline([("preprocessor", preprocessor), ("regressor", model)]), MODELS / "model")
    (METRICS / "train.json").write_text(json.dumps({"alpha": model.alpha_, **scores}))


def predict(settings: config.Settings) -> None:
    """Check the test rows, predict and score them."""
    data = settings.data
    frame = checked(pd.read_parquet(PREPARED / "test.parquet"), data)
    predicted = joblib.load(MODELS / "model").predict(frame)
    rows = pd.DataFrame({data.key: frame[data.key], "prediction": predicted})
    rows["actual"] = frame[data.target]
    rows["residual"] = rows["actual"] - rows["prediction"]
    rows.to_parquet(PREDICTIONS / "test.parquet", index=False)
    scores = scored(rows["actual"].to_numpy(), predicted)
    (METRICS / "test.json").write_text(json.dumps(scores))


def read(source: Path, data: config.Data) -> pd.DataFrame:
    """Read CSV files by pandas' fastest parser, or a folder of Parquet files."""
    columns = [data.key, data.target, *data.features]
    files = sorted(source.glob("*.csv"))
    if not files:
        return pd.read_parquet(source, columns=columns)
    text = dict.fromkeys(data.categorical, "str")
    frames = [pd.read_csv(file, engine="pyarrow", dtype=text, usecols=columns) for file in files]
    return pd.concat(frames, ignore_index=True)


def checked(frame: pd.DataFrame, data: config.Data) -> pd.DataFrame:
    """Return the rows, if keys are there and unique, targets there, numbers finite."""
    numbers = [data.target, *data.numeric]
    if frame[[data.key, data.target]].isna().any(axis=None) or not frame[data.key].is_unique:
        raise ValueError("keys or targets are missing, or keys repeated")
    if np.isinf(frame[numbers].to_numpy(float)).any():
        raise ValueError("numbers are infinite")
    return frame


def features(split: str, settings: config.Settings) -> tuple[np.ndarray, np.ndarray]:
    """Read a split's features as X of shape (n, p) and y (n,)."""
    key, target = settings.data.key, settings.data.target
    frame = pd.read_parquet(FEATURES / f"{split}.parquet").drop(columns=key)
    y = frame.pop(target).to_numpy()
    return frame.to_numpy(), y


def scored(actual: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return what the stages report of a model."""
    return {
        "rmse": float(root_mean_squared_error(actual, predicted)),
        "mae": float(mean_absolute_error(actual, predicted)),
        "r2": float(r2_score(actual, predicted)),
    }


def make_folders() -> None:
    """Make the folders that the steps write to."""
    for folder in (PREPARED, FEATURES, MODELS, METRICS, PREDICTIONS):
        folder.mkdir(parents=True, exist_ok=True)


if __name__ == "__main__":
    make_folders()
    settings = config.load()
    started = time.perf_counter()
    globals()[sys.argv[1]](settings)
    print(time.perf_counter() - started)
