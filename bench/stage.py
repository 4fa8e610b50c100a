"""Run one stage as it is, but without MLflow: ``python -m bench.stage train`` in a project.

Prints the seconds that the stage took, once everything was imported.
"""

import gc
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

import stages  # noqa: F401 - first: it sets up the process

if __name__ == "__main__":
    name = sys.argv[1]
    stage = import_module(f"stages.{name}")
    from ridgeline import config
    from ridgeline.tables import engine

    if name == "predict":  # the model that the registry would give, from where train put it
        import joblib

        Path("models/registered.json").write_text(json.dumps({"model": "", "md5": ""}))
        stage.skops_format.load_selected = lambda *_: (
            joblib.load("models/model.joblib"),
            None,
            None,
        )
    if engine.ADDRESS in os.environ:
        import distributed  # noqa: F401 - as the other imports it is not counted
    settings = config.load()
    gc.freeze()
    gc.enable()
    started = time.perf_counter()
    stage.main(settings)
    print(time.perf_counter() - started)
