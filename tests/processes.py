"""Processes that share imports and nothing else, so that many of them start in the time of one."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

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
