"""Fit the preprocessing on the training rows, and apply it to all three splits."""

from pathlib import Path

from ridgeline import dataset, features, split
from ridgeline.config import Settings
from ridgeline.errors import DataError
from ridgeline.files import write_json, write_model
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

    clash = {data.key, data.target} & {*preprocessor.get_feature_names_out()}
    if clash:
        raise DataError(
            f"column {min(clash)} has the name of a feature that one-hot encoding makes; rename it"
        )

    for name in split.SPLITS:
        with dataset.writing(FEATURES / name) as write:
            for frame in dataset.open_table(PREPARED / name, columns):
                described = frame[[data.key, data.target]]
                write(described.join(features.transform(preprocessor, frame)))

    write_model(Path("models/preprocessor.joblib"), preprocessor)
    write_json(
        Path("metrics/featurize.json"),
        {"mean": features.typical_row(preprocessor)[list(data.numeric)].iloc[0].to_dict()},
    )


if __name__ == "__main__":
    run("featurize", main)
