"""The MLflow store: connecting to it, its experiments, and the errors it can raise."""

import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, InvalidURL
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

# for pages of MLflow that choose their tabs by it; its own UI remembers the user's choice
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
PATIENCE = 5  # seconds to wait for a server's first answer
STORE_ERRORS = (MlflowException, SQLAlchemyError, BotoCoreError, ImportError, OSError)


def connect() -> mlflow.MlflowClient:
    """Connect to the store that `address.tracking_uri` names.

    Raises
    ------
    TrackingError
        When a server does not answer within seconds, or the store can't be used.
    """
    uri = address.tracking_uri()
    os.environ["MLFLOW_TRACKING_URI"] = uri
    if uri.startswith(("http://", "https://")):
        health = f"{public(uri).rstrip('/')}/health"
        try:
            urllib.request.urlopen(health, timeout=PATIENCE).close()  # noqa: S310 - it is http(s)
        except urllib.error.HTTPError:
            pass  # it answers; the first call shows whether the login is accepted
        except (OSError, ValueError, HTTPException) as error:
            # MLflow has settings of its own for certificates
            if not isinstance(getattr(error, "reason", None), ssl.SSLError):
                # what is not a URL may have a password anywhere
                wrong = isinstance(error, ValueError | InvalidURL)
                place = "the URL in MLFLOW_TRACKING_URI" if wrong else public(uri)
                reason = "it is not a valid URL" if wrong else error
                raise TrackingError(
                    f"MLflow at {place} does not answer ({reason}); start it, or unset "
                    "MLFLOW_TRACKING_URI to use the embedded store"
                ) from None
        # if the server goes away later, MLflow would by default retry for minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "8")
    with speaking_of_mlflow():
        if uri.startswith(address.SQLITE):
            _make_store(address.database(uri))
        return mlflow.MlflowClient()


@contextmanager
def speaking_of_mlflow() -> Iterator[None]:
    """Raise a `TrackingError` for what MLflow and its drivers raise in the block."""
    try:
        yield
    except Exception as error:
        of_boto3 = type(error).__module__ == "boto3.exceptions"  # not always installed
        if not (of_boto3 or isinstance(error, STORE_ERRORS)):
            raise
        # a database's own message, without the statement that SQLAlchemy adds to it
        inner = error if isinstance(error, SQLAlchemyError) else error.__cause__
        said = getattr(inner, "orig", None) or error
        reason = " ".join(str(said).split("\n")[0].split())
        uri = os.environ["MLFLOW_TRACKING_URI"]
        raise TrackingError(public(f"MLflow at {uri} failed: {reason}")) from None


def experiment_id(client: mlflow.MlflowClient, name: str) -> str:
    """Return the id of an experiment, created if missing."""
    found = client.get_experiment_by_name(name)
    if found is None:
        # artifacts are beside a local database; a server has its own place for them
        url = mlflow.get_tracking_uri()
        local = url.startswith(address.SQLITE)
        location = address.database(url).with_name("mlartifacts").as_uri() if local else None
        try:
            return str(client.create_experiment(name, location, EXPERIMENT_TAGS))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return experiment_id(client, name)  # created by another process
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"MLflow's experiment {name!r} is deleted; restore it with 'mlflow experiments "
            f"restore -x {found.experiment_id}', or change mlflow.experiment in params.yaml"
        )
    return str(found.experiment_id)


def _make_store(path: Path) -> None:
    """Create the embedded store if missing: completely or not at all.

    MLflow would create its tables one by one in place. A second process, or the next one after a
    kill, would find some of them and fail.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", suffix=".partial", dir=path.parent) as folder:
        whole = Path(folder, path.name)
        mlflow.db.upgrade.main(
            [address.database_uri(whole)], standalone_mode=False
        )  # `mlflow db upgrade`
        with suppress(FileExistsError):  # created by another process
            path.hardlink_to(whole)
