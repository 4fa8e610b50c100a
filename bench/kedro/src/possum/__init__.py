"""The example's job in Kedro and kedro-mlflow: one process and one MLflow run for all nodes.

It has no version control of data, no gate, and skips nothing that is up to date.
"""
