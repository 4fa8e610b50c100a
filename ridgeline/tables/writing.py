"""Write tables in independent parts; a table only appears when it is complete."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from ridgeline.files import naming, replacing, scratch
from ridgeline.tables.reading import as_frame


@contextmanager
def parquet(folder: Path) -> Iterator[Path]:
    """Yield a folder for the parts of a new table, which workers write with `parquet_part`.

    Parameters
    ----------
    folder : Path
        Where the complete table is moved to when the block ends without an exception. A
        previous table stays there until then.

    Yields
    ------
    Path
        The absolute path of a folder beside it. It is gone when the block ends, so that a
        worker that still runs can't add to a complete table.
    """
    with replacing(folder) as partial, scratch(folder) as place:
        parts = place / "parts"
        parts.mkdir()
        yield parts
        parts.rename(partial)


@contextmanager
def parquet_part(
    folder: Path, number: int, *, keep_empty: bool = False
) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that appends tables of float and text columns to a part in `folder`.

    The part appears, complete, when the block ends, even if two workers write it at once.
    Columns that are not float become text. Without rows, no part is written unless `keep_empty`.
    """
    path = folder / f"part-{number:05}.parquet"
    # outside the folder: what a killed worker leaves must not become part of the table
    partial = folder.with_name(f".{path.name}.{uuid4().hex}")
    writer: pyarrow.parquet.ParquetWriter | None = None

    def write(table: pa.Table) -> None:
        nonlocal writer
        if not len(table) and not keep_empty:
            return
        table = table.cast(_schema(table.schema))
        if writer is None:
            # a dictionary only pays for repeated values, such as 0 and 1 of one-hot columns
            few = [field.name for field in table.schema if _has_few_values(table[field.name])]
            writer = pyarrow.parquet.ParquetWriter(
                partial,
                table.schema,
                use_dictionary=few,
                compression="none",  # for floats it saves a tenth and doubles the time
                write_statistics=False,
            )
        with naming(partial):  # not around the yield: several writers may be open at once
            writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            with naming(partial):
                writer.close()
    if writer is not None:
        partial.replace(path)


@contextmanager
def csv(path: Path) -> Iterator[Path]:
    """Yield a folder for the parts of a CSV file, written with `csv_part`.

    They are concatenated to `path`, in order, when the block ends without an exception.
    """
    with scratch(path) as folder:
        yield folder
        with replacing(path) as partial, partial.open("wb") as whole:
            for part in sorted(folder.glob("[!.]*")):  # a dot marks leftovers of killed workers
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole)


@contextmanager
def csv_part(folder: Path, number: int) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that appends rows to a part of a CSV file; see `parquet_part`.

    Part 0 begins with the column names, even if its tables have no rows.
    """
    path = folder / f"{number:09}"
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    with naming(partial), partial.open("w", encoding="utf-8", newline="") as file:

        def write(table: pa.Table) -> None:
            header = not number and not file.tell()
            as_frame(table).to_csv(file, index=False, header=header, lineterminator="\n")

        yield write
    partial.replace(path)


def as_table(frame: pd.DataFrame) -> pa.Table:
    """Convert a data frame of float and text columns to a table, without its index."""
    fields = [
        (name, pa.float64() if pd.api.types.is_float_dtype(frame[name]) else pa.string())
        for name in frame.columns
    ]
    table = pa.Table.from_pandas(frame, schema=pa.schema(fields), preserve_index=False)
    return table.replace_schema_metadata(None)  # it contains pandas' version


def _schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema(
        [
            (field.name, pa.float64() if pa.types.is_floating(field.type) else pa.string())
            for field in schema
        ]
    )


def _has_few_values(column: pa.ChunkedArray) -> bool:
    return len(column[:1000].unique()) <= 100


def predictions(output: Path) -> AbstractContextManager[Path]:
    """Yield a folder for the parts of a CSV file if `output` ends with .csv, else of Parquet."""
    return csv(output) if output.suffix == ".csv" else parquet(output)


def predictions_part(
    output: Path, folder: Path, number: int
) -> AbstractContextManager[Callable[[pa.Table], None]]:
    """Yield a function that appends rows to part `number` of the output of `predictions`.

    Part 0 has the column names, even if its tables have no rows.
    """
    if output.suffix == ".csv":
        return csv_part(folder, number)
    return parquet_part(folder, number, keep_empty=not number)
