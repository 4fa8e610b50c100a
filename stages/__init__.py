"""The five stages, a file each: prepare, featurize, train, register, predict.

Each is run by ``python -m stages.<name>``, a process of a few seconds. What is set here must
be set before the libraries that a stage imports.
"""

import gc
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ridgeline.errors import TrackingError, exit_on_error, warn
from ridgeline.tables import engine  # noqa: F401 - it chooses the BLAS kernel before numpy is imported
from ridgeline.tracking import address, background

if TYPE_CHECKING:
    from ridgeline.config import Settings

# Most of a stage's time is imports, and a third of theirs was collecting garbage they don't make.
gc.disable()

# Python imports this package before the stage of `python -m stages.train`: argv[0] is still "-m".
if sys.argv[0] == "-m" and "stages.register" not in sys.orig_argv:  # which itself calls MLflow
    background.start()


def run(name: str, stage: Callable[["Settings"], None]) -> None:
    """Run a stage, then write its MLflow run; exit with status 1 on what a user can fix.

    Parameters
    ----------
    name : str
        The stage's name in dvc.yaml.
    stage : callable
        Takes the settings; leaves its outputs where dvc.yaml says.
    """
    # imported after the start above: they take 0.1 s
    from ridgeline import config, environment
    from ridgeline.tracking import records, skops_format

    started = time.time()
    try:
        with exit_on_error(name):
            environment.check()
            address.tracking_uri()  # a place that can't hold the run is reported before the work
            settings = config.load()
            gc.freeze()
            gc.enable()
            stage(settings)
            gc.disable()
            record = records.load(name)
            models = skops_format.exported(record.outs)
            try:
                background.call(
                    "runs", "log_stage", record, settings.mlflow.experiment, models, started
                )
            except TrackingError as error:
                warn(f"{name} is done, but its run is not logged: {error}")
    finally:
        gc.freeze()  # what is left at exit is not worth searching
