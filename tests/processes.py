"""Processes that share imports and nothing else, so that many of them start in the time of one."""

import builtins
import multiprocessing
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import reduction
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from project import WARNINGS, environment

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    [f"stages.{stage}" for stage in ("prepare", "featurize", "train", "register", "predict")]
    + ["ridgeline.tracking.submit", "mlflow.sklearn", "mlflow.store.tracking.sqlalchemy_store"]
    + ["matplotlib.backends.backend_agg", "skops.io", "hypothesis.strategies", "pytest"]
)


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it printed."""

    exit: int | None
    printed: str


def begin(
    folder: Path, work: Callable[..., object], *arguments: object, uri: str = "sqlite:///mlflow.db"
) -> tuple[ForkServerProcess, Connection]:
    """Let a process do some work in a folder, on an MLflow store; `end` waits for it."""
    printed, output = context.Pipe(duplex=False)
    process = context.Process(target=_be, args=(folder, uri, output, work, arguments))
    process.start()
    output.close()
    return process, printed


def end(process: ForkServerProcess, printed: Connection) -> Ended:
    with os.fdopen(os.dup(printed.fileno()), encoding="utf-8") as file:
        text = file.read()
    printed.close()
    process.join(60)
    return Ended(process.exitcode, text)


def _be(
    folder: Path,
    uri: str,
    output: Connection,
    work: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    output.close()
    sys.stdout.reconfigure(line_buffering=True)  # else it comes after what stderr says
    os.chdir(folder)
    os.environ |= {"DVC_ROOT": str(folder), "MLFLOW_TRACKING_URI": uri}
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # else MLflow looks for mistakes of its own
    sys.dont_write_bytecode = True
    work(*arguments)


def run_stage(
    name: str, project: Path, check: bool = True, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run a stage as `python -m stages.<name>` does, but for its imports, which take seconds."""
    with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        files = [reduction.DupFd(file.fileno()) for file in (output, errors)]
        process = context.Process(
            target=_stage, args=(name, project, files, environment(**changes))
        )
        process.start()
        process.join()
        output.seek(0)
        errors.seek(0)
        done = subprocess.CompletedProcess(
            name, process.exitcode or 0, output.read(), errors.read()
        )
    if check and done.returncode:
        pytest.fail(f"{name} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def _stage(
    name: str, project: Path, files: list[reduction.DupFd], variables: dict[str, str]
) -> None:
    for number, file in enumerate(files, 1):
        os.dup2(file.detach(), number)
    os.chdir(project)
    os.environ.clear()
    os.environ |= variables
    warnings.simplefilter("error")
    for ignored in WARNINGS[1:]:
        _, message, category = ignored.split(":")
        warnings.filterwarnings("ignore", re.escape(message), getattr(builtins, category))
    sys.dont_write_bytecode = True
    stage = import_module(f"stages.{name}")
    stage.run(name, stage.main)
