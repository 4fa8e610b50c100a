"""Find earlier states of the project in git and DVC by their content, and check them out."""

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
    """A commit; if it is a DVC experiment, also its name and baseline."""

    commit: str
    experiment: str = ""
    baseline: str = ""

    @property
    def tags(self) -> dict[str, str]:
        """The tags of a run of this revision; see `origin.tags`."""
        remote = origin.remote_url()
        tags = {
            records.COMMIT: self.commit,
            records.DIRTY: "false",
            records.REMOTE: origin.public(remote),
            records.EXPERIMENT: self.experiment,
            records.BASELINE: self.baseline,
            records.EXECUTION: origin.execution(),
        }
        return {tag: value for tag, value in tags.items() if value}

    def __str__(self) -> str:
        return f"experiment {self.experiment}" if self.experiment else f"commit {self.commit[:12]}"


def commits() -> list[Revision]:
    """List the commits of all branches and tags that changed dvc.lock, oldest first."""
    listed = origin.git(
        *("rev-list", "--reverse", "--topo-order", "--full-history"),
        *("--branches", "--remotes", "--tags", "HEAD", "--", LOCK),
    )
    return [Revision(commit) for commit in listed.split()]


def experiments() -> list[Revision]:
    """List the DVC experiments in this repository, oldest first."""
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
    """Yield the text of each revision's dvc.lock; skip revisions without one."""
    wanted = list(revisions)
    request = "".join(f"{revision.commit}:{LOCK}\n" for revision in wanted)
    try:
        done = subprocess.run(
            ["git", "cat-file", "--batch"], input=request.encode(), capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return
    answer = BytesIO(done.stdout)
    for revision in wanted:
        header = answer.readline().split()  # ends with the size of the object, or "missing"
        if header[-1] != b"missing":
            yield revision, answer.read(int(header[-1])).decode("utf-8", "replace")
            answer.read(1)  # the newline after the object


def holding(tags: Mapping[str, str]) -> tuple[Revision, bool] | None:
    """Find the revision whose dvc.lock has the outputs in the tags of a run or version.

    Parameters
    ----------
    tags : dict of str
        Of the run or version, as by `runs.stage_tags`.

    Returns
    -------
    tuple of Revision and bool, or None
        The commit or experiment, and whether its data, code and params are also the same. The
        first revision with all of them is returned, or else the first with the outputs. The
        commit and experiment in the tags are tried first, but often do not match: changes may be
        committed after the run, and each experiment has its own commit.
    """
    of_experiment = tags.get(records.EXPERIMENT, ""), tags.get(records.BASELINE, "")
    tried = experiments()
    own = [r for r in tried if (r.experiment, r.baseline) == of_experiment]
    if records.COMMIT in tags:
        own.append(Revision(tags[records.COMMIT]))
    outs = {tag: md5 for tag, md5 in tags.items() if tag.startswith(records.OUTS)}
    deps = {tag: md5 for tag, md5 in tags.items() if tag.startswith(records.DEPS)}
    like = None
    for revision, text in locks([*_fetched(*of_experiment), *own, *commits(), *tried]):
        if not all(md5 in text for md5 in outs.values()):
            continue  # parsing the text would take a hundred times as long
        recorded = records.locked(text)
        record = recorded.get(tags[records.STAGE])
        if record and outs.items() <= record.tags.items():
            # a version's tags also include the data that earlier stages read
            before = [r.tags.items() for r in records.upstream(recorded, record.name)]
            same = all(any(dep in stage for stage in before) for dep in deps.items())
            if same and record.digest == tags.get(records.DIGEST):
                return revision, True
            like = like or revision
    return (like, False) if like else None


def published(revision: Revision) -> tuple[str, str]:
    """Return the URL to clone a revision from, and the ref to fetch if cloning does not get it.

    The URL is git's remote without its login, or this folder if the remote has no such revision.
    """
    remote = origin.remote_url()
    if origin.git("branch", "--remotes", "--contains", revision.commit):
        return origin.public(remote), ""
    ref = _ref(revision.experiment, revision.baseline)
    if remote and revision.experiment and origin.git("ls-remote", remote, ref):
        return origin.public(remote), ref
    return str(Path.cwd()), ""


def lay_out(revision: Revision, folder: Path) -> None:
    """Clone this repository at a revision; the clone shares its DVC cache and settings.

    Parameters
    ----------
    revision : Revision
        Of this repository.
    folder : Path
        Where to clone to: an empty or a new folder.

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
    # Remotes may have changed since the revision: use today's, with paths resolved from here.
    # ConfigObj writes the file, because DVC's own writer supports only ASCII.
    local = ConfigObj(encoding="utf-8", interpolation=False)
    local["core"] = settings["core"]
    local["cache"] = {"dir": str(root / ".dvc/cache")} | settings["cache"]
    for name, remote in settings["remote"].items():
        local[f'remote "{name}"'] = remote
    path = folder / ".dvc/config.local"
    path.touch(mode=0o600)  # it may contain a remote's keys
    with path.open("wb") as file:
        local.write(file)


def bring(folder: Path, targets: Iterable[str], *, pull: bool, upstream: bool = False) -> str:
    """Restore outputs from DVC's cache or from its remote.

    Parameters
    ----------
    folder : Path
        A project's root.
    targets : iterable of str
        Stages or outputs, as ``dvc checkout`` takes them.
    pull : bool
        Whether to fetch files that are missing from the cache from the remote.
    upstream : bool
        Whether to also restore the outputs that the targets were made from.

    Returns
    -------
    str
        Why a file could not be restored; empty if all were.
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
    reasons = [line.removeprefix("ERROR: ") for line in errors if "Checkout failed" not in line]
    where = "neither in DVC's cache nor in its remote" if pull else "not in DVC's cache"
    return origin.public(reasons[0]) if reasons else f"it is {where}"


def _fetched(experiment: str, baseline: str) -> list[Revision]:
    """Fetch an experiment that only git's remote has, without creating a ref for it."""
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
        raise RevisionError(f"git can't restore this state: {origin.public(done.stderr.strip())}")
