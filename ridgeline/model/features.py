"""The preprocessing: fitted on the training rows in a pass over their parts, applied anywhere."""

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
from ridgeline.tables.engine import Map
from ridgeline.tables.reading import numbers

Array = npt.NDArray[np.float64]
NUMERIC, CATEGORICAL = "numeric", "categorical"
MOST_CATEGORIES = 10_000  # of a column; more would be names of rows, a feature each
EXAMPLES = 5


@dataclass(frozen=True)
class Statistics:
    """What is learnt of some rows: of the numeric columns' values, and of the categories.

    `rows` is their number. `counts`, `means` and `squares` have shape (p,): how many values
    are there, their mean, and the sum of their squared distances from it.
    """

    rows: int
    counts: Array
    means: Array
    squares: Array
    frequencies: dict[str, Counter[str]]


@dataclass(frozen=True)
class Unknown:
    """Rows with a category that the training rows lack, and the first few such categories."""

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
    map: Map = map,  # noqa: A002 - it stands for it
) -> ColumnTransformer:
    """Fit scaling of the numeric and one-hot encoding of the categorical columns.

    Parameters
    ----------
    parts : iterable of Table
        The training rows, or what `map` reads them from. Iterated once.
    numeric, categorical : sequence of str
        The columns, in the order in which the features shall stand.
    impute : bool
        Whether to fill missing values first: numeric ones with the column's mean, categorical
        ones with its most frequent value.
    map : callable
        What applies a function to each part, such as `engine.over` gives.

    Returns
    -------
    ColumnTransformer
        As if scikit-learn had fitted it on all rows at once. Categories that the training
        rows lack become zeros in every one-hot column.

    Raises
    ------
    DataError
        When a column has no value at all, or more than `MOST_CATEGORIES`; or two features
        would have the same name.
    """
    none = np.zeros(len(numeric))
    nothing = Statistics(0, none, none, none, {name: Counter() for name in categorical})
    learn = partial(statistics, tuple(numeric), tuple(categorical))
    seen = reduce(combine, map(learn, parts), nothing)
    empty = [name for name, count in zip(numeric, seen.counts, strict=True) if not count]
    empty += [name for name in categorical if not seen.frequencies[name]]
    if empty:
        raise DataError(
            f"column {empty[0]} has no value in the training rows; remove it from data in "
            "params.yaml"
        )

    preprocessor = _unfitted(numeric, seen.frequencies, impute)
    # One row of means and most frequent values makes the imputers learn just these; of what the
    # scaler learns from it, all that depends on more than a row is set to what was streamed.
    row: dict[str, float | str] = dict(zip(numeric, seen.means.tolist(), strict=True))
    row |= {name: _most_frequent(counts) for name, counts in seen.frequencies.items()}
    preprocessor.fit(pd.DataFrame([row]))
    if numeric:
        _scale_by(scaler_of(preprocessor), seen, impute)
    try:
        preprocessor.get_feature_names_out()
    except ValueError as error:
        names = str(error).partition(" You can")[0].partition(" Please")[0]
        raise DataError(
            f"two features would have the same name; rename a column: {names}"
        ) from None
    return preprocessor


def statistics(
    numeric: tuple[str, ...], categorical: tuple[str, ...], table: pa.Table
) -> Statistics:
    """Learn from one part."""
    values = numbers(table, numeric)
    there = ~np.isnan(values)
    counts = there.sum(axis=1)
    complete = bool(there.all())
    means = (values if complete else np.where(there, values, 0)).sum(axis=1) / np.maximum(counts, 1)
    apart = values - means[:, None]
    if not complete:
        apart[~there] = 0
    # what rounding left in the mean is taken off again
    squares = np.einsum("pm,pm->p", apart, apart) - apart.sum(axis=1) ** 2 / np.maximum(counts, 1)
    frequencies = {name: _frequencies(table[name]) for name in categorical}
    return Statistics(len(table), counts, means, squares, frequencies)


def _frequencies(texts: pa.ChunkedArray) -> Counter[str]:
    counted = pc.value_counts(texts.drop_null())
    return Counter({entry["values"]: entry["counts"] for entry in counted.to_pylist()})


def combine(a: Statistics, b: Statistics) -> Statistics:
    """Put what was learnt of two parts together (Chan, Golub and LeVeque 1983; see `ridge`)."""
    counts = a.counts + b.counts
    share = b.counts / np.maximum(counts, 1)
    apart = b.means - a.means
    frequencies = {name: known + b.frequencies[name] for name, known in a.frequencies.items()}
    many = [name for name, known in frequencies.items() if len(known) > MOST_CATEGORIES]
    if many:
        raise DataError(
            f"column {many[0]} has more than {MOST_CATEGORIES:,} categories in the training rows; "
            "remove it from data.categorical in params.yaml, or put its values into groups"
        )
    return Statistics(
        a.rows + b.rows,
        counts,
        a.means + apart * share,
        a.squares + b.squares + apart**2 * a.counts * share,
        frequencies,
    )


def _scale_by(scaler: StandardScaler, seen: Statistics, impute: bool) -> None:
    """Set what `StandardScaler` would have learnt of all rows; filled in, means don't move."""
    counts = np.full(len(seen.counts), seen.rows) if impute else seen.counts
    variances = seen.squares / counts
    # a variance no larger than what rounding makes of equal values: scikit-learn's bound
    eps = np.finfo(float).eps
    constant = variances <= counts * eps * variances + (counts * seen.means * eps) ** 2
    scaler.mean_, scaler.var_ = seen.means, variances
    scaler.scale_ = np.where(constant, 1.0, np.sqrt(variances))
    scaler.n_samples_seen_ = np.int64(seen.rows)


def matrix(preprocessor: ColumnTransformer, table: pa.Table) -> Array:
    """Apply the preprocessing to rows: shape (features, rows), each feature contiguous.

    The values are those that `ColumnTransformer.transform` gives, which needs many times as
    long for text.
    """
    features = np.empty((len(preprocessor.get_feature_names_out()), len(table)))
    end = 0
    for kind, transformer, columns in preprocessor.transformers_:
        last = _last_step(transformer)
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
    return _last_step(preprocessor.named_transformers_[NUMERIC])


def typical_row(preprocessor: ColumnTransformer) -> pd.DataFrame:
    """Return one row of raw columns: the training means, and each column's first category.

    An example of what a model takes that gives no row of the data away.
    """
    row: dict[str, float | str] = {}
    for kind, transformer, columns in preprocessor.transformers_:
        fitted = _last_step(transformer)
        values = fitted.mean_ if kind == NUMERIC else [known[0] for known in fitted.categories_]
        row |= dict(zip(columns, values, strict=True))
    return pd.DataFrame([row])


def unknown_categories(preprocessor: ColumnTransformer, table: pa.Table) -> dict[str, Unknown]:
    """Find what the training rows did not have, by column; of known categories nothing."""
    unknown: dict[str, Unknown] = {}
    for kind, transformer, columns in preprocessor.transformers_:
        if kind == CATEGORICAL:
            for name, known in zip(columns, _last_step(transformer).categories_, strict=True):
                texts = table[name].drop_null()
                others = texts.filter(pc.invert(pc.is_in(texts, pa.array(known, pa.string()))))
                if len(others):
                    first = others.unique()[: EXAMPLES + 1].to_pylist()
                    unknown[name] = Unknown(len(others), tuple(first))
    return unknown


def lacking(
    preprocessor: ColumnTransformer, numeric: Sequence[str], categorical: Sequence[str]
) -> list[str]:
    """Name the columns that it was fitted on and that are not among these of the same kind."""
    known = {NUMERIC: numeric, CATEGORICAL: categorical}
    return sorted(
        name
        for kind, _, columns in preprocessor.transformers_
        for name in {*columns} - {*known[kind]}
    )


def imputes(preprocessor: ColumnTransformer) -> bool:
    """Tell whether the preprocessing fills missing values."""
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
    """Return the most frequent value, of equally frequent ones the first in order."""
    return min(counts, key=lambda value: (-counts[value], value))


def _last_step(transformer: StandardScaler | OneHotEncoder | Pipeline) -> StandardScaler:
    return transformer[-1] if isinstance(transformer, Pipeline) else transformer
