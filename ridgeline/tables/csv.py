"""CSV files, cut into blocks that can be parsed independently."""

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
LONG_ROW = "straddling object"  # in pyarrow's error for a row longer than its own block
MAY_PRECEDE = np.isin(np.arange(256), [*b'\n\r,"'])  # by byte: may an opening quote follow it
READ_BYTES = 1 << 24  # read at a time to count quotes


def column_names(place: str) -> list[str]:
    """Return the names of a file's columns, in file order."""
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    serial = pyarrow.csv.ReadOptions(use_threads=False)  # its errors have row numbers
    with (
        _explaining_long_rows(place, place, 0),
        opened(place) as stream,
        pyarrow.csv.open_csv(stream, serial, parse) as reader,
    ):
        return list(reader.schema.names)


def size(place: str) -> int:
    """Return a file's size in bytes."""
    with opened(place) as stream:
        return int(stream.size())


def spans(place: str, block_bytes: int) -> Iterator[tuple[int, int | None, int]]:
    """Cut a CSV file at row ends; yield each span's first byte, last byte (excluded) and length.

    A newline ends a row if the number of quotes before it is even. A quote inside an unquoted
    cell, although valid, breaks this rule: everything from there on becomes one span.
    """
    with opened(place) as stream:
        total = stream.size()
        start, before, quoted = 0, NEWLINE, False
        while (position := stream.tell()) + block_bytes < total:
            chunk = stream.read(block_bytes)
            if not position:
                chunk = _mask_bom(chunk)
            cut, quoted, regular = _last_row_end(chunk, quoted, before)
            if not regular:
                break
            before = chunk[-1]
            if cut:
                end = position + cut
                yield start, end, end - start
                start = end
        yield start, total if total - start <= 3 * block_bytes else None, total - start


def read(part: "Part") -> Iterator[pa.RecordBatch]:
    """Parse a block: text, or float64 in numeric columns if they have only numbers in it."""
    with _explaining_long_rows(part.file, part.place, part.first):
        yield from _batches(part)


def _batches(part: "Part") -> Iterator[pa.RecordBatch]:
    """Parse a block; on failure parse the whole file, for an error with the right row number."""
    if not part.columns:  # for pyarrow no columns means all
        yield pa.record_batch({})
        return
    empty = pa.RecordBatch.from_pylist([], pa.schema([(n, pa.string()) for n in part.columns]))
    with opened(part.place) as stream:
        stream.seek(part.first)
        if part.last is None:
            yield empty
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
        yield empty  # the block has only blank lines
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
    """Parse a bad part from its file's beginning, so that the error has the right row number."""
    if not part.begins:
        with opened(part.place) as stream:
            for _ in _reader(replace(part, header=None), stream, ()):
                pass


def _check_quotes(file: str, place: str, first: int) -> None:
    """Refuse a file that ends inside quotes: pyarrow would read all after the quote as one cell.

    A row must begin at byte `first`. A file with a quote inside an unquoted cell is not checked.
    """
    quote, before, quoted, regular = 0, NEWLINE, False, True
    with opened(place) as stream:
        stream.seek(first)
        while regular and (chunk := stream.read(READ_BYTES)):
            begin = stream.tell() - len(chunk)
            if b'"' in chunk:
                quote = begin + chunk.rfind(b'"')
            _, quoted, regular = _last_row_end(chunk if begin else _mask_bom(chunk), quoted, before)
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


def _mask_bom(chunk: bytes) -> bytes:
    """Replace a byte order mark by commas, since a quote after it opens a cell."""
    mark = codecs.BOM_UTF8
    return b"," * len(mark) + chunk[len(mark) :] if chunk.startswith(mark) else chunk


def _last_row_end(chunk: bytes, quoted: bool, before: int) -> tuple[int, bool, bool]:
    """Find the end of a chunk's last complete row.

    Parameters
    ----------
    chunk : bytes
        Part of a file.
    quoted : bool
        Whether it begins inside quotes.
    before : int
        The byte before it.

    Returns
    -------
    tuple of int, bool and bool
        The index after that row, 0 if there is none; whether the chunk ends inside quotes;
        whether each of its quotes opens or closes a cell, or follows another quote.
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
    # search backwards, since a newline outside quotes is usually near the end
    end = len(chunk)
    while (end := chunk.rfind(b"\n", 0, end)) >= 0:
        if (np.searchsorted(quotes, end) + quoted) % 2 == 0:
            break
    return end + 1, bool((len(quotes) + quoted) % 2), regular


@contextmanager
def _explaining_long_rows(file: str, place: str, first: int) -> Iterator[None]:
    """Raise a `DataError` for a row that is longer than pyarrow can read at a time."""
    try:
        yield
    except pa.ArrowInvalid as error:
        if LONG_ROW not in str(error):
            raise
        _check_quotes(file, place, first)
        raise DataError(
            f"{file} can't be read; fix or remove it: a row that begins at or after byte {first} "
            "is longer than 1 MB; the usual cause is a quote that is not closed"
        ) from None
