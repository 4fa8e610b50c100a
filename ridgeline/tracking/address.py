"""Which MLflow store runs go to: the one that ``MLFLOW_TRACKING_URI`` names, or the embedded one.

The embedded store is ``mlflow.db`` in the project's root, with ``mlartifacts`` beside it.
"""

import os
from pathlib import Path
from urllib.parse import unquote

from ridgeline.errors import TrackingError

SQLITE = "sqlite:///"
UNUSABLE = (
    "MLFLOW_TRACKING_URI should name a file, as in sqlite:///mlflow.db or "
    "sqlite:////absolute/path/mlflow.db"
)


def tracking_uri() -> str:
    """Return the store's URI; the path of a local database made absolute.

    DVC runs queued and temporary experiments in folders that it deletes, and names the root in
    ``DVC_ROOT``.

    Raises
    ------
    TrackingError
        When it is a database in memory, or a folder; or one in a folder where MLflow could not
        find its own artifacts again, because it decodes paths as if they were URLs.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if not uri.startswith(SQLITE):
        if uri.startswith("sqlite"):
            raise TrackingError(UNUSABLE)
        return uri
    root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
    path = root / database(uri)
    folder = str(path.parent)
    if path.is_dir() or path.name == ":memory:":
        raise TrackingError(UNUSABLE)
    if unquote(folder) != folder:
        raise TrackingError(
            f"MLflow can't keep its files in {folder}: it would look for them in "
            f"{unquote(folder)}; rename that folder, or set MLFLOW_TRACKING_URI to a "
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
