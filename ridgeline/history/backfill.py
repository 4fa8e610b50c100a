"""Write to MLflow the runs and versions that are in dvc.lock but missing from MLflow.

They are missing when DVC restored a stage from its cache, or when MLflow's server was down, or its
data were lost.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import mlflow

from ridgeline import config
from ridgeline.errors import RevisionError, SettingsError
from ridgeline.files import MODEL
from ridgeline.history import revisions
from ridgeline.history.revisions import Revision
from ridgeline.tracking import champion, origin, records, runs, store, submit
from ridgeline.tracking.records import Record
from ridgeline.tracking.registry import CHALLENGER, Registry, number, summary

Key = tuple[str, str]  # (experiment, digest of a record) or (registered model, md5 of its file)


@dataclass(frozen=True)
class Task:
    """A run or a version to write, and the files it is written from with their md5s.

    Tasks of different states have the same `key` if they write the same run or version. `write`
    takes the folder with the files, and returns a description of what it wrote.
    """

    key: Key
    name: str
    files: Mapping[Path, str]
    write: Callable[[Path], str]


class Problem(NamedTuple):
    """A run or version that can't be written: the first state that has it, its name, and why."""

    state: str
    name: str
    reason: str


def backfill(history: list[Revision], *, pull: bool) -> int:
    """Write the missing runs and versions of some revisions and the workspace; print a report.

    Parameters
    ----------
    history : list of Revision
        The revisions, in the order in which to write them; the workspace comes last.
    pull : bool
        Whether to fetch files that are missing from DVC's cache from its remote.

    Returns
    -------
    int
        The number of states of which something could not be written.

    Raises
    ------
    SettingsError
        When params.yaml is not valid.
    TrackingError
        When MLflow can't be reached or refuses a request.
    """
    default = config.load().mlflow.experiment
    client = store.connect()
    runs.close_killed(client, default)
    logged = cache(partial(runs.digests, client))
    written: set[Key] = set()
    problems: dict[Key, Problem] = {}
    recorded: dict[str, Record] = {}
    for revision, recorded in _states(history):
        tasks = []
        for record in recorded.values():
            experiment = record.params.get("mlflow.experiment", default)
            if record.digest not in logged(experiment):
                tasks.append(_run_task(client, experiment, revision, record))
        if _registers(recorded) and _needs_version(client, recorded):
            tasks.append(_version_task(client, revision, recorded))
        tasks.sort(key=lambda task: task.name == "predict")  # it adds its report to the version
        tasks = [task for task in tasks if task.key not in written]
        if not tasks:
            continue
        state = str(revision or "workspace")
        done, failed, reason = _perform(revision, tasks, pull=pull)
        if done:
            print(f"{state}: {', '.join(done.values())}")
        for task in failed:
            problems.setdefault(task.key, Problem(state, task.name, reason))
        for key in done:  # an earlier state may have had the same task but not the files
            problems.pop(key, None)
        written |= {*done}
    if _registers(recorded):
        _set_aliases(client, recorded)
    if not written and not problems:
        print("MLflow is up to date; nothing was written")
    errors = 0
    for (state, reason), group in groupby(problems.values(), lambda p: (p.state, p.reason)):
        names = ", ".join(problem.name for problem in group)
        print(f"error: {state}: could not write {names}: {reason}", file=sys.stderr)
        errors += 1
    return errors


def _states(history: list[Revision]) -> Iterator[tuple[Revision | None, dict[str, Record]]]:
    """Yield each state and its dvc.lock; the workspace is last: its model becomes challenger."""
    for revision, text in revisions.locks(history):
        yield revision, records.locked(text)
    lock = Path("dvc.lock")
    if lock.is_file():
        yield None, records.locked(lock.read_text(encoding="utf-8"))


def _perform(
    revision: Revision | None, tasks: Sequence[Task], *, pull: bool
) -> tuple[dict[Key, str], list[Task], str]:
    """Perform a state's tasks; return what was written, the tasks that failed, and why."""
    done: dict[Key, str] = {}
    unusable: list[Path] = []
    reason = ""
    try:
        with _checked_out(revision) as folder:
            reason = _restore(folder, tasks, pull=pull)
            for task in tasks:
                if missing := records.missing(task.files, folder):
                    unusable += missing
                else:
                    done[task.key] = task.write(folder)
            if unusable:
                reason = f"{unusable[0]} {reason}"
    except (RevisionError, SettingsError) as error:
        reason = str(error)
    return done, [task for task in tasks if task.key not in done], reason


def _run_task(
    client: mlflow.MlflowClient, experiment: str, revision: Revision | None, record: Record
) -> Task:
    """Return the task of writing a stage's run."""

    def write(folder: Path) -> str:
        runs.log_missing(client, experiment, record, _origin(revision), folder)
        return record.name

    key = (experiment, record.digest)
    return Task(key, record.name, runs.logged_files(record), write)


def _version_task(
    client: mlflow.MlflowClient, revision: Revision | None, recorded: Mapping[str, Record]
) -> Task:
    """Return the task of registering a state's model and applying the gate to it."""

    def write(folder: Path) -> str:
        settings = config.load(folder / "params.yaml")
        registry = Registry(client, settings.register.model)
        version = submit.submit(registry, settings, recorded, _origin(revision), folder)
        if revision is None:
            registry.set_alias(CHALLENGER, number(version))
        return summary(registry.reread(version))

    return Task(_model(recorded), "version", submit.files(recorded), write)


def _needs_version(client: mlflow.MlflowClient, recorded: Mapping[str, Record]) -> bool:
    """Return whether a state's model has no version, or one without a decision of the gate."""
    name, md5 = _model(recorded)
    version = Registry(client, name).find(md5)
    return version is None or records.DECISION not in version.tags


def _set_aliases(client: mlflow.MlflowClient, recorded: Mapping[str, Record]) -> None:
    """Set challenger if no version has it, and make the best version champion.

    They are not set yet when the workspace's version was written from another state, or when the
    process that registered the best version was killed.
    """
    name, md5 = _model(recorded)
    registry = Registry(client, name)
    version = registry.find(md5)
    if version is None:
        return
    if registry.with_alias(CHALLENGER) is None:
        registry.set_alias(CHALLENGER, number(version))
    champion.crown(registry, recorded["prepare"].outs[champion.VALIDATION])


def _registers(recorded: Mapping[str, Record]) -> bool:
    """Return whether a state has a model, validation rows and the stage register."""
    outs = {p for stage in ("prepare", "train") if stage in recorded for p in recorded[stage].outs}
    return "register" in recorded and {MODEL, champion.VALIDATION} <= outs


def _model(recorded: Mapping[str, Record]) -> Key:
    """Return the name of a state's registered model, and the md5 of the model's file."""
    name = recorded["register"].params["register.model"]
    return str(name), recorded["train"].outs[MODEL]


def _origin(revision: Revision | None) -> dict[str, str]:
    return revision.tags if revision else origin.tags()


@contextmanager
def _checked_out(revision: Revision | None) -> Iterator[Path]:
    """Yield the workspace, or a temporary clone at a revision."""
    if revision is None:
        yield Path()
        return
    with TemporaryDirectory(prefix="ridgeline-") as parent:
        folder = Path(parent, "state")
        revisions.lay_out(revision, folder)
        yield folder


def _restore(folder: Path, tasks: Iterable[Task], *, pull: bool) -> str:
    """Restore the files that tasks need; return what to report of any that are still missing."""
    files = dict.fromkeys(path for task in tasks for path in task.files)
    absent = [str(path) for path in files if not (folder / path).exists()]
    if not absent or not revisions.bring(folder, absent, pull=False):
        return "does not match dvc.lock; run 'dvc repro'"
    if not pull:
        return "is not in DVC's cache; add --pull to fetch it from the remote"
    return f"can't be pulled: {revisions.bring(folder, absent, pull=True)}"
