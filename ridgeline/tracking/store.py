"""The MLflow store that runs and models go to, and what it can fail with."""

import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import mlflow.db
from botocore.exceptions import BotoCoreError
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from ridgeline.errors import TrackingError
from ridgeline.tracking import address
from ridgeline.tracking.origin import public

PATIENCE = 5  # seconds a server may take to say that it is there
STORE_ERRORS = (MlflowException, SQLAlchemyError, BotoCoreError, ImportError, OSError)


def connect() -> mlflow.MlflowClient:
    """Connect to the store; see `address.tracking_uri`.

    Raises
    ------
    TrackingError
        When a server doesn't answer within seconds, or the store can't be used.
    """
    uri = address.tracking_uri()
    os.environ["MLFLOW_TRACKING_URI"] = uri
    if uri.startswith(("http://", "https://")):
        health = f"{public(uri).rstrip('/')}/health"
        try:
            urllib.request.urlopen(health, timeout=PATIENCE).close()  # noqa: S310 - it is http(s)
        except urllib.error.HTTPError:
            pass  # it answers; whether it lets us in, the first call will tell
        except (OSError, ValueError, HTTPException) as error:
            if not isinstance(
                getattr(error, "reason", None), ssl.SSLError
            ):  # MLflow has its own say
                raise TrackingError(
                    f"MLflow at {public(uri)} does not answer ({error}); start it, or unset "
                    "MLFLOW_TRACKING_URI to use the embedded store"
                ) from None
        # A server that goes away later: MLflow's default is to try again for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "8")
    with speaking_of_mlflow():
        if uri.startswith(address.SQLITE):
            _make_store(address.database(uri))
        return mlflow.MlflowClient()


@contextmanager
def speaking_of_mlflow() -> Iterator[None]:
    """Turn what MLflow and its drivers raise inside the block into a `TrackingError`."""
    try:
        yield
    except Exception as error:
        of_boto3 = type(error).__module__ == "boto3.exceptions"  # it is not always installed
        if not (of_boto3 or isinstance(error, STORE_ERRORS)):
            raise
        # what the database said, if it was that: around it SQLAlchemy tells how it came to ask
        inner = error if isinstance(error, SQLAlchemyError) else error.__cause__
        said = getattr(inner, "orig", None) or error
        reason = " ".join(str(said).split("\n")[0].split())
        uri = os.environ["MLFLOW_TRACKING_URI"]
        raise TrackingError(public(f"MLflow at {uri} failed: {reason}")) from None


def experiment_id(client: mlflow.MlflowClient, name: str) -> str:
    """Return the id of the experiment, which is made if missing."""
    found = client.get_experiment_by_name(name)
    if found is None:
        # A local database has its artifacts beside it; a server decides for itself.
        url = mlflow.get_tracking_uri()
        local = url.startswith(address.SQLITE)
        location = address.database(url).with_name("mlartifacts").as_uri() if local else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return experiment_id(client, name)  # another process was quicker
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"MLflow's experiment {name!r} is deleted; restore it with 'mlflow experiments "
            f"restore -x {found.experiment_id}', or change mlflow.experiment in params.yaml"
        )
    return str(found.experiment_id)


def _make_store(path: Path) -> None:
    """Make the embedded store if missing: whole or not at all, whoever else makes it meanwhile.

    MLflow would make its tables one by one in their place, where a second process, or the next
    one after a kill, finds some of them and gives up.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", suffix=".partial", dir=path.parent) as folder:
        whole = Path(folder, path.name)
        mlflow.db.upgrade.main(
            [address.database_uri(whole)], standalone_mode=False
        )  # `mlflow db upgrade`
        with suppress(FileExistsError):  # another process was quicker
            path.hardlink_to(whole)
