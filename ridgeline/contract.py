"""What the data must look like, and one error that tells all the ways in which it does not."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pandera

from ridgeline.dataset import Part, Table
from ridgeline.errors import DataError

EXAMPLES = 5
MISSING, NOT_A_NUMBER, NOT_FINITE = "is missing", "is not a number", "is not finite"
ABSENT, REPEATED = "is not a column", "is not unique"
RULES = {
    "column_in_dataframe": ABSENT,
    "coerce_dtype('float64')": NOT_A_NUMBER,
    "not_nullable": MISSING,
    NOT_FINITE: NOT_FINITE,
}


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
    """A rule that a column breaks: how often, and the first few rows that do."""

    rows: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        self.rows += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


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

    Raises
    ------
    DataError
        After the last part, when anything broke the contract: each column and rule with its
        count of rows and up to five of them, by key and value.
    """
    schema = _schema(contract)
    breaches: dict[tuple[str, str], _Breach] = {}
    hashes: list[np.ndarray] = []
    for part in table.parts():
        frame = _with_text_columns(part.frame, contract)
        if contract.key in frame:
            keys = frame[contract.key].dropna()
            hashes.append(pd.util.hash_array(keys.to_numpy(object), categorize=False))
        try:
            yield schema.validate(frame, lazy=True)[list(contract.columns)]
        except pandera.errors.SchemaErrors as error:
            _record(breaches, part, contract, error.failure_cases)
    _record_repeated_keys(breaches, table, contract, hashes)
    if breaches:
        lines = [
            f"  {column} {rule}"
            + (f" in {breach.rows} row{'s' if breach.rows > 1 else ''}" if breach.rows else "")
            + f": {', '.join(breach.examples)}{', …' if breach.rows > EXAMPLES else ''}"
            for (column, rule), breach in breaches.items()
        ]
        raise DataError(
            f"{_name(table)} breaks the data contract; mend the rows, or the columns that "
            "params.yaml names under data:\n" + "\n".join(lines)
        )


def _schema(contract: Contract) -> pandera.DataFrameSchema:
    finite = pandera.Check(np.isfinite, error=NOT_FINITE)
    columns = {
        contract.key: pandera.Column("str", nullable=False),
        **{name: pandera.Column("str", nullable=True) for name in contract.categorical},
        **{
            name: pandera.Column(float, finite, nullable=True, coerce=True)
            for name in contract.numeric
        },
    }
    if contract.target is not None:
        columns[contract.target] = pandera.Column(float, finite, nullable=False, coerce=True)
    return pandera.DataFrameSchema(columns)


def _with_text_columns(frame: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Make text of what is text by its meaning: 1, "1" and 1.0 (as 1 beside a null) are "1"."""
    text = {}
    for name in (contract.key, *contract.categorical):
        if name in frame:
            values = frame[name]
            if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
                values = values.astype("Int64")
            text[name] = values.astype("str")
    return frame.assign(**text)


def _record(
    breaches: dict[tuple[str, str], _Breach],
    part: Part,
    contract: Contract,
    failures: pd.DataFrame,
) -> None:
    for failure in failures.to_dict("records"):
        rule = RULES.get(failure["check"])
        if rule == ABSENT:
            breach = breaches.setdefault((failure["failure_case"], ABSENT), _Breach())
            if f"of {part.file}" not in breach.examples:
                breach.examples.append(f"of {part.file}")
        elif rule is not None and failure["index"] is not None:
            row = int(failure["index"])
            value = "" if rule == MISSING else f" = {failure['failure_case']!r}"
            example = f"{_row_name(part, contract, row)}{value}"
            breaches.setdefault((failure["column"], rule), _Breach()).add(example)


def _record_repeated_keys(
    breaches: dict[tuple[str, str], _Breach],
    table: Table,
    contract: Contract,
    hashes: list[np.ndarray],
) -> None:
    if not hashes:
        return
    values, times = np.unique(np.concatenate(hashes), return_counts=True)
    suspects = values[times > 1]  # equal keys, or (once in 2**64 pairs) an accident
    if not suspects.size:
        return
    counts: dict[str, int] = {}
    for frame in table:
        keys = _with_text_columns(frame, contract)[contract.key].dropna()
        found = pd.util.hash_array(keys.to_numpy(object), categorize=False)
        for key in keys[np.isin(found, suspects)]:
            counts[key] = counts.get(key, 0) + 1
    for key, times_seen in counts.items():
        if times_seen > 1:
            breach = breaches.setdefault((contract.key, REPEATED), _Breach())
            breach.add(f"{contract.key} {key} ({times_seen} rows)")
            breach.rows += times_seen - 1


def _row_name(part: Part, contract: Contract, row: int) -> str:
    key = part.frame[contract.key].iloc[row] if contract.key in part.frame else None
    if key is None or pd.isna(key):
        return f"row {part.first_row + row} of {part.file}"
    return f"{contract.key} {key}"


def _name(table: Table) -> Path:
    return table.files[0] if len(table.files) == 1 else table.files[0].parent
