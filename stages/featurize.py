"""Fit the preprocessing on the training rows, and apply it to all three splits."""

from functools import partial
from pathlib import Path

import pyarrow as pa
from sklearn.compose import ColumnTransformer

from ridgeline.config import Settings
from ridgeline.errors import DataError
from ridgeline.files import (
    FEATURES,
    METRICS,
    PREPARED,
    PREPROCESSOR,
    SPLITS,
    write_json,
    write_model,
)
from ridgeline.model import features
from ridgeline.tables import engine, progress, reading, writing
from stages import run


def main(settings: Settings) -> None:
    """Write each split's features, the fitted preprocessing and the columns' means."""
    data = settings.data
    train = reading.open_table(PREPARED / "train", data.features)
    columns = (data.key, data.target, *data.features)
    tables = {name: reading.open_table(PREPARED / name, columns) for name in SPLITS}
    total = (train, *tables.values())

    with progress.bar("featurize", lambda: sum(table.size for table in total)) as done:
        preprocessor = features.fit(
            train.parts(),
            data.numeric,
            data.categorical,
            impute=settings.prepare.missing == "impute",
            map=engine.over(reading.Part.table, done),
        )
        clash = {data.key, data.target} & {*preprocessor.get_feature_names_out()}
        if clash:
            raise DataError(
                f"column {min(clash)} has the name of a feature that one-hot encoding makes; "
                "rename it"
            )
        for name, table in tables.items():
            with writing.parquet(FEATURES / name) as folder:
                work = partial(transform, preprocessor, (data.key, data.target), folder)
                engine.for_each(work, table.parts(), done)

    write_model(PREPROCESSOR, preprocessor)
    write_json(
        METRICS / "featurize.json",
        {"mean": features.typical_row(preprocessor)[list(data.numeric)].iloc[0].to_dict()},
    )


def transform(
    preprocessor: ColumnTransformer, kept: tuple[str, ...], folder: Path, part: reading.Part
) -> None:
    """Write a part's features to the same part of a table in `folder`, with the columns kept."""
    names = preprocessor.get_feature_names_out()
    with writing.parquet_part(folder, part.number) as write:
        for table in part.tables():
            rows = features.matrix(preprocessor, table)
            columns = [*table.select(kept).columns, *map(pa.array, rows)]
            write(pa.table(columns, names=[*kept, *names]))


if __name__ == "__main__":
    run("featurize", main)
