"""States of the project that git and DVC remember: found by content, laid out in a folder."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from configobj import ConfigObj
from dvc.config import Config, ConfigError, merge

from ridgeline.errors import RevisionError
from ridgeline.tracking import origin, records

EXPERIMENT = re.compile(r"refs/exps/(\w\w)/(\w{38})/(.+)")
LOCK = "dvc.lock"


@dataclass(frozen=True)
class Revision:
    """A commit, and the DVC experiment that it holds, if it does."""

    commit: str
    experiment: str = ""
    baseline: str = ""

    @property
    def tags(self) -> dict[str, str]:
        """Name it as `origin.tags` names what now runs."""
        remote = origin.remote_url()
        told = {
            "git.commit": self.commit,
            "git.dirty": "false",
            "git.remote": origin.public(remote),
            "dvc.experiment": self.experiment,
            "dvc.baseline": self.baseline,
            "dvc.execution": origin.execution(),
        }
        return {tag: value for tag, value in told.items() if value}

    def __str__(self) -> str:
        return f"experiment {self.experiment}" if self.experiment else f"commit {self.commit[:12]}"


def commits() -> list[Revision]:
    """List the commits of all branches and tags that changed dvc.lock, the oldest first."""
    listed = origin.git(
        *("rev-list", "--reverse", "--topo-order", "--full-history"),
        *("--branches", "--remotes", "--tags", "HEAD", "--", LOCK),
    )
    return [Revision(commit) for commit in listed.split()]


def experiments() -> list[Revision]:
    """List the DVC experiments that this repository has, the oldest first."""
    listed = origin.git(
        "for-each-ref", "--sort=creatordate", "--format=%(objectname) %(refname)", "refs/exps"
    )
    found = []
    for line in listed.splitlines():
        commit, _, ref = line.partition(" ")
        if match := EXPERIMENT.fullmatch(ref):
            found.append(Revision(commit, match[3], match[1] + match[2]))
    return found


def locks(revisions: Iterable[Revision]) -> Iterator[tuple[Revision, str]]:
    """Read the text of each revision's dvc.lock; those that have none are left out."""
    wanted = list(revisions)
    asked = "".join(f"{revision.commit}:{LOCK}\n" for revision in wanted)
    try:
        done = subprocess.run(
            ["git", "cat-file", "--batch"], input=asked.encode(), capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return
    answer = BytesIO(done.stdout)
    for revision in wanted:
        told = answer.readline().split()  # the object's id, kind and size, or what is missing
        if told[-1] != b"missing":
            yield revision, answer.read(int(told[-1])).decode("utf-8", "replace")
            answer.read(1)


def holding(tags: Mapping[str, str]) -> tuple[Revision, bool] | None:
    """Find the revision whose dvc.lock has a stage's outputs, from the tags that they bear.

    Parameters
    ----------
    tags : dict of str
        A run's or a version's, as by `runs.stage_tags`.

    Returns
    -------
    tuple of Revision and bool, or None
        The commit or experiment that holds them, wherever in git, and whether with the very
        same data, code and params: the first that has these, else the first with the outputs.
        Runs of a changed tree are mostly committed later, and an experiment has a commit of
        its own: so the content decides, and what the tags name is only where to look first.
    """
    of_experiment = tags.get("dvc.experiment", ""), tags.get("dvc.baseline", "")
    tried = experiments()
    own = [r for r in tried if (r.experiment, r.baseline) == of_experiment]
    if "git.commit" in tags:
        own.append(Revision(tags["git.commit"]))
    outs = {tag: md5 for tag, md5 in tags.items() if tag.startswith("dvc.outs.")}
    deps = {tag: md5 for tag, md5 in tags.items() if tag.startswith("dvc.deps.")}
    like = None
    for revision, text in locks([*_fetched(*of_experiment), *own, *commits(), *tried]):
        if not all(md5 in text for md5 in outs.values()):
            continue  # before the text is parsed, which takes a hundred times as long
        recorded = records.locked(text)
        record = recorded.get(tags["dvc.stage"])
        if record and outs.items() <= record.tags.items():
            # a version's tags also name the data that stages before its own were made from
            before = [r.tags.items() for r in records.upstream(recorded, record.name)]
            same = all(any(dep in stage for stage in before) for dep in deps.items())
            if same and record.digest == tags.get(records.DIGEST):
                return revision, True
            like = like or revision
    return (like, False) if like else None


def published(revision: Revision) -> tuple[str, str]:
    """Return the URL that a revision can be cloned from, and the ref to fetch it by, if needed.

    That is git's remote, without its login; or this folder, where only it has the revision.
    """
    remote = origin.remote_url()
    if origin.git("branch", "--remotes", "--contains", revision.commit):
        return origin.public(remote), ""
    ref = _ref(revision.experiment, revision.baseline)
    if remote and revision.experiment and origin.git("ls-remote", remote, ref):
        return origin.public(remote), ref
    return str(Path.cwd()), ""


def lay_out(revision: Revision, folder: Path) -> None:
    """Make a clone at a revision, which shares this repository's DVC cache and settings.

    Parameters
    ----------
    revision : Revision
        Of this repository.
    folder : Path
        Where the clone shall be: an empty folder, or none yet.

    Raises
    ------
    RevisionError
        When git can't make the clone, or DVC's settings can't be read.
    """
    root = Path.cwd()
    _git("clone", "--quiet", "--no-checkout", str(root), str(folder))
    _git("-C", str(folder), "checkout", "--quiet", "--detach", revision.commit)
    remote = origin.remote_url()
    if remote:
        _git("-C", str(folder), "remote", "set-url", "origin", remote)
    try:
        here = Config(str(root / ".dvc"), validate=False)
        settings = here.read("repo")
        merge(settings, here.read("local"))
    except ConfigError as error:
        raise RevisionError(f"DVC's settings can't be read; fix .dvc/config: {error}") from None
    # the remotes as they are today, and paths among them as seen from here; written by ConfigObj
    # itself, because DVC's own writing of it knows only ASCII
    local = ConfigObj(encoding="utf-8", interpolation=False)
    local["core"] = settings["core"]
    local["cache"] = {"dir": str(root / ".dvc/cache")} | settings["cache"]
    for name, remote in settings["remote"].items():
        local[f'remote "{name}"'] = remote
    path = folder / ".dvc/config.local"
    path.touch(mode=0o600)  # it may have a remote's keys
    with path.open("wb") as file:
        local.write(file)


def bring(folder: Path, targets: Iterable[str], *, pull: bool, upstream: bool = False) -> str:
    """Put outputs in their places, from DVC's cache or from its remote.

    Parameters
    ----------
    folder : Path
        A project's root.
    targets : iterable of str
        Stages or outputs, as ``dvc checkout`` takes them.
    pull : bool
        Whether to get from the remote what the cache lacks.
    upstream : bool
        Whether to bring also what the targets were made from.

    Returns
    -------
    str
        Why not all of it could be brought; nothing, if it could.
    """
    command = [sys.executable, "-m", "dvc", "--cd", str(folder), "pull" if pull else "checkout"]
    done = subprocess.run(
        [*command, *(["--with-deps"] if upstream else []), *targets],
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.returncode:
        return ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    told = [line.removeprefix("ERROR: ") for line in errors if "Checkout failed" not in line]
    where = "neither in DVC's cache nor in its remote" if pull else "not in DVC's cache"
    return origin.public(told[0]) if told else f"it is {where}"


def _fetched(experiment: str, baseline: str) -> list[Revision]:
    """Get an experiment that only git's remote has: its objects, without a name here."""
    ref = _ref(experiment, baseline)
    if not (experiment and baseline and origin.remote_url()) or origin.git("rev-parse", ref):
        return []
    origin.git("fetch", "--quiet", "origin", ref)
    commit = origin.git("rev-parse", "--verify", "--quiet", "FETCH_HEAD")
    return [Revision(commit, experiment, baseline)] if commit else []


def _ref(experiment: str, baseline: str) -> str:
    return f"refs/exps/{baseline[:2]}/{baseline[2:]}/{experiment}"


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RevisionError(f"git can't bring it back: {origin.public(done.stderr.strip())}")
