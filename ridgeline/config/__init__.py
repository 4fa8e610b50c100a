"""``params.yaml`` as typed, frozen settings; it knows no other package of the project."""

from ridgeline.config.csv_options import DEFAULT_CSV, Csv
from ridgeline.config.reading import load, read_yaml
from ridgeline.config.settings import (
    MISSING_VALUES,
    PREDICTED,
    ROW,
    Data,
    Gate,
    Predict,
    Prepare,
    Settings,
    logspace,
)

__all__ = [
    "DEFAULT_CSV", "MISSING_VALUES", "PREDICTED", "ROW", "Csv", "Data", "Gate", "Predict",
    "Prepare", "Settings", "load", "logspace", "read_yaml",
]  # fmt: skip
