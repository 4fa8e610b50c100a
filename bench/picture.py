"""Draw docs/scaling.csv: ``python -m bench.picture``.

Seconds and peak memory, by rows, of the stages and of the plain way.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from ridgeline.files import write_figure
from ridgeline.model import charts

Points = Sequence[tuple[float, float]]


def draw(totals: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the whole of prepare to predict, by rows, on log scales."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _panel(left, "Seconds, prepare to predict", totals, "seconds", 1.0)
    _panel(right, "Peak memory, MB", totals, "memory", 0.0)
    write_figure(path, figure)


def _panel(
    axes: Axes, title: str, totals: Sequence[dict[str, Any]], what: str, slope: float
) -> None:
    ours = [(line["rows"], line[what]) for line in totals]
    plain = [(line["rows"], line[f"plain_{what}"]) for line in totals if line["plain_seconds"]]
    axes.set(xscale="log", yscale="log")
    axes.margins(y=0.15)
    _line(axes, plain, charts.ACTUAL, "pandas and scikit-learn", "--", "s")
    _line(axes, ours, charts.PREDICTED, "Ridgeline", "-", "o")
    if not slope:
        axes.axhline(1024**3 / 1e6, color=charts.QUIET, linewidth=1, linestyle=":")
        axes.annotate(
            "1 GiB",
            (ours[0][0], 1024**3 / 1e6),
            (0, 4),
            textcoords="offset points",
            color=charts.QUIET,
        )
    axes.set_title(title, loc="left")
    axes.set_xlabel("rows")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", color=charts.QUIET, alpha=0.25, linewidth=0.6)
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _line(axes: Axes, points: Points, color: str, label: str, style: str, marker: str) -> None:
    if not points:
        return
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=color, linestyle=style, marker=marker, markersize=5, linewidth=2)
    # the one that ends higher has room on its left, the other one below itself
    point, place, side = (-1, (-14, -2), "right") if style == "--" else (-3, (10, -18), "left")
    point = max(point, -len(x))
    axes.annotate(
        label,
        (x[point], y[point]),
        place,
        textcoords="offset points",
        color=color,
        ha=side,
        weight="bold",
    )


def _short(value: float, _: object) -> str:
    for size, unit in ((1e9, " bn"), (1e6, " M"), (1e3, ",000")):
        if value >= size:
            return f"{value / size:,g}{unit}"
    return f"{value:g}"


if __name__ == "__main__":
    docs = Path(__file__).parent.parent / "docs"
    with (docs / "scaling.csv").open(newline="", encoding="utf-8") as file:
        totals = [line for line in csv.DictReader(file) if line["stage"] == "all four"]
    measured = ("rows", "seconds", "memory", "plain_seconds", "plain_memory")
    numbers = [{name: float(line[name] or 0) for name in measured} for line in totals]  # 0: not run
    draw(numbers, docs / "scaling.png")
