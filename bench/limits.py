"""What this machine could do at best: read, parse and multiply.

``python -m bench.limits`` prints bytes per second from the page cache, bytes of CSV per second
by pyarrow's parser on all cores, and floating-point operations per second: one thread's dgemm
times the cores. Medians of five.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import threadpoolctl

from bench.table import write

ROUNDS = 5
ROWS = 500_000
SIZE = 2000


def seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def read(path: Path, buffer: bytearray) -> None:
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        write(Path(folder) / "csv", ROWS, "csv")
        path = Path(folder) / "csv/table.csv"
        buffer, size = bytearray(1 << 20), path.stat().st_size
        read(path, buffer)
        disk = size / seconds(lambda: read(path, buffer))
        options = pyarrow.csv.ReadOptions(block_size=1 << 22)
        pa.set_cpu_count(cores)
        parser = size / seconds(lambda: pyarrow.csv.read_csv(path, options))
    square = np.random.default_rng(0).random((SIZE, SIZE))
    with threadpoolctl.threadpool_limits(1, "blas"):
        dgemm = cores * 2 * SIZE**3 / seconds(lambda: square @ square)
    print(json.dumps({"disk": disk, "parser": parser, "dgemm": dgemm}))


if __name__ == "__main__":
    main()
