"""The registered model: its versions, found by content, and its aliases."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import mlflow
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ridgeline.errors import ModelError, TrackingError
from ridgeline.tracking.origin import public
from ridgeline.tracking.records import MD5, REASON
from ridgeline.tracking.store import speaking_of_mlflow

CHALLENGER = "challenger"
# models:/name/3, models:/name@alias; 3, v3, @alias or alias of the project's model
VERSION = re.compile(r"(?:models:/([^/@]+)[/@]|@)?(?:v(?=\d+$))?([^/@]+)")
LONGEST_DESCRIPTION = 5000  # characters, of a column in MLflow's database


@dataclass(frozen=True)
class Registry:
    """A registered model in MLflow. Each method raises a `TrackingError` when MLflow fails."""

    client: mlflow.MlflowClient
    name: str

    def find(self, md5: str) -> ModelVersion | None:
        """Return the version whose file has this md5; of several the first."""
        return min(self._with_tag(MD5, md5), key=number, default=None)

    def register(self, model: LoggedModel, tags: dict[str, str]) -> ModelVersion:
        """Make a logged model a version, unless another process has done so.

        Parameters
        ----------
        model : LoggedModel
            What the version holds.
        tags : dict of str
            The version's tags; the md5 of the model's file among them, as `records.MD5`.

        Returns
        -------
        ModelVersion
            The first version of this content; a later one made here is deleted again.
        """
        with speaking_of_mlflow():
            try:
                self.client.create_registered_model(self.name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            made = self.client.create_model_version(
                self.name,
                source=model.model_uri,
                run_id=model.source_run_id,
                model_id=model.model_id,
                tags=tags,
            )
        return self.deduplicated(tags[MD5]) or made

    def deduplicated(self, md5: str) -> ModelVersion | None:
        """Return the first version with this md5, and delete others that have no alias."""
        versions = sorted(self._with_tag(MD5, md5), key=number)
        in_use = {*self.aliases().values()} if len(versions) > 1 else set()
        for double in versions[1:]:
            if str(number(double)) not in in_use:
                self._delete(double)
        return versions[0] if versions else None

    def search(self, condition: str) -> list[ModelVersion]:
        """Return the versions whose tags meet a condition in MLflow's search syntax."""
        with speaking_of_mlflow():
            wanted = f"name = '{self.name}'{condition and f' AND {condition}'}"
            return list(self.client.search_model_versions(wanted, max_results=10_000))

    def with_alias(self, alias: str) -> ModelVersion | None:
        """Return the version that has an alias; None if no version has it."""
        version = self.aliases().get(alias)
        return self.numbered(version) if version else None

    def numbered(self, version: str) -> ModelVersion:
        """Return the version with a number, given as text."""
        with speaking_of_mlflow():
            return self.client.get_model_version(self.name, version)

    def selected(self, text: str) -> ModelVersion:
        """Return the version with a number or an alias.

        Raises
        ------
        ModelError
            When there is no such version.
        """
        version = self.aliases().get(text, text)
        if version.isdecimal():
            with speaking_of_mlflow(), suppress(MlflowException):
                return self.client.get_model_version(self.name, version)
        known = ", ".join(map(str, sorted(map(number, self.search("")))))
        what = f"version {text}" if text.isdecimal() else f"version with the alias {text!r}"
        raise ModelError(f"{self.name} has no {what}; its versions: {known}")

    def reread(self, version: ModelVersion) -> ModelVersion:
        """Return a version as it is now, with its aliases and tags."""
        return self.numbered(str(number(version)))

    def aliases(self) -> dict[str, str]:
        """Return the number of the version that has each alias."""
        with speaking_of_mlflow():
            try:
                found = self.client.get_registered_model(self.name)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    place = public(mlflow.get_tracking_uri())
                    raise TrackingError(
                        f"MLflow has no registered model {self.name} at {place}; 'dvc repro' makes "
                        "it, or load the .env of another store (docs/services.md)"
                    ) from None
                raise
            return {alias: str(version) for alias, version in found.aliases.items()}

    def set_alias(self, alias: str, version: int | str) -> None:
        """Give a version an alias, and take it from the version that has it."""
        with speaking_of_mlflow():
            _retry(self.client.set_registered_model_alias, self.name, alias, str(version))

    def describe(self, version: ModelVersion, decision: str, tags: dict[str, str]) -> None:
        """Set the first paragraph of a version's description, then its tags, in their order."""
        self._write_description(version, decision, self._description(version)[1])
        with speaking_of_mlflow():
            for key, value in tags.items():
                place = (self.name, str(number(version)), key, value)
                _retry(self.client.set_model_version_tag, *place)

    def add_report(self, version: ModelVersion, report: str) -> None:
        """Set all of a version's description but its first paragraph, which is the decision.

        Of two processes that write a description at the same time, the last one may repeat what it
        has read: the tags, which decide, are not touched.
        """
        self._write_description(version, self._description(version)[0], report)

    def _description(self, version: ModelVersion) -> tuple[str, str]:
        """Return a version's description: the decision on it, and the report."""
        decision, _, report = (self.reread(version).description or "").partition("\n\n")
        return decision, report

    def _write_description(self, version: ModelVersion, decision: str, report: str) -> None:
        text = f"{decision}\n\n{report}".rstrip()
        if len(text) > LONGEST_DESCRIPTION:
            text = text[:LONGEST_DESCRIPTION].rpartition("\n")[0]
        with speaking_of_mlflow():
            self.client.update_model_version(self.name, str(number(version)), text)

    def _with_tag(self, tag: str, value: str) -> list[ModelVersion]:
        return self.search(f"tag.`{tag}` = '{value}'")

    def _delete(self, version: ModelVersion) -> None:
        with speaking_of_mlflow():
            try:
                self.client.delete_model_version(self.name, str(number(version)))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # deleted by another process
                    raise


def version_named(
    client: mlflow.MlflowClient, text: str, model: str
) -> tuple[Registry, ModelVersion]:
    """Return the version that a user names, and the registry of its registered model.

    Parameters
    ----------
    client : MlflowClient
        As by `store.connect`.
    text : str
        ``models:/name/3`` or ``models:/name@alias``; or ``3``, ``v3``, ``alias`` or ``@alias`` for
        a version of the registered model `model`.
    model : str
        The name of a registered model.

    Raises
    ------
    ModelError
        When there is no such version.
    """
    match = VERSION.fullmatch(text)
    if match is None:
        raise ModelError(f"{text!r} names no version; write 3, champion or models:/NAME/3")
    registry = Registry(client, match[1] or model)
    return registry, registry.selected(match[2])


def number(version: ModelVersion) -> int:
    """Return a version's number; MLflow gives it as text or as a number, by the call."""
    return int(version.version)


def summary(version: ModelVersion) -> str:
    """Return a version's name, number and aliases, and the gate's decision on it."""
    aliases, reason = ", ".join(version.aliases), version.tags.get(REASON, "the gate was not asked")
    return f"{version.name} version {number(version)}{f' ({aliases})' if aliases else ''}: {reason}"


def _retry(setter: Callable[..., None], *arguments: str) -> None:
    """Set a tag or an alias; again, if another process has set it at the same moment.

    MLflow inserts what it did not find, and the database refuses the second of two insertions.
    """
    try:
        setter(*arguments)
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        setter(*arguments)
