"""What a user can get wrong. Each error's text says what, where, and what to do about it.

RidgelineError         the root: a stage prints its text and exits with status 1
├── SettingsError      params.yaml (or dvc.yaml) says something that can't be done
├── InstallationError  another version of a package is installed than the pinned one
├── DataError          a table can't be read, or breaks the data contract
├── ModelError         a registered model can't be loaded
├── EngineError        the Dask cluster can't be reached, or can't do the work
├── TrackingError      MLflow can't be reached, or lacks what a stage needs from it
└── RevisionError      git or DVC can't bring an earlier state back
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class RidgelineError(Exception):
    """Anything a user can cause and fix."""


class SettingsError(RidgelineError):
    """The settings ask for something that is not allowed."""


class InstallationError(RidgelineError):
    """Another version of a package is installed than the one that is pinned."""


class DataError(RidgelineError):
    """A table is missing, unreadable, or not what the data contract says."""


class ModelError(RidgelineError):
    """A registered model's files are not there, or not whole."""


class EngineError(RidgelineError):
    """The Dask cluster is out of reach, or its workers can't do the work."""


class TrackingError(RidgelineError):
    """MLflow is out of reach, or does not hold what was asked of it."""


class RevisionError(RidgelineError):
    """A state that git and DVC should remember can't be brought back."""


def warn(text: str) -> None:
    """Print a warning: what a user should know, although the work goes on."""
    print(f"warning: {text}", file=sys.stderr)


@contextmanager
def exit_on_error(command: str) -> Iterator[None]:
    """End the program with one line and status 1 on what a user can fix in the block."""
    try:
        yield
    except RidgelineError as error:
        sys.exit(f"error: {error}")
    except OSError as error:  # a file is absent, in the way, or too large for the disk
        place = f"{error.filename}: " if error.filename else ""
        reason = error.strerror or error
        sys.exit(f"error: {command}: {place}{reason}; fix that, and run it again")
