"""Regression metrics computed from sums, for rows in any number of parts.

Each row contributes six terms, so the sums of parts add up to the sums of all rows, and the sums of
a bootstrap sample are weighted sums.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
NAMES = ("rmse", "mae", "r2")
GROUPS = 1000
RESAMPLES = 2000
NONE: Array = np.zeros((GROUPS, 6))  # the sums of no rows
# errors too large to be squared make a metric undefined
ignore_overflow = np.errstate(over="ignore", invalid="ignore")


class Comparison(NamedTuple):
    """The difference of two models' RMSE on the same rows, candidate minus champion.

    `lower` and `upper` are the bounds of its interval, in the target's unit like `difference`;
    `probability` is that of a difference below 0: that the candidate is better.
    """

    difference: float
    lower: float
    upper: float
    probability: float


@ignore_overflow
def sums(actual: Array, predicted: Array, baseline: float) -> Array:
    """Return the sums from which the metrics are computed.

    Parameters
    ----------
    actual, predicted : ndarray of shape (m,)
        In the target's unit.
    baseline : float
        The baseline's prediction for every row: the mean of the training rows.

    Returns
    -------
    ndarray of shape (GROUPS, 6)
        For each group of rows (row i is in group i mod `GROUPS`): the number of rows, Σe², Σ|e|,
        Σd², Σ|d| and Σd, where e is the model's error and d the baseline's.
    """
    error, distance = actual - predicted, actual - baseline
    rows = -(-len(actual) // GROUPS)  # per group, the last one padded with zeros
    terms = np.zeros((6, rows * GROUPS))
    for row, term in zip(
        terms[:, : len(actual)],
        (1.0, error**2, abs(error), distance**2, abs(distance), distance),
        strict=True,
    ):
        row[:] = term
    return np.ascontiguousarray(terms.reshape(6, rows, GROUPS).sum(axis=1).T)


@ignore_overflow
def add(a: Array, b: Array) -> Array:
    """Add the sums of a part to those of the rows before it, continuing the order of groups."""
    return a + np.roll(b, int(a[:, 0].sum()) % GROUPS, axis=0)


@ignore_overflow
def metrics(sums: Array) -> dict[str, float | None]:
    """Return RMSE, MAE (both in the target's unit) and R².

    Parameters
    ----------
    sums : ndarray of shape (GROUPS, 6)
        The sums of all parts.

    Returns
    -------
    dict
        ``rmse``, ``mae`` and ``r2``; R² is None if it is undefined (all actual values are equal).
    """
    return _named(_metrics(sums.sum(axis=0)))


def baseline_metrics(sums: Array) -> dict[str, float | None]:
    """Return the metrics of the baseline; see `metrics`."""
    return metrics(sums[:, [0, 3, 4, 3, 4, 5]])


@ignore_overflow
def intervals(
    sums: Array, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[float | None, float | None]]:
    """Return bootstrap percentile intervals of the metrics.

    Up to `GROUPS` rows are resampled one by one: the ordinary bootstrap. More rows are resampled
    in groups, which estimates the same spread for independent rows, in fixed memory.

    Parameters
    ----------
    sums : ndarray of shape (GROUPS, 6)
        The sums of all parts.
    level : float
        Coverage of the intervals.
    seed : int
        Seed of the resampling.

    Returns
    -------
    dict
        Lower and upper bound of ``rmse``, ``mae`` and ``r2``; None if the metric is undefined.

    References
    ----------
    B. Efron, R. Tibshirani (1993). An Introduction to the Bootstrap, chapter 13.
    """
    resampled = _metrics(_resampled(sums, seed))
    tail = (1 - level) / 2
    bounds: dict[str, tuple[float | None, float | None]] = {}
    for name, values in zip(NAMES, resampled.T, strict=True):
        defined = values[np.isfinite(values)]  # R² is undefined for a resample of equal values
        bounds[name] = (None, None)
        if defined.size:
            low, high = np.quantile(defined, [tail, 1 - tail])
            bounds[name] = (float(low), float(high))
    return bounds


@ignore_overflow
def compare(
    candidate: Array, champion: Array, level: float = 0.95, seed: int = 0
) -> Comparison | None:
    """Compare two models' RMSE on the same rows by the paired bootstrap.

    Both are scored on the same resamples, drawn as for `intervals`: up to `GROUPS` rows one by one,
    more in groups. So rows that are hard for both models do not widen the interval.

    Parameters
    ----------
    candidate, champion : ndarray of shape (GROUPS, 6)
        The models' sums of the same parts in the same order.
    level : float
        Coverage of the percentile interval.
    seed : int
        Seed of the resampling.

    Returns
    -------
    Comparison or None
        The probability is the share of resamples in which the candidate's RMSE is lower; those in
        which it is equal count half. None if there are no rows, or errors too large to be squared.

    References
    ----------
    B. Efron, R. Tibshirani (1993). An Introduction to the Bootstrap, chapter 13.
    P. Koehn (2004). Statistical Significance Tests for Machine Translation Evaluation. EMNLP.
    """
    difference = _rmse(candidate.sum(axis=0)) - _rmse(champion.sum(axis=0))
    if not np.isfinite(difference):
        return None
    # the same seed draws the same groups
    differences = _rmse(_resampled(candidate, seed)) - _rmse(_resampled(champion, seed))
    tail = (1 - level) / 2
    lower, upper = np.quantile(differences, [tail, 1 - tail])
    probability = np.mean(differences < 0) + np.mean(differences == 0) / 2
    return Comparison(float(difference), float(lower), float(upper), float(probability))


def report(rows: int, sums: Array, covered: int | None = None) -> dict[str, Any]:
    """Return the contents of a metrics file: metrics with 95 % intervals, and the baseline's.

    Parameters
    ----------
    rows : int
        Number of predicted rows.
    sums : ndarray of shape (GROUPS, 6)
        The sums of those with an actual value; if there are none, only rows are counted.
    covered : int, optional
        How many of these are in their prediction interval.
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
    if covered is not None:
        test["coverage"] = covered / scored
    return counts | {"test": test, "baseline": {"test": baseline_metrics(sums)}}


def summary(trained: dict[str, Any], tested: dict[str, Any]) -> dict[str, Any]:
    """Return the few metrics that compare models: a selection of what two metrics files hold.

    Parameters
    ----------
    trained : dict
        The metrics of the training stage.
    tested : dict
        As `report` returns them.

    Examples
    --------
    >>> trained = {"model": "sklearn.svm.SVR", "validation": {"rmse": 3.0, "r2": 0.5}}
    >>> summary(trained, {"rows": {"predicted": 4, "scored": 0}})
    {'model': 'SVR', 'validation': {'rmse': 3.0}, 'rows': 4}
    """
    shown = (*NAMES, "coverage")
    name = trained["model"].rpartition(".")[2]
    chosen = {"alpha": trained["alpha"]} if "alpha" in trained else {"model": name}
    test = {name: tested["test"][name] for name in shown if name in tested.get("test", {})}
    return {
        **chosen,
        "validation": {"rmse": trained["validation"]["rmse"]},
        **({"test": test} if test else {}),
        "rows": tested["rows"]["predicted"],
    }


def _resampled(sums: Array, seed: int) -> Array:
    """Return the sums of bootstrap samples of the groups that have rows, shape (RESAMPLES, 6)."""
    groups = sums[sums[:, 0] > 0]
    n = len(groups)
    drawn = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    drawn += n * np.arange(RESAMPLES)[:, None]  # gives each resample its own bins
    times = np.bincount(drawn.ravel(), minlength=RESAMPLES * n).reshape(RESAMPLES, n)
    resampled: Array = np.einsum("rg,gt->rt", times.astype(float), groups)
    return resampled


def _rmse(sums: Array) -> Array:
    rmse: Array = _metrics(sums)[..., 0]
    return rmse


def _metrics(sums: Array) -> Array:
    """Return RMSE, MAE and R², shape (..., 3), of sums, shape (..., 6); NaN if undefined."""
    rows, squares, absolutes, distances2, _, distances = np.moveaxis(sums, -1, 0)
    spread = distances2 - distances**2 / rows
    # below this bound, the spread is the rounding error of equal values
    varies = spread > 1e-12 * distances2
    r2 = 1 - squares / np.where(varies, spread, np.nan)
    return np.stack([np.sqrt(squares / rows), absolutes / rows, r2], axis=-1)


def _named(values: Array) -> dict[str, float | None]:
    return {
        name: float(value) if np.isfinite(value) else None
        for name, value in zip(NAMES, values, strict=True)
    }
