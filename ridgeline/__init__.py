"""Exact ridge regression at any size, and the join of DVC and MLflow by content.

The leaf modules (``dataset``, ``features``, ``ridge``, ``scoring``, ``charts``) take plain
arguments and return plain values; ``pipeline``, ``tracking`` and ``registry`` know DVC and
MLflow; ``config`` knows ``params.yaml``. Nothing here knows a stage.
"""
