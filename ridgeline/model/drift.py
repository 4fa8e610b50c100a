"""Whether rows are distributed like the training rows: the population stability index.

A numeric column's values are counted in bins between its training deciles, a categorical one's by
category; the index compares the shares of two counts p and q,

    PSI = Σ (qᵢ - pᵢ) ln(qᵢ / pᵢ).

By convention, above 0.1 a distribution has moved and above 0.25 it has moved a lot. By chance alone
it is about χ² with k - 1 degrees of freedom times 1/n + 1/m, for k bins and n and m rows: a few
rows give large values, so a column counts as moved only beyond what chance explains.

References
----------
B. Yurdakul, J. Naranjo (2020). Statistical Properties of the Population Stability Index. The
Journal of Risk Model Validation 14(4), 89-100.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
GRID, SPAN = 1024, 15.0  # bins of the grid, and the asinh that it reaches to either side
BINS = 10
MOVED = 0.1
FALSE_ALARMS = 0.001  # the chance that one of all columns counts as moved if none has


def histogram(scaled: Array) -> Counts:
    """Count scaled values in a fixed grid, finer near the mean, for any number of parts to add up.

    Parameters
    ----------
    scaled : ndarray of shape (p, m)
        The values of p columns minus their training means, divided by the standard deviations;
        missing ones are NaN.

    Returns
    -------
    ndarray of shape (p, GRID)
        How many values are in each bin. At distance z from the mean, a bin is about 3 % of z wide.
    """
    counts = np.empty((len(scaled), GRID), np.int64)
    for row, values in zip(counts, scaled, strict=True):
        places = np.arcsinh(1000 * values[~np.isnan(values)]) * (GRID / 2 / SPAN) + GRID / 2
        row[:] = np.bincount(places.clip(0, GRID - 1).astype(np.int64), minlength=GRID)
    return counts


def edges(counts: Counts) -> Counts:
    """Return where bins of about equally many values begin in a histogram's row, shape (GRID,)."""
    upto = np.cumsum(counts)
    wanted = np.arange(1, BINS) * upto[-1] / BINS
    return np.unique(np.append(0, np.searchsorted(upto, wanted) + 1))


def population_stability(expected: Counts, observed: Counts) -> float:
    """Return the population stability index of two counts, each of shape (k,).

    Half a row is added to each count, because the index is infinite for an empty bin.
    """
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (expected, observed))
    return float(((q - p) * np.log(q / p)).sum())


def threshold(expected: Counts, observed: Counts, columns: int) -> float:
    """Return the index above which a column counts as moved, given how many columns there are."""
    n, m = max(int(expected.sum()), 1), max(int(observed.sum()), 1)
    quantile = chdtri(max(len(expected) - 1, 1), FALSE_ALARMS / columns)  # of χ²
    return max(MOVED, float(quantile) * (1 / n + 1 / m))
