"""Locate and open a table's files, in local folders or in S3."""

import fnmatch
import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.fs

from ridgeline.errors import DataError

S3 = "s3://"
CSV = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
KINDS = (*CSV, ".parquet")
# in pyarrow's errors of reading gzip, and what the user should do
DAMAGES = {
    "Truncated compressed stream": "its gzip data is cut off; copy the file again",
    "zlib inflate failed": "its gzip data is damaged; copy the file again",
}


def find(source: str | Path) -> tuple[str, ...]:
    """Find the CSV or Parquet files that a path, folder, glob or ``s3://`` prefix names.

    Raises
    ------
    DataError
        If there are no such files, or they are not all of one of the `KINDS`.
    """
    found = _in_s3(source) if isinstance(source, str) and source.startswith(S3) else _here(source)
    kinds = set(map(kind, found))
    if len(kinds) != 1 or not kinds <= set(KINDS):
        what = f"holds {' and '.join(sorted(kinds))} files" if kinds else "is missing or empty"
        raise DataError(
            f"{source or repr(source)} {what}; name a {', '.join(KINDS[:-1])} or {KINDS[-1]} file, "
            "or a folder or glob of only one kind"
        )
    return tuple(sorted(found))


def absolute(file: str) -> str:
    """Return a file's absolute path or S3 address."""
    return file if file.startswith(S3) else str(Path(file).absolute())


def kind(file: str) -> str:
    """Return how a file's name ends: one of the `KINDS`, or the suffix that it has instead."""
    path = PurePosixPath(file.lower())
    return next(filter(path.name.endswith, KINDS), path.suffix)


def is_csv(file: str) -> bool:
    """Return whether a file's name is that of a CSV file."""
    return file.lower().endswith(CSV)


def opened(file: str) -> pa.NativeFile:
    """Open a file for random-access reading."""
    return _filesystem(file).open_input_file(file.removeprefix(S3))


@contextmanager
def explaining(file: str) -> Iterator[None]:
    """Turn errors of reading a file into a `DataError` that names it."""
    try:
        yield
    except (pa.ArrowException, UnicodeError, OSError) as error:
        for text, damage in DAMAGES.items():
            if text in str(error):
                raise DataError(f"{file} can't be read: {damage}") from None
        reason = " ".join(str(error).split("\n")[0].split())
        raise DataError(f"{file} can't be read; fix or remove it: {reason}") from None


def _here(source: str | Path) -> list[str]:
    path = Path(source)
    if path.is_dir():
        found = [f for f in path.iterdir() if kind(str(f)) in KINDS and f.name[0] != "."]
    elif path.is_file():
        found = [path]
    else:
        found = [Path(name) for name in glob.glob(str(source))]  # noqa: PTH207 - Path.glob rejects absolute patterns
    return [str(file) for file in found if file.is_file()]


def _in_s3(source: str) -> list[str]:
    path = source.removeprefix(S3).rstrip("/")
    fixed = re.split(r"[*?[]", path)[0]
    with explaining(source):
        files = _filesystem(source)
        if fixed == path:
            info = files.get_file_info(path)
            if info.type == pyarrow.fs.FileType.File:
                return [source]
            listed = files.get_file_info(pyarrow.fs.FileSelector(path, allow_not_found=True))
            named = [f.path for f in listed if f.is_file and f.base_name[0] != "."]
            return [S3 + name for name in named if kind(name) in KINDS]
        folder = fixed.rpartition("/")[0]
        below = pyarrow.fs.FileSelector(folder, allow_not_found=True, recursive=True)
        return [
            S3 + file.path
            for file in files.get_file_info(below)
            if file.is_file and _matches(file.path, path)
        ]


def _matches(path: str, pattern: str) -> bool:
    """Return whether a path matches a glob whose ``*`` does not match ``/``."""
    names, patterns = path.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatch.fnmatchcase, names, patterns))


def _filesystem(place: str) -> pyarrow.fs.FileSystem:
    if not place.startswith(S3):
        return pyarrow.fs.LocalFileSystem()
    return pyarrow.fs.S3FileSystem(endpoint_override=os.environ.get("AWS_ENDPOINT_URL"))
