"""Compare the distributions of two tables' columns, one part at a time."""

from collections.abc import Sequence
from functools import partial, reduce
from operator import add
from typing import NamedTuple

import numpy as np

from ridgeline.model import drift, features
from ridgeline.tables.engine import Map
from ridgeline.tables.reading import Part, Table, numbers

Array = drift.Array
Counts = drift.Counts


class Moved(NamedTuple):
    """How far a column's distribution moved from one table to another.

    `stability` is the population stability index, `chance` what it reaches by chance between
    unrelated tables of these sizes, see `drift.threshold`. Of a numeric column, `shift` is the
    difference of the means in standard deviations of the first table; None of a categorical one.
    """

    column: str
    stability: float
    chance: float
    shift: float | None


def moved(
    a: Table,
    b: Table,
    numeric: Sequence[str],
    categorical: Sequence[str],
    map: Map = map,  # noqa: A002 - a drop-in replacement
) -> list[Moved]:
    """Return the columns with a population stability index above `drift.MOVED`, largest first.

    Missing values are counted as a bin or category of their own.

    Parameters
    ----------
    a, b : Table
        The tables; bins of numbers lie between the deciles of `a`.
    numeric, categorical : sequence of str
        The columns to compare.
    map : callable
        Applies a function to each part, such as `engine.mapped`.
    """
    of_part = partial(_statistics, tuple(numeric), tuple(categorical))
    before, after = (reduce(features.add, map(of_part, table.parts())) for table in (a, b))
    spread = np.sqrt(before.squares / np.maximum(before.counts, 1))
    scale = np.where(spread > 0, spread, 1.0)
    shifts = (after.means - before.means) / scale
    binned = partial(_histogram, tuple(numeric), before.means, scale)
    histogram_a, histogram_b = (reduce(add, map(binned, table.parts())) for table in (a, b))

    def compared(column: str, p: Counts, q: Counts, shift: float | None = None) -> Moved:
        chance = drift.threshold(p, q, len(numeric) + len(categorical))
        return Moved(column, drift.population_stability(p, q), chance, shift)

    found = []
    for place, name in enumerate(numeric):
        begins = drift.edges(histogram_a[place])
        begins = begins[begins < drift.GRID]
        p, q = (
            np.append(np.add.reduceat(counts[place], begins), total.rows - total.counts[place])
            for counts, total in ((histogram_a, before), (histogram_b, after))
        )
        found.append(compared(name, p, q, float(shifts[place])))
    for name in categorical:
        known = sorted({*before.frequencies[name], *after.frequencies[name]})
        p, q = (_frequencies(total, name, known) for total in (before, after))
        found.append(compared(name, p, q))
    far = [column for column in found if column.stability > drift.MOVED]
    return sorted(far, key=lambda column: (-column.stability, column.column))


def _frequencies(total: features.Statistics, name: str, known: Sequence[str]) -> Counts:
    counts = total.frequencies[name]
    return np.array([*(counts[text] for text in known), total.rows - counts.total()])


def _statistics(
    numeric: tuple[str, ...], categorical: tuple[str, ...], part: Part
) -> features.Statistics:
    return features.statistics(numeric, categorical, part.table())


def _histogram(numeric: tuple[str, ...], means: Array, scale: Array, part: Part) -> Counts:
    scaled = (numbers(part.table(), numeric) - means[:, None]) / scale[:, None]
    return drift.histogram(scaled)
