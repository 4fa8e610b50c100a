"""Trace a model version or a run to its data, code and params, and restore them.

MLflow has the version or run. The runs that it comes from are found by the md5s in its tags, and
the commit or DVC experiment that contains it is found by the content of dvc.lock.
"""

import re
import shlex
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ridgeline import config
from ridgeline.errors import ModelError, RevisionError, TrackingError
from ridgeline.history import revisions
from ridgeline.history.revisions import Revision
from ridgeline.tracking import records, store
from ridgeline.tracking.records import BASELINE, COMMIT, DEPS, DIRTY, EXPERIMENT, OUTS, STAGE
from ridgeline.tracking.registry import Registry, number, version_named
from ridgeline.tracking.skops_format import MODEL

WIDTH, INDENT = 80, 12


@dataclass(frozen=True)
class Origin:
    """A model version or a run; `run` is None for a version.

    `experiment` is the id of the MLflow experiment that contains the runs it comes from.
    """

    name: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    run: Run | None
    experiment: str

    @property
    def stage(self) -> str:
        """The stage that produced it."""
        return self.tags[STAGE]

    @property
    def models(self) -> dict[str, str]:
        """The models among its outputs, with their md5s."""
        return {p: md5 for p, md5 in self.results.items() if p.endswith(MODEL)}

    @property
    def results(self) -> dict[str, str]:
        """The outputs of its stage, with their md5s."""
        return _md5s(self.tags, OUTS)


def show(of: str, folder: Path | None) -> None:
    """Print where a model version or a run comes from, and how to restore that state.

    Parameters
    ----------
    of : str
        As for `find`.
    folder : Path, optional
        Where to restore it; None prints the commands that would restore it.

    Raises
    ------
    RidgelineError
        When it can't be found in MLflow or in git, or can't be restored.
    """
    settings, client = config.load(), store.connect()
    origin = find(client, settings, of)
    print(*_described(origin, trace(client, origin)), sep="\n")
    found = revisions.holding(origin.tags)
    if found is None:
        raise RevisionError(not_in_git(origin))
    revision, exactly = found
    match = "it" if exactly else "the same outputs, made from other data, code or params"
    print(f"\n{revision} contains {match}.")
    if folder is None:
        print(*_commands(of, origin, revision), sep="\n")
    else:
        files = restore(origin, revision, folder)
        print(f"Restored {files} files and folders in {folder}, all with the recorded md5s:\n")
        print(*_rows("restored", _named(origin.models or origin.results)), sep="\n")


def find(client: mlflow.MlflowClient, settings: config.Settings, of: str) -> Origin:
    """Find a model version or a run in MLflow.

    Parameters
    ----------
    client : MlflowClient
        As by `store.connect`.
    settings : Settings
        They name the registered model if `of` does not.
    of : str
        A version (see `version_named`), a model's md5 or a run's id.

    Raises
    ------
    ModelError
        When MLflow has no such version.
    TrackingError
        When it has no such run, or the version or run was not made by a stage.
    """
    model = Registry(client, settings.register.model)
    version: ModelVersion | None
    run: Run | None = None
    if re.fullmatch("[0-9a-f]{32}", of):
        version = model.find(of)
    else:
        try:
            model, version = version_named(client, of, model.name)
        except ModelError as error:
            if re.fullmatch("[0-9a-f]{4,}", of) and not of.isdecimal():
                hint = "write all 32 digits of a model's md5 or a run's id"
                raise ModelError(f"{error}; {hint}") from None
            raise
    if version is None:
        with store.speaking_of_mlflow():
            run = client.get_run(of)
        name, tags, experiment = f"run {of}", run.data.tags, run.info.experiment_id
    else:
        name, tags = f"{model.name} version {number(version)}", version.tags
        experiment = _experiment_of(client, version.run_id, settings.mlflow.experiment)
    if STAGE not in tags:
        raise TrackingError(f"{name} was not made by a stage: it has no tag dvc.stage; use another")
    return Origin(name, tuple(version.aliases) if version else (), tags, run, experiment)


def _experiment_of(client: mlflow.MlflowClient, run_id: str | None, name: str) -> str:
    """Return the id of the experiment of a version's run, or of the named one without a run."""
    with store.speaking_of_mlflow():
        if run_id:
            with suppress(MlflowException):  # the run was deleted
                return str(client.get_run(run_id).info.experiment_id)
        found = client.get_experiment_by_name(name)
        return str(found.experiment_id) if found else ""


def trace(client: mlflow.MlflowClient, origin: Origin) -> dict[str, Run]:
    """Find the runs that a version or run comes from, by the md5s of their deps and outputs.

    Parameters
    ----------
    client : MlflowClient
        As by `store.connect`.
    origin : Origin
        As by `find`.

    Returns
    -------
    dict of str to Run
        The newest run of each stage that made these outputs, in the order of the pipeline. Runs
        whose deps are those in the origin's tags are preferred.

    Raises
    ------
    TrackingError
        When MLflow can't be reached.
    """
    runs: dict[str, Run] = {}

    def newest(tag: str, value: str) -> Run | None:
        if not origin.experiment:
            return None
        with store.speaking_of_mlflow():
            wanted = f"tags.`{tag}` = '{value}' AND attributes.status = 'FINISHED'"
            found = client.search_runs([origin.experiment], wanted, max_results=1000)
        return next(filter(agrees, found), found[0] if found else None)

    def agrees(run: Run) -> bool:
        deps = ((tag, md5) for tag, md5 in run.data.tags.items() if tag.startswith(DEPS))
        return all(origin.tags.get(tag, md5) == md5 for tag, md5 in deps)

    def visit(run: Run | None, tags: Mapping[str, str]) -> None:
        for place, md5 in _md5s(tags, DEPS).items():
            of_code = Path(place).parts[0] in records.CODE
            made = None if of_code else newest(f"{OUTS}{place}", md5)
            if made and made.data.tags[STAGE] not in runs:
                visit(made, made.data.tags)
        if run:
            runs[tags[STAGE]] = run

    made = origin.run or newest(records.DIGEST, origin.tags.get(records.DIGEST, ""))
    visit(made, origin.tags)
    return runs


def restore(origin: Origin, revision: Revision, folder: Path) -> int:
    """Restore a state in a separate folder, and verify the md5s of its files.

    Parameters
    ----------
    origin : Origin
        As by `find`.
    revision : Revision
        The commit or experiment that contains it.
    folder : Path
        Where to clone to: an empty or a new folder.

    Returns
    -------
    int
        The number of files and folders whose md5 was verified.

    Raises
    ------
    RevisionError
        When a file can't be restored, or does not have the recorded md5.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RevisionError(f"{folder} already exists; choose an empty or a new folder")
    try:
        revisions.lay_out(revision, folder)
        reason = revisions.bring(folder, [origin.stage], pull=False, upstream=True)
        if reason:
            reason = revisions.bring(folder, [origin.stage], pull=True, upstream=True)
        recorded = records.locked((folder / "dvc.lock").read_text(encoding="utf-8"))
        files: dict[Path, str] = {}
        for record in records.upstream(recorded, origin.stage):
            files |= {**record.deps, **record.outs}
        if wrong := records.missing(files, folder):
            absent = f"can't be restored: {reason}" if reason else "is missing"
            other = "does not have the recorded md5"
            lines = [f"{path} {other if (folder / path).exists() else absent}" for path in wrong]
            raise RevisionError("\n".join(lines))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # a partly restored state is of no use
        raise
    return len(files)


def _described(origin: Origin, runs: Mapping[str, Run]) -> Iterator[str]:
    """Yield the lines that describe where a version or run comes from."""
    tags = origin.tags
    yield f"{origin.name}\n"
    if origin.aliases:
        yield from _rows("aliases", [", ".join(origin.aliases)])
    yield from _rows("model", _named(origin.models))
    changed = " with uncommitted changes" if tags.get(DIRTY) == "true" else ""
    yield from _rows("commit", [tags.get(COMMIT, "none") + changed])
    if EXPERIMENT in tags:
        yield from _rows("experiment", [tags[EXPERIMENT]])
        yield from _rows("baseline", [tags.get(BASELINE, "")])
    yield from _rows("runs", [f"{run.info.run_id}  {stage}" for stage, run in runs.items()])
    made = {place for run in runs.values() for place in _md5s(run.data.tags, OUTS)}
    taken = {
        place: md5 for run in runs.values() for place, md5 in _md5s(run.data.tags, DEPS).items()
    } | _md5s(tags, DEPS)
    data = {place: md5 for place, md5 in taken.items() if records.is_table(Path(place), md5)}
    yield from _rows("data", _named({p: data[p] for p in sorted(data, key=lambda p: p in made)}))
    params = {key: value for run in runs.values() for key, value in run.data.params.items()}
    yield from _rows("params", [f"{key}: {value}" for key, value in params.items()])


def _commands(of: str, origin: Origin, revision: Revision) -> Iterator[str]:
    """Yield the lines that explain how to restore a state."""
    url, ref = revisions.published(revision)
    yield "To restore it in a separate folder:\n"
    yield f"  python -m ridgeline lineage {shlex.quote(of)} --restore ../restored"
    yield "\nor by hand:\n"
    yield f"  git clone {shlex.quote(url)} ../restored && cd ../restored"
    if ref:
        yield f"  git fetch origin {ref}"
    yield f"  git checkout {revision.commit}"
    yield f"  dvc pull --with-deps {origin.stage}"


def not_in_git(origin: Origin) -> str:
    """Return the error for a version or run that no commit or experiment contains."""
    tags = origin.tags
    commit = f"commit {tags[COMMIT][:12]}" if COMMIT in tags else "no commit is known"
    changed = " with uncommitted changes" if tags.get(DIRTY) == "true" else ""
    return (
        f"no commit or experiment in this repository has a dvc.lock that matches {origin.name} "
        f"({commit}{changed}); run 'git fetch --all' and 'dvc exp pull', or commit dvc.lock"
    )


def _md5s(tags: Mapping[str, str], kind: str) -> dict[str, str]:
    return {tag.removeprefix(kind): md5 for tag, md5 in tags.items() if tag.startswith(kind)}


def _named(md5s: Mapping[str, str]) -> list[str]:
    return [f"{md5:36}  {place}" for place, md5 in md5s.items()]


def _rows(title: str, texts: Iterable[str]) -> Iterator[str]:
    """Yield texts as lines beside a title; wrap long lines."""
    for text in texts:
        yield textwrap.fill(
            text,
            WIDTH,
            initial_indent=f"{title:{INDENT}}",
            subsequent_indent=" " * (INDENT + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
        title = ""
