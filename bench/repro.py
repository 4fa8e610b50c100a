"""Time `dvc repro -f` and a no-op `dvc repro` against one process that does the same work.

If it is installed, Kedro is timed as well, on the project in ``bench/kedro``:

    uv venv bench/kedro/.venv
    uv pip install --python bench/kedro/.venv --compile-bytecode -r bench/kedro/requirements.txt

All are run in turn, in a clone that has run once, so other load on the machine affects all of them
alike; the medians count.
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
KEDRO = ROOT / "bench/kedro"
FLOOR = "floor (one process)"
COMMANDS = {
    FLOOR: [sys.executable, "-m", "bench.floor"],
    "dvc repro -f": ["dvc", "repro", "--force"],
    "dvc repro (no-op)": ["dvc", "repro"],
    "kedro run": [KEDRO / ".venv/bin/kedro", "run"],
}


def seconds(command: list[str | Path], folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)
    return time.perf_counter() - started


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_"))}
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "KEDRO_DISABLE_TELEMETRY": "true"}
    return kept | quiet | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}


def lay_out_kedro(folder: Path) -> None:
    """Make Kedro's project in a folder."""
    shutil.copytree(KEDRO, folder, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
    (folder / "data/01_raw").mkdir(parents=True)
    shutil.copy(ROOT / "data/raw/possum.csv", folder / "data/01_raw")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    places = dict.fromkeys(COMMANDS, folder / "project") | {"kedro run": folder / "kedro"}
    try:
        subprocess.run(["git", "clone", "--quiet", ROOT, folder / "project"], check=True)
        seconds(["dvc", "repro"], folder / "project")
        if (KEDRO / ".venv").exists():
            lay_out_kedro(folder / "kedro")
            seconds(COMMANDS["kedro run"], folder / "kedro")
        else:
            print("kedro run is skipped: it is not installed; bench/repro.py says how")
            del places["kedro run"]
        times: dict[str, list[float]] = {name: [] for name in places}
        for _ in range(ROUNDS):
            for name, place in places.items():
                times[name].append(seconds(COMMANDS[name], place))
    finally:
        shutil.rmtree(folder)
    medians = {name: statistics.median(measured) for name, measured in times.items()}
    floor = medians[FLOOR]
    print(f"medians of {ROUNDS} rounds, 104 rows, {os.cpu_count()} cores")
    for name, median in medians.items():
        low, high = min(times[name]), max(times[name])
        print(f"{name:22}{median:6.2f} s  ({low:.2f} to {high:.2f})  {median / floor:5.2f} x floor")


if __name__ == "__main__":
    main()
