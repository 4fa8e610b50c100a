"""The registered model: versions found by content, and the aliases that are kept on them.

Any number of processes may register at the same time. Nothing is locked: each writes what it
claims as tags on its own version first, sets an alias then, looks again at what all others
claim, and puts right what it finds wrong. Whoever writes last has seen every claim.
"""

from collections.abc import Callable
from contextlib import suppress

import mlflow
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ridgeline.errors import ModelError, TrackingError
from ridgeline.tracking.gate import Decision
from ridgeline.tracking.records import MD5
from ridgeline.tracking.store import speaking_of_mlflow

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
        As by `store.connect`.
    name : str
        The registered model; it is made if missing.
    model : LoggedModel
        What the version shall hold.
    tags : dict of str
        The version's tags; the md5 of the model's file among them, as `records.MD5`.

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
    aliases, reason = ", ".join(version.aliases), version.tags.get(REASON, "the gate was not asked")
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


def crown(
    client: mlflow.MlflowClient, name: str, rows: str, rival: ModelVersion | None = None
) -> bool:
    """Put the alias champion on the best version, whatever others do meanwhile.

    Of the versions that passed the gate on the validation rows with md5 `rows` it is the one
    with the lowest RMSE; of equally good ones the newest. The champion so far gets the alias
    previous. Returns once what it reads is what it would write.

    Parameters
    ----------
    client : MlflowClient
        As by `store.connect`.
    name : str
        The registered model.
    rows : str
        The md5 of the validation rows.
    rival : ModelVersion, optional
        The champion that the versions were held against, if it claims its score on other rows.

    Returns
    -------
    bool
        False, and nothing is done, where another champion of other rows reigns meanwhile:
        scores on different rows can't be compared, so it must be met first.
    """
    moved = False
    while True:
        reigns = with_alias(client, name, CHAMPION)
        met = rival is not None and reigns is not None and number(rival) == number(reigns)
        if reigns is not None and not met and reigns.tags.get(ROWS) != rows:
            return moved  # one that came after ours was crowned has met it
        claims = _claims(client, name, f" AND tag.`{ROWS}` = '{rows}'")
        # MLflow reads the tags after the search: of a version that matches no longer, none
        stand = [version for version in claims if RMSE in version.tags]
        best = min(stand, key=lambda v: (float(v.tags[RMSE]), -number(v)), default=None)
        if best is None or not _move(client, name, number(best)):
            return True
        moved = True


def promote(client: mlflow.MlflowClient, name: str, version: int | str) -> ModelVersion:
    """Make a version champion by hand, and withdraw the champion so far.

    One that is withdrawn comes back by hand only, not by the gate.

    Parameters
    ----------
    client : MlflowClient
        As by `store.connect`.
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
    old = aliases.get(CHAMPION)
    chosen = _chosen(client, name, aliases.get(str(version), str(version)))
    if old and int(old) == number(chosen):
        raise ModelError(f"{name} version {old} is the champion already; name another version")
    by_hand = f"version {number(chosen)} was promoted by hand"
    record(client, chosen, Decision(True, by_hand), {})
    for other in _claims(client, name):  # none of them shall overrule it
        if number(other) != number(chosen):
            role = WITHDRAWN if str(number(other)) == old else CHALLENGER
            _describe(client, other, role, by_hand, {})
    _move(client, name, number(chosen))
    return reread(client, chosen)


def _claims(client: mlflow.MlflowClient, name: str, further: str = "") -> list[ModelVersion]:
    """Find the versions that passed the gate, or were promoted by hand."""
    with speaking_of_mlflow():
        return list(
            client.search_model_versions(
                f"name = '{name}' AND tag.`{DECISION}` = '{CHAMPION}'{further}", max_results=10_000
            )
        )


def _chosen(client: mlflow.MlflowClient, name: str, version: str) -> ModelVersion:
    """Return the version with a number, given as text."""
    with speaking_of_mlflow():
        with suppress(MlflowException):
            if version.isdecimal():
                return client.get_model_version(name, version)
        known = sorted(map(number, client.search_model_versions(f"name = '{name}'")))
    what = f"version {version}" if version.isdecimal() else f"version with the alias {version!r}"
    raise ModelError(f"{name} has no {what}; its versions: {', '.join(map(str, known))}")


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
