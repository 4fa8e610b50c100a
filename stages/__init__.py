"""The five stages, a file each: prepare, featurize, train, register, predict.

Each is run by ``python -m stages.<name>``, a process of a few seconds. What is set here must
be set before the libraries that a stage imports.
"""

import gc
import time
from collections.abc import Callable

from ridgeline import config, environment
from ridgeline.errors import TrackingError, exit_on_error, warn
from ridgeline.tables import engine  # noqa: F401 - it chooses the BLAS kernel before numpy is imported
from ridgeline.tracking import address

# Most of a stage's time is imports, and a third of theirs was collecting garbage they don't make.
gc.disable()


def run(name: str, stage: Callable[[config.Settings], None]) -> None:
    """Run a stage, then write its MLflow run; exit with status 1 on what a user can fix.

    Parameters
    ----------
    name : str
        The stage's name in dvc.yaml.
    stage : callable
        Takes the settings; leaves its outputs where dvc.yaml says.
    """
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
            # Imported last: a stage that fails on its data should fail at once.
            from ridgeline.tracking import runs

            try:
                runs.log_stage(name, settings.mlflow.experiment, started)
            except TrackingError as error:
                warn(f"{name} is done, but its run is not logged: {error}")
    finally:
        gc.freeze()  # what is left at exit is not worth searching
