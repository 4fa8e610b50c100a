"""Write to MLflow what DVC has and MLflow lacks: ``python -m ridgeline.backfill``.

That is the runs of stages that DVC restored from its cache, that ended while the server was
down, or that were on a server that is gone; and the versions that were registered there.
"""

import argparse
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

from ridgeline import candidate, config, pipeline, registry, revisions, source, tracking
from ridgeline.errors import RevisionError, SettingsError, told
from ridgeline.pipeline import Record
from ridgeline.revisions import Revision

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


def main() -> None:
    """Write the runs and versions of dvc.lock that MLflow lacks, if asked also of git's history."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--all-commits", action="store_true", help="also those of all commits")
    parser.add_argument(
        "--all-experiments", action="store_true", help="also those of all DVC experiments"
    )
    parser.add_argument(
        "--pull", action="store_true", help="get from DVC's remote what its cache lacks"
    )
    arguments = parser.parse_args()
    with told("backfill"):
        history = [
            *(revisions.commits() if arguments.all_commits else []),
            *(revisions.experiments() if arguments.all_experiments else []),
        ]
        sys.exit(1 if backfill(history, pull=arguments.pull) else 0)


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
    client = tracking.connect()
    tracking.close_killed(client, default)
    logged = cache(partial(tracking.digests, client))
    written: set[Key] = set()
    problems: dict[Key, Problem] = {}
    records: dict[str, Record] = {}
    for revision, records in _states(history):
        tasks = []
        for record in records.values():
            experiment = record.params.get("mlflow.experiment", default)
            if record.digest not in logged(experiment):
                tasks.append(_run(client, experiment, revision, record))
        if _registers(records) and _lacks_version(client, records):
            tasks.append(_version(client, revision, records))
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
    if _registers(records):
        _see_to_aliases(client, records)
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
        yield revision, pipeline.locked(text)
    lock = Path("dvc.lock")
    if lock.is_file():
        yield None, pipeline.locked(lock.read_text(encoding="utf-8"))


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
                absent = pipeline.missing(task.files, folder)
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
        tracking.log_missing(client, experiment, record, _origin(revision), folder)
        return record.name

    key = (experiment, record.digest)
    return Task(key, record.name, tracking.logged_files(record), write)


def _version(
    client: mlflow.MlflowClient, revision: Revision | None, records: Mapping[str, Record]
) -> Task:
    """Tell how to register a state's model, and hold it to the gate."""

    def write(folder: Path) -> str:
        settings = config.load(folder / "params.yaml")
        version = candidate.submit(client, settings, records, _origin(revision), folder)
        if revision is None:
            registry.challenge(client, version)
        return registry.summary(registry.reread(client, version))

    return Task(_model(records), "version", candidate.files(records), write)


def _lacks_version(client: mlflow.MlflowClient, records: Mapping[str, Record]) -> bool:
    """Tell whether a state's model was registered, but isn't now, or was not held to the gate."""
    version = registry.find(client, *_model(records))
    return version is None or registry.DECISION not in version.tags


def _see_to_aliases(client: mlflow.MlflowClient, records: Mapping[str, Record]) -> None:
    """Give the workspace's version the alias that register would, and crown the best version.

    Another state's task may have made that version, and who made the best one may have been
    killed before it could set the alias.
    """
    name, md5 = _model(records)
    version = registry.find(client, name, md5)
    if version is None:
        return
    if registry.with_alias(client, name, registry.CHALLENGER) is None:
        registry.challenge(client, version)
    registry.crown(client, name, records["prepare"].outs[candidate.VALIDATION])


def _registers(records: Mapping[str, Record]) -> bool:
    """Tell whether a state has a model, validation rows and a stage that registers it."""
    outs = [records[stage].outs for stage in ("prepare", "train") if stage in records]
    made = {path for paths in outs for path in paths}
    return "register" in records and {candidate.MODEL, candidate.VALIDATION} <= made


def _model(records: Mapping[str, Record]) -> Key:
    """Return the registered model's name, and the md5 of a state's version of it."""
    name = records["register"].params["register.model"]
    return str(name), records["train"].outs[candidate.MODEL]


def _origin(revision: Revision | None) -> dict[str, str]:
    return revision.tags if revision else source.tags()


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


if __name__ == "__main__":
    main()
