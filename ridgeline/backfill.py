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
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow

from ridgeline import candidate, config, pipeline, registry, revisions, source, tracking
from ridgeline.errors import RevisionError, SettingsError, told
from ridgeline.pipeline import Record
from ridgeline.revisions import Revision


@dataclass(frozen=True)
class Task:
    """A stage's run or a version to write, and the files it is written from with their md5s.

    `write` takes the folder in which they are, and returns what it wrote in words.
    """

    name: str
    files: Mapping[Path, str]
    write: Callable[[Path], str]


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
    registered: set[str] = set()
    found = failed = 0
    for revision, records in _states(history):
        tasks = []
        for record in records.values():
            experiment = record.params.get("mlflow.experiment", default)
            if record.digest not in logged(experiment):
                tasks.append(_run(client, experiment, revision, record))
                logged(experiment).add(record.digest)  # whatever becomes of it, once is enough
        if {"prepare", "train", "register"} <= {*records}:
            model = records["train"].outs[candidate.MODEL]
            if model not in registered and _lacks_version(client, records):
                tasks.append(_version(client, revision, records))
            registered.add(model)
        if not tasks:
            continue
        found += 1
        state = revision or "workspace"
        done, problems = _do(revision, tasks, pull=pull)
        if done:
            print(f"{state}: {', '.join(done)}")
        for problem in problems:
            failed += 1
            print(f"error: {state}: {problem}", file=sys.stderr)
    if not found:
        print("MLflow has all of it; nothing was written")
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
) -> tuple[list[str], list[str]]:
    """Do a state's tasks; return what was written, and why the rest can't be."""
    done, impossible = [], []
    try:
        with _laid_out(revision) as folder:
            reason = _bring(folder, tasks, pull=pull)
            for task in tasks:
                lacking = pipeline.missing(task.files, folder)
                if lacking:
                    impossible.append((task.name, lacking[0]))
                else:
                    done.append(task.write(folder))
    except (RevisionError, SettingsError) as error:
        return done, [str(error)]
    if not impossible:
        return done, []
    names = ", ".join(name for name, _ in impossible)
    return done, [f"no {names}: {impossible[0][1]} {reason}"]


def _run(
    client: mlflow.MlflowClient, experiment: str, revision: Revision | None, record: Record
) -> Task:
    """Tell how to write a stage's run."""

    def write(folder: Path) -> str:
        tracking.log_missing(client, experiment, record, _origin(revision), folder)
        return record.name

    return Task(record.name, tracking.logged_files(record), write)


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

    return Task("version", candidate.files(records), write)


def _lacks_version(client: mlflow.MlflowClient, records: Mapping[str, Record]) -> bool:
    """Tell whether a state's model was registered, but isn't now, or was not held to the gate."""
    name = records["register"].params["register.model"]
    version = registry.find(client, name, records["train"].outs[candidate.MODEL])
    return version is None or registry.DECISION not in version.tags


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
