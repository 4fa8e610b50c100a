"""Where a run comes from: the commit, the DVC experiment, and the execution it belongs to."""

import os
import platform
import re
import subprocess
from pathlib import Path

import psutil

# What the pipeline itself writes into git's tree; it says nothing of the code that wrote it.
WRITTEN = (":!dvc.lock", ":!metrics", ":!plots")


def tags() -> dict[str, str]:
    """Tell the state of the code, the DVC experiment and the execution that now run.

    Returns
    -------
    dict
        ``git.commit``; ``git.dirty``: whether anything but the pipeline's own outputs differs
        from that commit; ``git.remote`` without its login; ``dvc.experiment`` and
        ``dvc.baseline`` in an experiment; ``dvc.execution``, see `execution`. What there is
        not (no git, no remote, no experiment) is left out.
    """
    found = {"dvc.execution": execution()}
    commit = git("rev-parse", "HEAD")
    if commit:
        changed = git("--no-optional-locks", "status", "--porcelain", "--", ":/", *WRITTEN)
        found |= {"git.commit": commit, "git.dirty": str(bool(changed)).lower()}
    remote = remote_url()
    if remote:
        found["git.remote"] = public(remote)
    for tag, variable in (
        ("dvc.experiment", "DVC_EXP_NAME"),
        ("dvc.baseline", "DVC_EXP_BASELINE_REV"),
    ):
        if os.environ.get(variable):
            found[tag] = os.environ[variable]
    return found


def execution() -> str:
    """Name this execution of the pipeline: the same for all stages that one DVC process runs.

    Returns
    -------
    str
        Machine, process and the second after the machine's start in which the process began:
        ``host/4711/11862.31``. A stage that DVC doesn't run is an execution of its own.
    """
    me = psutil.Process()
    dvc = next((p for p in me.parents() if _is_dvc(p)), me)
    return f"{platform.node()}/{dvc.pid}/{_began(dvc)}"


def is_over(name: str) -> bool:
    """Tell whether an execution is known to be over: one of this machine, its process gone."""
    host, pid, began = name.rsplit("/", 2)
    if host != platform.node():
        return False
    try:
        process = psutil.Process(int(pid))
        return _began(process) != began or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def remote_url() -> str:
    """Return the URL that git would fetch from by default; empty, if there is none."""
    url = git("ls-remote", "--get-url")
    return "" if url == "origin" else url  # so git says that it has none


def public(text: str) -> str:
    """Leave the login out of the URLs in a text; of ssh's only the password, the user is its place.

    Also what comes after a ``?``, where some keep a token.
    """
    text = re.sub(r"(ssh://[^/:@\s]*):[^/\s]*@", r"\1@", text)
    text = re.sub(r"(?<!ssh)://[^/\s]*@", "://", text)
    return re.sub(r"(://[^\s?]*)\?[^\s']*", r"\1", text)


def git(*arguments: str, folder: Path | None = None) -> str:
    """Ask git; return what it prints, nothing where there is no git or no answer."""
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, cwd=folder
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _began(process: psutil.Process) -> str:
    # counted from the machine's start, for the clock may be set
    return f"{process.create_time() - psutil.boot_time():.2f}"


def _is_dvc(process: psutil.Process) -> bool:
    try:
        return any(Path(part).name == "dvc" for part in process.cmdline()[:3])
    except psutil.Error:  # it is someone else's, or has just ended
        return False
