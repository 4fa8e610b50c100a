"""Predictions for the rows of a table, and a summary of them."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.pipeline import Pipeline

from ridgeline.model import features, profile, regressors, scoring
from ridgeline.tables.reading import numbers

PLOTTED_ROWS = 500  # the first ones; more would be unreadable


class Predicted(NamedTuple):
    """A summary of predicted rows, of a size that doesn't grow with their number.

    `sums` is the result of `scoring.sums`; `plotted` holds the first rows; `unknown`, by column,
    categories that are not in the training rows, and `outside` the number of values outside the
    range of the training rows; `observed` is the result of `profile.observe`; `predictions` is
    their spread; `incomplete` counts rows with a missing value, `covered` those whose actual value
    is in the interval; None if there are no intervals.
    """

    rows: int
    sums: scoring.Array
    plotted: pa.Table
    unknown: dict[str, features.Unknown]
    outside: Counter[str]
    observed: profile.Observed
    predictions: profile.Spread
    incomplete: int
    covered: int | None


NONE = Predicted(0, scoring.NONE, pa.table({}), {}, Counter(), {}, profile.NO_SPREAD, 0, 0)


def predict_rows(
    model: Pipeline,
    key: str,
    target: str | None,
    baseline: float,
    half_width: float | None,
    table: pa.Table,
    refused: npt.NDArray[np.bool_] | None = None,
) -> tuple[pa.Table, Predicted]:
    """Predict the rows of a table.

    Parameters
    ----------
    model : Pipeline
        Its steps are ``preprocessor`` and a regressor.
    key, target : str
        The columns of the rows' keys and actual values; `target` is None if there are none.
    baseline : float
        The baseline's prediction for every row.
    half_width : float or None
        Half the width of the prediction intervals, in the target's unit; None if it is unknown.
    table : Table
        Raw columns, numeric ones as float64 and others as text.
    refused : ndarray of shape (rows,), optional
        Which rows not to predict.

    Returns
    -------
    tuple of Table and Predicted
        Each row's key, prediction and its interval's ends, ``lower`` and ``upper`` (null if its
        width is unknown), with actual value and residual if there is a target. A row has no
        prediction if it is refused, if a value is missing that the model does not impute, or if
        the prediction is not finite.
    """
    preprocessor = model["preprocessor"]
    unknown = features.unknown_categories(preprocessor, table)
    outside = profile.outside(preprocessor, table)
    observed = profile.observe(preprocessor, table)
    predicted = np.full(len(table), np.nan)
    usable = np.ones(len(table), bool) if refused is None else ~refused
    if not features.imputes(preprocessor):
        for name in preprocessor.feature_names_in_:
            usable &= table[name].is_valid().to_numpy()
    if usable.any():
        X = features.matrix(preprocessor, table if usable.all() else table.filter(usable)).T
        found = regressors.predict(model[-1], X)
        predicted[usable] = np.where(np.isfinite(found), found, np.nan)
    columns = {key: table[key], "prediction": pa.array(predicted, from_pandas=True)}
    width = np.nan if half_width is None else half_width
    lower, upper = predicted - width, predicted + width
    for name, end in (("lower", lower), ("upper", upper)):
        columns[name] = pa.array(end, from_pandas=True)
    sums, covered = scoring.NONE, None if half_width is None else 0
    if target is not None:
        columns["actual"] = table[target]
        columns["residual"] = pc.subtract(columns["actual"], columns["prediction"])
    rows = pa.table(columns)
    if target is not None:
        both = numbers(rows, ("actual", "prediction"))
        actual, known = both[:, ~np.isnan(both).any(axis=0)]
        sums = scoring.sums(actual, known, baseline)
        if covered is not None:
            covered = int(((lower <= both[0]) & (both[0] <= upper)).sum())
    first = rows.take(np.arange(min(len(rows), PLOTTED_ROWS)))  # a slice keeps all rows alive
    spread = profile.spread(predicted[~np.isnan(predicted)])
    incomplete = len(rows) - int(usable.sum())
    summary = (sums, first, unknown, outside, observed, spread, incomplete, covered)
    return rows, Predicted(len(rows), *summary)


def add(a: Predicted, b: Predicted) -> Predicted:
    """Combine the summaries of some rows and of the rows that follow them."""
    plotted, room = a.plotted, PLOTTED_ROWS - len(a.plotted)
    if room:
        plotted = pa.concat_tables([plotted, b.plotted[:room]], promote_options="default")
    unknown = a.unknown | {
        name: a.unknown[name] + found if name in a.unknown else found
        for name, found in b.unknown.items()
    }
    sums, incomplete = scoring.add(a.sums, b.sums), a.incomplete + b.incomplete
    covered = None if a.covered is None or b.covered is None else a.covered + b.covered
    outside, observed = a.outside + b.outside, profile.add(a.observed, b.observed)
    spread = profile.add_spread(a.predictions, b.predictions)
    summary = (sums, plotted, unknown, outside, observed, spread, incomplete, covered)
    return Predicted(a.rows + b.rows, *summary)


def warnings(total: Predicted) -> Iterator[str]:
    """Yield warnings about unknown categories, rows not predicted, and missing intervals."""
    for column, unknown in total.unknown.items():
        yield (
            f"column {column} has categories that are not in the training rows: {unknown} "
            f"(rows: {unknown.rows}); they are ignored"
        )
    if total.covered is None:
        yield (
            "predictions have no intervals: the model has too few training rows for this "
            "predict.level, or was registered without their widths; try a lower level"
        )
    if total.incomplete:
        yield (
            f"rows without a prediction because a value is missing: {total.incomplete}; to fill "
            "in values from the training rows, set prepare.missing to impute in params.yaml"
        )
    infinite = total.rows - total.incomplete - total.predictions.rows
    if infinite:
        yield f"rows without a prediction because it is not finite: {infinite}; check their values"
