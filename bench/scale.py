"""Time each stage, and its plain equivalent, on tables of more and more rows.

The tables are the possums' rows drawn again and again, with noise: 9 numeric and 3 categorical
columns, which one-hot encoding makes 20 features, and the 30 penalties of params.yaml. A stage
and its equivalent (bench/plain.py) are run in turn, each in a process of its own that reads from
a warm page cache; the medians count. The time is that of the work: without imports, DVC, MLflow.

It goes on to the next number of rows while time and disk last, and leaves docs/scaling.csv and
docs/scaling.png, unless told to measure other sizes, or CSV. ``--bar`` checks, line by line, what
the pipeline promises.
"""

import argparse
import csv
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from bench import measure
from bench.measure import MB, ROOT, STAGES, Run

ROWS = (1_000, 10_000, 100_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000)
FEATURES, ALPHAS = 20, 30
ALL = "all four"
DISK_PER_ROW = 300  # bytes: the table, what the stages make of it, and the plain equivalent
KIND = "parquet"
ROUNDS = 3
LARGE = 10_000_000  # a round is enough from here on
SHARE = 0.7  # of the free memory, that the plain equivalent may need

Line = dict[str, Any]


def main() -> None:
    arguments = parsed()
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=arguments.folder))
    try:
        if arguments.bar:
            from bench import bar

            bar.check(folder, arguments.kind)
            return
        lines: list[Line] = []
        for more in scale(folder, arguments):
            lines += more
            if documented(arguments):
                write(lines)  # after each size: the next may take long
    finally:
        shutil.rmtree(folder)


def documented(arguments: argparse.Namespace) -> bool:
    """Tell whether what is measured is what docs/scaling.csv is of."""
    return (arguments.rows, arguments.kind) == (list(ROWS), KIND)


def scale(folder: Path, arguments: argparse.Namespace) -> Iterator[list[Line]]:
    """Measure one number of rows after the other, and print each stage's line."""
    deadline = time.monotonic() + arguments.budget
    limits = json.loads(measure.run(folder, "limits")[0])
    print(
        f"read {limits['disk'] / 1e9:.1f} GB/s, parse CSV {limits['parser'] / 1e9:.2f} GB/s, "
        f"multiply {limits['dgemm'] / 1e9:.0f} GFlop/s"
    )
    print(HEADER, *("-" * len(HEADER),), sep="\n")
    lines: list[Line] = []
    took: dict[int, float] = {}
    for rows in arguments.rows:
        started = time.monotonic()
        if started + expected(rows, took) > deadline:
            print(f"{rows:,} rows might take {expected(rows, took):.0f} s: more than is left")
            break
        if shutil.disk_usage(folder).free < rows * DISK_PER_ROW:
            print(f"{rows:,} rows would need {rows * DISK_PER_ROW / 1e9:.0f} GB: more than is free")
            break
        place = folder / str(rows)
        measure.run(folder, "table", str(rows), str(place / "table"), arguments.kind)
        lines += (more := measured(place, rows, arguments, limits, lines))
        yield more
        shutil.rmtree(place)
        took[rows] = time.monotonic() - started


def expected(rows: int, took: dict[int, float]) -> float:
    """Guess the seconds that so many rows take: on the line through the last two sizes."""
    if not took:
        return 0.0
    (before, less), (last, more) = [(0, 0.0), *took.items()][-2:]
    if not before:
        return more  # mostly starting up
    return more + max(more - less, 0) * (rows - last) / (last - before)


def measured(
    place: Path, rows: int, arguments: argparse.Namespace, limits: Line, before: list[Line]
) -> list[Line]:
    """Measure the four stages, and their equivalents while these fit."""
    why_not = too_large(rows, before)
    rounds = 1 if rows >= LARGE else arguments.rounds
    measure.lay_out(place / "stage", place / "table")
    measure.lay_out(place / "plain", place / "table")
    lines = []
    for name in STAGES:
        runs: dict[str, list[Run]] = {"stage": [], "plain": []}
        for _ in range(rounds):
            runs["stage"].append(measure.stage(place / "stage", "stage", name))
            if not why_not:
                runs["plain"].append(measure.stage(place / "plain", "plain", name))
        ours = median(runs["stage"])
        least, by = limit(place, name, limits)
        line = {
            "rows": rows,
            "stage": name,
            "seconds": ours.seconds,
            "memory": ours.memory,
            "rate": own_rows(place / "stage", name) / ours.seconds,
            "limit": least,
            "limited_by": by,
            "plain_seconds": None,
            "plain_memory": None,
            "why_not": why_not,
        }
        if not why_not:
            plain = median(runs["plain"])
            line |= {"plain_seconds": plain.seconds, "plain_memory": plain.memory}
        lines.append(line)
        print(told(line), flush=True)
    lines.append(whole(lines))
    print(told(lines[-1]), flush=True)
    return lines


def median(runs: list[Run]) -> Run:
    return Run(*(statistics.median(values) for values in zip(*runs, strict=True)))


def whole(lines: list[Line]) -> Line:
    """Put the stages together: their seconds and limits added up, the largest of their peaks."""
    seconds = sum(line["seconds"] for line in lines)
    plain = None not in [line["plain_seconds"] for line in lines]
    return lines[0] | {
        "stage": ALL,
        "seconds": seconds,
        "memory": max(line["memory"] for line in lines),
        "rate": lines[0]["rows"] / seconds,
        "limit": sum(line["limit"] for line in lines),
        "limited_by": "",
        "plain_seconds": sum(line["plain_seconds"] for line in lines) if plain else None,
        "plain_memory": max(line["plain_memory"] for line in lines) if plain else None,
    }


def too_large(rows: int, before: list[Line]) -> str:
    """Tell why the plain equivalent is not run on so many rows; nothing, if it is."""
    known = [line for line in before if line["plain_memory"]]
    if not known:
        return before[-1]["why_not"] if before else ""
    last = max(known, key=lambda line: (line["rows"], line["plain_memory"]))
    needed = last["plain_memory"] * rows / last["rows"]
    if needed > SHARE * psutil.virtual_memory().available / MB and rows > last["rows"]:
        return f"it would need {needed / 1000:.0f} GB"
    return ""


def own_rows(project: Path, name: str) -> int:
    """Return how many rows a stage is about: all, those it trains on, or those it predicts."""
    rows = json.loads((project / "metrics/prepare.json").read_text())["rows"]
    return int(rows[{"train": "train", "predict": "test"}.get(name, "read")])


def limit(place: Path, name: str, limits: Line) -> tuple[float, str]:
    """Return the seconds that a stage's reading or arithmetic take at best, and which it is.

    Reading is that of each byte as often as it must be read: featurize and train need the
    training rows twice. Arithmetic is a matrix product of each pass of the training.
    """
    project, train = place / "stage", "data/features/train"
    inputs = {
        "prepare": [place / "table"],
        "featurize": [project / "data/prepared/train", project / "data/prepared"],
        "train": [project / train, project / train, project / "data/features/validation"],
        "predict": [project / "data/prepared/test"],
    }[name]
    size = sum(map(measure.size, inputs))
    kind = "parser" if (place / "table/table.csv").exists() and name == "prepare" else "disk"
    least = {kind: size / limits[kind]}
    if name == "train":
        per_row = 2 * (FEATURES + 1) ** 2 + 2 * FEATURES**2 + 4 * FEATURES * ALPHAS
        least["dgemm"] = own_rows(project, name) * per_row / limits["dgemm"]
    by = max(least, key=lambda of: least[of])
    return least[by], by


HEADER = (
    f"| {'rows':>11} | {'stage':9} | {'s':>7} | {'MB':>5} | {'rows/s':>10} | {'plain s':>7} "
    f"| {'MB':>6} | {'faster':>6} | {'limit s':>7} | {'by':6} | {'× it':>7} |"
)


def told(line: Line) -> str:
    """Write a line of the table."""
    plain = f"| {'–':>7} | {'–':>6} | {'–':>6} "
    if line["plain_seconds"]:
        plain = (
            f"| {line['plain_seconds']:7.2f} | {line['plain_memory']:6.0f} "
            f"| {line['plain_seconds'] / line['seconds']:6.1f} "
        )
    return (
        f"| {line['rows']:11,} | {line['stage']:9} | {line['seconds']:7.2f} "
        f"| {line['memory']:5.0f} | {line['rate']:10,.0f} {plain}| {line['limit']:7.3f} "
        f"| {line['limited_by']:6} | {line['seconds'] / line['limit']:7,.0f} |"
    )


def write(lines: list[Line]) -> None:
    """Write docs/scaling.csv, and draw it."""
    with (ROOT / "docs/scaling.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, lines[0].keys(), lineterminator="\n")
        writer.writeheader()
        for line in lines:
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in line.items()})
    measure.run(ROOT, "picture")  # by itself: this process must stay small


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS), help="sizes to measure")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each pair, below 1e7 rows")
    parser.add_argument("--budget", type=float, default=1800, help="seconds (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the disk has room (default: /tmp's)")
    parser.add_argument("--kind", choices=["parquet", "csv"], default=KIND, help="of tables")
    parser.add_argument("--bar", action="store_true", help="check each promise; see bench/bar.py")
    return parser.parse_args()


if __name__ == "__main__":
    main()
