"""CSV files, cut into blocks that can be parsed independently, or read as one stream."""

import codecs
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ridgeline.config import Csv
from ridgeline.errors import DataError
from ridgeline.tables import dialect
from ridgeline.tables.place import opened

if TYPE_CHECKING:
    from ridgeline.tables.reading import Part

NEWLINE, QUOTE = b'\n"'
UNEVEN_ROW = "columns, got"  # in pyarrow's error for a row of more or fewer cells
LONG_ROW = "straddling object"  # in pyarrow's error for a row longer than its own block


def column_names(place: str, options: Csv) -> list[str]:
    """Return the names of a file's columns, in file order."""
    parse = pyarrow.csv.ParseOptions(
        delimiter=dialect.delimiter(place, options),
        newlines_in_values=True,
    )
    with _explaining(place, place, options):
        stream, encoding = dialect.bytes_of(place, options)
        serial = pyarrow.csv.ReadOptions(use_threads=False, encoding=encoding)
        try:
            with stream, pyarrow.csv.open_csv(stream, serial, parse) as reader:
                return list(reader.schema.names)
        except pa.ArrowInvalid as error:
            if UNEVEN_ROW not in str(error):
                raise
            return dialect.header(place, options)  # reading the rows reports it


def size(place: str) -> int:
    """Return a file's size in bytes."""
    with opened(place) as stream:
        return int(stream.size())


def spans(place: str, options: Csv, block_bytes: int) -> Iterator[tuple[int, int | None, int]]:
    """Cut a CSV file at row ends; yield each span's first byte, last byte (excluded) and length.

    A newline ends a row if the number of quotes before it is even. A quote inside an unquoted
    cell, although valid, breaks this rule: everything from there on becomes one span. So does a
    file that can't be cut; see `dialect.is_cut`.
    """
    if not dialect.is_cut(place, options):
        yield 0, None, size(place)
        return
    delimiter = dialect.delimiter(place, options)
    with opened(place) as stream:
        total = stream.size()
        start, before, quoted = 0, NEWLINE, False
        while (position := stream.tell()) + block_bytes < total:
            chunk = stream.read(block_bytes)
            if not position:
                chunk = _mask_bom(chunk)
            cut, quoted, regular = _last_row_end(chunk, quoted, before, delimiter)
            if not regular:
                break
            before = chunk[-1]
            if cut:
                end = position + cut
                yield start, end, end - start
                start = end
        yield start, total if total - start <= 3 * block_bytes else None, total - start


def read(part: "Part") -> Iterator[pa.RecordBatch]:
    """Parse a block: text, or float64 in numeric columns if they have only numbers in it.

    In a part without an end, a stream, all columns are text; see `with_numbers`.
    """
    with _explaining(part.file, part.place, part.csv_options, part.first):
        yield from _batches(part)


def with_numbers(table: pa.Table, part: "Part") -> pa.Table:
    """Convert numeric columns to float64 if they have only numbers, as a parser would."""
    for index, name in enumerate(table.column_names):
        if name not in part.numeric:
            continue
        texts = pc.ascii_trim(table[name], " \t")
        if part.csv_options.decimal == ",":  # swap the comma and the point, which is not allowed
            texts = pc.replace_substring(pc.replace_substring(texts, ".", ";"), ",", ".")
        try:
            table = table.set_column(index, name, texts.cast(pa.float64()))
        except pa.ArrowInvalid:  # it remains text
            continue
    return table


def _batches(part: "Part") -> Iterator[pa.RecordBatch]:
    """Parse a block; on failure parse the whole file, for an error with the right row number."""
    if not part.columns:  # for pyarrow no columns means all
        yield pa.record_batch({})
        return
    empty = pa.RecordBatch.from_pylist([], pa.schema([(n, pa.string()) for n in part.columns]))
    if part.last is None:
        yield empty
        stream, encoding = dialect.bytes_of(part.place, part.csv_options, part.first)
        try:
            with stream, _reader(part, stream, (), encoding) as reader:
                yield from reader
        except pa.ArrowInvalid:
            _fail_from_beginning(part)
            raise
        _check_quotes(part.file, part.place, part.csv_options, part.first)
        return
    with opened(part.place) as stream:
        stream.seek(part.first)
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
        _check_quotes(part.file, part.place, part.csv_options, part.first)
    yield from table.to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]


def _fail_from_beginning(part: "Part") -> None:
    """Parse a bad part from its file's beginning, so that the error has the right row number."""
    if not part.begins:
        with opened(part.place) as stream:
            for _ in _reader(replace(part, header=None), stream, (), part.csv_options.encoding):
                pass


def _check_quotes(file: str, place: str, options: Csv, first: int) -> None:
    """Refuse a file that ends inside quotes: pyarrow would read all after the quote as one cell.

    A row must begin at byte `first`. A file with a quote inside an unquoted cell is not checked.
    """
    quote, begin, before, quoted, regular = 0, first, NEWLINE, False, True
    delimiter = dialect.delimiter(place, options)
    stream, _ = dialect.bytes_of(place, options, first)
    with stream:
        while regular and (chunk := stream.read(dialect.READ_BYTES)):
            if b'"' in chunk:
                quote = begin + chunk.rfind(b'"')
            masked = chunk if begin else _mask_bom(chunk)
            _, quoted, regular = _last_row_end(masked, quoted, before, delimiter)
            begin, before = begin + len(chunk), chunk[-1]
    if quoted and regular:
        raise DataError(
            f"{file} can't be read; fix or remove it: a quote that begins around byte {quote} is "
            "not closed"
        )


def _parsed(part: "Part", block: bytes, numeric: Sequence[str]) -> pa.Table:
    stream, encoding = pa.BufferReader(block), part.csv_options.encoding
    with _reader(part, stream, numeric, encoding, b'"' in block) as reader:
        return reader.read_all()


def _reader(
    part: "Part", stream: pa.NativeFile, numeric: Sequence[str], encoding: str, quotes: bool = True
) -> pyarrow.csv.CSVStreamingReader:
    types = {name: pa.float64() if name in numeric else pa.string() for name in part.columns}
    return pyarrow.csv.open_csv(
        stream,
        pyarrow.csv.ReadOptions(use_threads=False, column_names=part.header, encoding=encoding),
        pyarrow.csv.ParseOptions(
            delimiter=dialect.delimiter(part.file, part.csv_options), newlines_in_values=quotes
        ),
        pyarrow.csv.ConvertOptions(
            include_columns=part.columns,
            column_types=types,
            null_values=part.missing_values,
            strings_can_be_null=True,
            decimal_point=part.csv_options.decimal,
        ),
    )


def _mask_bom(chunk: bytes) -> bytes:
    """Replace a byte order mark by line breaks, since a quote after it opens a cell."""
    mark = codecs.BOM_UTF8
    return b"\r" * len(mark) + chunk[len(mark) :] if chunk.startswith(mark) else chunk


@cache
def _may_precede_quote(delimiter: str) -> npt.NDArray[np.bool_]:
    """Return by byte, shape (256,), whether an opening quote may follow it."""
    return np.isin(np.arange(256), [*b'\n\r"', ord(delimiter)])


def _last_row_end(
    chunk: bytes, quoted: bool, before: int, delimiter: str
) -> tuple[int, bool, bool]:
    """Find the end of a chunk's last complete row.

    Parameters
    ----------
    chunk : bytes
        Part of a file.
    quoted : bool
        Whether it begins inside quotes.
    before : int
        The byte before it.
    delimiter : str
        The character between cells.

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
    regular = bool(_may_precede_quote(delimiter)[previous].all())
    # search backwards, since a newline outside quotes is usually near the end
    end = len(chunk)
    while (end := chunk.rfind(b"\n", 0, end)) >= 0:
        if (np.searchsorted(quotes, end) + quoted) % 2 == 0:
            break
    return end + 1, bool((len(quotes) + quoted) % 2), regular


@contextmanager
def _explaining(file: str, place: str, options: Csv, first: int = 0) -> Iterator[None]:
    """Raise a `DataError` for a row that is too long for pyarrow, and for a wrong encoding."""
    try:
        yield
    except (pa.ArrowInvalid, UnicodeError, OSError) as error:
        dialect.explain(file, place, options, error)
        if LONG_ROW not in str(error):
            raise
        _check_quotes(file, place, options, first)
        raise DataError(
            f"{file} can't be read; fix or remove it: a row that begins at or after byte {first} "
            "is longer than 1 MB; the usual cause is a quote that is not closed"
        ) from None
