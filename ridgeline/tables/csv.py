"""CSV, cut into blocks that can be parsed without the others."""

import codecs
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ridgeline.errors import DataError
from ridgeline.tables.place import opened

if TYPE_CHECKING:
    from ridgeline.tables.reading import Part

NEWLINE, QUOTE = b'\n"'
LONG_ROW = "straddling object"  # what pyarrow calls it, longer than a block of its own
MAY_PRECEDE = np.isin(np.arange(256), [*b'\n\r,"'])  # a quote that begins a cell, by byte
READ_BYTES = 1 << 24  # at a time, to count quotes


def column_names(place: str) -> list[str]:
    """Return the names of a file's columns, in its order."""
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    serial = pyarrow.csv.ReadOptions(use_threads=False)  # it tells the row that is wrong
    with (
        _explaining_long_rows(place, place, 0),
        opened(place) as stream,
        pyarrow.csv.open_csv(stream, serial, parse) as reader,
    ):
        return list(reader.schema.names)


def size(place: str) -> int:
    """Return how many bytes a file has."""
    with opened(place) as stream:
        return int(stream.size())


def spans(place: str, block_bytes: int) -> Iterator[tuple[int, int | None, int]]:
    """Cut a CSV file at ends of rows: yield spans of bytes, with their length.

    A line's end within quotes is no row's end: whether one is follows from the number of
    quotes before it. That is not so in a file with a quote inside of an unquoted cell, which
    is legible all the same; what comes from there on is left in one span.
    """
    with opened(place) as stream:
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


def read(part: "Part") -> Iterator[pa.RecordBatch]:
    """Parse a block: text, and float64 in numeric columns where the block has only numbers."""
    with _explaining_long_rows(part.file, part.place, part.first):
        yield from _batches(part)


def _batches(part: "Part") -> Iterator[pa.RecordBatch]:
    """Parse a block; where it can't be parsed, find out why as if the file were one block."""
    if not part.columns:  # pyarrow would read all
        yield pa.record_batch({})
        return
    nothing = pa.RecordBatch.from_pylist([], pa.schema([(n, pa.string()) for n in part.columns]))
    with opened(part.place) as stream:
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


def _fail_from_beginning(part: "Part") -> None:
    """Parse a part that can't be parsed from its file's beginning: so the error counts rows."""
    if not part.begins:
        with opened(part.place) as stream:
            for _ in _reader(replace(part, header=None), stream, ()):
                pass


def _check_quotes(file: str, place: str, first: int) -> None:
    """Refuse a file that ends within quotes: pyarrow would make one cell of all behind one.

    It is read from byte `first` on, where a row begins. Where a quote is inside of an unquoted
    cell nobody can tell.
    """
    quote, before, quoted, regular = 0, NEWLINE, False, True
    with opened(place) as stream:
        stream.seek(first)
        while regular and (chunk := stream.read(READ_BYTES)):
            begin = stream.tell() - len(chunk)
            if b'"' in chunk:
                quote = begin + chunk.rfind(b'"')
            _, quoted, regular = _last_row_end(chunk if begin else _unmarked(chunk), quoted, before)
            before = chunk[-1]
    if quoted and regular:
        raise DataError(
            f"{file} can't be read; fix or remove it: a quote that begins around byte {quote} is "
            "not closed"
        )


def _parsed(part: "Part", block: bytes, numeric: Sequence[str]) -> pa.Table:
    with _reader(part, pa.BufferReader(block), numeric, b'"' in block) as reader:
        return reader.read_all()


def _reader(
    part: "Part", stream: pa.NativeFile, numeric: Sequence[str], quotes: bool = True
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


@contextmanager
def _explaining_long_rows(file: str, place: str, first: int) -> Iterator[None]:
    """Say what is wrong where a row is longer than pyarrow reads at a time."""
    try:
        yield
    except pa.ArrowInvalid as error:
        if LONG_ROW not in str(error):
            raise
        _check_quotes(file, place, first)
        raise DataError(
            f"{file} can't be read; fix or remove it: a row that begins at byte {first} or later "
            "is longer than 1 MB; mostly that is a quote that is not closed"
        ) from None
