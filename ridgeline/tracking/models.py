"""Fitted models in MLflow, in the skops format: loading one runs no code."""

import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow import pyfunc
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model, infer_signature
from mlflow.models.utils import _save_example
from mlflow.utils.environment import _mlflow_conda_env, _PythonEnv

from ridgeline.errors import ModelError, TrackingError
from ridgeline.tracking import address, store
from ridgeline.tracking.records import MD5
from ridgeline.tracking.registry import Registry, number
from ridgeline.tracking.skops_format import FILE, TRUSTED_TYPES, Export, unusable
from ridgeline.tracking.store import experiment_id, speaking_of_mlflow

# A model's environment, exactly: else MLflow finds it out by loading the model, for seconds.
REQUIREMENTS = [
    f"{name}=={version(name)}" for name in ("mlflow", "scikit-learn", "skops", "numpy", "pandas")
]


def find(client: mlflow.MlflowClient, experiment: str, md5: str) -> LoggedModel | None:
    """Find the newest model in MLflow that was logged from this content, all its files with it."""
    with speaking_of_mlflow():
        logged = client.search_logged_models(
            [experiment_id(client, experiment)],
            filter_string=f"tags.`{MD5}` = '{md5}'",
            order_by=[{"field_name": "creation_timestamp", "ascending": False}],
        )
        ready = (m for m in logged if m.status == LoggedModelStatus.READY)  # not so after a kill
        return next((m for m in ready if client.list_logged_model_artifacts(m.model_id)), None)


def log(run_id: str, export: Export, md5: str) -> None:
    """Log a model or scaler to a run; `md5` is that of the file that DVC tracks."""
    mlflow.start_run(run_id=run_id)
    try:
        Model.log(
            None,
            flavor=sys.modules[__name__],  # MLflow calls `save_model` below
            flavor_name="sklearn",
            name=export.name,
            export=export,
            tags={MD5: md5},
            validate_serving_input=False,  # would load the model again
        )
    finally:
        mlflow.end_run("RUNNING")  # there is more to write; who is killed then has not finished


def save_model(path: str, mlflow_model: Model, export: Export, **_: object) -> None:
    """Write the folder that ``mlflow.sklearn.save_model`` writes for a model in the skops format.

    That function needs the fitted estimator, and so scikit-learn and skops, a second of imports in
    a process that has no other use for them.
    """
    folder = Path(path)
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(export.content)
    mlflow_model.signature = infer_signature(export.example, export.output)
    if export.name == "model":  # MLflow's functions for any flavor and for serving call `predict`
        _save_example(mlflow_model, export.example, path)
        pyfunc.add_to_model(
            mlflow_model,
            loader_module="mlflow.sklearn",
            model_path=FILE,
            predict_fn="predict",
            conda_env="conda.yaml",
            python_env="python_env.yaml",
        )
    mlflow_model.add_flavor(
        "sklearn",
        pickled_model=FILE,
        sklearn_version=version("scikit-learn"),
        serialization_format="skops",
        code=None,
        skops_trusted_types=TRUSTED_TYPES,
    )
    mlflow_model.model_size_bytes = sum(file.stat().st_size for file in folder.iterdir())
    mlflow_model.save(folder / "MLmodel")
    _mlflow_conda_env(folder / "conda.yaml", additional_pip_deps=REQUIREMENTS)
    (folder / "requirements.txt").write_text("\n".join(REQUIREMENTS), encoding="utf-8")
    _PythonEnv.current().to_yaml(folder / "python_env.yaml")


def download(registry: Registry, chosen: ModelVersion) -> bytes:
    """Return a version's model, in the skops format; `skops_format.load` loads it.

    Raises
    ------
    ModelError
        When its files are missing, incomplete, or in another format.
    TrackingError
        When MLflow can't be reached.
    """
    uri = f"models:/{chosen.name}/{chosen.version}"
    local = mlflow.get_tracking_uri().startswith(address.SQLITE)  # its files need no copy
    try:
        with TemporaryDirectory() as folder:
            place = None if local else folder
            files = Path(mlflow.artifacts.download_artifacts(uri, dst_path=place))
            flavor = Model.load(files / "MLmodel").flavors["sklearn"]
            content: bytes = (files / flavor["pickled_model"]).read_bytes()
    except Exception as error:  # noqa: BLE001 - torn files raise whatever their readers do
        registry.reread(chosen)  # raises a TrackingError if MLflow is away
        raise unusable(uri, error) from None
    if flavor.get("serialization_format") != "skops":
        raise ModelError(f"{uri} is not in the skops format: loading it could run code")
    return content


def download_selected(name: str, md5: str, wanted: str) -> tuple[str, bytes, dict[str, str]]:
    """Find the version that ``predict.model`` selects; return its number, model and tags.

    Parameters
    ----------
    name : str
        The registered model.
    md5 : str
        The md5 of the candidate's file.
    wanted : str
        "candidate", or an alias.

    Raises
    ------
    TrackingError
        When MLflow has no such version.
    ModelError
        When its files are missing or incomplete.
    """
    registry = Registry(store.connect(), name)
    if wanted == "candidate":
        chosen = registry.find(md5)
        missing = f"with md5 {md5}; register it again with 'dvc repro -f -s register'"
    else:
        chosen = registry.with_alias(wanted)
        missing = f"with the alias {wanted}; give it to one, or change predict.model in params.yaml"
    if chosen is None:
        raise TrackingError(f"MLflow has no version of {name} {missing}")
    return str(number(chosen)), download(registry, chosen), chosen.tags
