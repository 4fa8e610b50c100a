"""MLflow runs, each written from what DVC tracks of a stage: its params, metrics and outputs.

Because nothing else goes into it, a stage's run can be written by the stage as it ends, or
later, from the files alone.
"""

import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModel, Metric, Param
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from ridgeline import content, pipeline
from ridgeline.dataset import SUFFIXES
from ridgeline.errors import TrackingError

MD5 = "dvc.md5"
SQLITE = "sqlite:///"
PATIENCE = 5  # seconds a server may take to say that it is there
ARTIFACTS = (".json", ".csv", ".png")
BATCH = 100  # what MLflow takes of params in one call; of metrics it takes more
# A model's environment, exactly: else MLflow finds it out by loading the model, for seconds.
REQUIREMENTS = [
    f"{name}=={version(name)}" for name in ("mlflow", "scikit-learn", "skops", "numpy", "pandas")
]


def connect() -> mlflow.MlflowClient:
    """Connect to the store that ``MLFLOW_TRACKING_URI`` names, or to the embedded one.

    The embedded store is ``mlflow.db`` in the project's root. A path is made absolute there: DVC
    runs queued and temporary experiments in folders that it deletes, and tells where the root is.

    Raises
    ------
    TrackingError
        When a server doesn't answer within seconds, or the store can't be used.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if uri.startswith(SQLITE):
        uri = f"{SQLITE}{_root() / uri.removeprefix(SQLITE)}"
    os.environ["MLFLOW_TRACKING_URI"] = uri
    if uri.startswith(("http://", "https://")):
        health = f"{_public(uri).rstrip('/')}/health"
        try:
            urllib.request.urlopen(health, timeout=PATIENCE).close()  # noqa: S310 - it is http(s)
        except urllib.error.HTTPError:
            pass  # it answers; whether it lets us in, the first call will tell
        except (OSError, ValueError, HTTPException) as error:
            raise TrackingError(
                f"MLflow at {_public(uri)} does not answer ({error}); start it, or unset "
                "MLFLOW_TRACKING_URI to use the embedded store"
            ) from None
        # A server that goes away later: MLflow's default is to try again for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "8")
    with speaking_of_mlflow():
        return mlflow.MlflowClient()


@contextmanager
def speaking_of_mlflow() -> Iterator[None]:
    """Turn what MLflow and its drivers raise inside the block into a `TrackingError`."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        uri = os.environ["MLFLOW_TRACKING_URI"]
        raise TrackingError(_public(f"MLflow at {uri} failed: {reason}")) from None


def log_stage(name: str, experiment: str, started: float | None = None) -> str:
    """Write a stage's run to MLflow, from dvc.yaml and the files that it names.

    Parameters
    ----------
    name : str
        The stage; its deps and outputs must be there.
    experiment : str
        The MLflow experiment; it is made if missing.
    started : float, optional
        When the stage began, in seconds since the epoch; now, if it is not known.

    Returns
    -------
    str
        The run's id.

    Raises
    ------
    TrackingError
        When MLflow can't be reached or refuses.
    """
    stage = pipeline.load(name)
    md5s = _md5s(stage)
    client = connect()
    with speaking_of_mlflow():
        now = int(time.time() * 1000)
        run = client.create_run(
            experiment_id(client, experiment),
            start_time=now if started is None else int(started * 1000),
            run_name=name,
            tags=_tags(stage, md5s),
        )
        run_id: str = run.info.run_id
        try:
            _write(client, run_id, stage, md5s, now)
        except BaseException:
            with suppress(MlflowException):  # what went wrong first is what to tell
                client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id)
    return run_id


def log_missing(client: mlflow.MlflowClient, name: str, experiment: str) -> None:
    """Write a stage's run, unless MLflow has a finished one with these outputs.

    It lacks one when it was down, or was another server, when the stage ran; or when DVC brought
    the outputs from its cache, and nothing ran at all.
    """
    stage = pipeline.load(name)
    md5s = {path: content.md5(path) for path in stage.outs}
    told = [f"tags.`{_tag('outs', path)}` = '{md5}'" for path, md5 in md5s.items()]
    wanted = [f"tags.`dvc.stage` = '{name}'", "attributes.status = 'FINISHED'", *told]
    with speaking_of_mlflow():
        place = [experiment_id(client, experiment)]
        found = client.search_runs(place, " AND ".join(wanted), max_results=1)
    if not found:
        log_stage(name, experiment)


def _write(
    client: mlflow.MlflowClient,
    run_id: str,
    stage: pipeline.Stage,
    md5s: dict[Path, str],
    now: int,
) -> None:
    """Write all that a stage's files tell into its run."""
    measured = [
        Metric(_key(key), float(value), now, 0)
        for key, value in pipeline.read_metrics(stage).items()
        if isinstance(value, int | float)
    ]
    params = [Param(_key(key), str(value)) for key, value in stage.params.items()]
    for first in range(0, max(len(measured), len(params)), BATCH):
        batch = slice(first, first + BATCH)
        client.log_batch(run_id, metrics=measured[batch], params=params[batch])
    tables = [path for path in stage.deps if _is_table(path)]
    client.log_inputs(run_id, [_dataset(path, md5s[path]) for path in tables])
    for path in stage.outs:
        if path.suffix in ARTIFACTS:
            client.log_artifact(run_id, str(path), path.parent.as_posix())
        elif path.suffix == ".joblib":
            _log_model(run_id, path, md5s[path])


def logged_model(
    client: mlflow.MlflowClient, experiment: str, path: Path, stage: str
) -> LoggedModel:
    """Find the newest model in MLflow that was logged from this content.

    Parameters
    ----------
    client : MlflowClient
        As by `connect`.
    experiment : str
        The experiment to search.
    path : Path
        The file whose md5 the model was tagged with.
    stage : str
        The stage that has `path` among its outputs. Where MLflow lacks the model (it was down
        when the stage ran, or is another server now), that stage's run is written first.
    """
    md5 = content.md5(path)

    def find() -> LoggedModel | None:
        logged = client.search_logged_models(
            [experiment_id(client, experiment)],
            filter_string=f"tags.`{MD5}` = '{md5}'",
            order_by=[{"field_name": "creation_timestamp", "ascending": False}],
        )
        whole = (m for m in logged if client.list_logged_model_artifacts(m.model_id))
        return next(whole, None)

    with speaking_of_mlflow():
        model = find()
        if model is None:
            log_stage(stage, experiment)
            model = find()
    if model is None:
        raise TrackingError(f"{path} is not among the models of stage {stage!r} in dvc.yaml")
    return model


def experiment_id(client: mlflow.MlflowClient, name: str) -> str:
    """Return the id of the experiment, which is made if missing."""
    found = client.get_experiment_by_name(name)
    if found is None:
        # A local database keeps artifacts in the project's root; a server decides for itself.
        local = mlflow.get_tracking_uri().startswith("sqlite:")
        location = (_root() / "mlartifacts").as_uri() if local else None
        return str(client.create_experiment(name, artifact_location=location))
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"MLflow's experiment {name!r} is deleted; restore it with 'mlflow experiments "
            f"restore -x {found.experiment_id}', or change mlflow.experiment in params.yaml"
        )
    return str(found.experiment_id)


def source_tags() -> dict[str, str]:
    """Tell the state of the code and the DVC experiment that a run or a version comes from."""
    tags = {}
    commit = _git("rev-parse", "HEAD")
    if commit:
        tags["git.commit"] = commit
        tags["git.dirty"] = str(bool(_git("status", "--porcelain"))).lower()
    for tag, variable in (
        ("dvc.experiment", "DVC_EXP_NAME"),
        ("dvc.baseline", "DVC_EXP_BASELINE_REV"),
    ):
        if os.environ.get(variable):
            tags[tag] = os.environ[variable]
    return tags


def _md5s(stage: pipeline.Stage) -> dict[Path, str]:
    return {path: content.md5(path) for path in (*stage.deps, *stage.outs)}


def data_tags(name: str) -> dict[str, str]:
    """Name the tables that a stage read by their md5s, as its run does."""
    tables = [path for path in pipeline.load(name).deps if _is_table(path)]
    return {_tag("deps", path): content.md5(path) for path in tables}


def _tags(stage: pipeline.Stage, md5s: dict[Path, str]) -> dict[str, str]:
    source = source_tags()
    tags = {"dvc.stage": stage.name, "mlflow.source.name": f"stages/{stage.name}.py"} | source
    if "git.commit" in source:
        tags["mlflow.source.git.commit"] = source["git.commit"]
    for kind, paths in (("deps", stage.deps), ("outs", stage.outs)):
        tags |= {_tag(kind, path): md5s[path] for path in paths}
    return tags


def _tag(kind: str, path: Path) -> str:
    return _key(f"dvc.{kind}.{path.as_posix()}")


def _key(name: str) -> str:
    """Replace what MLflow refuses in a key, such as the brackets of a column's unit."""
    return re.sub(r"[^\w.\-: /]", "_", name)


def _is_table(path: Path) -> bool:
    return path.is_dir() or path.suffix in SUFFIXES


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
    with mlflow.start_run(run_id=run_id):
        mlflow.sklearn.log_model(
            fitted,
            name=name,
            signature=signature,
            input_example=example,  # MLflow tries it on `predict`, which a scaler lacks
            pip_requirements=REQUIREMENTS,
            serialization_format="skops",
            skops_trusted_types=["numpy.dtype"],  # SimpleImputer holds one; it is only data
            tags={MD5: md5},
        )


def _root() -> Path:
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""  # no git, or no repository: then there is nothing to tell
    return done.stdout.strip()


def _public(text: str) -> str:
    """Leave the login out of URIs."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)
