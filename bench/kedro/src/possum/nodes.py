"""The nodes: functions from tables to tables, models and figures."""

import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.linear_model import RidgeCV
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def prepare(raw: pd.DataFrame, params: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drop rows with missing values and split into train and test."""
    train, test = train_test_split(
        raw.dropna(), test_size=params["test_size"], random_state=params["seed"]
    )
    return train, test


def featurize(train: pd.DataFrame, test: pd.DataFrame, params: dict) -> tuple:
    """One-hot the categorical columns and scale the rest, both fitted on train."""
    target, categorical = params["target"], params["categorical"]
    numeric = [c for c in train.columns if c != target and c not in categorical]

    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encoder.set_output(transform="pandas").fit(train[categorical])
    scaler = StandardScaler().fit(train[numeric])

    def transform(data: pd.DataFrame) -> pd.DataFrame:
        scaled = pd.DataFrame(scaler.transform(data[numeric]), columns=numeric, index=data.index)
        return pd.concat([encoder.transform(data[categorical]), scaled, data[target]], axis=1)

    means = {
        column: {"value": float(mean), "step": 0}
        for column, mean in zip(numeric, scaler.mean_, strict=True)
    }
    return transform(train), transform(test), scaler, means


def train(
    train_features: pd.DataFrame,
    test_features: pd.DataFrame,
    features: dict,
    params: dict,
) -> tuple[RidgeCV, dict]:
    """Fit RidgeCV and score it on the test split."""
    target = features["target"]
    alphas = np.logspace(params["alpha_log10_min"], params["alpha_log10_max"], params["n_alphas"])
    model = RidgeCV(alphas=alphas)
    model.fit(train_features.drop(columns=target), train_features[target])

    truth = test_features[target]
    predicted = model.predict(test_features.drop(columns=target))
    metrics = {
        "alpha": model.alpha_,
        "test_r2": r2_score(truth, predicted),
        "test_mae": mean_absolute_error(truth, predicted),
        "test_rmse": root_mean_squared_error(truth, predicted),
    }
    return model, {k: {"value": float(v), "step": 0} for k, v in metrics.items()}


def register(metrics: dict, registry: dict) -> dict:
    """Register the model this run logged and make it the champion.

    kedro-mlflow's registry dataset can only load, so this calls MLflow directly.
    """
    run_id = mlflow.active_run().info.run_id
    version = mlflow.register_model(
        f"runs:/{run_id}/model",
        registry["name"],
        tags={key: str(entry["value"]) for key, entry in metrics.items()},
    )
    mlflow.MlflowClient().set_registered_model_alias(
        registry["name"], registry["alias"], version.version
    )
    return {"name": registry["name"], "version": str(version.version), "run_id": run_id}


def predict(
    model: RidgeCV, registered: dict, test_features: pd.DataFrame, features: dict
) -> tuple[pd.DataFrame, Figure]:
    """Predict the test split with the champion from the registry."""
    target = features["target"]
    predictions = pd.DataFrame(
        {
            target: test_features[target],
            "prediction": model.predict(test_features.drop(columns=target)),
        }
    )

    figure = Figure()
    axes = figure.subplots()
    axes.scatter(predictions[target], predictions["prediction"])
    limits = [predictions.min().min(), predictions.max().max()]
    axes.plot(limits, limits, linestyle="--", color="grey")
    axes.set(
        xlabel=f"actual {target}",
        ylabel=f"predicted {target}",
        title=f"{registered['name']} v{registered['version']}",
    )
    return predictions, figure
