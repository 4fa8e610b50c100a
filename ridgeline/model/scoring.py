"""Regression metrics from sums: rows may come in any number of parts.

Every row contributes the same six terms, so sums of parts add up to the sums of the whole,
and a bootstrap sample of rows is a weighted sum.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
NAMES = ("rmse", "mae", "r2")
GROUPS = 1000
RESAMPLES = 2000
NONE: Array = np.zeros((GROUPS, 6))  # the sums of no rows
# errors too large to be squared make metrics that are not defined
overflowing = np.errstate(over="ignore", invalid="ignore")


@overflowing
def sums(actual: Array, predicted: Array, baseline: float) -> Array:
    """Sum up what the metrics are made of.

    Parameters
    ----------
    actual, predicted : ndarray of shape (m,)
        In the target's unit.
    baseline : float
        What the baseline predicts for every row: the training rows' mean.

    Returns
    -------
    ndarray of shape (GROUPS, 6)
        For each group of rows, row i belonging to group i mod `GROUPS`: their number, Σe²,
        Σ|e|, Σd², Σ|d|, Σd with e the model's and d the baseline's errors.
    """
    error, distance = actual - predicted, actual - baseline
    rows = -(-len(actual) // GROUPS)  # of whole groups, the last filled up with zeros
    terms = np.zeros((6, rows * GROUPS))
    for row, term in zip(
        terms[:, : len(actual)],
        (1.0, error**2, abs(error), distance**2, abs(distance), distance),
        strict=True,
    ):
        row[:] = term
    return np.ascontiguousarray(terms.reshape(6, rows, GROUPS).sum(axis=1).T)


@overflowing
def add(a: Array, b: Array) -> Array:
    """Add the sums of a part to those of the rows before it: its rows' groups follow theirs."""
    return a + np.roll(b, int(a[:, 0].sum()) % GROUPS, axis=0)


@overflowing
def metrics(sums: Array) -> dict[str, float | None]:
    """Return RMSE, MAE (both in the target's unit) and R².

    Parameters
    ----------
    sums : ndarray of shape (GROUPS, 6)
        As by `sums`, added up over all parts.

    Returns
    -------
    dict
        ``rmse``, ``mae`` and ``r2``; R² is None where it is not defined (all actual values
        are equal).
    """
    return _named(_metrics(sums.sum(axis=0)))


def baseline_metrics(sums: Array) -> dict[str, float | None]:
    """Return the same metrics for the baseline; see `metrics`."""
    return metrics(sums[:, [0, 3, 4, 3, 4, 5]])


@overflowing
def intervals(
    sums: Array, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[float | None, float | None]]:
    """Return bootstrap percentile intervals of the metrics.

    Up to `GROUPS` rows each row is resampled by itself: the ordinary bootstrap. Of more rows
    whole groups are, which for independent rows estimates the same spread from fixed memory.

    Parameters
    ----------
    sums : ndarray of shape (GROUPS, 6)
        As by `sums`, added up over all parts.
    level : float
        The intervals' coverage.
    seed : int
        For the resampling.

    Returns
    -------
    dict
        For ``rmse``, ``mae`` and ``r2`` the lower and the upper bound; both None where the
        metric is not defined.

    References
    ----------
    B. Efron, R. Tibshirani (1993). An Introduction to the Bootstrap, chapter 13.
    """
    groups = sums[sums[:, 0] > 0]
    n = len(groups)
    drawn = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    drawn += n * np.arange(RESAMPLES)[:, None]  # each resample counts in places of its own
    times = np.bincount(drawn.ravel(), minlength=RESAMPLES * n).reshape(RESAMPLES, n)
    resampled = _metrics(np.einsum("rg,gt->rt", times.astype(float), groups))
    tail = (1 - level) / 2
    bounds: dict[str, tuple[float | None, float | None]] = {}
    for name, values in zip(NAMES, resampled.T, strict=True):
        defined = values[np.isfinite(values)]  # a resample of equal values has no R²
        bounds[name] = (None, None)
        if defined.size:
            low, high = np.quantile(defined, [tail, 1 - tail])
            bounds[name] = (float(low), float(high))
    return bounds


def report(rows: int, sums: Array) -> dict[str, Any]:
    """Return metrics of predictions with 95 % intervals, and the baseline's, for a metrics file.

    Parameters
    ----------
    rows : int
        How many rows were predicted.
    sums : ndarray of shape (GROUPS, 6)
        As by `sums`, of those with an actual value; without any only rows are counted.
    """
    scored = int(sums[:, 0].sum())
    counts = {"rows": {"predicted": rows, "scored": scored}}
    if not scored:
        return counts
    test: dict[str, float | None] = {}
    bounds = intervals(sums)
    for name, value in metrics(sums).items():
        lower, upper = bounds[name]
        test |= {name: value, f"{name}_lower": lower, f"{name}_upper": upper}
    return counts | {"test": test, "baseline": {"test": baseline_metrics(sums)}}


def _metrics(sums: Array) -> Array:
    """Turn sums of shape (..., 6) into RMSE, MAE and R² of shape (..., 3); NaN: not defined."""
    rows, squares, absolutes, distances2, _, distances = np.moveaxis(sums, -1, 0)
    spread = distances2 - distances**2 / rows
    # below this, the spread is what rounding left of a sum of equal values
    varies = spread > 1e-12 * distances2
    r2 = 1 - squares / np.where(varies, spread, np.nan)
    return np.stack([np.sqrt(squares / rows), absolutes / rows, r2], axis=-1)


def _named(values: Array) -> dict[str, float | None]:
    return {
        name: float(value) if np.isfinite(value) else None
        for name, value in zip(NAMES, values, strict=True)
    }
