"""Check rows against the data contract, and assign them to splits.

This package handles tables and the contract, but no models, MLflow or DVC.
"""

__all__ = ["contract", "division", "findings", "missing", "split", "unique"]
