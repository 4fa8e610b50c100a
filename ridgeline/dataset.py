"""Tables as Parquet or CSV files, read and written in parts that need not know of each other."""

import codecs
import fnmatch
import glob
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path, PurePosixPath
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.fs
import pyarrow.parquet

from ridgeline.errors import DataError
from ridgeline.files import naming, replacing, scratch

Array = npt.NDArray[np.float64]
PART_ROWS = 100_000
BLOCK_BYTES = 1 << 24  # of CSV, a part: some 100,000 rows of 20 columns
SUFFIXES = (".csv", ".parquet")
S3 = "s3://"
NEWLINE, QUOTE = b'\n"'
LONG_ROW = "straddling object"  # what pyarrow calls it, longer than a block of its own
MAY_PRECEDE = np.isin(np.arange(256), [*b'\n\r,"'])  # a quote that begins a cell, by byte


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
        with _explaining(self.file, self.place, self.first):
            read = _read_csv if _is_csv(self.file) else _read_parquet
            yield from _in_parts(read(self), self.part_rows)

    def table(self) -> pa.Table:
        """Read all of it."""
        return pa.concat_tables(list(self.tables()))

    def frame(self) -> pd.DataFrame:
        """Read all of it, as a data frame."""
        return _as_frame(self.table())


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
                yield _as_frame(table)

    def parts(self) -> Iterator[Part]:
        """Find where to cut the files, at least one part of each. Rows are not parsed for that."""
        numbers = count()
        for file in self.files:
            place = file if file.startswith(S3) else str(Path(file).absolute())
            with _explaining(file):
                names = column_names(file)
                twice = [name for name in self.columns if names.count(name) > 1]
                if twice:
                    raise DataError(
                        f"{file} has two columns called {twice[0]!r}; rename or remove one"
                    )
                wanted = tuple(name for name in self.columns if name in names)
                spans = _csv_spans if _is_csv(file) else _parquet_spans
                limit = self.block_bytes if _is_csv(file) else self.part_rows
                for first, last, size in spans(place, limit):
                    yield Part(
                        next(numbers),
                        file,
                        place,
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
        return sum(_size(file) for file in self.files)


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
    found = _in_s3(source) if isinstance(source, str) and source.startswith(S3) else _here(source)
    files = tuple(sorted(found))
    kinds = {PurePosixPath(file).suffix.lower() for file in files}
    if len(kinds) != 1 or not kinds <= set(SUFFIXES):
        what = f"holds {' and '.join(sorted(kinds))} files" if kinds else "is not there, or empty"
        raise DataError(
            f"{source} {what}; name a .csv or .parquet file, or a folder or glob of either kind"
        )
    missing = None if missing_values is None else tuple(missing_values)
    return Table(files, tuple(columns), tuple(numeric), part_rows, block_bytes, missing)


def column_names(file: str | Path) -> list[str]:
    """Return the names of a file's columns, in its order."""
    with _explaining(str(file)), _opened(str(file)) as stream:
        if _is_csv(str(file)):
            parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
            serial = pyarrow.csv.ReadOptions(use_threads=False)  # it tells the row that is wrong
            with pyarrow.csv.open_csv(stream, serial, parse) as reader:
                return list(reader.schema.names)
        return list(pyarrow.parquet.read_schema(stream).names)


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
    if not _is_csv(part.file):
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


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """Give a folder to write a new table's parts to, by `writing_part`, wherever that runs.

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
def writing_part(folder: Path, number: int) -> Iterator[Callable[[pa.Table], None]]:
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
def writing_csv(path: Path) -> Iterator[Path]:
    """Give a folder to write the parts of a CSV file to, by `writing_csv_part`.

    They are put together at `path`, in their order, when the block ends without an exception.
    """
    with scratch(path) as folder:
        yield folder
        with replacing(path) as partial, partial.open("wb") as whole:
            for part in sorted(folder.glob("[!.]*")):  # what a killed worker left has a dot
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole)


@contextmanager
def writing_csv_part(folder: Path, number: int) -> Iterator[Callable[[pa.Table], None]]:
    """Give a function that adds rows to a part of a CSV file, as `writing_part` does.

    The first part, 0, begins with the columns' names, be there rows or not.
    """
    path = folder / f"{number:09}"
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    with naming(partial), partial.open("w", encoding="utf-8", newline="") as file:

        def write(table: pa.Table) -> None:
            header = not number and not file.tell()
            _as_frame(table).to_csv(file, index=False, header=header, lineterminator="\n")

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


def _as_frame(table: pa.Table) -> pd.DataFrame:
    # what pandas kept there of an index, and of integers beside nulls as floats, would make
    # rows and values depend on who wrote the file
    frame: pd.DataFrame = table.to_pandas(
        ignore_metadata=True, integer_object_nulls=True, use_threads=False
    )
    return frame


def _is_csv(file: str) -> bool:
    return file.lower().endswith(".csv")


def _here(source: str | Path) -> list[str]:
    path = Path(source)
    if path.is_dir():
        found = [f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and f.name[0] != "."]
    elif path.is_file():
        found = [path]
    else:
        found = [Path(name) for name in glob.glob(str(source))]  # noqa: PTH207 - Path.glob takes no absolute pattern
    return [str(file) for file in found if file.is_file()]


def _in_s3(source: str) -> list[str]:
    path = source.removeprefix(S3).rstrip("/")
    fixed = re.split(r"[*?[]", path)[0]
    with _explaining(source):
        files = _filesystem(source)
        if fixed == path:
            info = files.get_file_info(path)
            if info.type == pyarrow.fs.FileType.File:
                return [source]
            listed = files.get_file_info(pyarrow.fs.FileSelector(path, allow_not_found=True))
            named = [f.path for f in listed if f.is_file and f.base_name[0] != "."]
            return [S3 + name for name in named if PurePosixPath(name).suffix.lower() in SUFFIXES]
        folder = fixed.rpartition("/")[0]
        below = pyarrow.fs.FileSelector(folder, allow_not_found=True, recursive=True)
        return [
            S3 + file.path
            for file in files.get_file_info(below)
            if file.is_file and _matches(file.path, path)
        ]


def _matches(path: str, pattern: str) -> bool:
    """Tell whether a path matches a glob, in which ``*`` stands for no ``/``."""
    names, patterns = path.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatch.fnmatchcase, names, patterns))


def _filesystem(place: str) -> pyarrow.fs.FileSystem:
    if not place.startswith(S3):
        return pyarrow.fs.LocalFileSystem()
    return pyarrow.fs.S3FileSystem(endpoint_override=os.environ.get("AWS_ENDPOINT_URL"))


def _opened(place: str) -> pa.NativeFile:
    return _filesystem(place).open_input_file(place.removeprefix(S3))


def _size(file: str) -> int:
    with _explaining(file), _opened(file) as stream:
        if _is_csv(file):
            return int(stream.size())
        return int(pyarrow.parquet.read_metadata(stream).num_rows)


def _csv_spans(place: str, block_bytes: int) -> Iterator[tuple[int, int | None, int]]:
    """Cut a CSV file at ends of rows: yield spans of bytes, with their length.

    A line's end within quotes is no row's end: whether one is follows from the number of
    quotes before it. That is not so in a file with a quote inside of an unquoted cell, which
    is legible all the same; what comes from there on is left in one span.
    """
    with _opened(place) as stream:
        total = stream.size()
        start, before, quoted = 0, NEWLINE, False
        while (place_read := stream.tell()) + block_bytes < total:
            chunk = stream.read(block_bytes)
            if not place_read:
                chunk = _unmarked(chunk)
            cut, quoted, regular = _last_row_end(chunk, quoted, before)
            if not regular:
                break
            before = chunk[-1]
            if cut:
                end = place_read + cut
                yield start, end, end - start
                start = end
        yield start, total if total - start <= 3 * block_bytes else None, total - start


def _unmarked(chunk: bytes) -> bytes:
    """Put commas for a byte order mark, behind which a cell begins."""
    mark = codecs.BOM_UTF8
    return b"," * len(mark) + chunk[len(mark) :] if chunk.startswith(mark) else chunk


def _last_row_end(chunk: bytes, quoted: bool, before: int) -> tuple[int, bool, bool]:
    """Find the end of a chunk's last whole row.

    Parameters
    ----------
    chunk : bytes
        Some of a file.
    quoted : bool
        Whether it begins within quotes.
    before : int
        The byte before it.

    Returns
    -------
    tuple of int, bool and bool
        The place behind that row, 0 if there is none; whether the chunk ends within quotes;
        whether each of its quotes begins or ends a cell, or follows another.
    """
    if b'"' not in chunk:
        return 0 if quoted else chunk.rfind(b"\n") + 1, quoted, True
    values = np.frombuffer(chunk, np.uint8)
    quotes = np.flatnonzero(values == QUOTE)
    opening = quotes[int(quoted) :: 2]
    previous = values[opening - 1]
    if opening.size and not opening[0]:
        previous[0] = before
    regular = bool(MAY_PRECEDE[previous].all())
    # from the end, where one should be near; a line's end is a row's, if outside of quotes
    end = len(chunk)
    while (end := chunk.rfind(b"\n", 0, end)) >= 0:
        if (np.searchsorted(quotes, end) + quoted) % 2 == 0:
            break
    return end + 1, bool((len(quotes) + quoted) % 2), regular


def _parquet_spans(place: str, part_rows: int) -> Iterator[tuple[int, int | None, int]]:
    """Put row groups together up to `part_rows` rows: yield spans of them, with their rows."""
    with _opened(place) as stream:
        metadata = pyarrow.parquet.read_metadata(stream)
    first, rows = 0, 0
    for group in range(metadata.num_row_groups):
        more = metadata.row_group(group).num_rows
        if group > first and rows + more > part_rows:
            yield first, group, rows
            first, rows = group, 0
        rows += more
    yield first, metadata.num_row_groups, rows


def _read_csv(part: Part) -> Iterator[pa.RecordBatch]:
    """Parse a block; where it can't be parsed, find out why as if the file were one block."""
    if not part.columns:  # pyarrow would read all
        yield pa.record_batch({})
        return
    nothing = pa.RecordBatch.from_pylist([], pa.schema([(n, pa.string()) for n in part.columns]))
    with _opened(part.place) as stream:
        stream.seek(part.first)
        if part.last is None:
            yield nothing
            try:
                with _reader(part, stream, ()) as reader:
                    yield from reader
            except pa.ArrowInvalid:
                _fail_from_beginning(part)
                raise
            _check_quotes(part.file, part.place, part.first)
            return
        block = stream.read(part.last - part.first)
        ends = part.last == stream.size()
    if not part.begins and not block[:1000].strip() and not block.strip():
        yield nothing  # but empty lines
        return
    try:
        table = _parsed(part, block, part.numeric)
    except pa.ArrowInvalid:
        try:
            table = _parsed(part, block, ())
        except pa.ArrowInvalid:
            _fail_from_beginning(part)
            raise
    if ends and block.count(b'"') % 2:
        _check_quotes(part.file, part.place, part.first)
    yield from table.to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]


def _fail_from_beginning(part: Part) -> None:
    """Parse a part that can't be parsed from its file's beginning: so the error counts rows."""
    if not part.begins:
        with _opened(part.place) as stream:
            for _ in _reader(replace(part, header=None), stream, ()):
                pass


def _check_quotes(file: str, place: str, first: int) -> None:
    """Refuse a file that ends within quotes: pyarrow would make one cell of all behind one.

    It is read from byte `first` on, where a row begins. Where a quote is inside of an unquoted
    cell nobody can tell.
    """
    quote, before, quoted, regular = 0, NEWLINE, False, True
    with _opened(place) as stream:
        stream.seek(first)
        while regular and (chunk := stream.read(BLOCK_BYTES)):
            begin = stream.tell() - len(chunk)
            if b'"' in chunk:
                quote = begin + chunk.rfind(b'"')
            _, quoted, regular = _last_row_end(chunk if begin else _unmarked(chunk), quoted, before)
            before = chunk[-1]
    if quoted and regular:
        raise DataError(
            f"{file} can't be read; mend or remove it: a quote that begins around byte {quote} is "
            "not closed"
        )


def _parsed(part: Part, block: bytes, numeric: Sequence[str]) -> pa.Table:
    with _reader(part, pa.BufferReader(block), numeric, b'"' in block) as reader:
        return reader.read_all()


def _reader(
    part: Part, stream: pa.NativeFile, numeric: Sequence[str], quotes: bool = True
) -> pyarrow.csv.CSVStreamingReader:
    types = {name: pa.float64() if name in numeric else pa.string() for name in part.columns}
    return pyarrow.csv.open_csv(
        stream,
        pyarrow.csv.ReadOptions(use_threads=False, column_names=part.header),
        pyarrow.csv.ParseOptions(newlines_in_values=quotes),
        pyarrow.csv.ConvertOptions(
            include_columns=part.columns,
            column_types=types,
            null_values=part.missing_values,
            strings_can_be_null=True,
        ),
    )


def _read_parquet(part: Part) -> Iterator[pa.RecordBatch]:
    with _opened(part.place) as stream, pyarrow.parquet.ParquetFile(stream) as parquet:
        schema = pa.schema([parquet.schema_arrow.field(name) for name in part.columns])
        for field in schema:
            if pa.types.is_nested(field.type) or "binary" in str(field.type):
                raise DataError(
                    f"{part.file}: column {field.name!r} holds {field.type}, which is neither "
                    "text nor a number; convert it"
                )
        yield pa.RecordBatch.from_pylist([], schema)
        for batch in parquet.iter_batches(
            part.part_rows,
            range(part.first, part.first if part.last is None else part.last),
            list(part.columns),
            use_threads=False,
        ):
            yield batch.select(part.columns)


@contextmanager
def _explaining(file: str, place: str | None = None, first: int = 0) -> Iterator[None]:
    """Say which file can't be read, and why. Reading begins at byte `first` of `place`."""
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        if LONG_ROW in reason:
            _check_quotes(file, place or file, first)
            reason = (
                f"a row that begins at byte {first} or later is longer than 1 MB; mostly that is "
                "a quote that is not closed"
            )
        raise DataError(f"{file} can't be read; mend or remove it: {reason}") from None


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
