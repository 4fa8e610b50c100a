"""The preprocessing: fitted on the training rows in a pass over their parts, applied anywhere."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ridgeline.errors import DataError

NUMERIC, CATEGORICAL = "numeric", "categorical"
NO_VALUE = "column {} has no value in the training rows; remove it from data in params.yaml"


def fit(
    parts: Iterable[pd.DataFrame],
    numeric: Sequence[str],
    categorical: Sequence[str],
    *,
    impute: bool,
) -> ColumnTransformer:
    """Fit scaling of the numeric and one-hot encoding of the categorical columns.

    Parameters
    ----------
    parts : iterable of DataFrame
        The training rows. Iterated once, or twice to impute.
    numeric, categorical : sequence of str
        The columns, in the order in which the features shall stand.
    impute : bool
        Whether to fill missing values first: numeric ones with the column's mean, categorical
        ones with its most frequent value.

    Returns
    -------
    ColumnTransformer
        As if scikit-learn had fitted it on all rows at once. Categories that the training
        rows lack become zeros in every one-hot column.

    Raises
    ------
    DataError
        When a column has no value at all, or two features would have the same name.
    """
    means = _means(parts, numeric) if impute else {}
    scaler = StandardScaler()
    frequencies: dict[str, Counter[str]] = {name: Counter() for name in categorical}
    for part in parts:
        if numeric and len(part):
            with np.errstate(invalid="ignore"):  # of a column without any value; told below
                scaler.partial_fit(part[list(numeric)].fillna(means).to_numpy())
        for name in categorical:
            frequencies[name].update(part[name].dropna())
    means = dict(zip(numeric, getattr(scaler, "mean_", ()), strict=True))
    empty = [name for name, mean in means.items() if np.isnan(mean)]
    empty += [name for name in categorical if not frequencies[name]]
    if empty:
        raise DataError(NO_VALUE.format(empty[0]))

    preprocessor = _unfitted(numeric, frequencies, impute)
    # One row of means and most frequent values makes the imputers learn just these; of what the
    # scaler learns from it, all that depends on more than a row is set to what was streamed.
    row = means | {name: _most_frequent(counts) for name, counts in frequencies.items()}
    preprocessor.fit(pd.DataFrame([row]))
    if numeric:
        fitted = scaler_of(preprocessor)
        for attribute in ("mean_", "var_", "scale_", "n_samples_seen_"):
            setattr(fitted, attribute, getattr(scaler, attribute))
    try:
        preprocessor.get_feature_names_out()
    except ValueError as error:
        names = str(error).partition(" You can")[0].partition(" Please")[0]
        raise DataError(
            f"two features would have the same name; rename a column: {names}"
        ) from None
    return preprocessor


def _means(parts: Iterable[pd.DataFrame], numeric: Sequence[str]) -> dict[str, float]:
    """Return the mean of each column's values that are not missing."""
    sums = pd.Series(0.0, index=list(numeric))
    counts = pd.Series(0, index=list(numeric))
    for part in parts:
        sums += part[list(numeric)].sum()
        counts += part[list(numeric)].count()
    for name in numeric:
        if not counts[name]:
            raise DataError(NO_VALUE.format(name))
    return {name: float(sums[name] / counts[name]) for name in numeric}


def transform(preprocessor: ColumnTransformer, frame: pd.DataFrame) -> pd.DataFrame:
    """Apply the preprocessing: a float64 column for each feature, by name, the same index."""
    return pd.DataFrame(
        preprocessor.transform(frame),
        index=frame.index,
        columns=preprocessor.get_feature_names_out(),
    )


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


def unknown_categories(
    preprocessor: ColumnTransformer, frame: pd.DataFrame
) -> Counter[tuple[str, str]]:
    """Count the values of `frame` that the training rows did not have, by (column, value)."""
    unknown: Counter[tuple[str, str]] = Counter()
    for kind, transformer, columns in preprocessor.transformers_:
        if kind == CATEGORICAL:
            for name, known in zip(columns, _last_step(transformer).categories_, strict=True):
                values = frame[name].dropna()
                unknown.update((name, value) for value in values[~values.isin(known)])
    return unknown


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
