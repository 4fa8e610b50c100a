"""Fitted models in MLflow, in the skops format: loading one runs no code."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion

from ridgeline.config import Data
from ridgeline.errors import ModelError, TrackingError
from ridgeline.tracking.records import MD5
from ridgeline.tracking.registry import Registry, number
from ridgeline.tracking.store import experiment_id, speaking_of_mlflow

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

TRUSTED_TYPES = ["numpy.dtype"]  # besides skops' own: SimpleImputer holds one; it is only data
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


def log(run_id: str, path: Path, md5: str) -> None:
    """Log a fitted pipeline as ``model``, or of a fitted preprocessing the scaler as ``scaler``."""
    # imported here: of the five stages only two have a model to log, and it takes a second
    import joblib
    import mlflow.sklearn
    from mlflow.models import infer_signature

    from ridgeline.model import features

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


def load(registry: Registry, version: ModelVersion) -> "Pipeline":
    """Load a version as the scikit-learn pipeline it is, without running code from the file.

    MLflow would also unpickle one, and trust whatever types a skops file's own MLmodel lists.

    Raises
    ------
    ModelError
        When its files are not there, not whole, or not in the skops format.
    TrackingError
        When MLflow can't be reached.
    """
    import skops.io  # imported here: it takes a second, and few callers load a model
    from mlflow.artifacts import download_artifacts

    uri = f"models:/{version.name}/{version.version}"
    try:
        files = Path(download_artifacts(uri))
        flavor = mlflow.models.Model.load(files / "MLmodel").flavors["sklearn"]
        if flavor.get("serialization_format") != "skops":
            raise ModelError(f"{uri} is not in the skops format: loading it could run code")
        model: Pipeline = skops.io.load(files / flavor["pickled_model"], trusted=TRUSTED_TYPES)
        return model
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - torn files raise whatever their readers do
        registry.reread(version)  # raises a TrackingError if MLflow is away
        reason = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
    raise ModelError(
        f"{uri} can't be loaded ({reason}); restore MLflow's artifacts, or delete the version and "
        "register the model again with 'dvc repro -f -s register'"
    )


def load_selected(registry: Registry, md5: str, wanted: str, data: Data) -> "Pipeline":
    """Load the version that ``predict.model`` selects: the candidate, or the one with an alias.

    Parameters
    ----------
    registry : Registry
        The registered model.
    md5 : str
        The md5 of the candidate's file.
    wanted : str
        "candidate", or an alias.
    data : Data
        The columns that the table has.

    Raises
    ------
    TrackingError
        When MLflow has no such version.
    ModelError
        When it can't be loaded, or needs other columns.
    """
    from ridgeline.model import features

    if wanted == "candidate":
        version = registry.find(md5)
        missing = f"with md5 {md5}; register it again with 'dvc repro -f -s register'"
    else:
        version = registry.with_alias(wanted)
        missing = f"with the alias {wanted}; give it to one, or change predict.model in params.yaml"
    if version is None:
        raise TrackingError(f"MLflow has no version of {registry.name} {missing}")
    model = load(registry, version)
    what = f"{registry.name} version {number(version)}"
    if "preprocessor" not in getattr(model, "named_steps", {}):
        raise ModelError(f"{what} was not made by this pipeline; change predict.model")
    gone = features.lacking(model["preprocessor"], data.numeric, data.categorical)
    if gone:
        raise ModelError(
            f"{what} needs column {gone[0]}, which data in params.yaml does not name, or names as "
            "another kind; name it as it was, or change predict.model"
        )
    return model
