"""Where a run comes from: the commit, the DVC experiment, and the execution it belongs to."""

import os
import platform
import re
import subprocess
from pathlib import Path

import psutil

from ridgeline.tracking.records import BASELINE, COMMIT, DIRTY, EXECUTION, EXPERIMENT, REMOTE

# What the pipeline writes into git's tree: a change there is no change of the code.
WRITTEN = (":!dvc.lock", ":!metrics", ":!metrics.json", ":!plots", ":!report.md")


def tags() -> dict[str, str]:
    """Return tags for the code, the DVC experiment and the execution that are running.

    Returns
    -------
    dict
        ``git.commit``; ``git.dirty``: whether anything but the pipeline's own outputs differs
        from that commit; ``git.remote`` without its login; ``dvc.experiment`` and
        ``dvc.baseline`` in an experiment; ``dvc.execution``, see `execution`. A tag that does not
        apply (no git, no remote, no experiment) is left out.
    """
    found = {EXECUTION: execution()}
    commit = git("rev-parse", "HEAD")
    if commit:
        changed = git("--no-optional-locks", "status", "--porcelain", "--", ":/", *WRITTEN)
        found |= {COMMIT: commit, DIRTY: str(bool(changed)).lower()}
    remote = remote_url()
    if remote:
        found[REMOTE] = public(remote)
    for tag, variable in (
        (EXPERIMENT, "DVC_EXP_NAME"),
        (BASELINE, "DVC_EXP_BASELINE_REV"),
    ):
        if os.environ.get(variable):
            found[tag] = os.environ[variable]
    return found


def execution() -> str:
    """Return the name of this execution, the same for all stages that one DVC process runs.

    Returns
    -------
    str
        Machine, process, and when the process began in seconds after the machine's start:
        ``host/4711/11862.31``. A stage that DVC does not run is an execution of its own.
    """
    me = psutil.Process()
    dvc = next((p for p in me.parents() if _is_dvc(p)), me)
    return f"{platform.node()}/{dvc.pid}/{_began(dvc)}"


def is_over(name: str) -> bool:
    """Return whether an execution on this machine is over; False if it is on another machine."""
    host, pid, began = name.rsplit("/", 2)
    if host != platform.node():
        return False
    try:
        process = psutil.Process(int(pid))
        return _began(process) != began or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def remote_url() -> str:
    """Return the URL that git fetches from by default; empty if there is none."""
    url = git("ls-remote", "--get-url")
    return "" if url == "origin" else url  # git's answer if it has no remote


def public(text: str) -> str:
    """Remove logins from the URLs in a text, and queries, which may hold a token.

    Of an ssh URL only the password is removed: the user is part of the address.
    """
    text = re.sub(r"(ssh://[^/:@\s]*):[^/\s]*@", r"\1@", text)
    text = re.sub(r"(?<!ssh)://[^/\s]*@", "://", text)
    return re.sub(r"(://[^\s?]*)\?[^\s']*", r"\1", text)


def git(*arguments: str, folder: Path | None = None) -> str:
    """Run git; return what it prints, or nothing if there is no git or it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, cwd=folder
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _began(process: psutil.Process) -> str:
    # relative to the machine's start, since the clock may be set
    return f"{process.create_time() - psutil.boot_time():.2f}"


def _is_dvc(process: psutil.Process) -> bool:
    try:
        return any(Path(part).name == "dvc" for part in process.cmdline()[:3])
    except psutil.Error:  # another user's, or it has just ended
        return False
