"""Fit the preprocessing on the training rows, and apply it to all three splits."""

from functools import partial
from pathlib import Path

import pyarrow as pa
from sklearn.compose import ColumnTransformer

from ridgeline import dataset, engine, features, progress, split
from ridgeline.config import Settings
from ridgeline.errors import DataError
from ridgeline.files import write_json, write_model
from stages import run

PREPARED, FEATURES = Path("data/prepared"), Path("data/features")


def main(settings: Settings) -> None:
    """Write each split's features, the fitted preprocessing and the columns' means."""
    data = settings.data
    train = dataset.open_table(PREPARED / "train", data.features)
    columns = (data.key, data.target, *data.features)
    tables = {name: dataset.open_table(PREPARED / name, columns) for name in split.SPLITS}
    total = (train, *tables.values())

    with progress.bar("featurize", lambda: sum(table.size for table in total)) as done:
        preprocessor = features.fit(
            train.parts(),
            data.numeric,
            data.categorical,
            impute=settings.prepare.missing == "impute",
            map=engine.over(dataset.Part.table, done),
        )
        clash = {data.key, data.target} & {*preprocessor.get_feature_names_out()}
        if clash:
            raise DataError(
                f"column {min(clash)} has the name of a feature that one-hot encoding makes; "
                "rename it"
            )
        for name, table in tables.items():
            with dataset.writing(FEATURES / name) as folder:
                work = partial(transform, preprocessor, (data.key, data.target), folder)
                for _ in engine.mapped(work, table.parts(), done):
                    pass

    write_model(Path("models/preprocessor.joblib"), preprocessor)
    write_json(
        Path("metrics/featurize.json"),
        {"mean": features.typical_row(preprocessor)[list(data.numeric)].iloc[0].to_dict()},
    )


def transform(
    preprocessor: ColumnTransformer, kept: tuple[str, ...], folder: Path, part: dataset.Part
) -> None:
    """Write a part's features to the same part of a table in `folder`, with the columns kept."""
    names = preprocessor.get_feature_names_out()
    with dataset.writing_part(folder, part.number) as write:
        for table in part.tables():
            rows = features.matrix(preprocessor, table)
            columns = [*table.select(kept).columns, *map(pa.array, rows)]
            write(pa.table(columns, names=[*kept, *names]))


if __name__ == "__main__":
    run("featurize", main)
