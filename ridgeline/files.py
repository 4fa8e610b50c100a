"""Where the stages' files are; and files that are whole or absent, however writing them ends."""

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
PREPARED, FEATURES = Path("data/prepared"), Path("data/features")  # a table for each split
MODELS, METRICS, PLOTS = Path("models"), Path("metrics"), Path("plots")
PREPROCESSOR, MODEL = MODELS / "preprocessor.joblib", MODELS / "model.joblib"
REGISTERED = MODELS / "registered.json"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write a file or a folder to; move it to `path` when all went well.

    Parameters
    ----------
    path : Path
        Where the file or folder shall stand. Its parents are made; what stands there stays
        until the new one is complete.

    Yields
    ------
    Path
        A hidden neighbour of `path`, in the same file system. It does not exist yet, and what
        a killed process left there is gone. After an exception it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (path.with_name(f".{path.name}{end}") for end in (".partial", ".old.partial"))
    _remove(partial)
    _remove(old)
    try:
        with naming(path, partial):
            yield partial
        if partial.is_dir() and path.exists():
            path.rename(old)  # a folder can't be renamed over a full one
        partial.replace(path)
        _remove(old)
    finally:
        _clear(partial)


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Give an empty, hidden folder beside `path`, absolute, that is gone when the block ends.

    What a killed process left there is gone too. No other run gets a folder of the same path: a
    worker that is still at work for a run that was killed can't write among another's files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    every = path.absolute().with_name(f".{path.name}.parts.partial")
    _clear(every)
    folder = every / uuid4().hex
    folder.mkdir(parents=True)
    try:
        with naming(path, every):
            yield folder
    finally:
        _clear(every)


@contextmanager
def naming(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Name the file whose writing fails inside the block: the system does so only of opening.

    What fails at or below `partial` is named `path` too: it is what would have come of it.
    """
    try:
        yield
    except OSError as error:
        place = error.filename and Path(error.filename).absolute()
        if error.errno and (not place or (partial and place.is_relative_to(partial.absolute()))):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as indented JSON, keys in the order given; NaN is refused."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_model(path: Path, model: object) -> None:
    """Write a fitted estimator for ``joblib.load``, the same bytes for equal estimators.

    The protocol is fixed, since Python's default changes in 3.14. `fast` makes the pickle without
    a memo: what a memo refers back to depends on which equal strings happen to be one object, and
    so on what else the process has imported.
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
    """Write a figure as PNG, without matplotlib's version in it."""
    with replacing(path) as partial, warnings.catch_warnings():
        # letters that matplotlib's font lacks are drawn as boxes
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(partial, format="png", dpi=150, metadata={"Software": None})


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _clear(path: Path) -> None:
    """Remove it as far as that goes: a worker may still write there, and no error is to be hid."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
