"""Time `dvc repro -f` and a no-op `dvc repro` against one process that does the same work.

All three are run in turn, in a clone that has run once, so that what this machine does besides
falls on all of them; the medians count.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROUNDS = 7
COMMANDS = {
    "floor (one process)": [sys.executable, "-m", "bench.floor"],
    "dvc repro -f": ["dvc", "repro", "--force"],
    "dvc repro (no-op)": ["dvc", "repro"],
}


def seconds(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)
    return time.perf_counter() - started


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_"))}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-")) / "project"
    try:
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        seconds(["dvc", "repro"], folder)
        times: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for _ in range(ROUNDS):
            for name, command in COMMANDS.items():
                times[name].append(seconds(command, folder))
    finally:
        shutil.rmtree(folder.parent)
    medians = {name: statistics.median(measured) for name, measured in times.items()}
    floor = medians["floor (one process)"]
    print(f"medians of {ROUNDS} rounds, 104 rows, {os.cpu_count()} cores")
    for name, median in medians.items():
        low, high = min(times[name]), max(times[name])
        print(f"{name:22}{median:6.2f} s  ({low:.2f} to {high:.2f})  {median / floor:5.2f} x floor")


if __name__ == "__main__":
    main()
