"""Compare the distributions of two tables' columns, one part at a time."""

from collections.abc import Sequence
from functools import partial, reduce
from typing import NamedTuple

import numpy as np

from ridgeline.model import drift, features, profile
from ridgeline.tables.engine import Map
from ridgeline.tables.reading import Table


class Moved(NamedTuple):
    """How far a column's distribution moved from one table to another.

    `shift` is the difference of a numeric column's means in standard deviations of the first table;
    None of a categorical one.
    """

    change: drift.Change
    shift: float | None


def moved(
    a: Table,
    b: Table,
    numeric: Sequence[str],
    categorical: Sequence[str],
    map: Map = map,  # noqa: A002 - a drop-in replacement
) -> list[Moved]:
    """Return the columns with a population stability index above `drift.MOVED`, largest first.

    Missing values are counted as a bin or category of their own, and so are categories that only
    `b` has.

    Parameters
    ----------
    a, b : Table
        The tables; bins of numbers lie between the deciles of `a`.
    numeric, categorical : sequence of str
        The columns to compare.
    map : callable
        Applies a function to each part's rows, such as `engine.over` returns.
    """
    if not (numeric or categorical):
        return []
    preprocessor, before = features.fit(a.parts(), numeric, categorical, impute=False, map=map)
    observe = partial(profile.observe, preprocessor)
    in_a, in_b = (reduce(profile.add, map(observe, table.parts())) for table in (a, b))
    profile.keep(preprocessor, before, in_a)
    means = partial(features.statistics, tuple(numeric), ())
    after = reduce(features.add, map(means, b.parts()))
    scale = features.scaler_of(preprocessor).scale_ if numeric else np.ones(0)
    shifts = dict(zip(numeric, ((after.means - before.means) / scale).tolist(), strict=True))
    changes = drift.columns(preprocessor, in_b, {})
    return [Moved(c, shifts.get(c.column)) for c in changes if c.psi > drift.MOVED]
