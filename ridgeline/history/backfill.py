"""Write to MLflow what DVC has and MLflow lacks.

That is the runs of stages that DVC restored from its cache, that ended while the server was
down, or that were on a server that is gone; and the versions that were registered there.
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
from ridgeline.tracking import origin, records, registry, runs, store, submit
from ridgeline.tracking.records import Record

Key = tuple[str, str]  # an experiment and a record's digest, or a model's name and its md5


@dataclass(frozen=True)
class Task:
    """A stage's run or a version to write, and the files it is written from with their md5s.

    `key` is the same for all states in which it is the same; `write` takes the folder in which
    the files are, and returns what it wrote in words.
    """

    key: Key
    name: str
    files: Mapping[Path, str]
    write: Callable[[Path], str]


class Problem(NamedTuple):
    """What could not be written: the first state that has it, its name there, and why."""

    state: str
    name: str
    reason: str


def backfill(history: list[Revision], *, pull: bool) -> int:
    """Write what MLflow lacks of other states and the workspace; print what, and what it can't.

    Parameters
    ----------
    history : list of Revision
        The other states, in the order in which to write them.
    pull : bool
        Whether to get from DVC's remote what its cache lacks.

    Returns
    -------
    int
        In how many states something could not be written.

    Raises
    ------
    SettingsError
        When params.yaml can't be used.
    TrackingError
        When MLflow can't be reached or refuses.
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
                tasks.append(_run(client, experiment, revision, record))
        if _registers(recorded) and _lacks_version(client, recorded):
            tasks.append(_version(client, revision, recorded))
        tasks = [task for task in tasks if task.key not in written]
        if not tasks:
            continue
        state = str(revision or "workspace")
        done, impossible, reason = _do(revision, tasks, pull=pull)
        if done:
            print(f"{state}: {', '.join(done.values())}")
        for task in impossible:
            problems.setdefault(task.key, Problem(state, task.name, reason))
        for key in done:  # what one state lacks the files of, another may have
            problems.pop(key, None)
        written |= {*done}
    if _registers(recorded):
        _see_to_aliases(client, recorded)
    if not written and not problems:
        print("MLflow has all of it; nothing was written")
    failed = 0
    for (state, reason), those in groupby(problems.values(), lambda p: (p.state, p.reason)):
        names = ", ".join(problem.name for problem in those)
        print(f"error: {state}: no {names}: {reason}", file=sys.stderr)
        failed += 1
    return failed


def _states(history: list[Revision]) -> Iterator[tuple[Revision | None, dict[str, Record]]]:
    """Read each state's dvc.lock; the last is the workspace's: what it registers is challenger."""
    for revision, text in revisions.locks(history):
        yield revision, records.locked(text)
    lock = Path("dvc.lock")
    if lock.is_file():
        yield None, records.locked(lock.read_text(encoding="utf-8"))


def _do(
    revision: Revision | None, tasks: Sequence[Task], *, pull: bool
) -> tuple[dict[Key, str], list[Task], str]:
    """Do a state's tasks; return what was written, and the others with why they can't be done."""
    done: dict[Key, str] = {}
    lacking: list[Path] = []
    reason = ""
    try:
        with _laid_out(revision) as folder:
            reason = _bring(folder, tasks, pull=pull)
            for task in tasks:
                absent = records.missing(task.files, folder)
                if absent:
                    lacking += absent
                else:
                    done[task.key] = task.write(folder)
            if lacking:
                reason = f"{lacking[0]} {reason}"
    except (RevisionError, SettingsError) as error:
        reason = str(error)
    return done, [task for task in tasks if task.key not in done], reason


def _run(
    client: mlflow.MlflowClient, experiment: str, revision: Revision | None, record: Record
) -> Task:
    """Tell how to write a stage's run."""

    def write(folder: Path) -> str:
        runs.log_missing(client, experiment, record, _origin(revision), folder)
        return record.name

    key = (experiment, record.digest)
    return Task(key, record.name, runs.logged_files(record), write)


def _version(
    client: mlflow.MlflowClient, revision: Revision | None, recorded: Mapping[str, Record]
) -> Task:
    """Tell how to register a state's model, and hold it to the gate."""

    def write(folder: Path) -> str:
        settings = config.load(folder / "params.yaml")
        version = submit.submit(client, settings, recorded, _origin(revision), folder)
        if revision is None:
            registry.challenge(client, version)
        return registry.summary(registry.reread(client, version))

    return Task(_model(recorded), "version", submit.files(recorded), write)


def _lacks_version(client: mlflow.MlflowClient, recorded: Mapping[str, Record]) -> bool:
    """Tell whether a state's model was registered, but isn't now, or was not held to the gate."""
    version = registry.find(client, *_model(recorded))
    return version is None or registry.DECISION not in version.tags


def _see_to_aliases(client: mlflow.MlflowClient, recorded: Mapping[str, Record]) -> None:
    """Give the workspace's version the alias that register would, and crown the best version.

    Another state's task may have made that version, and who made the best one may have been
    killed before it could set the alias.
    """
    name, md5 = _model(recorded)
    version = registry.find(client, name, md5)
    if version is None:
        return
    if registry.with_alias(client, name, registry.CHALLENGER) is None:
        registry.challenge(client, version)
    registry.crown(client, name, recorded["prepare"].outs[submit.VALIDATION])


def _registers(recorded: Mapping[str, Record]) -> bool:
    """Tell whether a state has a model, validation rows and a stage that registers it."""
    outs = [recorded[stage].outs for stage in ("prepare", "train") if stage in recorded]
    made = {path for paths in outs for path in paths}
    return "register" in recorded and {MODEL, submit.VALIDATION} <= made


def _model(recorded: Mapping[str, Record]) -> Key:
    """Return the registered model's name, and the md5 of a state's version of it."""
    name = recorded["register"].params["register.model"]
    return str(name), recorded["train"].outs[MODEL]


def _origin(revision: Revision | None) -> dict[str, str]:
    return revision.tags if revision else origin.tags()


@contextmanager
def _laid_out(revision: Revision | None) -> Iterator[Path]:
    """Give a folder with a revision's files, for as long as the block lasts."""
    if revision is None:
        yield Path()
        return
    with TemporaryDirectory(prefix="ridgeline-") as parent:
        folder = Path(parent, "state")
        revisions.lay_out(revision, folder)
        yield folder


def _bring(folder: Path, tasks: Iterable[Task], *, pull: bool) -> str:
    """Bring what the tasks need and the folder lacks; return why what is still not there is not."""
    files = {path: md5 for task in tasks for path, md5 in task.files.items()}
    absent = [str(path) for path in files if not (folder / path).exists()]
    said = revisions.bring(folder, absent, pull=False) if absent else ""
    if not said:
        return "is not as dvc.lock has it; 'dvc repro' brings the two together"
    if not pull:
        return "is not in DVC's cache; --pull looks for it in the remote"
    said = revisions.bring(folder, absent, pull=True)
    return f"can't be pulled: {said}"
