"""Tables as CSV or Parquet files, read in parts that need not know of each other."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ridgeline.errors import DataError
from ridgeline.tables import csv, parquet, place

Array = npt.NDArray[np.float64]
PART_ROWS = 100_000
BLOCK_BYTES = 1 << 24  # of CSV, a part: some 100,000 rows of 20 columns


@dataclass(frozen=True)
class Part:
    """Some consecutive rows of a table's file: a block of CSV, or row groups of Parquet.

    It can be sent elsewhere, and read there by itself.

    `number` counts the table's parts from 0. `file` is the file as it was named, `place` where
    it is found from anywhere; `first` and `last` are the span of bytes or row groups, last
    excluded (None: to the end); `size` its share of `Table.size`. `header` are the columns'
    names for a block that doesn't begin with them; `missing_values` the texts that mean missing
    in CSV.
    """

    number: int
    file: str
    place: str
    columns: tuple[str, ...]
    numeric: tuple[str, ...]
    part_rows: int
    first: int
    last: int | None
    size: int
    header: tuple[str, ...] | None = None
    missing_values: tuple[str, ...] | None = None

    @property
    def begins(self) -> bool:
        """Whether this is its file's first part."""
        return self.first == 0

    def tables(self) -> Iterator[pa.Table]:
        """Read it, at most `part_rows` rows at a time; at least once, if there are none.

        A column that the file lacks is absent, so that whoever checks the data can say which
        file it is. CSV cells come as text, and those of a numeric column as float64, where all
        of the block are numbers; Parquet's come with their types.
        """
        with place.explaining(self.file):
            yield from _in_parts(_format(self.file).read(self), self.part_rows)

    def table(self) -> pa.Table:
        """Read all of it."""
        return pa.concat_tables(list(self.tables()))

    def frame(self) -> pd.DataFrame:
        """Read all of it, as a data frame."""
        return as_frame(self.table())


@dataclass(frozen=True)
class Table:
    """A table's files and the columns that are wanted of it; see `Part` for how they come."""

    files: tuple[str, ...]
    columns: tuple[str, ...]
    numeric: tuple[str, ...] = ()
    part_rows: int = PART_ROWS
    block_bytes: int = BLOCK_BYTES
    missing_values: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Read the table, at most `part_rows` rows at a time."""
        for part in self.parts():
            for table in part.tables():
                yield as_frame(table)

    def parts(self) -> Iterator[Part]:
        """Find where to cut the files, at least one part of each. Rows are not parsed for that."""
        numbers = count()
        for file in self.files:
            with place.explaining(file):
                names = column_names(file)
                twice = [name for name in self.columns if names.count(name) > 1]
                if twice:
                    raise DataError(
                        f"{file} has two columns called {twice[0]!r}; rename or remove one"
                    )
                wanted = tuple(name for name in self.columns if name in names)
                limit = self.block_bytes if place.is_csv(file) else self.part_rows
                absolute = place.absolute(file)
                for first, last, size in _format(file).spans(absolute, limit):
                    yield Part(
                        next(numbers),
                        file,
                        absolute,
                        wanted,
                        self.numeric,
                        self.part_rows,
                        first,
                        last,
                        size,
                        tuple(names) if first else None,
                        self.missing_values,
                    )

    @property
    def size(self) -> int:
        """The sum of the parts' sizes: bytes of CSV, rows of Parquet."""
        return sum(map(_size, self.files))


def open_table(
    source: str | Path,
    columns: Sequence[str],
    numeric: Sequence[str] = (),
    part_rows: int = PART_ROWS,
    block_bytes: int = BLOCK_BYTES,
    missing_values: Sequence[str] | None = None,
) -> Table:
    """Find a table's files, without reading them.

    Parameters
    ----------
    source : str or Path
        A CSV or Parquet file, a folder (its CSV or Parquet files, not those in folders below),
        or a glob; here, or in S3 where it begins with ``s3://``. S3's keys, region and
        ``AWS_ENDPOINT_URL`` are taken from the environment.
    columns : sequence of str
        The columns to read, in this order.
    numeric : sequence of str
        Those of them that CSV should have numbers in.
    part_rows : int
        How many rows are read of a part at a time, and how many row groups of Parquet, of
        fewer rows each, are a part.
    block_bytes : int
        How long a part of CSV is, at the most by a row.
    missing_values : sequence of str, optional
        The texts that mean missing in CSV; by default those of pyarrow. (In a column of numbers
        that also holds for NaN, and in Parquet for nulls alone.)

    Returns
    -------
    Table
        Its files in the order of their names.

    Raises
    ------
    DataError
        When there are no such files, or they are neither all CSV nor all Parquet.
    """
    missing = None if missing_values is None else tuple(missing_values)
    return Table(
        place.find(source), tuple(columns), tuple(numeric), part_rows, block_bytes, missing
    )


def column_names(file: str | Path) -> list[str]:
    """Return the names of a file's columns, in its order."""
    with place.explaining(str(file)):
        return list(_format(str(file)).column_names(str(file)))


def missing_texts(
    columns: Sequence[str], missing_values: Sequence[str], part: Part
) -> Counter[tuple[str, str]]:
    """Count the cells of a part of CSV that are missing because of their text, by column and text.

    Returns
    -------
    Counter of (str, str)
        Column and text, empty cells apart. Of Parquet nothing: there a text is what it says.
    """
    found: Counter[tuple[str, str]] = Counter()
    if not place.is_csv(part.file):
        return found
    texts = pa.array([text for text in missing_values if text], pa.string())
    wanted = tuple(name for name in columns if name in part.columns)
    for table in replace(part, columns=wanted, numeric=(), missing_values=()).tables():
        for name in wanted:
            counted = pc.value_counts(table[name].filter(pc.is_in(table[name], texts)))
            found.update({(name, e["values"]): e["counts"] for e in counted.to_pylist()})
    return found


def arrays(features: Sequence[str], target: str, part: Part) -> tuple[Array, Array]:
    """Read a part of float64 columns as X of shape (m, p), columns contiguous, and y (m,)."""
    joined = numbers(part.table(), (*features, target))
    return joined[:-1].T, joined[-1]


def numbers(table: pa.Table, columns: Sequence[str]) -> Array:
    """Return number columns as the rows of one array, shape (columns, rows); missing is NaN."""
    values = np.empty((len(columns), len(table)))
    for row, name in zip(values, columns, strict=True):
        row[:] = table[name].to_numpy()
    return values


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Convert rows to a data frame, each value by its own type."""
    # what pandas kept there of an index, and of integers beside nulls as floats, would make
    # rows and values depend on who wrote the file
    frame: pd.DataFrame = table.to_pandas(
        ignore_metadata=True, integer_object_nulls=True, use_threads=False
    )
    return frame


def _format(file: str) -> ModuleType:
    return csv if place.is_csv(file) else parquet


def _size(file: str) -> int:
    with place.explaining(file):
        return int(_format(file).size(file))


def _in_parts(batches: Iterable[pa.RecordBatch], part_rows: int) -> Iterator[pa.Table]:
    """Put batches of any size together, or cut them up, to tables of `part_rows` rows."""
    waiting: list[pa.RecordBatch] = []
    rows, parts = 0, 0
    for batch in batches:
        waiting = [*waiting, batch] if rows else [batch]  # an empty one only tells the columns
        rows += len(batch)
        while rows >= part_rows:
            room = len(batch) - (rows - part_rows)
            yield pa.Table.from_batches([*waiting[:-1], batch.slice(0, room)])
            batch = batch.slice(room)
            waiting, rows, parts = [batch], len(batch), parts + 1
    if rows or not parts:
        yield pa.Table.from_batches(waiting)
