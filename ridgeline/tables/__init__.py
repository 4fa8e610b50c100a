"""Find, read and write tables part by part, on threads or a Dask cluster.

This package handles files and columns; what columns mean is left to the callers.
"""

__all__ = ["engine", "place", "progress", "reading", "writing"]
