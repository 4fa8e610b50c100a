"""Paths of the stages' files, their md5s, and writing that never leaves an incomplete file."""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pandas as pd
from joblib.numpy_pickle import NumpyPickler

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPLITS = ("train", "validation", "test")
PREPARED, FEATURES = Path("data/prepared"), Path("data/features")  # one table per split
MODELS, METRICS, PLOTS = Path("models"), Path("metrics"), Path("plots")
PREPROCESSOR, MODEL = MODELS / "preprocessor.joblib", MODELS / "model.joblib"
REGISTERED, INTERVALS = MODELS / "registered.json", MODELS / "intervals.json"
SUMMARY = Path("metrics.json")  # the few metrics that DVC's tables show
REPORT = Path("report.md")
EFFECTS = PLOTS / "effects.csv"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and move the file or folder written there to `path` on success.

    Parameters
    ----------
    path : Path
        Destination. Its parents are created; an existing file or folder is replaced only when
        the new one is complete.

    Yields
    ------
    Path
        A hidden sibling of `path` that does not exist: remains of a killed process are removed
        first. After an exception it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (path.with_name(f".{path.name}{end}") for end in (".partial", ".old.partial"))
    _remove(partial)
    _remove(old)
    try:
        with naming(path, partial):
            yield partial
        if partial.is_dir() and path.exists():
            path.rename(old)  # a non-empty folder can't be replaced
        partial.replace(path)
        _remove(old)
    finally:
        _clear(partial)


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Yield the absolute path of an empty, hidden folder beside `path`; remove it at the end.

    Remains of a killed run are removed first. Each run's folder has a unique name, so that a worker
    still running for a killed run can't write into it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    parent = path.absolute().with_name(f".{path.name}.parts.partial")
    _clear(parent)
    folder = parent / uuid4().hex
    folder.mkdir(parents=True)
    try:
        with naming(path, parent):
            yield folder
    finally:
        _clear(parent)


@contextmanager
def naming(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Add `path` to an `OSError` that names no file, as when writing (not opening) fails.

    Also replace `partial`, or a path below it, by `path`: the user knows only the destination.
    """
    try:
        yield
    except OSError as error:
        place = error.filename and Path(error.filename).absolute()
        if error.errno and (not place or (partial and place.is_relative_to(partial.absolute()))):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as indented JSON, with keys in the given order; NaN is an error."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_model(path: Path, model: object) -> None:
    """Write a fitted estimator for ``joblib.load``; equal estimators give equal bytes.

    The protocol is fixed because Python's default changes in 3.14. `fast` disables the memo, whose
    references depend on which equal strings are the same object, and so on the modules imported.
    """
    with replacing(path) as partial, partial.open("wb") as file:
        pickler = NumpyPickler(file, protocol=4)
        pickler.fast = True
        pickler.dump(model)


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write `frame` as CSV, without its index."""
    with replacing(path) as partial:
        frame.to_csv(partial, index=False, lineterminator="\n")


def write_figure(path: Path, figure: "Figure") -> None:
    """Write a figure as PNG, without matplotlib's version in its metadata."""
    with replacing(path) as partial, warnings.catch_warnings():
        # characters that are missing from matplotlib's font are drawn as boxes
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(partial, format="png", dpi=150, metadata={"Software": None})


def md5_of(path: Path) -> str:
    """Return the md5 of a file or folder exactly as ``dvc.lock`` has it.

    Parameters
    ----------
    path : Path
        A file, or a folder whose files at any depth count, but for ``__pycache__``, which
        ``.dvcignore`` names (keep folders free of whatever else it names).

    Returns
    -------
    str
        32 hexadecimal digits; for a folder followed by ``.dir``: the md5 of its listing, as
        DVC serialises it (a JSON list of md5 and relpath, ordered by relpath).

    Raises
    ------
    FileNotFoundError
        When there is nothing at `path`.
    """
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    found = (f for f in path.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    files = {f.relative_to(path).as_posix(): f for f in found}
    listing = [{"md5": md5_of(files[name]), "relpath": name} for name in sorted(files)]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"


def table_md5(source: str) -> str | None:
    """Return the md5 of a table, as `md5_of` does; None if it is in S3 or named by a glob."""
    return md5_of(Path(source)) if Path(source).exists() else None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _clear(path: Path) -> None:
    """Remove `path`, best effort: a worker may still write there; don't mask another exception."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
