"""Prediction intervals: the jackknife, or split-conformal prediction.

A new row's interval is its prediction plus and minus a quantile of the absolute residuals of rows
that the model was not fitted to: leave-one-out residuals of the training rows (the jackknife, for
linear models where they are exact), or the residuals of the validation rows (split-conformal).
Both need rows that are exchangeable. Split-conformal intervals then cover a new row with at least
the level's probability, for any model and number of rows; the jackknife's do so as rows grow,
and they use all training rows. Equal residuals count one by one, so ties only widen an interval.
The residuals are counted in bins, so memory does not grow with the rows; a quantile is rounded up
by at most 1 in 4096.

References
----------
R. Barber, E. Candès, A. Ramdas, R. Tibshirani (2021). Predictive Inference with the Jackknife+.
The Annals of Statistics 49(1), 486-507 (sections 1.1 and 1.2).
J. Lei, M. G'Sell, A. Rinaldo, R. Tibshirani, L. Wasserman (2018). Distribution-Free Predictive
Inference for Regression. Journal of the American Statistical Association 113(523), 1094-1111
(section 2.2: the split conformal interval, its quantile and coverage).
"""

from math import ceil
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

JACKKNIFE, SPLIT_CONFORMAL = "jackknife", "split-conformal"
Array = npt.NDArray[np.float64]
LEVELS = tuple(percent / 100 for percent in range(1, 100))
DROPPED_BITS = (
    40  # of a float's 52 bits of precision; as integers, positive floats keep their order
)


class Counts(NamedTuple):
    """How many absolute residuals are in each bin; both of shape (k,), `bins` ascending."""

    bins: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]


NONE = Counts(np.zeros(0, np.int64), np.zeros(0, np.int64))


def counts(residuals: Array) -> Counts:
    """Count the absolute residuals of a part, shape (m,); undefined ones count as infinite."""
    sizes = np.where(np.isfinite(residuals), abs(residuals), np.inf)
    return Counts(*np.unique(sizes.view(np.int64) >> DROPPED_BITS, return_counts=True))


def add(a: Counts, b: Counts) -> Counts:
    """Add the counts of two parts up."""
    bins, place = np.unique(np.concatenate([a.bins, b.bins]), return_inverse=True)
    rows = np.zeros(len(bins), np.int64)
    np.add.at(rows, place, np.concatenate([a.rows, b.rows]))
    return Counts(bins, rows)


def half_widths(total: Counts) -> dict[str, float | None]:
    """Return half of the interval's width at each of `LEVELS`, by level as text.

    Returns
    -------
    dict of str
        In the target's unit. None where there are too few rows: with n rows, the largest level is
        n / (n + 1).

    Examples
    --------
    >>> widths = half_widths(counts(np.arange(1.0, 11.0)))
    >>> round(widths["0.5"], 2), widths["0.95"]
    (6.0, None)
    """
    rows, upto = int(total.rows.sum()), np.cumsum(total.rows)
    edges = (((total.bins + 1) << DROPPED_BITS) - 1).view(np.float64)  # the largest float of a bin
    widths: dict[str, float | None] = {}
    for level in LEVELS:
        rank = ceil(round(level * (rows + 1), 9))
        width = edges[np.searchsorted(upto, rank)] if rank <= rows else np.inf
        widths[str(level)] = float(width) if np.isfinite(width) else None
    return widths
