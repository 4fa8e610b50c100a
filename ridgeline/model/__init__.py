"""What is computed: preprocessing, ridge regression, predictions, metrics and figures.

It knows arrays and rows in memory, but no settings, MLflow or DVC.
"""

__all__ = ["charts", "features", "leave_one_out", "moments", "predict", "ridge", "scoring"]
