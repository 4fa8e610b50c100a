"""Predictions for some rows of a table, and what is reported of them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.pipeline import Pipeline

from ridgeline.model import features, scoring
from ridgeline.tables.reading import numbers

PLOTTED_ROWS = 500  # the first ones; more would be a blot


class Predicted(NamedTuple):
    """What is reported of some predicted rows: nothing that grows with their number.

    `sums` are those of `scoring.sums`; `plotted` has the first rows; `unknown` has, by column,
    the categories that the training rows lack; `incomplete` counts rows without a prediction.
    """

    rows: int
    sums: scoring.Array
    plotted: pa.Table
    unknown: dict[str, features.Unknown]
    incomplete: int


NONE = Predicted(0, scoring.NONE, pa.table({}), {}, 0)


def predict_rows(
    model: Pipeline, table: pa.Table, key: str, target: str | None, baseline: float
) -> tuple[pa.Table, Predicted]:
    """Predict rows.

    Parameters
    ----------
    model : Pipeline
        With the steps ``preprocessor`` and a regressor.
    table : Table
        Raw columns; the numeric ones as float64, the others as text.
    key, target : str
        The columns with the rows' keys and actual values; None where these are unknown.
    baseline : float
        What the baseline predicts for every row.

    Returns
    -------
    tuple of Table and Predicted
        Key and prediction of each row, with actual value and residual where there is a target; a
        row with a missing value has no prediction, unless the model fills it in.
    """
    preprocessor = model["preprocessor"]
    unknown = features.unknown_categories(preprocessor, table)
    predicted = np.full(len(table), np.nan)
    usable = np.ones(len(table), bool)
    if not features.imputes(preprocessor):
        for name in preprocessor.feature_names_in_:
            usable &= table[name].is_valid().to_numpy()
    if usable.any():
        X = features.matrix(preprocessor, table if usable.all() else table.filter(usable)).T
        predicted[usable] = model[-1].predict(X)
    columns = {key: table[key], "prediction": pa.array(predicted, from_pandas=True)}
    sums = scoring.NONE
    if target is not None:
        columns["actual"] = table[target]
        columns["residual"] = pc.subtract(columns["actual"], columns["prediction"])
    rows = pa.table(columns)
    if target is not None:
        both = numbers(rows, ("actual", "prediction"))
        actual, known = both[:, ~np.isnan(both).any(axis=0)]
        sums = scoring.sums(actual, known, baseline)
    first = rows.take(np.arange(min(len(rows), PLOTTED_ROWS)))  # a slice would keep it all
    return rows, Predicted(len(rows), sums, first, unknown, len(rows) - int(usable.sum()))


def add(a: Predicted, b: Predicted) -> Predicted:
    """Add what is reported of some rows and of those that follow them."""
    plotted, room = a.plotted, PLOTTED_ROWS - len(a.plotted)
    if room:
        plotted = pa.concat_tables([plotted, b.plotted[:room]], promote_options="default")
    unknown = a.unknown | {
        name: a.unknown[name] + found if name in a.unknown else found
        for name, found in b.unknown.items()
    }
    return Predicted(
        a.rows + b.rows,
        scoring.add(a.sums, b.sums),
        plotted,
        unknown,
        a.incomplete + b.incomplete,
    )


def warnings(total: Predicted) -> Iterator[str]:
    """Yield a sentence for each column with unknown categories, and for rows not predicted."""
    for column, unknown in total.unknown.items():
        yield f"{column} {unknown} not among the training rows; ignored (rows: {unknown.rows})"
    if total.incomplete:
        yield (
            f"rows with a missing value, without a prediction: {total.incomplete}; to fill such "
            "values from the training rows, set prepare.missing to impute in params.yaml"
        )
