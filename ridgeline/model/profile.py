"""Counts of rows' values and a summary of predictions, kept of the training rows with the model.

A numeric column's values are counted in a fine grid, a categorical one's by category. Counts of any
number of parts add up, so they are known after one pass over the rows.
"""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from ridgeline.model import features
from ridgeline.model.moments import merge_means
from ridgeline.tables.reading import numbers

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
GRID, SPAN = 1024, 15.0  # bins of the grid, and the asinh that it reaches to either side
BINS = 10
PROFILE = "training_profile_"  # attribute of the preprocessing, so it is wherever the model is
PREDICTIONS = "training_predictions_"  # attribute of the pipeline

Observed = dict[str, Counts]  # by column, the counts of values in fine bins; missing ones are last


class Spread(NamedTuple):
    """Number and mean of some values, and the sum of their squared deviations from the mean."""

    rows: int
    mean: float
    squares: float


NO_SPREAD = Spread(0, 0.0, 0.0)


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


def spread(values: Array) -> Spread:
    """Return the spread of some values, shape (m,)."""
    if not len(values):
        return NO_SPREAD
    mean = values.mean()
    return Spread(len(values), float(mean), float(((values - mean) ** 2).sum()))


def add_spread(a: Spread, b: Spread) -> Spread:
    """Combine the spreads of two parts."""
    mean, between = merge_means(a.rows, np.array(a.mean), b.rows, np.array(b.mean))
    return Spread(a.rows + b.rows, float(mean), a.squares + b.squares + float(between) ** 2)


def keep(
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


def keep_predictions(model: Pipeline, predictions: Spread) -> None:
    """Set `PREDICTIONS`: the spread of the predictions for the training rows."""
    setattr(model, PREDICTIONS, predictions._asdict())


def predictions(model: Pipeline) -> Spread:
    """Return what `keep_predictions` kept; of no rows if a model of earlier versions has none."""
    return Spread(**getattr(model, PREDICTIONS, NO_SPREAD._asdict()))


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
