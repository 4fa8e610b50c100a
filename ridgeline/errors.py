"""Errors that a user can fix. Each message says what is wrong, where, and what to do.

RidgelineError         the base class: a stage prints the message and exits with status 1
├── SettingsError      a setting in params.yaml or dvc.yaml is invalid
├── InstallationError  the installed version of a package is not the pinned one
├── DataError          a table can't be read, or breaks the data contract
├── ModelError         a registered model can't be loaded
├── EngineError        the Dask cluster can't be reached, or can't do the work
├── TrackingError      MLflow can't be reached, or something that a stage needs is missing there
└── RevisionError      git or DVC can't restore an earlier state
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class RidgelineError(Exception):
    """Base class of the errors that a user can fix."""


class SettingsError(RidgelineError):
    """A setting is missing or invalid."""


class InstallationError(RidgelineError):
    """The installed version of a package is not the pinned one."""


class DataError(RidgelineError):
    """A table is missing, unreadable, or breaks the data contract."""


class ModelError(RidgelineError):
    """A registered model's files are missing or incomplete."""


class EngineError(RidgelineError):
    """The Dask cluster can't be reached, or its workers can't do the work."""


class TrackingError(RidgelineError):
    """MLflow can't be reached, or does not have what was requested."""


class RevisionError(RidgelineError):
    """An earlier state can't be restored from git and DVC."""


def warn(text: str) -> None:
    """Print a warning to stderr."""
    print(f"warning: {text}", file=sys.stderr)


@contextmanager
def exit_on_error(command: str) -> Iterator[None]:
    """Exit with the error's message and status 1 if the block raises what a user can fix.

    After an interrupt (Ctrl-C), exit with status 130 and no message, as a shell expects.
    """
    try:
        yield
    except RidgelineError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of the output has stopped, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # such as a missing file or a full disk
        place = f"{error.filename}: " if error.filename else ""
        reason = error.strerror or error
        sys.exit(f"error: {command}: {place}{reason}; fix that, and run it again")
