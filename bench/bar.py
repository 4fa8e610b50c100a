"""Check, by measurement, what the pipeline promises at 3 and 30 million rows: a line each."""

import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import measure
from bench.measure import STAGES, Run

ROWS, TIMES = 3_000_000, 10
ROUNDS = 3
GIB = 1024**3 / measure.MB
WORKERS = 2
# Dask would have a worker give memory back so soon that each array has to be paged in anew.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(1 << 27), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}


def check(folder: Path, kind: str) -> None:
    """Measure, and print a line as soon as each promise is known to be kept or not."""
    table, stage, plain = folder / "table", folder / "stage", folder / "plain"
    measure.run(folder, "table", str(ROWS), str(table), kind)
    measure.lay_out(stage, table)
    measure.lay_out(plain, table)

    ours = [in_turn(stage, "stage")]
    reference = json.loads(measure.run(stage, "reference")[0])
    train, theirs_at_best = ours[0]["train"].seconds, min(reference["seconds"].values())
    fit = reference["fit_seconds"]
    tell(
        "train, reading from disk, at least 10 × faster than RidgeCV.fit in memory",
        f"{theirs_at_best / train:.1f} × ({train:.2f} s, {told(reference['seconds'])} s, "
        f"{reference['rows']:,} rows); the fit alone, without scores and figures, "
        f"{theirs_at_best / fit:.1f} × ({fit:.2f} s)",
        theirs_at_best >= 10 * train,
    )
    tell(
        "the same alpha, coefficients within 1e-8 of RidgeCV(gcv_mode='svd')",
        f"alpha {reference['alpha']:g}, coefficients {told(reference['apart'], '.1e')} apart",
        reference["same_alpha"] and reference["apart"]["svd"] <= 1e-8,
    )

    theirs = [in_turn(plain, "plain")]
    for _ in range(ROUNDS - 1):
        ours.append(in_turn(stage, "stage"))
        theirs.append(in_turn(plain, "plain"))
    a, b = total(ours), total(theirs)
    tell(
        "prepare to predict, at least 4 × faster than the plain equivalent",
        f"{b.seconds / a.seconds:.1f} × ({a.seconds:.2f} s, {b.seconds:.1f} s; with starting and "
        f"imports {b.process_seconds / a.process_seconds:.1f} ×, of CPU time "
        f"{b.cpu_seconds / a.cpu_seconds:.1f} ×)",
        b.seconds >= 4 * a.seconds,
    )
    tell(
        "at most a quarter of its peak memory",
        f"1/{b.memory / a.memory:.1f} ({a.memory:.0f} MB, {b.memory:.0f} MB)",
        b.memory >= 4 * a.memory,
    )
    shutil.rmtree(plain)

    one, two = [], []
    for _ in range(ROUNDS):
        one.append(in_turn(stage, "stage", PYTHON_CPU_COUNT="1"))
        two.append(in_turn(stage, "stage", PYTHON_CPU_COUNT="2"))
    tell(
        "two threads, at least 1.7 × as fast as one",
        f"{faster(one, two):.2f} × (" + by_stage(one, two) + ")",
        faster(one, two) >= 1.7,
    )

    expected = measure.md5s(stage)
    clustered, threaded = [], []
    with cluster(folder, stage) as address:
        for number in range(ROUNDS):
            clustered.append(in_turn(stage, "stage", DASK_SCHEDULER_ADDRESS=address))
            if not number:
                found = measure.md5s(stage)
                tell(
                    "Dask, two worker processes: the same bytes",
                    f"{len(found)} files",
                    found == expected,
                )
            threaded.append(in_turn(stage, "stage"))
    slower = faster(clustered, threaded)
    tell(
        "Dask at most 1.3 × the time of threads",
        f"{slower:.2f} × (" + by_stage(clustered, threaded) + "), with starting and imports "
        f"{total(clustered).process_seconds / total(threaded).process_seconds:.2f} ×",
        slower <= 1.3,
    )
    shutil.rmtree(stage)
    shutil.rmtree(table)

    measure.run(folder, "table", str(ROWS * TIMES), str(table), kind)
    measure.lay_out(stage, table)
    parts = in_turn(stage, "stage")
    large = total([parts])
    growth = large.seconds / a.seconds / TIMES
    tell(
        f"time linear within 15 % from {ROWS:,} to {ROWS * TIMES:,} rows",
        f"{growth:.2f} of {TIMES} × ({a.seconds:.2f} s, {large.seconds:.1f} s)",
        0.85 <= growth <= 1.15,
    )
    tell(
        "peak memory there at most 1.2 ×, and below 1 GiB",
        f"{large.memory / a.memory:.2f} × ({a.memory:.0f} MB, {large.memory:.0f} MB; "
        + ", ".join(
            f"{name} {median(ours, name, 'memory'):.0f} MB to {parts[name].memory:.0f} MB"
            for name in STAGES
        )
        + ")",
        large.memory <= 1.2 * a.memory and large.memory < GIB,
    )
    alone = [in_turn(stage, "stage", PYTHON_CPU_COUNT="1")]
    tell(
        "two threads there, where figures weigh little, at least 1.7 × as fast as one",
        f"{faster(alone, [parts]):.2f} × (" + by_stage(alone, [parts]) + ")",
        faster(alone, [parts]) >= 1.7,
    )


def in_turn(folder: Path, module: str, **changes: str) -> dict[str, Run]:
    """Run the four stages, or their equivalents."""
    return {name: measure.stage(folder, module, name, **changes) for name in STAGES}


def total(rounds: list[dict[str, Run]]) -> Run:
    """Put the stages together: their medians added up, the largest of their peaks."""
    return Run(
        sum(median(rounds, name, "seconds") for name in STAGES),
        sum(median(rounds, name, "process_seconds") for name in STAGES),
        sum(median(rounds, name, "cpu_seconds") for name in STAGES),
        max(median(rounds, name, "memory") for name in STAGES),
    )


def median(rounds: list[dict[str, Run]], stage: str, what: str) -> float:
    return statistics.median(getattr(runs[stage], what) for runs in rounds)


def faster(slow: list[dict[str, Run]], fast: list[dict[str, Run]]) -> float:
    return total(slow).seconds / total(fast).seconds


def by_stage(slow: list[dict[str, Run]], fast: list[dict[str, Run]]) -> str:
    return ", ".join(
        f"{name} {median(slow, name, 'seconds'):.2f} s to {median(fast, name, 'seconds'):.2f} s"
        for name in STAGES
    )


def told(by_mode: dict[str, float], form: str = ".1f") -> str:
    return ", ".join(f"{mode} {value:{form}}" for mode, value in by_mode.items())


def tell(promise: str, found: str, kept: bool) -> None:
    print(f"{'kept  ' if kept else 'BROKEN'}  {promise}:\n        {found}", flush=True)


@contextmanager
def cluster(folder: Path, project: Path) -> Iterator[str]:
    """Start a scheduler and two workers of a thread each on loopback; end them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    workers = ["worker", address, "--host", "127.0.0.1", "--nworkers", str(WORKERS)]
    workers += ["--nthreads", "1", "--no-dashboard", "--local-directory", str(folder / "dask")]
    settings = measure.environment(OPENBLAS_CORETYPE="Haswell", **MALLOC)
    started = []
    try:
        with (folder / "dask.log").open("wb") as log:
            for command in (scheduler, workers):
                command = [sys.executable, "-m", "dask", *command]
                started.append(
                    subprocess.Popen(command, cwd=project, env=settings, stdout=log, stderr=log)
                )
        until(lambda: (folder / "dask.log").read_text().count("Registered to:") == WORKERS)
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(30)


def until(ready: object) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError("Dask's workers do not come up")
        time.sleep(0.1)
