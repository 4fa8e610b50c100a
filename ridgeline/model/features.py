"""Preprocessing, fitted in one pass over the parts of the training rows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ridgeline.errors import DataError
from ridgeline.model.moments import merge_means
from ridgeline.tables.engine import Map
from ridgeline.tables.reading import numbers

Array = npt.NDArray[np.float64]
NUMERIC, CATEGORICAL = "numeric", "categorical"
MOST_CATEGORIES = 10_000  # per column; a column with more is likely an identifier
EXAMPLES = 5


@dataclass(frozen=True)
class Statistics:
    """Statistics of some rows.

    `rows` is their number. The arrays, shape (p,), describe the values of the numeric columns:
    their number, mean, sum of squared deviations from the mean, smallest and largest value.
    """

    rows: int
    counts: Array
    means: Array
    squares: Array
    smallest: Array
    largest: Array
    frequencies: dict[str, Counter[str]]


@dataclass(frozen=True)
class Unknown:
    """Categories that are not in the training rows: the first few, and how many rows have them."""

    rows: int
    values: tuple[str, ...]

    def __add__(self, other: "Unknown") -> "Unknown":
        values = tuple(dict.fromkeys(self.values + other.values))
        return Unknown(self.rows + other.rows, values[: EXAMPLES + 1])

    def __str__(self) -> str:
        shown = ", ".join(map(repr, self.values[:EXAMPLES]))
        return f"{shown}{', …' if len(self.values) > EXAMPLES else ''}"


def fit(
    parts: Iterable[Any],
    numeric: Sequence[str],
    categorical: Sequence[str],
    *,
    impute: bool,
    map: Map = map,  # noqa: A002 - a drop-in replacement
) -> tuple[ColumnTransformer, Statistics]:
    """Fit scaling of the numeric and one-hot encoding of the categorical columns.

    Parameters
    ----------
    parts : iterable of Table
        The training rows, or the items from which `map` reads them. Iterated once.
    numeric, categorical : sequence of str
        The columns, in the order of the features.
    impute : bool
        Whether to fill missing values first, with the column's mean or most frequent category.
    map : callable
        Applies a function to each part, such as `engine.over` returns.

    Returns
    -------
    tuple of ColumnTransformer and Statistics
        The same as if fitted on all rows at once, and the statistics of these. Categories that are
        not in the training rows are encoded as zeros in all one-hot columns.

    Raises
    ------
    DataError
        If a column has no values or more than `MOST_CATEGORIES` categories, or if two features
        would have the same name.
    """
    zeros, infinite = np.zeros(len(numeric)), np.full(len(numeric), np.inf)
    counters = {name: Counter[str]() for name in categorical}
    none = Statistics(0, zeros, zeros, zeros, infinite, -infinite, counters)
    of_part = partial(statistics, tuple(numeric), tuple(categorical))
    total = reduce(add, map(of_part, parts), none)
    empty = [name for name, count in zip(numeric, total.counts, strict=True) if not count]
    empty += [name for name in categorical if not total.frequencies[name]]
    if empty:
        raise DataError(
            f"column {empty[0]} has no values in the training rows; remove it from data in "
            "params.yaml"
        )

    preprocessor = _unfitted(numeric, total.frequencies, impute)
    # Fitted on one row of means and most frequent values, the imputers store exactly these values.
    # The scaler depends on more than one row: `_scale_by` sets its attributes.
    row: dict[str, float | str] = dict(zip(numeric, total.means.tolist(), strict=True))
    row |= {name: _most_frequent(counts) for name, counts in total.frequencies.items()}
    preprocessor.fit(pd.DataFrame([row]))
    if numeric:
        _scale_by(scaler_of(preprocessor), total, impute)
    try:
        preprocessor.get_feature_names_out()
    except ValueError as error:
        names = str(error).partition(" You can")[0].partition(" Please")[0]
        message = f"two features would have the same name; rename a column: {names}"
        raise DataError(message) from None
    return preprocessor, total


def statistics(
    numeric: tuple[str, ...], categorical: tuple[str, ...], table: pa.Table
) -> Statistics:
    """Return the statistics of one part."""
    values = numbers(table, numeric)
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    complete = bool(known.all())
    means = (values if complete else np.where(known, values, 0)).sum(axis=1) / np.maximum(counts, 1)
    delta = values - means[:, None]
    if not complete:
        delta[~known] = 0
    # the second term corrects for the rounding error of the means
    squares = np.einsum("pm,pm->p", delta, delta) - delta.sum(axis=1) ** 2 / np.maximum(counts, 1)
    frequencies = {name: _frequencies(table[name]) for name in categorical}
    smallest = np.fmin.reduce(values, axis=1, initial=np.inf)  # fmin and fmax ignore NaN
    largest = np.fmax.reduce(values, axis=1, initial=-np.inf)
    return Statistics(len(table), counts, means, squares, smallest, largest, frequencies)


def _frequencies(texts: pa.ChunkedArray) -> Counter[str]:
    counted = pc.value_counts(texts.drop_null())
    return Counter({entry["values"]: entry["counts"] for entry in counted.to_pylist()})


def add(a: Statistics, b: Statistics) -> Statistics:
    """Add the statistics of two parts up."""
    means, between = merge_means(a.counts, a.means, b.counts, b.means)
    frequencies = {name: known + b.frequencies[name] for name, known in a.frequencies.items()}
    many = [name for name, known in frequencies.items() if len(known) > MOST_CATEGORIES]
    if many:
        raise DataError(
            f"column {many[0]} has more than {MOST_CATEGORIES:,} categories in the training rows; "
            "remove it from data.categorical in params.yaml, or group its values"
        )
    return Statistics(
        a.rows + b.rows,
        a.counts + b.counts,
        means,
        a.squares + b.squares + between**2,
        np.minimum(a.smallest, b.smallest),
        np.maximum(a.largest, b.largest),
        frequencies,
    )


def _scale_by(scaler: StandardScaler, total: Statistics, impute: bool) -> None:
    """Set the attributes as if fitted on all rows; imputing the means changes only the counts."""
    counts = np.full(len(total.counts), total.rows) if impute else total.counts
    variances = total.squares / counts
    eps = np.finfo(float).eps
    # scikit-learn's bound on the variance that rounding gives a constant column
    constant = variances <= counts * eps * variances + (counts * total.means * eps) ** 2
    scaler.mean_, scaler.var_ = total.means, variances
    scaler.scale_ = np.where(constant, 1.0, np.sqrt(variances))
    scaler.n_samples_seen_ = np.int64(total.rows)


def matrix(preprocessor: ColumnTransformer, table: pa.Table) -> Array:
    """Return the features of rows, shape (features, rows), each feature contiguous.

    The values equal those of `ColumnTransformer.transform`, which is many times slower for text.
    """
    features = np.empty((len(preprocessor.get_feature_names_out()), len(table)))
    end = 0
    for kind, transformer, columns in preprocessor.transformers_:
        last = last_step(transformer)
        filled = transformer[0].statistics_ if isinstance(transformer, Pipeline) else None
        if kind == NUMERIC:
            first, end = end, end + len(columns)
            values = numbers(table, columns)
            if filled is not None:
                values = np.where(np.isnan(values), filled[:, None], values)
            scaled = np.subtract(values, last.mean_[:, None], out=features[first:end])
            scaled /= last.scale_[:, None]
            continue
        for place, (name, known) in enumerate(zip(columns, last.categories_, strict=True)):
            first, end = end, end + len(known)
            texts = table[name]
            if filled is not None:
                texts = texts.fill_null(filled[place])
            codes = pc.index_in(texts, pa.array(known, pa.string())).fill_null(-1).to_numpy()
            features[first:end] = codes == np.arange(len(known))[:, None]
    return features


def scaler_of(preprocessor: ColumnTransformer) -> StandardScaler:
    """Return the fitted scaler of the numeric columns."""
    return last_step(preprocessor.named_transformers_[NUMERIC])


def typical_row(preprocessor: ColumnTransformer) -> pd.DataFrame:
    """Return one row of raw columns: the training means, and each column's first category.

    Serves as an input example that discloses no row of the data.
    """
    row: dict[str, float | str] = {}
    for kind, transformer, columns in preprocessor.transformers_:
        fitted = last_step(transformer)
        values = fitted.mean_ if kind == NUMERIC else [known[0] for known in fitted.categories_]
        row |= dict(zip(columns, values, strict=True))
    return pd.DataFrame([row])


def unknown_categories(preprocessor: ColumnTransformer, table: pa.Table) -> dict[str, Unknown]:
    """Return, for each column that has any, the categories that are not in the training rows."""
    unknown: dict[str, Unknown] = {}
    for kind, transformer, columns in preprocessor.transformers_:
        if kind == CATEGORICAL:
            for name, known in zip(columns, last_step(transformer).categories_, strict=True):
                texts = table[name].drop_null()
                others = texts.filter(pc.invert(pc.is_in(texts, pa.array(known, pa.string()))))
                if len(others):
                    first = others.unique()[: EXAMPLES + 1].to_pylist()
                    unknown[name] = Unknown(len(others), tuple(first))
    return unknown


def columns(preprocessor: ColumnTransformer) -> dict[str, tuple[str, ...]]:
    """Return the raw columns that a preprocessor takes, by kind: `NUMERIC` and `CATEGORICAL`."""
    return {kind: (*names,) for kind, _, names in preprocessor.transformers_}


def lacking(
    preprocessor: ColumnTransformer, numeric: Sequence[str], categorical: Sequence[str]
) -> list[str]:
    """Return the columns used in fitting that are missing from the given ones of the same kind."""
    known = {NUMERIC: numeric, CATEGORICAL: categorical}
    return sorted(
        name
        for kind, _, columns in preprocessor.transformers_
        for name in {*columns} - {*known[kind]}
    )


def imputes(preprocessor: ColumnTransformer) -> bool:
    """Return whether the preprocessing imputes missing values."""
    return any(isinstance(step, Pipeline) for _, step, _ in preprocessor.transformers_)


def _unfitted(
    numeric: Sequence[str], frequencies: dict[str, Counter[str]], impute: bool
) -> ColumnTransformer:
    scale = StandardScaler()
    encode = OneHotEncoder(
        categories=[np.array(sorted(counts), dtype=object) for counts in frequencies.values()],
        handle_unknown="ignore",
        sparse_output=False,
    )
    if impute:
        scale = make_pipeline(SimpleImputer(strategy="mean"), scale)
        encode = make_pipeline(SimpleImputer(strategy="most_frequent"), encode)
    named = [(NUMERIC, scale, list(numeric)), (CATEGORICAL, encode, list(frequencies))]
    return ColumnTransformer([step for step in named if step[2]], verbose_feature_names_out=False)


def _most_frequent(counts: Counter[str]) -> str:
    """Return the most frequent value; of ties, the first in sorted order."""
    return min(counts, key=lambda value: (-counts[value], value))


def last_step(transformer: StandardScaler | OneHotEncoder | Pipeline) -> Any:
    """Return the scaler or encoder, which may be behind an imputer."""
    return transformer[-1] if isinstance(transformer, Pipeline) else transformer
