"""The data contract, and a check that finds every cell that breaks it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ridgeline.tables.reading import Part, as_frame
from ridgeline.tables.writing import as_table

EXAMPLES = 5
MISSING, NOT_A_NUMBER, NOT_FINITE = "is missing", "is not a number", "is not finite"
LARGEST = 1e150  # sums of squares of larger numbers overflow
TOO_LARGE = f"is too large (above {LARGEST:g} in absolute value)"
ABSENT, REPEATED = "is not a column of", "is not unique"
NAN = ("nan", "+nan", "-nan")  # number parsers read these as NaN, which counts as missing
RULES = {"column_in_dataframe": ABSENT, "not_nullable": MISSING}

Cells = dict[str, pd.Series]


@dataclass(frozen=True)
class Contract:
    """The columns a table must have.

    `key` is unique and never missing. `target`, None if the table needs none, is never missing, and
    a finite number up to `LARGEST` in absolute value. `categorical` columns hold text and `numeric`
    columns such numbers; both may have missing values.
    """

    key: str
    target: str | None
    categorical: tuple[str, ...]
    numeric: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, in the order of checked tables."""
        target = () if self.target is None else (self.target,)
        return (self.key, *target, *self.numeric, *self.categorical)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns that hold numbers."""
        return self.numeric if self.target is None else (self.target, *self.numeric)

    @property
    def text(self) -> tuple[str, ...]:
        """The columns that hold text."""
        return (self.key, *self.categorical)

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that may not have missing values."""
        return (self.key,) if self.target is None else (self.key, self.target)


class Example(NamedTuple):
    """A cell that breaks a rule: its row in the part (from 0), key, and value as text."""

    row: int
    key: str | None
    value: str


@dataclass
class Breach:
    """The rows and cases in which a column breaks a rule: their counts and first examples."""

    rows: int = 0
    cases: int = 0
    examples: list[Any] = field(default_factory=list)

    def add(self, cases: Iterable[Any], count: int, rows: int) -> None:
        """Add to the counts, and keep the first `EXAMPLES` cases."""
        self.examples += islice(cases, EXAMPLES - len(self.examples))
        self.cases += count
        self.rows += rows

    def __str__(self) -> str:
        where = f" in {self.rows} row{'s' if self.rows > 1 else ''}:" if self.rows else ""
        return f"{where} {', '.join(self.examples)}{', …' if self.cases > EXAMPLES else ''}"


Breaches = dict[tuple[str, str], Breach]  # by column and rule


class Checked(NamedTuple):
    """The result of checking some rows.

    `table` has the contract's columns, key and categorical ones as text, target and numeric ones
    as float64; it is None if there are `breaches`. `keys` are the keys that are not missing.
    """

    rows: int
    table: pa.Table | None
    keys: pa.ChunkedArray
    breaches: Breaches


def check(part: Part, contract: Contract) -> Iterator[Checked]:
    """Read a part and yield its checked rows, at most `part.part_rows` at a time.

    A quick check of whole columns accepts most tables; for the others pandera finds each bad cell.
    """
    first_row = 0
    for table in part.tables():
        valid = quick_check(table, contract)
        if valid is not None:
            yield Checked(len(valid), valid, valid[contract.key], {})
        else:
            yield _full_check(table, contract, first_row, part.decimal)
        first_row += len(table)


def quick_check(table: pa.Table, contract: Contract) -> pa.Table | None:
    """Return the rows with the contract's types, or None if they need the full check."""
    columns = []
    for name in contract.columns:
        if name not in table.column_names:
            return None
        column = table[name]
        if name in contract.text:
            column = column.cast(pa.string()) if _is_text(column.type) else None
        else:
            column = _numbers(column)
        if column is None or (name in contract.required and column.null_count):
            return None
        columns.append(column)
    return pa.table(columns, names=list(contract.columns))


def _is_text(kind: pa.DataType) -> bool:
    """Return whether a type is text, or integers, which are converted to text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return pa.types.is_integer(kind) or any(is_kind(kind) for is_kind in text)


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return numbers as float64 with null for NaN, or None if not all can be squared."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return None
    column = column.cast(pa.float64(), safe=False)
    if not _all_small(column):
        column = pc.if_else(pc.is_nan(column), None, column)
        if not _all_small(column):
            return None
    return column


def _all_small(column: pa.ChunkedArray) -> bool:
    return pc.all(pc.less_equal(pc.abs(column), LARGEST)).as_py() is not False


def _full_check(table: pa.Table, contract: Contract, first_row: int, decimal: str) -> Checked:
    """Find each cell that breaks the contract; rows that failed the quick check may be valid."""
    raw = as_frame(table)
    frame, unreadable = typed(raw, contract, decimal)
    present = frame[contract.key].dropna() if contract.key in frame else pd.Series([], dtype="str")
    keys = pa.chunked_array([pa.array(present, pa.string())])
    failures = _failures(contract, frame)
    if not unreadable and failures is None:
        return Checked(len(raw), as_table(frame[list(contract.columns)]), keys, {})
    breaches: Breaches = {}

    def record(column: str, rule: str, cells: pd.Series) -> None:
        examples = (_example(raw, contract, first_row, row, value) for row, value in cells.items())
        breaches.setdefault((column, rule), Breach()).add(examples, len(cells), len(cells))

    for column, cells in unreadable.items():
        record(column, NOT_A_NUMBER, cells)
    if failures is not None:
        for (check, name), found in failures.groupby(["check", "column"], dropna=False, sort=False):
            rule = RULES.get(str(check), str(check))
            if rule == ABSENT:
                breaches |= {(absent, rule): Breach() for absent in found["failure_case"]}
                continue
            cells = found.set_index("index")["failure_case"]
            if name in unreadable:  # already recorded; missing only since the conversion
                cells = cells[~cells.index.isin(unreadable[name].index)]
            if len(cells):
                record(str(name), rule, cells)
    return Checked(len(raw), None, keys, breaches)


def _example(
    frame: pd.DataFrame, contract: Contract, first_row: int, row: Any, value: Any
) -> Example:
    key = frame[contract.key].iloc[int(row)] if contract.key in frame else None
    shown = "" if pd.isna(value) else f" = {value!r}"
    return Example(first_row + int(row), None if key is None or pd.isna(key) else str(key), shown)


def _failures(contract: Contract, frame: pd.DataFrame) -> pd.DataFrame | None:
    # imported here: it takes half a second, and most tables do not need it
    import pandera.pandas as pandera

    finite = [
        pandera.Check(np.isfinite, error=NOT_FINITE),
        pandera.Check(
            lambda values: ~(values.abs().between(LARGEST, np.inf, "neither")), error=TOO_LARGE
        ),
    ]
    columns = {
        contract.key: pandera.Column("str", nullable=False),
        **{name: pandera.Column("str", nullable=True) for name in contract.categorical},
        **{name: pandera.Column(float, finite, nullable=True) for name in contract.numeric},
    }
    if contract.target is not None:
        columns[contract.target] = pandera.Column(float, finite, nullable=False)
    try:
        pandera.DataFrameSchema(columns).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        return pd.DataFrame(error.failure_cases)
    return None


def typed(frame: pd.DataFrame, contract: Contract, decimal: str) -> tuple[pd.DataFrame, Cells]:
    """Convert columns to text and float64; also return the cells that are not numbers.

    `decimal` is the character before a number's decimals, in texts.
    """
    text = {name: as_text(frame[name]) for name in contract.text if name in frame}
    numbers, unreadable = {}, {}
    for name in (*contract.numeric, *contract.required[1:]):
        if name in frame:
            numbers[name] = as_numbers(frame[name], decimal)
            cells = frame[name][frame[name].notna() & numbers[name].isna()]
            cells = cells[~cells.astype("str").str.lower().isin(NAN)]
            if len(cells):
                unreadable[name] = cells
    converted = frame.copy(deep=False)
    for name, values in (text | numbers).items():  # not by keyword: a column may be called self
        converted[name] = values
    return converted, unreadable


def as_text(values: pd.Series) -> pd.Series:
    """Convert each value to text; 1, "1" and 1.0 (an integer in a column with nulls) are "1"."""
    if isinstance(values.dtype, pd.StringDtype):
        return values.astype("str")

    def text(value: object) -> str:
        return str(int(value) if isinstance(value, float) and value.is_integer() else value)

    return values.astype(object).map(text, na_action="ignore").astype("str")


def as_numbers(values: pd.Series, decimal: str = ".") -> pd.Series:
    """Convert values to float64, and what is no number to NaN; `decimal` is that of texts."""
    types = pd.api.types
    times = types.is_datetime64_any_dtype(values) or types.is_timedelta64_dtype(values)
    if times or isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)  # pandas would convert times to nanoseconds
    if decimal == "," and isinstance(values.dtype, pd.StringDtype):  # a point is not allowed
        values = values.str.translate(str.maketrans(".,", ",."))
    return pd.to_numeric(values, errors="coerce").astype(float)
