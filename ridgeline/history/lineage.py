"""Where a model or a run comes from, and how to bring that back.

What is asked for is found in MLflow, what it was made from by the md5s on its tags, and the
commit or DVC experiment that holds it by the content of its dvc.lock.
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
from mlflow.exceptions import MlflowException

from ridgeline import config
from ridgeline.errors import RevisionError, TrackingError
from ridgeline.history import revisions
from ridgeline.history.revisions import Revision
from ridgeline.tracking import records, registry, store
from ridgeline.tracking.runs import MODEL

WIDTH, INDENT = 80, 12
DEPS, OUTS = "dvc.deps.", "dvc.outs."


@dataclass(frozen=True)
class Origin:
    """A model version or a run: its name and tags, and where the runs are that it comes from.

    `run` is the run itself, if it is one; `experiment` the id of MLflow's experiment.
    """

    name: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    run: Run | None
    experiment: str

    @property
    def stage(self) -> str:
        """The stage that made it."""
        return self.tags["dvc.stage"]

    @property
    def models(self) -> dict[str, str]:
        """The models that it made, with their md5s."""
        return {p: md5 for p, md5 in self.results.items() if p.endswith(MODEL)}

    @property
    def results(self) -> dict[str, str]:
        """All that it made, with their md5s."""
        return _md5s(self.tags, OUTS)


def show(of: str, folder: Path | None) -> None:
    """Print where a model version or a run comes from, and how to restore that state.

    Parameters
    ----------
    of : str
        As for `find`.
    folder : Path, optional
        Where to restore it; None to print the commands that would.

    Raises
    ------
    RidgelineError
        When it can't be found in MLflow or in git, or not be restored.
    """
    client, settings = store.connect(), config.load()
    origin = find(client, settings, of)
    print(*_described(origin, trace(client, origin)), sep="\n")
    found = revisions.holding(origin.tags)
    if found is None:
        raise RevisionError(_not_in_git(origin))
    revision, exactly = found
    like = "holds it" if exactly else "holds the same, of other data, code or params"
    print(f"\n{revision} {like}.")
    if folder is None:
        print(*_commands(of, origin, revision), sep="\n")
    else:
        files = restore(origin, revision, folder)
        print(f"{folder} has all {files} files and folders of it, with their md5s:\n")
        print(*_rows("restored", _named(origin.models or origin.results)), sep="\n")


def find(client: mlflow.MlflowClient, settings: config.Settings, of: str) -> Origin:
    """Find a model version or a run in MLflow.

    Parameters
    ----------
    client : MlflowClient
        As by `store.connect`.
    settings : Settings
        Which name the registered model, if `of` does not.
    of : str
        ``models:/name/version``, ``models:/name@alias``, ``@alias`` or a run's id.

    Returns
    -------
    Origin
        Of a version, or of a run.

    Raises
    ------
    TrackingError
        When MLflow has no such thing, or it comes from no stage.
    """
    match = re.fullmatch(r"(?:models:/([^/@]+))?(?:/(\d+)|@([^/@]+))", of)
    run: Run | None = None
    aliases: tuple[str, ...] = ()
    if match is None:
        with store.speaking_of_mlflow():
            run = client.get_run(of)
        name, tags, experiment = f"run {of}", run.data.tags, run.info.experiment_id
    else:
        model = match[1] or settings.register.model
        version = registry.numbered(client, model, match[2]) if match[2] else None
        version = version or registry.with_alias(client, model, match[3])
        if version is None:
            raise TrackingError(f"{model} has no version with the alias {match[3]}; name another")
        name, tags = f"{model} version {registry.number(version)}", version.tags
        aliases = tuple(version.aliases)
        experiment = _experiment_of(client, version.run_id, settings.mlflow.experiment)
    if "dvc.stage" not in tags:
        raise TrackingError(f"{name} comes from no stage: it has no tag dvc.stage; name another")
    return Origin(name, aliases, tags, run, experiment)


def _experiment_of(client: mlflow.MlflowClient, run_id: str | None, name: str) -> str:
    """Return the id of the experiment that a version's run is in; else of the one with a name."""
    with store.speaking_of_mlflow():
        if run_id:
            with suppress(MlflowException):  # that run was deleted
                return str(client.get_run(run_id).info.experiment_id)
        found = client.get_experiment_by_name(name)
        return str(found.experiment_id) if found else ""


def trace(client: mlflow.MlflowClient, origin: Origin) -> dict[str, Run]:
    """Find the runs that something comes from: each made, by its md5, what a later one took.

    Parameters
    ----------
    client : MlflowClient
        As by `store.connect`.
    origin : Origin
        As by `find`.

    Returns
    -------
    dict of str to Run
        For each stage its newest run that made just this, the pipeline's first stage first;
        of several one that took what the tags say, if there is such a run.

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
            if made and made.data.tags["dvc.stage"] not in runs:
                visit(made, made.data.tags)
        if run:
            runs[tags["dvc.stage"]] = run

    made = origin.run or newest(records.DIGEST, origin.tags.get(records.DIGEST, ""))
    visit(made, origin.tags)
    return runs


def restore(origin: Origin, revision: Revision, folder: Path) -> int:
    """Bring a state back in a folder of its own, and prove that it is the one.

    Parameters
    ----------
    origin : Origin
        As by `find`.
    revision : Revision
        The commit or experiment that holds it.
    folder : Path
        Where a clone of it shall be; it must be empty, or not there.

    Returns
    -------
    int
        How many files and folders were found to have the md5 that they had.

    Raises
    ------
    RevisionError
        When something of it can't be had, or is not what it was.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RevisionError(f"{folder} is there already; name a folder that is not")
    try:
        revisions.lay_out(revision, folder)
        reason = revisions.bring(folder, [origin.stage], pull=False, upstream=True)
        if reason:
            reason = revisions.bring(folder, [origin.stage], pull=True, upstream=True)
        recorded = records.locked((folder / "dvc.lock").read_text(encoding="utf-8"))
        files: dict[Path, str] = {}
        for record in records.upstream(recorded, origin.stage):
            files |= {**record.deps, **record.outs}
        wrong = records.missing(files, folder)
        if wrong:
            absent = f"can't be had: {reason}" if reason else "is not there"
            raise RevisionError(
                "\n".join(
                    f"{path} {'is not what it was' if (folder / path).exists() else absent}"
                    for path in wrong
                )
            )
    except RevisionError:
        shutil.rmtree(folder, ignore_errors=True)  # half of it is of no use
        raise
    return len(files)


def _described(origin: Origin, runs: Mapping[str, Run]) -> Iterator[str]:
    """Yield the lines that tell where something comes from."""
    tags = origin.tags
    yield f"{origin.name}\n"
    if origin.aliases:
        yield from _rows("aliases", [", ".join(origin.aliases)])
    yield from _rows("model", _named(origin.models))
    changed = " and changes to it" if tags.get("git.dirty") == "true" else ""
    yield from _rows("commit", [tags.get("git.commit", "none") + changed])
    if "dvc.experiment" in tags:
        yield from _rows("experiment", [tags["dvc.experiment"]])
        yield from _rows("baseline", [tags.get("dvc.baseline", "")])
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
    """Yield the lines that say how to bring a state back."""
    url, ref = revisions.published(revision)
    yield "To have it back, in a folder of its own:\n"
    yield f"  python -m ridgeline lineage {shlex.quote(of)} --restore ../restored"
    yield "\nor, by hand:\n"
    yield f"  git clone {shlex.quote(url)} ../restored && cd ../restored"
    if ref:
        yield f"  git fetch origin {ref}"
    yield f"  git checkout {revision.commit}"
    yield f"  dvc pull --with-deps {origin.stage}"


def _not_in_git(origin: Origin) -> str:
    tags = origin.tags
    commit = f"commit {tags['git.commit'][:12]}" if "git.commit" in tags else "no commit"
    changed = " with changes" if tags.get("git.dirty") == "true" else ""
    return (
        f"no commit and no experiment here has a dvc.lock with what {origin.name} was made from "
        f"({commit}{changed}); fetch them with 'git fetch --all' and 'dvc exp pull', or commit it"
    )


def _md5s(tags: Mapping[str, str], kind: str) -> dict[str, str]:
    return {tag.removeprefix(kind): md5 for tag, md5 in tags.items() if tag.startswith(kind)}


def _named(md5s: Mapping[str, str]) -> list[str]:
    return [f"{md5:36}  {place}" for place, md5 in md5s.items()]


def _rows(title: str, texts: Iterable[str]) -> Iterator[str]:
    """Yield texts as lines beside a title, those that are too long folded."""
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
