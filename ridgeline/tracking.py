"""MLflow runs, each written from what DVC tracks of a stage: its params, metrics and outputs.

Because nothing else goes into it, a stage's run can be written by the stage as it ends, or
later, from the files alone.
"""

import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import mlflow.db
from botocore.exceptions import BotoCoreError
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelStatus,
    Metric,
    Param,
)
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from ridgeline import pipeline, source, store
from ridgeline.dataset import SUFFIXES
from ridgeline.errors import TrackingError
from ridgeline.source import public

MD5 = "dvc.md5"
PATIENCE = 5  # seconds a server may take to say that it is there
ARTIFACTS, MODEL = (".json", ".csv", ".png"), ".joblib"
DAY = 24 * 3600 * 1000  # milliseconds
STORE_ERRORS = (MlflowException, SQLAlchemyError, BotoCoreError, ImportError, OSError)
BATCH = 100  # what MLflow takes of params in one call; of metrics it takes more
TRUSTED_TYPES = ["numpy.dtype"]  # besides skops' own: SimpleImputer holds one; it is only data
# A model's environment, exactly: else MLflow finds it out by loading the model, for seconds.
REQUIREMENTS = [
    f"{name}=={version(name)}" for name in ("mlflow", "scikit-learn", "skops", "numpy", "pandas")
]


def connect() -> mlflow.MlflowClient:
    """Connect to the store; see `store.tracking_uri`.

    Raises
    ------
    TrackingError
        When a server doesn't answer within seconds, or the store can't be used.
    """
    uri = store.tracking_uri()
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
        if uri.startswith(store.SQLITE):
            _make_store(store.database(uri))
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


def log_stage(name: str, experiment: str, started: float) -> None:
    """Write the run of a stage that has just done its work.

    Parameters
    ----------
    name : str
        The stage; its deps and outputs must be there.
    experiment : str
        The MLflow experiment; it is made if missing.
    started : float
        When the stage began, in seconds since the epoch.

    Raises
    ------
    TrackingError
        When MLflow can't be reached or refuses.
    """
    record = pipeline.recorded(pipeline.load(name))
    client = connect()
    close_killed(client, experiment)
    write_run(client, experiment, record, source.tags(), started=started)


def log_missing(
    client: mlflow.MlflowClient,
    experiment: str,
    record: pipeline.Record,
    origin: dict[str, str],
    folder: Path = Path(),
) -> bool:
    """Write a stage's run, unless MLflow has a finished one of just this; return whether.

    It lacks one when it was down, or was another server, when the stage ran; or when DVC brought
    the outputs from its cache, and nothing ran at all. Parameters are those of `write_run`.
    """
    wanted = f"tags.`{pipeline.DIGEST}` = '{record.digest}' AND attributes.status = 'FINISHED'"
    with speaking_of_mlflow():
        if client.search_runs([experiment_id(client, experiment)], wanted, max_results=1):
            return False
    write_run(client, experiment, record, origin, folder)
    return True


def write_run(
    client: mlflow.MlflowClient,
    experiment: str,
    record: pipeline.Record,
    origin: dict[str, str],
    folder: Path = Path(),
    started: float | None = None,
) -> None:
    """Write a run from a stage's record and the files that it names.

    Parameters
    ----------
    client : MlflowClient
        As by `connect`.
    experiment : str
        The MLflow experiment; it is made if missing.
    record : Record
        The stage as it ran.
    origin : dict of str
        Tags: the commit and experiment it comes from, as by `source.tags`.
    folder : Path
        Where the stage's metrics, plots, tables and models are.
    started : float, optional
        When the stage began, in seconds since the epoch; now, if it is not known.

    Raises
    ------
    TrackingError
        When MLflow can't be reached or refuses.
    """
    with speaking_of_mlflow():
        now = int(time.time() * 1000)
        run = client.create_run(
            experiment_id(client, experiment),
            start_time=now if started is None else int(started * 1000),
            run_name=record.name,
            tags=stage_tags(record, origin),
        )
        run_id: str = run.info.run_id
        try:
            _write(client, run_id, record, folder, now)
            client.set_tag(run_id, pipeline.DIGEST, record.digest)  # last: who has it is whole
        except BaseException:
            with suppress(MlflowException):  # what went wrong first is what to tell
                client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id)


def close_killed(client: mlflow.MlflowClient, experiment: str) -> None:
    """End the runs whose writers were killed: of gone processes, elsewhere after a day.

    One that is mistaken for killed sets its status again when it is done.
    """
    with speaking_of_mlflow():
        running = client.search_runs(
            [experiment_id(client, experiment)], "attributes.status = 'RUNNING'"
        )
        for run in running:
            name = run.data.tags.get("dvc.execution")
            old = time.time() * 1000 - run.info.start_time > DAY
            if name and (old or source.is_over(name)):
                client.set_terminated(run.info.run_id, "KILLED")


def digests(client: mlflow.MlflowClient, experiment: str) -> set[str]:
    """Return the digests of all stages' records that have a finished run in an experiment."""
    found: set[str] = set()
    token = None
    with speaking_of_mlflow():
        while True:
            runs = client.search_runs(
                [experiment_id(client, experiment)],
                "attributes.status = 'FINISHED'",
                max_results=1000,
                page_token=token,
            )
            found |= {run.data.tags.get(pipeline.DIGEST, "") for run in runs}
            token = runs.token
            if not token:
                return found


def logged_files(record: pipeline.Record) -> dict[Path, str]:
    """Return those outputs of a stage that its run is written from, with their md5s."""
    return {p: md5 for p, md5 in record.outs.items() if p.suffix in (*ARTIFACTS, MODEL)}


def stage_tags(record: pipeline.Record, origin: dict[str, str]) -> dict[str, str]:
    """Name a stage, the md5s of its deps and outs, and where it comes from."""
    tags = record.tags | {"mlflow.source.name": f"stages/{record.name}.py"} | origin
    if "git.commit" in origin:
        tags["mlflow.source.git.commit"] = origin["git.commit"]
    return tags


def _write(
    client: mlflow.MlflowClient, run_id: str, record: pipeline.Record, folder: Path, now: int
) -> None:
    """Write all that a stage's files tell into its run."""
    measured = [
        Metric(pipeline.key(key), float(value), now, 0)
        for key, value in pipeline.read_metrics(record.outs, folder).items()
        if isinstance(value, int | float)
    ]
    params = [Param(pipeline.key(key), str(value)) for key, value in record.params.items()]
    for first in range(0, max(len(measured), len(params)), BATCH):
        batch = slice(first, first + BATCH)
        client.log_batch(run_id, metrics=measured[batch], params=params[batch])
    tables = {path: md5 for path, md5 in record.deps.items() if is_table(path, md5)}
    client.log_inputs(run_id, [_dataset(path, md5) for path, md5 in tables.items()])
    for path, md5 in record.outs.items():
        if path.suffix in ARTIFACTS:
            client.log_artifact(run_id, str(folder / path), path.parent.as_posix())
        elif path.suffix == MODEL:
            _log_model(run_id, folder / path, md5)


def logged_model(client: mlflow.MlflowClient, experiment: str, md5: str) -> LoggedModel | None:
    """Find the newest model in MLflow that was logged from this content, all its files with it."""
    with speaking_of_mlflow():
        logged = client.search_logged_models(
            [experiment_id(client, experiment)],
            filter_string=f"tags.`{MD5}` = '{md5}'",
            order_by=[{"field_name": "creation_timestamp", "ascending": False}],
        )
        ready = (m for m in logged if m.status == LoggedModelStatus.READY)  # not so after a kill
        return next((m for m in ready if client.list_logged_model_artifacts(m.model_id)), None)


def experiment_id(client: mlflow.MlflowClient, name: str) -> str:
    """Return the id of the experiment, which is made if missing."""
    found = client.get_experiment_by_name(name)
    if found is None:
        # A local database has its artifacts beside it; a server decides for itself.
        url = mlflow.get_tracking_uri()
        local = url.startswith(store.SQLITE)
        location = store.database(url).with_name("mlartifacts").as_uri() if local else None
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


def is_table(path: Path, md5: str) -> bool:
    """Tell a table, a folder of parts or one file, from other deps."""
    return md5.endswith(".dir") or path.suffix in SUFFIXES


def _dataset(path: Path, md5: str) -> DatasetInput:
    """Name a table by its path and the md5 that DVC knows it by."""
    dataset = Dataset(
        name=path.as_posix(),
        digest=md5,
        source_type="dvc",
        source=json.dumps({"path": path.as_posix()}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", path.stem)])


def _log_model(run_id: str, path: Path, md5: str) -> None:
    """Log a fitted pipeline as ``model``, or of a fitted preprocessing the scaler as ``scaler``."""
    # imported here: of the five stages only two have a model to log, and it takes a second
    import joblib
    import mlflow.sklearn
    from mlflow.models import infer_signature

    from ridgeline import features

    fitted = joblib.load(path)
    if hasattr(fitted, "predict"):
        name, example = "model", features.typical_row(fitted["preprocessor"])
        signature = infer_signature(example, fitted.predict(example))
    elif features.NUMERIC not in fitted.named_transformers_:
        return  # no numeric columns, no scaler
    else:
        row = features.typical_row(fitted).select_dtypes("number")
        name, example, fitted = "scaler", None, features.scaler_of(fitted)
        named = hasattr(fitted, "feature_names_in_")  # not behind an imputer
        signature = infer_signature(row, fitted.transform(row if named else row.to_numpy()))
    mlflow.start_run(run_id=run_id)
    try:
        mlflow.sklearn.log_model(
            fitted,
            name=name,
            signature=signature,
            input_example=example,  # MLflow tries it on `predict`, which a scaler lacks
            pip_requirements=REQUIREMENTS,
            serialization_format="skops",
            skops_trusted_types=TRUSTED_TYPES,
            tags={MD5: md5},
        )
    finally:
        mlflow.end_run("RUNNING")  # there is more to write; who is killed then has not finished


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
            [store.database_uri(whole)], standalone_mode=False
        )  # `mlflow db upgrade`
        with suppress(FileExistsError):  # another process was quicker
            path.hardlink_to(whole)
