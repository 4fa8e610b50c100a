"""Fit the preprocessing on the training rows, and apply it to all three splits."""

from functools import partial, reduce
from pathlib import Path

import pyarrow as pa
from sklearn.compose import ColumnTransformer

from ridgeline import files
from ridgeline.config import Settings
from ridgeline.errors import DataError
from ridgeline.model import features, profile
from ridgeline.tables import engine, progress, reading, writing
from stages import run


def main(settings: Settings) -> None:
    """Write each split's features, the fitted preprocessing and the numeric columns' ranges."""
    data = settings.data
    train = reading.open_table(files.PREPARED / "train", data.features)
    columns = (data.key_column, data.target, *data.features)
    tables = {name: reading.open_table(files.PREPARED / name, columns) for name in files.SPLITS}
    total = (train, *tables.values())

    with progress.bar("featurize", lambda: sum(table.size for table in total)) as done:
        preprocessor, statistics = features.fit(
            train.parts(),
            data.numeric,
            data.categorical,
            impute=settings.prepare.missing == "impute",
            map=engine.over(reading.Part.table, done),
        )
        clash = {data.key_column, data.target} & {*preprocessor.get_feature_names_out()}
        if clash:
            raise DataError(
                f"column {min(clash)} has the same name as a one-hot encoded feature; rename it"
            )
        for name, table in tables.items():
            with writing.parquet(files.FEATURES / name) as folder:
                work = partial(transform, preprocessor, (data.key_column, data.target), folder)
                seen = reduce(profile.add, engine.mapped(work, table.parts(), done))
            if name == "train":
                profile.keep(preprocessor, statistics, seen)

    files.write_model(files.PREPROCESSOR, preprocessor)
    described = {"mean": statistics.means, "min": statistics.smallest, "max": statistics.largest}
    by_column = {
        name: dict(zip(data.numeric, values.tolist(), strict=True))
        for name, values in described.items()
    }
    files.write_json(files.METRICS / "featurize.json", by_column)


def transform(
    preprocessor: ColumnTransformer, kept: tuple[str, ...], folder: Path, part: reading.Part
) -> profile.Observed:
    """Write a part's `kept` columns and features to the part of the same number in `folder`.

    Return the counts of its values.
    """
    names = preprocessor.get_feature_names_out()
    seen: profile.Observed = {}
    with writing.parquet_part(folder, part.number) as write:
        for table in part.tables():
            seen = profile.add(seen, profile.observe(preprocessor, table))
            rows = features.matrix(preprocessor, table)
            columns = [*table.select(kept).columns, *map(pa.array, rows)]
            write(pa.table(columns, names=[*kept, *names]))
    return seen


if __name__ == "__main__":
    run("featurize", main)
