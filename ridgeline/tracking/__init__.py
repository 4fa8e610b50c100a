"""What DVC knows of a stage, written to MLflow: runs, models, versions and the champion.

It may use `model` and `tables`; no stage but register and predict computes with it.
"""

__all__ = [
    "address", "gate", "models", "origin", "records", "registry", "runs", "store", "submit",
]  # fmt: skip
