"""What a user can get wrong. Each error's text says what, where, and what to do about it.

RidgelineError      the root: a stage prints its text and exits with status 1
├── SettingsError   params.yaml (or dvc.yaml) says something that can't be done
├── DataError       a table can't be read, or breaks the data contract
├── ModelError      a registered model can't be loaded
└── TrackingError   MLflow can't be reached, or lacks what a stage needs from it
"""


class RidgelineError(Exception):
    """Anything a user can cause and mend."""


class SettingsError(RidgelineError):
    """The settings ask for something that is not allowed."""


class DataError(RidgelineError):
    """A table is missing, unreadable, or not what the data contract says."""


class ModelError(RidgelineError):
    """A registered model's files are not there, or not whole."""


class TrackingError(RidgelineError):
    """MLflow is out of reach, or does not hold what was asked of it."""
