"""States of the project that a user names: a version, an alias, a commit or an experiment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from configobj import ConfigObj
from sklearn.pipeline import Pipeline

from ridgeline.config import ROW, Settings
from ridgeline.errors import ModelError, RevisionError, TrackingError
from ridgeline.files import MODEL, PREPARED, md5_of
from ridgeline.history import lineage, revisions
from ridgeline.history.revisions import Revision
from ridgeline.model.features import CATEGORICAL, NUMERIC
from ridgeline.tables import reading
from ridgeline.tracking import models, origin, records, skops_format, store
from ridgeline.tracking.records import Record, Values
from ridgeline.tracking.registry import Registry, number, version_named

PIPELINE = Path("dvc.yaml")


@dataclass(frozen=True)
class Named:
    """What a user named: its description, the revision that contains it, and what to know of it."""

    name: str
    revision: Revision
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class State:
    """A revision checked out in `folder`, and the records of its dvc.lock by stage."""

    label: str
    name: str
    commit: str
    folder: Path
    recorded: Mapping[str, Record]
    notes: tuple[str, ...]

    @property
    def params(self) -> Values:
        """The params of all stages, with dotted keys."""
        return {k: value for record in self.recorded.values() for k, value in record.params.items()}

    @property
    def outs(self) -> dict[Path, str]:
        """The outputs of all stages, with their md5s."""
        return {p: md5 for record in self.recorded.values() for p, md5 in record.outs.items()}

    @property
    def code(self) -> dict[Path, str]:
        """The code that the stages depend on, and dvc.yaml, with their md5s."""
        deps = {p: md5 for r in self.recorded.values() for p, md5 in _code(r.deps).items()}
        return deps | {PIPELINE: md5_of(self.folder / PIPELINE)}

    @property
    def metrics(self) -> Values:
        """The metrics of training and of the test rows, with dotted keys."""
        outs = [out for stage in ("train", "predict") for out in self.stage(stage).outs]
        return records.read_metrics([out for out in outs if self.has(out)], self.folder)

    @property
    def key(self) -> str:
        """The column of the rows' keys."""
        return str(self.params.get("data.key") or ROW)

    @property
    def numeric(self) -> tuple[str, ...]:
        """The prepared columns of numbers, target first."""
        return (str(self.params.get("data.target")), *self.params.get("data.numeric", ()))

    @property
    def categorical(self) -> tuple[str, ...]:
        """The prepared columns of text but for the key."""
        return (*self.params.get("data.categorical", ()),)

    @property
    def roles(self) -> dict[str, str]:
        """The roles of the prepared columns but for the key: `NUMERIC` or `CATEGORICAL`."""
        return dict.fromkeys(self.numeric, NUMERIC) | dict.fromkeys(self.categorical, CATEGORICAL)

    @property
    def columns(self) -> tuple[str, ...]:
        """The prepared columns but for the key."""
        return (*self.roles,)

    def has(self, path: Path) -> bool:
        """Return whether git has an output as dvc.lock records it."""
        return path in self.outs and not records.missing({path: self.outs[path]}, self.folder)

    def stage(self, name: str) -> Record:
        """Return a stage's record; an empty one if the stage is not in dvc.lock."""
        return self.recorded.get(name, Record(name, {}, {}, {}))

    def split(self, name: str) -> reading.Table:
        """Return the prepared rows of a split; `bring` restores them."""
        return reading.open_table(self.folder / PREPARED / name, (self.key, *self.columns))

    def bring(self, *paths: Path) -> str:
        """Restore prepared rows from DVC's cache or remote; return why that fails, or nothing."""
        absent = [str(path) for path in paths if path not in self.outs]
        if absent:
            return f"dvc.lock of {self.label} does not have {absent[0]}"
        wanted = [str(path) for path in paths]
        reason = revisions.bring(self.folder, wanted, pull=False)
        reason = reason and revisions.bring(self.folder, wanted, pull=True)
        return reason and f"{self.label}'s prepared rows can't be restored: {reason}"

    def model(self) -> Pipeline:
        """Load its registered model, found by the md5 of the model's file.

        Raises
        ------
        ModelError
            When there is none, or it can't be loaded.
        TrackingError
            When MLflow can't be reached.
        """
        registry = Registry(store.connect(), str(self.params.get("register.model")))
        version = registry.find(self.outs.get(MODEL, ""))
        if version is None:
            raise ModelError(
                f"{self.label}'s model is not registered in MLflow; 'python -m ridgeline backfill' "
                "registers what git and DVC have"
            )
        uri = f"models:/{registry.name}/{number(version)}"
        return skops_format.load(models.download(registry, version), uri)


def find(settings: Settings, text: str) -> Named:
    """Find what a user names.

    Parameters
    ----------
    settings : Settings
        They name the registered model if `text` does not.
    text : str
        A version (see `version_named`), any name that git has for a commit, or a DVC experiment.

    Raises
    ------
    RevisionError
        When there is no such thing or more than one, or no commit contains the version.
    TrackingError
        When MLflow has no such version, if `text` begins with ``@`` or ``models:/``.
    """
    if text.startswith(("@", "models:/")):
        return _version(settings, text)
    commit = origin.git(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}"
    )
    found = {commit: Revision(commit)} if commit else {}
    found |= {r.commit: r for r in revisions.experiments() if r.experiment == text}
    uri = ""
    try:
        registry, version = version_named(store.connect(), text, settings.register.model)
        uri = f"models:/{registry.name}/{number(version)}"
    except (ModelError, TrackingError) as error:
        if not found:
            raise RevisionError(
                f"{text} is neither a commit nor a DVC experiment, and {error}"
            ) from None
    if len(found) + bool(uri) > 1:
        choices = ", ".join([*sorted(found), *([uri] if uri else [])])
        raise RevisionError(f"{text} is ambiguous; write one of these instead: {choices}")
    if uri:
        return _version(settings, uri)
    [revision] = found.values()
    return Named(str(revision), revision)


def _version(settings: Settings, of: str) -> Named:
    version = lineage.find(store.connect(), settings, of)
    found = revisions.holding(version.tags)
    if found is None:
        raise RevisionError(lineage.not_in_git(version))
    revision, exactly = found
    dirty = ", with uncommitted changes" if version.tags.get(records.DIRTY) == "true" else ""
    note = f"{version.name} has the outputs of {revision}, but other data, code or params{dirty}"
    return Named(f"{version.name}, {revision}", revision, () if exactly else (note,))


def restore(label: str, named: Named, folder: Path) -> State:
    """Check out what was found, without the files in DVC's cache.

    Parameters
    ----------
    label : str
        How the report calls it.
    named : Named
        As by `find`.
    folder : Path
        A new folder.

    Raises
    ------
    RevisionError
        When git can't restore it, or it has no valid dvc.lock.
    """
    revisions.lay_out(named.revision, folder)
    _link_cached_files(folder)
    lock = folder / revisions.LOCK
    recorded = records.locked(lock.read_text(encoding="utf-8")) if lock.is_file() else {}
    if not recorded or not (folder / PIPELINE).is_file():
        raise RevisionError(f"{named.name} has no dvc.yaml with a valid dvc.lock; name another")
    differing = [
        path for record in recorded.values() for path in records.missing(_code(record.deps), folder)
    ]
    other = f"{named.name} contains other code than its dvc.lock was written with: "
    notes = (*named.notes, *([f"{other}{differing[0]}"] if differing else []))
    return State(label, named.name, named.revision.commit, folder, recorded, notes)


def _code(deps: Mapping[Path, str]) -> dict[Path, str]:
    return {path: md5 for path, md5 in deps.items() if path.parts[0] in records.CODE}


def _link_cached_files(folder: Path) -> None:
    """Have DVC link files to its cache, since nothing changes them: a copy may be large."""
    local = ConfigObj(str(folder / ".dvc/config.local"), encoding="utf-8", interpolation=False)
    local["cache"]["type"] = "reflink,hardlink,symlink,copy"
    local.write()
