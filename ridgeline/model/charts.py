"""Figures; equal inputs give identical PNG bytes."""

from collections.abc import Sequence
from unicodedata import category

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ridgeline.model.drift import Drift

Array = npt.NDArray[np.float64]
SHOWN_FEATURES, SHOWN_KEYS = 40, 20
PREDICTED, ACTUAL, QUIET = "#0b6e99", "#d9730d", "#9b9a97"


def error_by_alpha(alphas: Sequence[float], rmse: Array, chosen: float) -> Figure:
    """Draw the leave-one-out RMSE of each penalty, shape (a,), and mark the chosen penalty."""
    figure, axes = _figure("Leave-one-out error by penalty", "alpha", "RMSE")
    if not len(alphas):
        _say(axes, "this model has no penalties to choose from")
        return figure
    order = np.argsort(alphas)
    axes.plot(np.asarray(alphas)[order], rmse[order], color=PREDICTED, marker="o", markersize=3)
    axes.axvline(chosen, color=ACTUAL, linewidth=1, linestyle="--", label=f"chosen: {chosen:.4g}")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")  # the default 10ⁿ labels need 0.1 s to draw
    axes.legend(frameon=False)
    return figure


def effects(names: Sequence[str], values: Array, kind: str) -> Figure:
    """Draw the `SHOWN_FEATURES` effects of largest absolute value, the largest on top.

    `kind` is what `regressors.effects` returns: coefficient or importance.
    """
    # the two columns of a binary category differ only by rounding, which must not order them
    order = np.argsort(np.abs(values).astype(np.float32), kind="stable")[-SHOWN_FEATURES:]
    shown = f", the {len(order)} largest of {len(names)}" if len(order) < len(names) else ""
    figure, axes = _figure(
        f"{kind.capitalize()}s by feature{shown}", kind, "", max(2.5, 0.25 * len(order) + 1)
    )
    colors = [PREDICTED if values[i] >= 0 else ACTUAL for i in order]
    places = np.arange(len(order))
    axes.barh(places, values[order], height=0.8, color=colors)
    axes.set_yticks(places, [_label(names[i], 30) for i in order])
    axes.set_ylim(-1, len(order))
    axes.axvline(0, color=QUIET, linewidth=1)
    return figure


def predictions(rows: pd.DataFrame, key: str, target: str, found: Drift) -> dict[str, Figure]:
    """Draw the predictions in the columns that `predict.predict_rows` gives; by the figure's name.

    The column ``actual`` may be absent. `found` is drawn as `drift` does.
    """
    lower, predicted, upper = rows[["lower", "prediction", "upper"]].to_numpy(float).T
    actual = rows["actual"].to_numpy() if "actual" in rows else None
    interval = np.stack([lower, upper])
    return {
        "predicted_and_actual": lines_by_row(
            list(rows[key]), predicted, actual, key, target, interval
        ),
        "predicted_against_actual": predicted_against_actual(predicted, actual, target),
        "drift": drift(found),
    }


def drift(found: Drift) -> Figure:
    """Draw the population stability index of each column, and the one above which it has moved."""
    shown = found.columns[:SHOWN_FEATURES][::-1]
    figure, axes = _figure(
        "Change from the training rows by column",
        "population stability index (mark: moved above)",
        "",
        height=max(2.5, 0.25 * len(shown) + 1),
    )
    if not shown:
        _say(axes, "the model has no profile of its training rows")
        return figure
    places = np.arange(len(shown))
    colors = [ACTUAL if change.moved else PREDICTED for change in shown]
    axes.barh(places, [change.psi for change in shown], height=0.8, color=colors)
    limits = [change.threshold for change in shown]
    axes.scatter(limits, places, color=QUIET, marker="|", s=120)
    axes.set_yticks(places, [_label(change.column, 30) for change in shown])
    axes.set_ylim(-1, len(shown))
    return figure


def lines_by_row(
    keys: Sequence[str],
    predicted: Array,
    actual: Array | None,
    key_name: str,
    unit: str,
    interval: Array | None = None,
) -> Figure:
    """Draw predicted and actual values by row, and the `interval`, shape (2, n), as a band."""
    figure, axes = _figure("Predicted and actual values", key_name, unit)
    places = np.arange(len(keys))
    few = len(keys) <= 100
    style = {"marker": "o", "markersize": 4} if few else {"linewidth": 0.8, "alpha": 0.8}
    if actual is not None and not np.isnan(actual).all():
        axes.plot(places, actual, color=ACTUAL, label="actual", **style)
    axes.plot(places, predicted, color=PREDICTED, label="predicted", **style)
    if interval is not None and not np.isnan(interval).all():
        axes.fill_between(places, *interval, color=PREDICTED, alpha=0.15, linewidth=0)
    step = max(1, -(-len(keys) // SHOWN_KEYS))
    labels = [_label(key, 12) for key in keys[::step]]
    rotation = 90 if max(map(len, labels), default=0) > 4 else 0
    axes.set_xticks(places[::step], labels, rotation=rotation)
    axes.legend(frameon=False)
    return figure


def predicted_against_actual(predicted: Array, actual: Array | None, unit: str) -> Figure:
    """Draw one dot per row, and the line on which predicted and actual values are equal."""
    figure, axes = _figure(
        "Predicted against actual values", f"actual {unit}", f"predicted {unit}", 6.0, 6.0
    )
    known = np.isfinite(predicted) & np.isfinite(actual) if actual is not None else np.zeros(0)
    if actual is None or not known.any():
        _say(axes, "no row has an actual value")
        return figure
    both = np.concatenate([predicted[known], actual[known]])
    margin = 0.05 * float(np.ptp(both)) or 1.0
    ends = (float(both.min()) - margin, float(both.max()) + margin)
    axes.plot(ends, ends, color=QUIET, linewidth=1, label="predicted = actual")
    axes.scatter(actual, predicted, color=PREDICTED, s=24, alpha=0.8, linewidths=0)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_yticks(axes.get_xticks())
    axes.set_ylim(ends)
    axes.set_xlim(ends)
    axes.legend(frameon=False, loc="upper left")
    return figure


def _figure(
    title: str, x: str, y: str, height: float = 4.0, width: float = 8.0
) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    axes.set_xlabel(_label(x, 60))
    axes.set_ylabel(_label(y, 40))
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _say(axes: Axes, text: str) -> None:
    """Show a sentence instead of a plot."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center")
    axes.set(xticks=[], yticks=[])


def _label(text: str, longest: int) -> str:
    """Truncate a label, replace control characters (they have no glyph), and escape formulas."""
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    shown = "".join("\N{REPLACEMENT CHARACTER}" if category(c)[0] == "C" else c for c in cut)
    return shown.replace("$", r"\$")
