"""Whether rows are distributed like the training rows: the population stability index.

A numeric column's values are counted in bins between its training deciles, a categorical one's by
category, and both's missing values; the index compares the shares of two counts p and q,

    PSI = Σ (qᵢ - pᵢ) ln(qᵢ / pᵢ).

By convention, above 0.1 a distribution has moved and above 0.25 it has moved a lot. By chance alone
it is about χ² with k - 1 degrees of freedom times 1/n + 1/m, for k bins and n and m rows: a few
rows give large values, so a column counts as moved only beyond what chance explains.

References
----------
B. Yurdakul, J. Naranjo (2020). Statistical Properties of the Population Stability Index. The
Journal of Risk Model Validation 14(4), 89-100.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import chdtri
from sklearn.compose import ColumnTransformer

from ridgeline.model import features
from ridgeline.tables.reading import numbers

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
GRID, SPAN = 1024, 15.0  # bins of the grid, and the asinh that it reaches to either side
BINS = 10
MOVED = 0.1
FALSE_ALARMS = 0.001  # the chance that one of all columns counts as moved if none has
PROFILE = "training_profile_"  # attribute of the preprocessing, so it is wherever the model is

Observed = dict[str, Counts]  # by column, the counts of values in fine bins; missing ones are last


class Change(NamedTuple):
    """A column's population stability index, and the one above which it counts as moved."""

    column: str
    psi: float
    threshold: float

    @property
    def moved(self) -> bool:
        """Whether the change is more than chance explains."""
        return self.psi > self.threshold


def observe(preprocessor: ColumnTransformer, table: pa.Table) -> Observed:
    """Count a part's values by column.

    Parameters
    ----------
    preprocessor : ColumnTransformer
        Fitted to the training rows.
    table : Table
        Raw columns, numeric ones as float64 and others as text.

    Returns
    -------
    dict of str
        For a numeric column shape (GRID + 1,), as `histogram` counts; for one with k categories in
        the training rows (k + 2,), others after these. The last are the missing values.
    """
    seen: Observed = {}
    for kind, transformer, columns in preprocessor.transformers_:
        fitted = features.last_step(transformer)
        if kind == features.NUMERIC:
            values = numbers(table, columns)
            counts = histogram((values - fitted.mean_[:, None]) / fitted.scale_[:, None])
            missing = np.isnan(values).sum(axis=1)
            seen |= zip(columns, np.hstack([counts, missing[:, None]]), strict=True)
            continue
        for name, known in zip(columns, fitted.categories_, strict=True):
            codes = pc.index_in(table[name], pa.array(known, pa.string())).fill_null(len(known))
            codes = pc.if_else(table[name].is_valid(), codes, len(known) + 1).to_numpy()
            seen[name] = np.bincount(codes, minlength=len(known) + 2)
    return seen


def add(a: Observed, b: Observed) -> Observed:
    """Add the counts of two parts up; those of no rows may be empty."""
    return {name: a[name] + counts for name, counts in b.items()} if a and b else a or b


def outside(preprocessor: ColumnTransformer, table: pa.Table) -> Counter[str]:
    """Count, for each numeric column that has any, the values outside the training rows' range."""
    found = Counter[str]()
    for name, kept in getattr(preprocessor, PROFILE, {}).items():
        if "min" in kept:
            [values] = numbers(table, [name])
            found[name] = int(((values < kept["min"]) | (values > kept["max"])).sum())
    return +found  # without zeros


def keep_profile(
    preprocessor: ColumnTransformer, statistics: features.Statistics, observed: Observed
) -> None:
    """Set `PROFILE`: by column where its bins begin, and the training rows' counts in them.

    Parameters
    ----------
    preprocessor : ColumnTransformer
        Fitted to the training rows.
    statistics : Statistics
        Of the training rows; smallest and largest values are kept, too.
    observed : dict of str
        The counts of the training rows.
    """
    kept: dict[str, dict[str, Any]] = {}
    numeric = features.columns(preprocessor).get(features.NUMERIC, ())
    ranges = zip(numeric, statistics.smallest, statistics.largest, strict=True)
    limits = {name: {"min": float(low), "max": float(high)} for name, low, high in ranges}
    for name, counts in observed.items():
        begins = np.arange(len(counts))
        if name in limits:
            begins = np.unique([*edges(counts[:-1]), GRID])
        kept[name] = {"begins": begins, "counts": np.add.reduceat(counts, begins)}
        kept[name] |= limits.get(name, {})
    setattr(preprocessor, PROFILE, kept)


def changes(preprocessor: ColumnTransformer, observed: Observed) -> list[Change]:
    """Compare rows with the training rows, column by column, the largest index first.

    Parameters
    ----------
    preprocessor : ColumnTransformer
        If it has no profile, as in models of earlier versions, there are no changes to return.
    observed : dict of str
        The counts of all rows.
    """
    found, profile = [], getattr(preprocessor, PROFILE, {})
    for name, kept in profile.items() if observed else ():
        expected, seen = kept["counts"], np.add.reduceat(observed[name], kept["begins"])
        limit = threshold(expected, seen, len(profile))
        found.append(Change(name, population_stability(expected, seen), limit))
    return sorted(found, key=lambda change: -change.psi)


def warnings(found: Sequence[Change]) -> Iterator[str]:
    """Yield a warning for each column that has moved."""
    for column, psi, limit in (change for change in found if change.moved):
        yield (
            f"column {column} is distributed otherwise than in the training rows: population "
            f"stability index {psi:.2f}, above {limit:.2f}; check the data, or train anew"
        )


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
