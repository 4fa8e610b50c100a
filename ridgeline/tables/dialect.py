"""How a CSV file is written: its compression, encoding and delimiter, and guesses of the last two.

A file can be cut into parts if it is not compressed and its encoding keeps ASCII characters as
single bytes (UTF-8, Latin-1, cp1252, …). Others are read as one stream.
"""

import codecs
import csv
import io
from collections.abc import Sequence
from functools import cache
from itertools import chain, islice

import pyarrow as pa

from ridgeline.config import Csv
from ridgeline.errors import DataError
from ridgeline.tables.place import opened

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_BYTES, SAMPLE_ROWS = 1 << 20, 100
READ_BYTES = 1 << 20
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
GZIP = b"\x1f\x8b"
# how files begin that are no CSV, and what the user should do
OTHERS = {
    GZIP: "it is gzip data; add .gz to its name",
    b"PK\x03\x04": "it is a zip archive or an Excel workbook; export it as CSV",
}


def is_gzip(file: str) -> bool:
    """Return whether a file's name ends with ``.gz``."""
    return file.lower().endswith(".gz")


def is_cut(file: str, options: Csv) -> bool:
    """Return whether a file can be cut into parts, at the bytes of its line breaks."""
    return not is_gzip(file) and _keeps_ascii(options.encoding)


def delimiter(file: str, options: Csv) -> str:
    """Return the character between a file's cells."""
    tabs = file.lower().endswith((".tsv", ".tsv.gz"))
    return options.delimiter or ("\t" if tabs else ",")


def bytes_of(file: str, options: Csv, first: int = 0) -> tuple[pa.NativeFile, str]:
    """Open a file from byte `first`, which is 0 if it can't be cut.

    Returns
    -------
    tuple of NativeFile and str
        Its decompressed bytes, and their encoding, in which ASCII characters are single bytes: the
        file's, or else UTF-8.
    """
    stream = _decompressed(file)
    if not _keeps_ascii(options.encoding):
        return pa.transcoding_input_stream(stream, options.encoding, "utf-8"), "utf-8"
    if first:
        stream.seek(first)
    return stream, options.encoding


def explain(file: str, place: str, options: Csv, error: Exception) -> None:
    """Raise a `DataError` if the error is that a file is no CSV, or has another encoding."""
    sample, whole = _sample(place)
    for begin, what in OTHERS.items():
        if sample.startswith(begin):
            raise DataError(f"{file} can't be read: {what}") from None
    if not (isinstance(error, UnicodeError) or "invalid UTF8" in str(error)):
        return
    wrong, likely = undecodable(place, options.encoding), guess_encoding(sample, whole)
    if wrong:
        if likely == options.encoding == "utf-8":  # the sample was, but not all of the file is
            likely = "cp1252"
        hint = f", perhaps to {likely}" if likely != options.encoding else ""
        raise DataError(
            f"{file} can't be read: byte {wrong[0]}, in line {wrong[1]}, is not {options.encoding};"
            f" fix it, or set data.csv.encoding in params.yaml{hint}"
        ) from None


def explain_absent(file: str, columns: Sequence[str], options: Csv) -> None:
    """Raise a `DataError` if another delimiter or encoding finds more of the columns."""
    sample, whole = _sample(file)
    ours, found = (delimiter(file, options), options.encoding), {}
    for encoding in (options.encoding, guess_encoding(sample, whole)):
        text = sample.decode(encoding, "replace")
        for candidate in (ours[0], *DELIMITERS):
            names = chain(*_rows(text, candidate, 1))
            found[candidate, encoding] = sum(name in columns for name in names)
    likely = max(found, key=found.__getitem__)  # of several the first: ours, if it is one of them
    for key, right, wrong in zip(("delimiter", "encoding"), likely, ours, strict=True):
        if right != wrong:
            raise DataError(
                f"{file}: its {key} is likely {right!r}, not {wrong!r}; set data.csv.{key} in "
                "params.yaml"
            )


def header(file: str, options: Csv) -> list[str]:
    """Return the cells of a file's first row, whatever its other rows are."""
    sample, whole = _sample(file)
    text = codecs.getincrementaldecoder(options.encoding)().decode(sample, final=whole)
    return [*chain(*_rows(text, delimiter(file, options), 1))]


def undecodable(place: str, encoding: str) -> tuple[int, int] | None:
    """Return the first byte (from 0) that can't be decoded and its line (from 1), or None."""
    decoder = codecs.getincrementaldecoder(encoding)()
    seen, line = 0, 1
    with _decompressed(place) as stream:
        while True:
            chunk = stream.read(READ_BYTES)
            seen += len(chunk)
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                text = error.object[: error.start].decode(error.encoding, "replace")
                return seen - len(error.object) + error.start, line + text.count("\n")
            except UnicodeError:  # such as a byte order mark that is missing
                return 0, 1
            if not chunk:
                return None


def guess(place: str) -> Csv:
    """Guess a file's encoding and delimiter from its beginning."""
    sample, whole = _sample(place)
    encoding = guess_encoding(sample, whole)
    text = sample.decode(encoding, "replace")
    return Csv(delimiter=guess_delimiter(text, whole), encoding=encoding)


def guess_encoding(sample: bytes, whole: bool = True) -> str:
    """Return utf-8 if a file's first bytes are valid, utf-16 if they are its mark, else cp1252."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=whole)
    except UnicodeDecodeError:
        return "utf-16" if sample.startswith(UTF16) else "cp1252"
    return "utf-8"


def guess_delimiter(text: str, whole: bool = True) -> str | None:
    r"""Return the delimiter that gives the same number of fields, above one, in the first rows.

    If several do, it is the one with the most fields. Delimiters in quotes do not count.

    Parameters
    ----------
    text : str
        The beginning of a CSV file.
    whole : bool
        Whether it is all of the file; else its last row is left out.

    Returns
    -------
    str or None
        One of `DELIMITERS`, or None.

    Examples
    --------
    >>> guess_delimiter('size;weight\n"1;0";2,5\n3;4,5\n')
    ';'
    """
    fields = {}
    for candidate in DELIMITERS:
        rows = _rows(text, candidate, SAMPLE_ROWS)
        counts = {len(row) for row in (rows if whole else rows[:-1])}
        if len(counts) == 1 and max(counts) > 1:
            fields[candidate] = max(counts)
    return max(fields, key=fields.__getitem__, default=None)


def _rows(text: str, delimiter: str, number: int) -> list[list[str]]:
    """Return a CSV text's first rows that are not empty, or none if a cell is too long."""
    lines = io.StringIO(text.removeprefix("\ufeff"), newline="")
    try:
        return [*islice(filter(None, csv.reader(lines, delimiter=delimiter)), number)]
    except csv.Error:
        return []


def _sample(place: str) -> tuple[bytes, bool]:
    """Return a file's first bytes, and whether they are all."""
    with _decompressed(place) as stream:
        sample = stream.read(SAMPLE_BYTES)
    return sample, len(sample) < SAMPLE_BYTES


def _decompressed(place: str) -> pa.NativeFile:
    stream = opened(place)
    if not is_gzip(place):
        return stream
    if stream.size() and stream.read(len(GZIP)) != GZIP:
        raise OSError("it does not hold gzip data, although its name ends with .gz")
    stream.seek(0)
    return pa.CompressedInputStream(stream, "gzip")


@cache
def _keeps_ascii(encoding: str) -> bool:
    """Return whether the bytes of ASCII characters stand for them wherever they are."""
    if codecs.lookup(encoding).name.startswith("iso2022"):  # they do not after an escape sequence
        return False
    ascii_bytes = bytes(range(128))
    return ascii_bytes.decode(encoding, "replace") == ascii_bytes.decode()
