"""What tests share: a fresh clone of the project, and programs run in it as a user would."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAMS = Path(sys.executable).parent
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
    *command: str, cwd: Path, check: bool = True, timeout: float = 300, **changes: str
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest files first, so that no worker is left with one when all others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name != "test_readme.py", item.path not in slow))


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have all temporary files, also those of killed processes, in a folder that pytest removes."""
    os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("tmp"))
    tempfile.tempdir = None  # to be found again


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which nothing has run."""
    return clone(tmp_path_factory.mktemp("fresh") / "project")


STORE = ("mlflow.db", "mlartifacts")


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which `dvc repro` ran once; each module has a copy of it."""
    folder = clone(tmp_path_factory.mktemp("pristine") / "project")
    run("dvc", "repro", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def reproduced(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which `dvc repro` ran once; a test that changes it must change it back."""
    folder = tmp_path_factory.mktemp("reproduced") / "project"
    shutil.copytree(pristine, folder, symlinks=True)
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
            ("model_versions", "storage_location"),
        ):
            moved = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"  # noqa: S608 - names above
            database.execute(moved, (str(pristine), str(folder)))
    return folder


@pytest.fixture
def unchanged(reproduced: Path, pristine: Path) -> Iterator[Path]:
    """The reproduced clone; whatever the test does to it is undone, but for MLflow's store."""
    yield reproduced
    for path in reproduced.iterdir():
        if path.name not in STORE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    left_alone = shutil.ignore_patterns(*STORE)
    shutil.copytree(pristine, reproduced, symlinks=True, dirs_exist_ok=True, ignore=left_alone)
