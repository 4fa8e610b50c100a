"""Run stages, and their plain equivalents, in processes of their own: seconds and peak memory."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
STAGES = ("prepare", "featurize", "train", "predict")
OUTPUTS = ("data/prepared", "data/features", "models", "metrics", "plots", "predictions")
MB = 1_000_000


class Run(NamedTuple):
    """A process's work: its seconds after imports, those in all, of all cores, and MB at most."""

    seconds: float
    process_seconds: float
    cpu_seconds: float
    memory: float


def lay_out(folder: Path, table: Path) -> None:
    """Make a project's folder with a params.yaml that names this table."""
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["data"]["path"] = str(table)
    params["predict"]["output"] = "predictions/test"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yaml.dump(params, folder / "params.yaml")


def run(folder: Path, module: str, *arguments: str, **changes: str) -> tuple[str, Run]:
    """Run a module of this package in a folder; return the last line it prints, and what it took.

    The memory is what the kernel says at its end; of this process's none is in it as long as
    this process is small, which is why it holds no table.
    """
    command = [sys.executable, "-m", f"bench.{module}", *arguments]
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment(**changes), stdout=subprocess.PIPE, text=True
    )
    with process.stdout as stream:
        printed = stream.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    last = printed.splitlines()[-1] if printed.strip() else ""
    memory = usage.ru_maxrss * 1024 / MB
    return last, Run(0.0, took, usage.ru_utime + usage.ru_stime, memory)


def stage(folder: Path, module: str, name: str, **changes: str) -> Run:
    """Run a stage (module ``stage``), or its equivalent (``plain``), which print their seconds."""
    last, ran = run(folder, module, name, **changes)
    return ran._replace(seconds=float(last))


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment without what would change a stage's engine or store."""
    led = ("MLFLOW_", "DVC_", "OPENBLAS_", "DASK_", "PYTHON_CPU_COUNT", "AWS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(led)}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return kept | {"PYTHONPATH": str(ROOT), "PATH": programs, **changes}


def size(path: Path) -> int:
    """Return the bytes of a file, or of a folder's files."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def md5s(folder: Path) -> dict[str, str]:
    """Return the md5 of each of the stages' outputs, by its path in the project's folder."""
    found = {}
    for name in OUTPUTS:
        for path in sorted((folder / name).rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "md5").hexdigest()
                found[path.relative_to(folder).as_posix()] = digest
    return found
