"""The registered model: versions found by content, and the aliases that are kept on them.

Any number of processes may register at the same time. Nothing is locked: each writes what it
claims as tags on its own version first, sets an alias then, looks again at what all others
claim, and puts right what it finds wrong. Whoever writes last has seen every claim.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ridgeline.errors import ModelError, TrackingError
from ridgeline.gate import Decision
from ridgeline.tracking import MD5, speaking_of_mlflow

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
DECISION, REASON = "gate.decision", "gate.reason"  # champion, challenger or withdrawn; and why
WITHDRAWN = "withdrawn"
RMSE, ROWS = "validation.rmse", "validation.md5"  # the score a version claims, and on which rows
RIVAL, RIVAL_RMSE = "gate.champion", "gate.champion_rmse"  # the champion it was held against


def number(version: ModelVersion) -> int:
    """Return a version's number; MLflow gives it as text or as a number, by the call."""
    return int(version.version)


def find(client: mlflow.MlflowClient, name: str, md5: str) -> ModelVersion | None:
    """Find the version of a registered model whose file has this md5: of several, the first."""
    return min(_of_content(client, name, md5), key=number, default=None)


def register(
    client: mlflow.MlflowClient, name: str, model: LoggedModel, tags: dict[str, str]
) -> ModelVersion:
    """Make a logged model a version of a registered model, once by content.

    Parameters
    ----------
    client : MlflowClient
        As by `tracking.connect`.
    name : str
        The registered model; it is made if missing.
    model : LoggedModel
        What the version shall hold.
    tags : dict of str
        The version's tags; the md5 of the model's file among them, as `tracking.MD5`.

    Returns
    -------
    ModelVersion
        The first version of this content. When another process was quicker, it is that one's,
        and the one made here is removed again.
    """
    with speaking_of_mlflow():
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = client.create_model_version(
            name,
            source=model.model_uri,
            run_id=model.source_run_id,
            model_id=model.model_id,
            tags=tags,
        )
    return only(client, name, tags[MD5]) or made


def only(client: mlflow.MlflowClient, name: str, md5: str) -> ModelVersion | None:
    """Find the version with this md5; where processes made several at once, the first remains."""
    versions = sorted(_of_content(client, name, md5), key=number)
    doubles = versions[1:]
    in_use = {*_aliases(client, name).values()} if doubles else {}
    for double in doubles:
        if str(number(double)) not in in_use:
            _remove(client, double)
    return versions[0] if versions else None


def with_alias(client: mlflow.MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Return the version that bears an alias, if one does."""
    version = _aliases(client, name).get(alias)
    with speaking_of_mlflow():
        return client.get_model_version(name, version) if version else None


def numbered(client: mlflow.MlflowClient, name: str, version: str) -> ModelVersion:
    """Return the version with a number."""
    with speaking_of_mlflow():
        return client.get_model_version(name, version)


def reread(client: mlflow.MlflowClient, version: ModelVersion) -> ModelVersion:
    """Return a version as it is now, with its aliases and tags."""
    with speaking_of_mlflow():
        return client.get_model_version(version.name, str(number(version)))


def summary(version: ModelVersion) -> str:
    """Say what a version is called, and what was decided on it."""
    aliases, reason = ", ".join(version.aliases), version.tags[REASON]
    return f"{version.name} version {number(version)}{f' ({aliases})' if aliases else ''}: {reason}"


def challenge(client: mlflow.MlflowClient, version: ModelVersion) -> None:
    """Give a version the alias challenger."""
    with speaking_of_mlflow():
        _set(client.set_registered_model_alias, version.name, CHALLENGER, str(number(version)))


def record(
    client: mlflow.MlflowClient, version: ModelVersion, decision: Decision, tags: dict[str, str]
) -> None:
    """Write what was decided on a version, and on what grounds, as tags and as its description."""
    role = CHAMPION if decision.promote else CHALLENGER
    _describe(client, version, role, decision.reason, tags)


def recorded_rmse(version: ModelVersion, rows: str) -> float | None:
    """Return the validation RMSE that stands on a version, if it is of the rows with this md5."""
    tags = version.tags
    return float(tags[RMSE]) if tags.get(ROWS) == rows and RMSE in tags else None


def crown(client: mlflow.MlflowClient, name: str, rows: str) -> None:
    """Put the alias champion on the best version, whatever others do meanwhile.

    Of the versions that passed the gate on the validation rows with md5 `rows` it is the one
    with the lowest RMSE; of equally good ones the newest. The champion so far gets the alias
    previous. Returns once what it reads is what it would write.
    """
    while True:
        with speaking_of_mlflow():
            claims = client.search_model_versions(
                f"name = '{name}' AND tag.`{DECISION}` = '{CHAMPION}' AND tag.`{ROWS}` = '{rows}'",
                max_results=10_000,
            )
        # MLflow reads the tags after the search: of a version that matches no longer, none
        stand = [version for version in claims if RMSE in version.tags]
        best = min(stand, key=lambda v: (float(v.tags[RMSE]), -number(v)), default=None)
        if best is None or not _move(client, name, number(best)):
            return


def promote(client: mlflow.MlflowClient, name: str, version: int | str) -> ModelVersion:
    """Make a version champion by hand, and withdraw the champion so far.

    One that is withdrawn comes back by hand only, not by the gate.

    Parameters
    ----------
    client : MlflowClient
        As by `tracking.connect`.
    name : str
        The registered model.
    version : int or str
        The version's number, or an alias.

    Raises
    ------
    ModelError
        When there is no such version, or it is the champion already.
    """
    aliases = _aliases(client, name)
    chosen, old = int(aliases.get(str(version), 0) or _whole(version)), aliases.get(CHAMPION)
    with speaking_of_mlflow():
        known = {number(v): v for v in client.search_model_versions(f"name = '{name}'")}
    if chosen not in known:
        what = f"version {chosen}" if chosen else f"version with the alias {version!r}"
        raise ModelError(f"{name} has no {what}; its versions: {_listed(known)}")
    if old and int(old) == chosen:
        raise ModelError(f"{name} version {chosen} is the champion already; name another version")
    by_hand = f"version {chosen} was promoted by hand"
    record(client, known[chosen], Decision(True, by_hand), {})
    for other in known.values():  # none of them shall overrule it
        if other.tags.get(DECISION) == CHAMPION and number(other) != chosen:
            role = WITHDRAWN if str(number(other)) == old else CHALLENGER
            _describe(client, other, role, by_hand, {})
    _move(client, name, chosen)
    return reread(client, known[chosen])


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


def _describe(
    client: mlflow.MlflowClient, version: ModelVersion, role: str, reason: str, tags: dict[str, str]
) -> None:
    name, place = version.name, str(number(version))
    with speaking_of_mlflow():
        client.update_model_version(name, place, f"{role.capitalize()}: {reason}.")
        # the decision last: it is what others go by, and it needs the score to be there
        for key, value in (tags | {REASON: reason, DECISION: role}).items():
            _set(client.set_model_version_tag, name, place, key, value)


def _of_content(client: mlflow.MlflowClient, name: str, md5: str) -> list[ModelVersion]:
    with speaking_of_mlflow():
        return list(client.search_model_versions(f"name = '{name}' AND tag.`{MD5}` = '{md5}'"))


def _remove(client: mlflow.MlflowClient, version: ModelVersion) -> None:
    with speaking_of_mlflow():
        try:
            client.delete_model_version(version.name, str(number(version)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # another process was quicker
                raise


def _aliases(client: mlflow.MlflowClient, name: str) -> dict[str, str]:
    """Return the aliases of a registered model, each with a version's number."""
    with speaking_of_mlflow():
        try:
            found = client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise TrackingError(
                    f"MLflow has no registered model {name}; 'dvc repro' makes it"
                ) from None
            raise
        return {alias: str(version) for alias, version in found.aliases.items()}


def _move(client: mlflow.MlflowClient, name: str, version: int) -> bool:
    """Set champion to a version, and previous to what it was on; return whether it wasn't there."""
    old = _aliases(client, name).get(CHAMPION)
    if old and int(old) == version:
        return False
    with speaking_of_mlflow():
        if old:
            _set(client.set_registered_model_alias, name, PREVIOUS, old)
        _set(client.set_registered_model_alias, name, CHAMPION, str(version))
    return True


def _set(setter: Callable[..., None], *arguments: str) -> None:
    """Set a tag or an alias: again, if another process has set it between MLflow's look and write.

    MLflow inserts what it did not find, and the database refuses the second of two insertions.
    """
    try:
        setter(*arguments)
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        setter(*arguments)


def _whole(text: int | str) -> int:
    return int(text) if str(text).isdecimal() else 0


def _listed(versions: dict[int, ModelVersion]) -> str:
    return ", ".join(map(str, sorted(versions)))
