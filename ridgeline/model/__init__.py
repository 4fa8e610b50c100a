"""Preprocessing, ridge regression, predictions, metrics, figures and the report.

These work on arrays and rows in memory, and do not use the settings, MLflow or DVC.
"""

__all__ = [
    "charts",
    "drift",
    "features",
    "intervals",
    "leave_one_out",
    "moments",
    "predict",
    "profile",
    "regressors",
    "report",
    "ridge",
    "scoring",
]
