"""Tables as Parquet or CSV files, streamed in parts of a bounded number of rows."""

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ridgeline.errors import DataError
from ridgeline.files import replacing

Array = npt.NDArray[np.float64]
PART_ROWS = 100_000
BATCH_ROWS = 65_536  # what is decoded of Parquet at once
SUFFIXES = (".csv", ".parquet")
PARSE = pyarrow.csv.ParseOptions(newlines_in_values=True)


class Part(NamedTuple):
    """Some consecutive rows of a table's file."""

    file: Path
    first_row: int
    frame: pd.DataFrame


@dataclass(frozen=True)
class Table:
    """A table's files and the columns that are wanted of it. Iterating reads it, part by part.

    A column that a file lacks is absent from that file's parts, so that whoever checks the
    data can say which file it is. CSV cells come as text; Parquet's come with their types.
    """

    files: tuple[Path, ...]
    columns: tuple[str, ...]
    part_rows: int = PART_ROWS

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for part in self.parts():
            yield part.frame

    def parts(self) -> Iterator[Part]:
        """Read the table, at least a part of each file, with the place that it comes from."""
        for file in self.files:
            first_row = 1
            with _explaining(file):
                for table in _in_parts(_batches(file, self.columns), self.part_rows):
                    # what pandas kept there of an index, and of integers beside nulls as floats,
                    # would make rows and values depend on who wrote the file
                    frame = table.to_pandas(ignore_metadata=True, integer_object_nulls=True)
                    yield Part(file, first_row, frame)
                    first_row += len(table)


@dataclass(frozen=True)
class Arrays:
    """A table's rows as X and y. Iterating reads them, part by part: (m, p) and (m,) float64."""

    table: Table
    features: tuple[str, ...]
    target: str

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        for frame in self.table:
            yield frame[list(self.features)].to_numpy(), frame[self.target].to_numpy()


def open_table(source: str | Path, columns: Sequence[str], part_rows: int = PART_ROWS) -> Table:
    """Find a table's files, without reading them.

    Parameters
    ----------
    source : str or Path
        A CSV or Parquet file, a folder (its CSV or Parquet files, not those in folders below),
        or a glob.
    columns : sequence of str
        The columns to read, in this order.
    part_rows : int
        How many rows a part has at the most.

    Returns
    -------
    Table
        Re-iterable; its files in the order of their names.

    Raises
    ------
    DataError
        When there are no such files, or they are neither all CSV nor all Parquet.
    """
    path = Path(source)
    if path.is_dir():
        found = [f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and f.name[0] != "."]
    elif path.is_file():
        found = [path]
    else:
        found = [Path(name) for name in glob.glob(str(source))]  # noqa: PTH207 - Path.glob takes no absolute pattern
    files = tuple(sorted(file for file in found if file.is_file()))
    kinds = {file.suffix.lower() for file in files}
    if len(kinds) != 1 or not kinds <= set(SUFFIXES):
        what = f"holds {' and '.join(sorted(kinds))} files" if kinds else "is not there, or empty"
        raise DataError(
            f"{source} {what}; name a .csv or .parquet file, or a folder or glob of either kind"
        )
    return Table(files, tuple(columns), part_rows)


@contextmanager
def writing(folder: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Give a function that adds rows to a new table at `folder`, as one Parquet part a call.

    Parameters
    ----------
    folder : Path
        Where the table shall stand. It appears there, whole, when the block ends without an
        exception; what stood there before stays until then.

    Yields
    ------
    callable
        Takes a data frame of float and text columns (its index is dropped). No rows, no part.
    """
    with replacing(folder) as partial:
        partial.mkdir()
        parts = 0

        def write(frame: pd.DataFrame) -> None:
            nonlocal parts
            if len(frame):
                table = pa.Table.from_pandas(frame, schema=_schema(frame), preserve_index=False)
                # pandas' own metadata would put its version into the bytes
                table = table.replace_schema_metadata(None)
                pyarrow.parquet.write_table(table, partial / f"part-{parts:05}.parquet")
                parts += 1

        yield write


def _schema(frame: pd.DataFrame) -> pa.Schema:
    def kind(name: str) -> pa.DataType:
        return pa.float64() if pd.api.types.is_float_dtype(frame[name]) else pa.string()

    return pa.schema([(name, kind(name)) for name in frame.columns])


def column_names(file: Path) -> list[str]:
    """Return the names of a file's columns, in its order."""
    with _explaining(file):
        if file.suffix.lower() == ".csv":
            with pyarrow.csv.open_csv(file, parse_options=PARSE) as reader:
                return list(reader.schema.names)
        return list(pyarrow.parquet.read_schema(file).names)


def _batches(file: Path, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Read the columns that the file has: first no rows of them, then all."""
    names = column_names(file)
    twice = [name for name in columns if names.count(name) > 1]
    if twice:
        raise DataError(f"{file} has two columns called {twice[0]!r}; rename or remove one")
    wanted = [name for name in columns if name in names]
    if not wanted:
        yield pa.record_batch({})
    elif file.suffix.lower() == ".csv":
        schema = pa.schema([(name, pa.string()) for name in wanted])
        convert = pyarrow.csv.ConvertOptions(
            include_columns=wanted,
            column_types=schema,
            strings_can_be_null=True,
        )
        yield pa.RecordBatch.from_pylist([], schema)
        with pyarrow.csv.open_csv(file, parse_options=PARSE, convert_options=convert) as reader:
            yield from reader
    else:
        with pyarrow.parquet.ParquetFile(file) as parquet:
            schema = pa.schema([parquet.schema_arrow.field(name) for name in wanted])
            for field in schema:
                if pa.types.is_nested(field.type) or "binary" in str(field.type):
                    raise DataError(
                        f"{file}: column {field.name!r} holds {field.type}, which is neither text "
                        "nor a number; convert it"
                    )
            yield pa.RecordBatch.from_pylist([], schema)
            for batch in parquet.iter_batches(BATCH_ROWS, columns=wanted):
                yield batch.select(wanted)


@contextmanager
def _explaining(file: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise DataError(f"{file} can't be read; mend or remove it: {reason}") from None


def _in_parts(batches: Iterable[pa.RecordBatch], part_rows: int) -> Iterator[pa.Table]:
    """Put batches of any size together, or cut them up, to tables of `part_rows` rows."""
    waiting: list[pa.RecordBatch] = []
    rows, parts = 0, 0
    for batch in batches:
        waiting.append(batch)
        rows += len(batch)
        while rows >= part_rows:
            room = len(batch) - (rows - part_rows)
            yield pa.Table.from_batches([*waiting[:-1], batch.slice(0, room)])
            batch = batch.slice(room)
            waiting, rows, parts = [batch], len(batch), parts + 1
    if rows or not parts:
        yield pa.Table.from_batches(waiting)
