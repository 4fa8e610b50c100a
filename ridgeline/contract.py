"""What the data must look like, and one error that tells all the ways in which it does not."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pandera

from ridgeline.dataset import Part, Table
from ridgeline.errors import DataError

EXAMPLES = 5
MISSING, NOT_A_NUMBER, NOT_FINITE = "is missing", "is not a number", "is not finite"
ABSENT, REPEATED = "is not a column of", "is not unique"
RULES = {"column_in_dataframe": ABSENT, "not_nullable": MISSING}

Cells = dict[str, pd.Series]


@dataclass(frozen=True)
class Contract:
    """The columns a table must have.

    `key` names each row once. `target` is a finite number in every row; None asks for no
    target. `categorical` are text, `numeric` finite numbers; either may be
    missing in some rows.
    """

    key: str
    target: str | None
    categorical: tuple[str, ...]
    numeric: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, in the order in which checked parts have them."""
        target = () if self.target is None else (self.target,)
        return (self.key, *target, *self.numeric, *self.categorical)


@dataclass
class _Breach:
    """A rule that a column breaks: in how many rows, and the first few cases of it."""

    rows: int = 0
    cases: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, cases: Iterable[str], count: int, rows: int) -> None:
        self.examples += islice(cases, EXAMPLES - len(self.examples))
        self.cases += count
        self.rows += rows

    def __str__(self) -> str:
        where = f" in {self.rows} row{'s' if self.rows > 1 else ''}:" if self.rows else ""
        return f"{where} {', '.join(self.examples)}{', …' if self.cases > EXAMPLES else ''}"


def checked(table: Table, contract: Contract) -> Iterator[pd.DataFrame]:
    """Stream a table's parts with the contract's columns and types.

    Parameters
    ----------
    table : Table
        As opened, with the contract's columns.
    contract : Contract
        What to hold it to.

    Yields
    ------
    DataFrame
        Key and categorical columns as text, target and numeric columns as float64. A part
        that breaks the contract is left out: the error comes at the end, and tells of all.
        Of the rows gone by only a hash of each key is kept, 8 bytes a row.

    Raises
    ------
    DataError
        After the last part, when anything broke the contract: each column and rule with its
        count of rows and up to five of them, by key and value.
    """
    schema = _schema(contract)
    breaches: defaultdict[tuple[str, str], _Breach] = defaultdict(_Breach)
    hashes: list[npt.NDArray[np.uint64]] = []
    for part in table.parts():
        frame, unreadable = _typed(part.frame, contract)
        if contract.key in frame:
            hashes.append(_hashes(frame[contract.key].dropna()))
        failures = _failures(schema, frame)
        if not unreadable and failures is None:
            yield frame[list(contract.columns)]
            continue
        for column, cells in unreadable.items():
            _record(breaches[column, NOT_A_NUMBER], part, contract, cells)
        if failures is not None:
            _record_failures(breaches, part, contract, failures, unreadable)
    _record_repeated_keys(breaches, table, contract, hashes)
    if breaches:
        lines = [f"  {column} {rule}{breach}" for (column, rule), breach in breaches.items()]
        raise DataError(
            f"{_name(table)} breaks the data contract; mend the rows, or the columns that "
            "params.yaml names under data:\n" + "\n".join(lines)
        )


def _schema(contract: Contract) -> pandera.DataFrameSchema:
    finite = pandera.Check(np.isfinite, error=NOT_FINITE)
    columns = {
        contract.key: pandera.Column("str", nullable=False),
        **{name: pandera.Column("str", nullable=True) for name in contract.categorical},
        **{name: pandera.Column(float, finite, nullable=True) for name in contract.numeric},
    }
    if contract.target is not None:
        columns[contract.target] = pandera.Column(float, finite, nullable=False)
    return pandera.DataFrameSchema(columns)


def _failures(schema: pandera.DataFrameSchema, frame: pd.DataFrame) -> pd.DataFrame | None:
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        return pd.DataFrame(error.failure_cases)
    return None


def _typed(frame: pd.DataFrame, contract: Contract) -> tuple[pd.DataFrame, Cells]:
    """Make text of text and float64 of numbers; return too the cells that are no numbers."""
    text = {
        name: _as_text(frame[name])
        for name in (contract.key, *contract.categorical)
        if name in frame
    }
    numbers, unreadable = {}, {}
    for name in (*contract.numeric, *((contract.target,) if contract.target else ())):
        if name in frame:
            numbers[name] = _as_numbers(frame[name])
            unread = frame[name][frame[name].notna() & numbers[name].isna()]
            if len(unread):
                unreadable[name] = unread
    return frame.assign(**text, **numbers), unreadable


def _as_text(values: pd.Series) -> pd.Series:
    """Make text of each value by itself: 1, "1" and 1.0 (as 1 beside a null) are "1"."""
    if isinstance(values.dtype, pd.StringDtype):
        return values.astype("str")

    def text(value: object) -> str:
        return str(int(value) if isinstance(value, float) and value.is_integer() else value)

    return values.astype(object).map(text, na_action="ignore").astype("str")


def _as_numbers(values: pd.Series) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        values = values.astype(object)  # pandas would count nanoseconds
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    return pd.to_numeric(values, errors="coerce").astype(float)


def _hashes(keys: pd.Series) -> npt.NDArray[np.uint64]:
    return pd.util.hash_array(keys.to_numpy(object), categorize=False)


def _record(breach: _Breach, part: Part, contract: Contract, cells: pd.Series) -> None:
    """Count these cells of a part, and show the first few by key and value."""

    def example(row: Any, value: Any) -> str:
        key = part.frame[contract.key].iloc[int(row)] if contract.key in part.frame else None
        unnamed = key is None or pd.isna(key)
        name = (
            f"row {part.first_row + int(row)} of {part.file}"
            if unnamed
            else f"{contract.key} {key}"
        )
        return name if pd.isna(value) else f"{name} = {value!r}"

    breach.add((example(row, value) for row, value in cells.items()), len(cells), len(cells))


def _record_failures(
    breaches: defaultdict[tuple[str, str], _Breach],
    part: Part,
    contract: Contract,
    failures: pd.DataFrame,
    unreadable: Cells,
) -> None:
    """Count what pandera found, except where a cell that is no number now counts as missing."""
    for names, found in failures.groupby(["check", "column"], dropna=False, sort=False):
        check, column = map(str, names)
        rule = RULES.get(check, check)
        if rule == ABSENT:
            for name in found["failure_case"]:
                breach = breaches[name, rule]
                if str(part.file) not in breach.examples:
                    breach.add([str(part.file)], 1, 0)
            continue
        cells = found.set_index("index")["failure_case"]
        if column in unreadable:
            cells = cells[~cells.index.isin(unreadable[column].index)]
        if len(cells):
            _record(breaches[column, rule], part, contract, cells)


def _record_repeated_keys(
    breaches: defaultdict[tuple[str, str], _Breach],
    table: Table,
    contract: Contract,
    hashes: list[npt.NDArray[np.uint64]],
) -> None:
    if not hashes:
        return
    values, times = np.unique(np.concatenate(hashes), return_counts=True)
    suspects = values[times > 1]  # equal keys, or (once in 2**64 pairs) an accident
    if not suspects.size:
        return
    counts: Counter[str] = Counter()
    for frame in table:
        if contract.key in frame:
            keys = _as_text(frame[contract.key]).dropna()
            counts.update(keys[np.isin(_hashes(keys), suspects)])
    for key, rows in counts.items():
        if rows > 1:
            breaches[contract.key, REPEATED].add([f"{contract.key} {key} ({rows} rows)"], 1, rows)


def _name(table: Table) -> Path:
    return table.files[0] if len(table.files) == 1 else table.files[0].parent
