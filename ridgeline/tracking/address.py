"""Which MLflow store runs go to: the one that ``MLFLOW_TRACKING_URI`` names, or the embedded one.

The embedded store is ``mlflow.db`` in the project's root, with ``mlartifacts`` beside it.
"""

import os
from pathlib import Path
from urllib.parse import unquote

from ridgeline.errors import TrackingError

SQLITE = "sqlite:///"


def tracking_uri() -> str:
    """Return the store's URI; the path of a local database made absolute.

    DVC runs queued and temporary experiments in folders that it deletes, and names the root in
    ``DVC_ROOT``.

    Raises
    ------
    TrackingError
        When it is a local database where MLflow could not find its own artifacts again: it
        decodes paths as if they were URLs.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if not uri.startswith(SQLITE):
        return uri
    root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
    path = root / database(uri)
    if unquote(str(path)) != str(path):
        raise TrackingError(
            f"MLflow can't keep its files in {path.parent}: it would look for them in "
            f"{unquote(str(path.parent))}; rename that folder, or set MLFLOW_TRACKING_URI to a "
            "database elsewhere (sqlite:////absolute/path/mlflow.db) or to a server"
        )
    _, asked, options = uri.partition("?")
    return f"{database_uri(path)}{asked}{options}"


def database(uri: str) -> Path:
    """Return the path that a local database's URI names."""
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))


def database_uri(path: Path) -> str:
    """Return a local database's URI, in which SQLAlchemy would take these letters for others."""
    return SQLITE + str(path).replace("%", "%25").replace("?", "%3F")
