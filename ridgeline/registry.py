"""The registered model: versions found by content, aliases, and the gate to champion."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ridgeline.errors import ModelError
from ridgeline.tracking import MD5, speaking_of_mlflow

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True)
class Decision:
    """Whether a version becomes champion, and why, as a sentence."""

    promote: bool
    reason: str


def decide(
    *,
    rmse: float,
    r2: float | None,
    baseline_rmse: float,
    champion_rmse: float | None = None,
    max_rmse: float | None = None,
    min_r2: float | None = None,
) -> Decision:
    """Hold a candidate's validation metrics against what a champion must reach.

    Parameters
    ----------
    rmse, r2 : float
        The candidate's; R² is None where it is not defined.
    baseline_rmse : float
        Of predicting the training mean.
    champion_rmse : float, optional
        The current champion's on the same rows; None when there is no champion.
    max_rmse, min_r2 : float, optional
        Thresholds; None asks for nothing.

    Returns
    -------
    Decision
        It is to be promoted when it passes each threshold, is better than the baseline, and
        not worse than the champion.
    """
    if max_rmse is not None and rmse > max_rmse:
        return Decision(False, f"validation RMSE {rmse:.6g} is above max_rmse {max_rmse:.6g}")
    if min_r2 is not None and (r2 is None or r2 < min_r2):
        shown = "not defined" if r2 is None else f"{r2:.6g}, below min_r2 {min_r2:.6g}"
        return Decision(False, f"validation R² is {shown}")
    if not rmse < baseline_rmse:
        return Decision(
            False, f"validation RMSE {rmse:.6g} is not below the baseline's {baseline_rmse:.6g}"
        )
    if champion_rmse is None:
        return Decision(True, f"validation RMSE {rmse:.6g} passes the gate; there is no champion")
    if rmse > champion_rmse:
        return Decision(
            False, f"validation RMSE {rmse:.6g} is worse than the champion's {champion_rmse:.6g}"
        )
    return Decision(
        True, f"validation RMSE {rmse:.6g} is not worse than the champion's {champion_rmse:.6g}"
    )


def find(client: mlflow.MlflowClient, name: str, md5: str) -> ModelVersion | None:
    """Find the first version of a registered model whose file has this md5."""
    with speaking_of_mlflow():
        found = client.search_model_versions(f"name = '{name}' AND tag.`{MD5}` = '{md5}'")
    return min(found, key=number, default=None)


def number(version: ModelVersion) -> int:
    """Return a version's number; MLflow gives it as text or as a number, by the call."""
    return int(version.version)


def register(
    client: mlflow.MlflowClient, name: str, model: LoggedModel, tags: dict[str, str]
) -> ModelVersion:
    """Make a logged model the newest version of a registered model, which is made if missing."""
    with speaking_of_mlflow():
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return client.create_model_version(
            name,
            source=model.model_uri,
            run_id=model.source_run_id,
            model_id=model.model_id,
            tags=tags,
        )


def champion(client: mlflow.MlflowClient, name: str) -> ModelVersion | None:
    """Return the version with the alias champion, if there is one."""
    with speaking_of_mlflow():
        aliases = client.get_registered_model(name).aliases
        version = aliases.get(CHAMPION)
        return client.get_model_version(name, version) if version else None


def challenge(client: mlflow.MlflowClient, version: ModelVersion) -> None:
    """Give a version the alias challenger."""
    with speaking_of_mlflow():
        client.set_registered_model_alias(version.name, CHALLENGER, str(number(version)))


def describe(
    client: mlflow.MlflowClient, version: ModelVersion, decision: Decision
) -> ModelVersion:
    """Set a version's alias, tags and description to what was decided; return it as it is now."""
    role = CHAMPION if decision.promote else CHALLENGER
    name, place = version.name, str(number(version))
    with speaking_of_mlflow():
        if decision.promote:
            client.set_registered_model_alias(name, CHAMPION, place)
        client.set_model_version_tag(name, place, "gate.decision", role)
        client.set_model_version_tag(name, place, "gate.reason", decision.reason)
        client.update_model_version(name, place, f"{role.capitalize()}: {decision.reason}.")
        return client.get_model_version(name, place)


def load_model(version: ModelVersion) -> "Pipeline":
    """Load a version as the scikit-learn pipeline it is, without running code from the file.

    Raises
    ------
    ModelError
        When its files are not there.
    TrackingError
        When MLflow can't be reached.
    """
    import mlflow.sklearn  # here, for scikit-learn takes a second, and few callers load anything

    uri = f"models:/{version.name}/{number(version)}"
    try:
        return mlflow.sklearn.load_model(uri)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            with speaking_of_mlflow():
                raise
        reason = str(error)
    except OSError as error:
        reason = str(error)
    raise ModelError(
        f"{uri} can't be loaded ({reason}); restore MLflow's artifacts, or delete the version and "
        "register the model again with 'dvc repro -f -s register'"
    )
