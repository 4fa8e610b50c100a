"""Tables written in parts, by workers that need not know of each other; whole or absent."""

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
    """Give a folder to write a new table's parts to, by `parquet_part`, wherever that runs.

    Parameters
    ----------
    folder : Path
        Where the table shall stand. It appears there, whole, when the block ends without an
        exception; what stood there before stays until then.

    Yields
    ------
    Path
        The absolute path of a folder beside it. A worker that is given up but still at work
        when the block ends finds it gone: nothing is added to a table that stands.
    """
    with replacing(folder) as partial, scratch(folder) as place:
        parts = place / "parts"
        parts.mkdir()
        yield parts
        parts.rename(partial)


@contextmanager
def parquet_part(folder: Path, number: int) -> Iterator[Callable[[pa.Table], None]]:
    """Give a function that adds rows to part `number` of the table that is written to `folder`.

    The part is there, whole, when the block ends, also when two workers write it at once. It
    takes tables of float and text columns; what is not float becomes text. No rows, no part.
    """
    path = folder / f"part-{number:05}.parquet"
    # beside the folder: what a killed worker leaves would become part of the table
    partial = folder.with_name(f".{path.name}.{uuid4().hex}")
    writer: pyarrow.parquet.ParquetWriter | None = None

    def write(table: pa.Table) -> None:
        nonlocal writer
        if not len(table):
            return
        table = table.cast(_schema(table.schema))
        if writer is None:
            # floats repeat too seldom for a dictionary; but 0 and 1 of one-hot columns do
            few = [field.name for field in table.schema if _has_few_values(table[field.name])]
            writer = pyarrow.parquet.ParquetWriter(
                partial,
                table.schema,
                use_dictionary=few,
                compression="none",  # of floats it would save a tenth, for twice the time
                write_statistics=False,
            )
        with naming(partial):  # here, for several tables may be written at once
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
    """Give a folder to write the parts of a CSV file to, by `csv_part`.

    They are put together at `path`, in their order, when the block ends without an exception.
    """
    with scratch(path) as folder:
        yield folder
        with replacing(path) as partial, partial.open("wb") as whole:
            for part in sorted(folder.glob("[!.]*")):  # what a killed worker left has a dot
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole)


@contextmanager
def csv_part(folder: Path, number: int) -> Iterator[Callable[[pa.Table], None]]:
    """Give a function that adds rows to a part of a CSV file, as `parquet_part` does.

    The first part, 0, begins with the columns' names, be there rows or not.
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
    """Make a table of a data frame of float and text columns; its index is dropped."""
    fields = [
        (name, pa.float64() if pd.api.types.is_float_dtype(frame[name]) else pa.string())
        for name in frame.columns
    ]
    table = pa.Table.from_pandas(frame, schema=pa.schema(fields), preserve_index=False)
    return table.replace_schema_metadata(None)  # pandas puts its version there


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
    """Give a folder to write parts to: of a CSV file if `output` is named so, else of a table."""
    return csv(output) if output.suffix == ".csv" else parquet(output)


def predictions_part(
    output: Path, folder: Path, number: int
) -> AbstractContextManager[Callable[[pa.Table], None]]:
    """Give a function that adds rows to part `number` of what `predictions` makes."""
    write = csv_part if output.suffix == ".csv" else parquet_part
    return write(folder, number)
