"""What a branch changes: a page for its reviewers, made from git alone, without data or MLflow."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ridgeline.config import read_yaml
from ridgeline.errors import RevisionError
from ridgeline.files import PLOTS, REPORT, md5_of, replacing
from ridgeline.history.revisions import LOCK
from ridgeline.tracking import origin, records

PAGE = "changes.md"


def write(base: str, folder: Path) -> Path:
    """Write the page, with its figures beside it, to a folder; return its path.

    Parameters
    ----------
    base : str
        The commit to compare with; of a branch, the commit where the two parted.
    folder : Path
        A new folder, or one that this has written.

    Raises
    ------
    RevisionError
        If there is no such commit, or the folder has other files.
    """
    parted = origin.git("merge-base", base, "HEAD")
    if not parted:
        if not origin.git("rev-parse", "--verify", "HEAD"):
            text = "this folder is in no git repository with a commit; clone the project"
            raise RevisionError(text)
        raise RevisionError(f"git knows no commit {base!r} that HEAD comes from; fetch it")
    if folder.exists() and not (folder / PAGE).exists():
        raise RevisionError(f"{folder} exists, and not from an earlier run; name another folder")
    with replacing(folder) as partial:
        partial.mkdir()
        page = "\n\n".join(_page(parted, partial)) + "\n"
        (partial / PAGE).write_text(page, encoding="utf-8")
    return folder / PAGE


def outdated() -> dict[str, list[str]]:
    """Return the stages whose entry in dvc.lock does not match what is in git, and what differs.

    Commands, code, params and files in git are compared, files by md5, or that in their .dvc file;
    of data that only DVC has, whether the stage that made it and those that use it have one md5.
    """
    lock = Path(LOCK)
    locked = records.locked(lock.read_text(encoding="utf-8")) if lock.is_file() else {}
    ran = read_yaml(lock)["stages"] if locked else {}
    made = {path: md5 for record in locked.values() for path, md5 in record.outs.items()}
    found: dict[str, list[str]] = {}
    for name, declared in read_yaml(Path("dvc.yaml"))["stages"].items():
        stage, record = records.load(name), locked.get(name)
        if record is None:
            found[name] = ["it never ran"]
            continue
        was = {**record.deps, **record.outs}
        now = {path: _md5(path, made) for path in (*stage.deps, *stage.outs)}
        keys = {*stage.params, *record.params}
        changed = [path.as_posix() for path in now if now[path] not in (was.get(path), None)]
        changed += sorted(path.as_posix() for path in was.keys() - now.keys())
        changed += sorted(k for k in keys if stage.params.get(k) != record.params.get(k))
        changed += ["cmd"] if declared["cmd"] != ran[name]["cmd"] else []
        if changed:
            found[name] = changed
    return found


def _md5(path: Path, made: dict[Path, str]) -> str | None:
    """Return the md5 of a file or folder in git, or of `dvc add`, or that its stage recorded."""
    added = path.with_name(f"{path.name}.dvc")
    if origin.git("ls-files", "--", str(added)):
        return str(read_yaml(added)["outs"][0].get("md5"))
    return md5_of(path) if origin.git("ls-files", "--", str(path)) else made.get(path)


def _page(base: str, folder: Path) -> Iterator[str]:
    yield f"# Changes since {base[:7]}"
    stale = [f"- {name}: {', '.join(map(_code, what))}" for name, what in outdated().items()]
    if stale:
        yield "**dvc.lock is out of date**; run `make repro` and commit. What differs:"
        yield "\n".join(stale)
    else:
        yield "dvc.lock is up to date with the code, data and params in git."
    for title, command in (("Params", "params"), ("Metrics", "metrics")):
        yield f"## {title}"
        short = base[:7].ljust(len(base))  # columns stay aligned
        table = _dvc(command, "diff", "--md", base).replace(base, short)
        yield table if table.count("\n") > 1 else "No differences."  # than a header
    yield "## Report"
    plain = ("--no-color", "--no-ext-diff")  # whatever git's settings are
    changed = origin.git("diff", *plain, "--unified=0", base, "--", str(REPORT)).splitlines()
    kept = [line for line in changed if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    yield "```diff\n" + "\n".join(kept) + "\n```" if kept else "No differences."
    yield "## Figures"
    names = origin.git("diff", "--name-only", base, "--", f"{PLOTS}/*.png").splitlines()
    for name in names:
        sides = [_figure(folder, side, name, base) for side in ("before", "after")]
        yield f"{_code(name)}\n\n| before | after |\n| --- | --- |\n| {' | '.join(sides)} |"
    if not names:
        yield "No differences."


def _figure(folder: Path, side: str, name: str, base: str) -> str:
    """Write a figure as it was before or is now; return the Markdown that shows it."""
    if side == "after":
        content = Path(name).read_bytes() if Path(name).exists() else b""
    else:
        command = ["git", "show", f"{base}:{name}"]
        content = subprocess.run(command, capture_output=True, check=False).stdout
    if not content:
        return "–"
    place = folder / side / Path(name).name
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content)
    return f"![{side}]({side}/{place.name})"


def _dvc(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RevisionError(f"'dvc {' '.join(arguments)}' failed: {done.stderr.strip()}")
    return done.stdout.strip()


def _code(text: str) -> str:
    return f"`{text}`"
