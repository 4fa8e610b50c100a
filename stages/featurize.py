"""Fit the preprocessing on the training rows, and apply it to all three splits."""

from pathlib import Path

import joblib

from ridgeline import dataset, features, split
from ridgeline.config import Settings
from ridgeline.files import replacing, write_json
from stages import run

PREPARED, FEATURES = Path("data/prepared"), Path("data/features")


def main(settings: Settings) -> None:
    """Write each split's features, the fitted preprocessing and the columns' means."""
    data = settings.data
    columns = (data.key, data.target, *data.features)
    preprocessor = features.fit(
        dataset.open_table(PREPARED / "train", columns),
        data.numeric,
        data.categorical,
        impute=settings.prepare.missing == "impute",
    )

    for name in split.SPLITS:
        with dataset.writing(FEATURES / name) as write:
            for frame in dataset.open_table(PREPARED / name, columns):
                described = frame[[data.key, data.target]]
                write(described.join(features.transform(preprocessor, frame)))

    with replacing(Path("models/preprocessor.joblib")) as partial:
        joblib.dump(preprocessor, partial)
    write_json(
        Path("metrics/featurize.json"),
        {"mean": features.typical_row(preprocessor)[list(data.numeric)].iloc[0].to_dict()},
    )


if __name__ == "__main__":
    run("featurize", main)
