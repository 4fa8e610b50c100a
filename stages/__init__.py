"""The five stages, a file each: prepare, featurize, train, register, predict.

Each is run by ``python -m stages.<name>``, a process of a few seconds. What is set here must
be set before the libraries that a stage imports.
"""

import gc
import os
import sys
import time
from collections.abc import Callable

from ridgeline import config
from ridgeline.errors import RidgelineError, TrackingError

# Most of a stage's time is imports, and a third of theirs was collecting garbage they don't make.
gc.disable()

# The same bytes on every machine: sums are added in one order, by one kernel. OpenBLAS would
# choose one by the processor; this one every x86 processor with AVX2 has, and others ignore it.
# Whoever sets another gets another dvc.lock, so nobody is asked.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OPENBLAS_CORETYPE"] = "Haswell"

os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


def run(name: str, stage: Callable[[config.Settings], None]) -> None:
    """Run a stage, then write its MLflow run; exit with status 1 on what a user can mend.

    Parameters
    ----------
    name : str
        The stage's name in dvc.yaml.
    stage : callable
        Takes the settings; leaves its outputs where dvc.yaml says.
    """
    started = time.time()
    try:
        settings = config.load()
        gc.freeze()
        gc.enable()
        stage(settings)
        gc.disable()
        # Imported last: a stage that fails on its data should fail at once.
        from ridgeline import tracking

        try:
            tracking.log_stage(name, settings.mlflow.experiment, started)
        except TrackingError as error:
            print(f"warning: {name} is done, but its run is not logged: {error}", file=sys.stderr)
    except RidgelineError as error:
        sys.exit(f"error: {error}")
    except OSError as error:  # a file is absent, in the way, or too large for the disk
        reason = error.strerror or error
        sys.exit(f"error: {name}: {error.filename}: {reason}; mend that, and run it again")
    finally:
        gc.freeze()  # what is left at exit is not worth searching
