"""Fixtures that tests share: a fresh clone of the project, and one in which all has run."""

import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from project import clone, run

from ridgeline import __main__ as command


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
    """A clone in which `dvc repro` ran once, for all workers; each module has a copy of it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker's folder is in that of the whole run
        shared = shared.parent
    folder, reproduced = shared / "pristine" / "project", shared / "pristine-reproduced"
    with (shared / "pristine-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not reproduced.exists():
            shutil.rmtree(folder, ignore_errors=True)
            run("dvc", "repro", cwd=clone(folder))
            reproduced.touch()
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


@pytest.fixture
def ridgeline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int | str, str, str]]:
    """Runs a command in this process; returns its status or error, and what it printed."""

    def call(*arguments: str) -> tuple[int | str, str, str]:
        monkeypatch.setattr("sys.argv", ["ridgeline", *arguments])
        capsys.readouterr()
        status: int | str = 0
        try:
            command.main()
        except SystemExit as error:
            status = error.code or 0
        return status, *capsys.readouterr()

    return call
