"""Exact ridge regression at any size, and the join of DVC and MLflow by content.

The leaf modules (``dataset``, ``features``, ``ridge``, ``scoring``, ``charts``, ``gate``) take
plain arguments and return plain values; ``pipeline`` and ``source`` know DVC and git;
``tracking``, ``registry`` and what stands on them know MLflow; ``config`` knows
``params.yaml``. Nothing here knows a stage.
"""

import os

# MLflow reads these as it is imported: no more on the terminal than what a user needs to know.
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
