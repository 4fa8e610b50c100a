"""Missing values: in which columns they are, and which may be a category such as NA."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from ridgeline.tables.engine import Map
from ridgeline.tables.reading import Table, missing_texts

SHARE = 0.1  # of the rows: so many categories are rarely missing
SHOWN = 5


def most_frequent(nulls: Counter[str]) -> str:
    """Return the columns with the most missing values, and how many.

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
    map: Map = map,  # noqa: A002 - it stands for it
) -> Iterator[str]:
    """Find categorical columns in which a text such as NA is missing in many rows.

    Parameters
    ----------
    table : Table
        What was read; it is read once more if a column is missing in more than `SHARE` of the rows.
    categorical : sequence of str
        The columns to look at.
    missing_values : sequence of str
        The texts that mean missing.
    nulls : Counter of str
        How many values are missing, by column.
    rows : int
        How many rows there are.
    map : callable
        What applies a function to each part, such as `engine.mapped`.

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
