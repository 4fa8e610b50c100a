"""Speed and memory of the command `predict`: ``python -m bench.batch``, where `dvc repro` has run.

The tables are possums, drawn again with noise (bench/table.py), as Parquet. Each command is a
process of its own, the smallest table's mostly start-up, which is subtracted for the rows a second.
Medians of the rounds.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import table
from bench.measure import MB

ROWS = (1_000, 1_000_000, 10_000_000)
ROUNDS = 3


def main() -> None:
    print("| rows | seconds | rows/s | peak MB |\n| ---: | ---: | ---: | ---: |")
    start = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for rows in ROWS:
            source = Path(folder) / str(rows)
            table.write(source, rows, "parquet")
            seconds = statistics.median(timed(source) for _ in range(ROUNDS))
            start = start or seconds
            rate = f"{rows / (seconds - start):,.0f}" if seconds > start else "–"
            largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of all so far, KiB
            peak = largest * 1024 / MB
            print(f"| {rows:,} | {seconds:.1f} | {rate} | {peak:,.0f} |", flush=True)


def timed(source: Path) -> float:
    """Return the seconds that it takes to predict a table with the champion, to Parquet."""
    command = ["ridgeline", "predict", "@champion", str(source), "-o", f"{source}-predicted"]
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
