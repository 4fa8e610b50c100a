"""Exact ridge regression at any size, and the join of DVC and MLflow by content.

`tables` and `intake` read and check rows, `model` computes, `tracking` writes what DVC knows to
MLflow, `history` restores earlier states. Nothing here knows a stage.
"""

import os
import sys
from types import TracebackType


def _explain_missing_module(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Report a module that is not installed in one line, and any other exception as Python does."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is None or missing.partition(".")[0] in ("ridgeline", "stages"):
        sys.__excepthook__(kind, error, traceback)
        return
    version = ".".join(map(str, sys.version_info[:3]))
    print(
        f"error: module {missing!r} is not installed for {sys.executable} (Python {version}); "
        "activate the project's environment with 'source .venv/bin/activate', or run 'make repro'",
        file=sys.stderr,
    )


# Before anything else is imported: whoever starts a stage without the environment should read how
# to activate it.
sys.excepthook = _explain_missing_module

# MLflow reads these as it is imported: no more on the terminal than what a user needs to know.
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
