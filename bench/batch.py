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
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the largest
            print(f"| {rows:,} | {seconds:.1f} | {rate} | {peak:,.0f} |", flush=True)


def timed(source: Path) -> float:
    """Return the seconds that it takes to predict a table with the champion, to Parquet."""
    command = ["ridgeline", "predict", "@champion", str(source), "-o", f"{source}-predicted"]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
