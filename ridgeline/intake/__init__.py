"""Which rows are let in, and which split they go to.

It knows tables and the data contract, but no model, MLflow or DVC.
"""

__all__ = ["contract", "division", "findings", "missing", "split", "unique"]
