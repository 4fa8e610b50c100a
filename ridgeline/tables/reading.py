"""Read tables of CSV or Parquet files in independent parts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ridgeline.config import DEFAULT_CSV, ROW, Csv
from ridgeline.errors import DataError
from ridgeline.tables import csv, dialect, parquet, place
from ridgeline.tables.engine import Map

Array = npt.NDArray[np.float64]
PART_ROWS = 100_000
BLOCK_BYTES = 1 << 24  # per part of CSV: about 100,000 rows of 20 columns


@dataclass(frozen=True)
class Part:
    """Consecutive rows of a file, which any worker can read: a CSV block or Parquet row groups.

    `number` counts the table's parts from 0. `file` is the file as the user named it, `place` its
    absolute path. `first` and `last` are the span of bytes or row groups, last excluded (None: to
    the end); `size` is its share of `Table.size`. `header` has the column names if the block does
    not begin with them; `missing_values` are the texts that mean missing in CSV, and `csv_options`
    how it is written; `first_row` is the number of the first row, if rows are numbered, which adds
    the column `ROW`.
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
    csv_options: Csv = DEFAULT_CSV
    first_row: int | None = None

    @property
    def begins(self) -> bool:
        """Whether this is its file's first part."""
        return self.first == 0

    @property
    def decimal(self) -> str:
        """The character before the decimals of numbers that are text."""
        return self.csv_options.decimal if place.is_csv(self.file) else "."

    def tables(self) -> Iterator[pa.Table]:
        """Yield tables of at most `part_rows` rows, at least one even if there are no rows.

        Columns that the file does not have are left out, for the data check to report. CSV cells
        are text, or float64 in numeric columns if the block has only numbers there; Parquet
        columns keep their types.
        """
        row = self.first_row
        with place.explaining(self.file):
            read = csv.read if place.is_csv(self.file) else parquet.read
            for table in _in_parts(read(self), self.part_rows):
                if self.last is None:
                    table = csv.with_numbers(table, self)
                if row is None:
                    yield table
                else:
                    numbers = pa.array(np.arange(row, row + len(table)))
                    yield table.append_column(ROW, numbers)
                    row += len(table)

    def table(self) -> pa.Table:
        """Return all rows."""
        return pa.concat_tables(list(self.tables()))

    def frame(self) -> pd.DataFrame:
        """Return all rows as a data frame."""
        return as_frame(self.table())


@dataclass(frozen=True)
class Table:
    """A table's files and the columns to read; see `Part` for their types."""

    files: tuple[str, ...]
    columns: tuple[str, ...]
    numeric: tuple[str, ...] = ()
    part_rows: int = PART_ROWS
    block_bytes: int = BLOCK_BYTES
    missing_values: tuple[str, ...] | None = None
    csv_options: Csv = DEFAULT_CSV
    first_rows: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Yield data frames of at most `part_rows` rows."""
        for part in self.parts():
            for table in part.tables():
                yield as_frame(table)

    def parts(self) -> Iterator[Part]:
        """Yield the parts of the files, at least one of each, without parsing rows."""
        numbers = count()
        for file in self.files:
            with place.explaining(file):
                names = column_names(file, self.csv_options)
                duplicates = [name for name in self.columns if names.count(name) > 1]
                if duplicates:
                    raise DataError(
                        f"{file} has two columns called {duplicates[0]!r}; rename or remove one"
                    )
                wanted = tuple(name for name in self.columns if name in names)
                absolute = place.absolute(file)
                if len(wanted) < len(self.columns) and place.is_csv(file):
                    dialect.explain_absent(file, self.columns, self.csv_options)
                spans = (
                    csv.spans(absolute, self.csv_options, self.block_bytes)
                    if place.is_csv(file)
                    else parquet.spans(absolute, self.part_rows)
                )
                for first, last, size in spans:
                    number = next(numbers)
                    yield Part(
                        number,
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
                        self.csv_options,
                        self.first_rows[number] if self.first_rows else None,
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
    csv_options: Csv = DEFAULT_CSV,
    numbering: Map | None = None,
) -> Table:
    """Find a table's files, without reading them.

    Parameters
    ----------
    source : str or Path
        A CSV or Parquet file, a folder (without its subfolders) or a glob; in S3 if it begins
        with ``s3://``, with keys, region and ``AWS_ENDPOINT_URL`` from the environment. CSV is
        .csv or .tsv, also with .gz.
    columns : sequence of str
        The columns to read, in this order.
    numeric : sequence of str
        Those of them that should hold numbers in CSV.
    part_rows : int
        How many rows to read at a time. Smaller Parquet row groups are joined up to this size.
    block_bytes : int
        The approximate size of a CSV part in bytes; parts are cut at row ends.
    missing_values : sequence of str, optional
        The texts that mean missing in CSV; by default those of pyarrow. NaN is missing in
        numeric columns too. Texts in Parquet files never mean missing.
    csv_options : Csv
        How CSV files are written.
    numbering : callable, optional
        Number the rows from 1 in the column `ROW`, unless all files have such a column. It applies
        a function to each part, such as `engine.mapped`, to count its rows first.

    Returns
    -------
    Table
        The table, its files sorted by name.

    Raises
    ------
    DataError
        If there are no such files, or they are not all of one kind.
    """
    missing = None if missing_values is None else tuple(missing_values)
    table = Table(
        place.find(source),
        tuple(columns),
        tuple(numeric),
        part_rows,
        block_bytes,
        missing,
        csv_options,
    )
    if numbering is None or all(ROW in column_names(file, csv_options) for file in table.files):
        return table
    rows = numbering(count_rows, table.parts())
    others = tuple(name for name in columns if name != ROW)
    return replace(table, columns=others, first_rows=tuple(accumulate(rows, initial=1)))


def count_rows(part: Part) -> int:
    """Count a part's rows, by reading one of its columns unless the file says it."""
    if not place.is_csv(part.file):
        return part.size
    one = tuple(column_names(part.file, part.csv_options)[:1])
    alone = replace(part, columns=one, numeric=(), first_row=None)
    return sum(len(table) for table in alone.tables())


def column_names(file: str | Path, csv_options: Csv = DEFAULT_CSV) -> list[str]:
    """Return the names of a file's columns, in file order."""
    with place.explaining(str(file)):
        if place.is_csv(str(file)):
            return csv.column_names(str(file), csv_options)
        return parquet.column_names(str(file))


def missing_texts(
    columns: Sequence[str], missing_values: Sequence[str], part: Part
) -> Counter[tuple[str, str]]:
    """Count the cells of a CSV part whose text means missing, by column and text.

    Returns
    -------
    Counter of (str, str)
        The counts, without empty cells. Empty for Parquet, where no text means missing.
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
    """Return a part of float64 columns as X, shape (m, p), in Fortran order, and y, shape (m,)."""
    joined = numbers(part.table(), (*features, target))
    return joined[:-1].T, joined[-1]


def numbers(table: pa.Table, columns: Sequence[str]) -> Array:
    """Return numeric columns as the rows of an array, shape (columns, rows); missing is NaN."""
    values = np.empty((len(columns), len(table)))
    for row, name in zip(values, columns, strict=True):
        row[:] = table[name].to_numpy()
    return values


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Convert rows to a data frame; integers next to nulls stay integers."""
    # with pandas metadata the result would depend on the program that wrote the file
    frame: pd.DataFrame = table.to_pandas(
        ignore_metadata=True, integer_object_nulls=True, use_threads=False
    )
    return frame


def _size(file: str) -> int:
    with place.explaining(file):
        return csv.size(file) if place.is_csv(file) else parquet.size(file)


def _in_parts(batches: Iterable[pa.RecordBatch], part_rows: int) -> Iterator[pa.Table]:
    """Regroup batches of any size into tables of `part_rows` rows; the last may be smaller."""
    waiting: list[pa.RecordBatch] = []
    rows, parts = 0, 0
    for batch in batches:
        waiting = [*waiting, batch] if rows else [batch]  # an empty batch only has the schema
        rows += len(batch)
        while rows >= part_rows:
            room = len(batch) - (rows - part_rows)
            yield pa.Table.from_batches([*waiting[:-1], batch.slice(0, room)])
            batch = batch.slice(room)
            waiting, rows, parts = [batch], len(batch), parts + 1
    if rows or not parts:
        yield pa.Table.from_batches(waiting)
