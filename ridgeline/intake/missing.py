"""Report missing values by column, and those that may be a category such as NA."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from ridgeline.tables.engine import Map
from ridgeline.tables.reading import Table, missing_texts

SHARE = 0.1  # of the rows; a larger share suggests a category
SHOWN = 5


def most_frequent(nulls: Counter[str]) -> str:
    """Return the columns with the most missing values, and their counts, as text.

    Examples
    --------
    >>> most_frequent(Counter(age=2, weight=1, sex=0))
    'age 2, weight 1'
    """
    shown = [f"{name} {count}" for name, count in nulls.most_common(SHOWN) if count]
    return ", ".join(shown) + (", …" if len(+nulls) > SHOWN else "")


def suspicions(
    table: Table,
    categorical: Sequence[str],
    missing_values: Sequence[str],
    nulls: Counter[str],
    rows: int,
    map: Map = map,  # noqa: A002 - a drop-in replacement
) -> Iterator[str]:
    """Find categorical columns in which many rows have a text, such as NA, that means missing.

    Parameters
    ----------
    table : Table
        The table; it is read again if a column is missing in more than `SHARE` of the rows.
    categorical : sequence of str
        The columns to check.
    missing_values : sequence of str
        The texts that mean missing.
    nulls : Counter of str
        The number of missing values by column.
    rows : int
        The number of rows.
    map : callable
        Applies a function to each part, such as `engine.mapped`.

    Yields
    ------
    str
        A sentence for each column and text that more than `SHARE` of the rows have.
    """
    columns = [name for name in categorical if nulls[name] > SHARE * rows]
    if not columns:
        return
    counted = map(partial(missing_texts, columns, missing_values), table.parts())
    for (column, text), count in sum(counted, Counter[tuple[str, str]]()).items():
        if count > SHARE * rows:
            yield (
                f"{column} is {text!r} in {count} of {rows} rows, which counts as missing; if it "
                "is a category, remove it from data.missing_values in params.yaml"
            )
