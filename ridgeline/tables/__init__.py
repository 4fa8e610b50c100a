"""Tables in parts: found, read and written a part at a time, on threads or a Dask cluster.

It knows files and columns, but neither what the columns mean nor what is computed from them.
"""

__all__ = ["engine", "place", "progress", "reading", "writing"]
