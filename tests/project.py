"""The project as a user has it: a clone, the programs run in it, and what they leave in MLflow."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML

if TYPE_CHECKING:
    import mlflow

ROOT = Path(__file__).parent.parent
PROGRAMS = Path(sys.executable).parent
STAGES = [*YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]]
MODEL = "Reg_RidgeCV_possums"
# A warning fails a process, unless it is about the tools' own code. (Their servers, and the workers
# of DVC's queue, have others: they run without.)
WARNINGS = (
    "error",
    "ignore::DeprecationWarning",
    "ignore::ResourceWarning",
    "ignore:\033[1;33mAny type hint is inferred as AnyType:UserWarning",
)


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment, without what would lead a run elsewhere."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(
            ("MLFLOW_", "DVC_", "AWS_", "GIT_", "PYTEST_", "OPENBLAS_", "MAKE", "MFLAGS")
        )
    }
    return kept | {
        "PYTHONWARNINGS": ",".join(WARNINGS),
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "GIT_AUTHOR_NAME": "tests",
        "GIT_AUTHOR_EMAIL": "tests@example.invalid",
        "GIT_COMMITTER_NAME": "tests",
        "GIT_COMMITTER_EMAIL": "tests@example.invalid",
        **changes,
    }


def run(
    *command: str, cwd: Path, check: bool = True, timeout: float = 900, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; fail with all that it printed when it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        pytest.fail(f"{command} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def clone(folder: Path) -> Path:
    """Clone the project to `folder`, with what is not yet committed, as a commit."""
    run("git", "clone", "--quiet", str(ROOT), str(folder), cwd=ROOT)
    listed = run("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=ROOT).stdout
    here = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for name in here:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    for name in set(run("git", "ls-files", "-z", cwd=folder).stdout.split("\0")) - here - {""}:
        (folder / name).unlink()
    run("git", "add", "--all", cwd=folder)
    run("git", "commit", "--quiet", "--allow-empty", "--message", "as it stands", cwd=folder)
    return folder


def installed(project: Path) -> Path:
    """Give a clone the packages that run this test, so that `make` installs none."""
    (project / ".venv").symlink_to(PROGRAMS.parent)
    for lock_file in project.glob("requirements*.txt"):
        os.utime(lock_file, (0, 0))  # what is installed here is up to date
    return project


def store(project: Path) -> "mlflow.MlflowClient":
    import mlflow  # takes seconds, for which every worker would wait before its first test

    return mlflow.MlflowClient(f"sqlite:///{project / 'mlflow.db'}")


def runs(project: Path) -> "list[mlflow.entities.Run]":
    client = store(project)
    experiment = client.get_experiment_by_name("Possum_tails")
    return client.search_runs([experiment.experiment_id], order_by=["start_time"])


def ran(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.split("'")[1] for line in done.stdout.splitlines() if "Running stage" in line]


def messages(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines of stderr but for those of progress, which a busy machine shows."""
    return [line for line in done.stderr.splitlines() if not re.search(r" rows/s, .* left$", line)]


def edit(project: Path, old: str, new: str) -> None:
    params = project / "params.yaml"
    assert old in params.read_text()
    params.write_text(params.read_text().replace(old, new))


def documented_models() -> list[str]:
    """Return the models that docs/models.md lists as tried, besides those that stream."""
    return re.findall(r"^- `(\S+)`$", (ROOT / "docs/models.md").read_text(), re.MULTILINE)


def sweep_ends(project: Path, succeeded: int) -> None:
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        status = run("dvc", "queue", "status", cwd=project).stdout
        if status.count("Success") + status.count("Failed") == succeeded:
            break
        time.sleep(1)
    assert status.count("Success") == succeeded, status
