"""Figures, drawn the same to the byte each time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ridgeline.files import replacing

Array = npt.NDArray[np.float64]
PREDICTED, ACTUAL, QUIET = "#0b6e99", "#d9730d", "#9b9a97"


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without matplotlib's version in it."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=150, metadata={"Software": None})


def error_by_alpha(alphas: Sequence[float], rmse: Array, chosen: float) -> Figure:
    """Draw the leave-one-out RMSE, shape (a,), of each penalty, and mark the chosen one."""
    figure, axes = _figure("Leave-one-out error by penalty", "alpha", "RMSE")
    order = np.argsort(alphas)
    axes.plot(np.asarray(alphas)[order], rmse[order], color=PREDICTED, marker="o", markersize=3)
    axes.axvline(chosen, color=ACTUAL, linewidth=1, linestyle="--", label=f"chosen: {chosen:.4g}")
    axes.set_xscale("log")
    axes.legend(frameon=False, loc="upper left")
    return figure


def coefficients(names: Sequence[str], values: Array) -> Figure:
    """Draw each feature's coefficient, the largest on top."""
    height = max(3.0, 0.25 * len(names) + 1)
    figure, axes = _figure("Coefficients by feature", "coefficient", "", height)
    order = np.argsort(np.abs(values), kind="stable")
    colors = [PREDICTED if values[i] >= 0 else ACTUAL for i in order]
    axes.barh([names[i] for i in order], values[order], color=colors)
    axes.axvline(0, color=QUIET, linewidth=1)
    return figure


def lines_by_row(
    keys: Sequence[str], predicted: Array, actual: Array | None, key_name: str, unit: str
) -> Figure:
    """Draw predicted and actual values, row by row, as a line each."""
    figure, axes = _figure("Predicted and actual values", key_name, unit)
    places = np.arange(len(keys))
    if actual is not None:
        axes.plot(places, actual, color=ACTUAL, marker="o", markersize=4, label="actual")
    axes.plot(places, predicted, color=PREDICTED, marker="o", markersize=4, label="predicted")
    step = max(1, len(keys) // 20)
    axes.set_xticks(places[::step], list(keys)[::step])
    axes.legend(frameon=False)
    return figure


def predicted_against_actual(predicted: Array, actual: Array | None, unit: str) -> Figure:
    """Draw a dot a row, and the line on which predictions are right."""
    figure, axes = _figure(
        "Predicted against actual values", f"actual {unit}", f"predicted {unit}", 6.0, 6.0
    )
    if actual is None:
        axes.text(0.5, 0.5, "the input has no actual values", transform=axes.transAxes, ha="center")
        return figure
    both = np.concatenate([predicted, actual])
    low, high = np.nanmin(both), np.nanmax(both)
    margin = 0.05 * (high - low) or 1.0
    ends = (low - margin, high + margin)
    axes.plot(ends, ends, color=QUIET, linewidth=1, label="predicted = actual")
    axes.scatter(actual, predicted, color=PREDICTED, s=24)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.legend(frameon=False, loc="upper left")
    return figure


def _figure(
    title: str, x: str, y: str, height: float = 4.0, width: float = 8.0
) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
