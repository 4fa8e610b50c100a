"""The rows of a table that can't be predicted, and why: the others are not held up by them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ridgeline.intake import contract
from ridgeline.intake.contract import (
    LARGEST,
    MISSING,
    NOT_A_NUMBER,
    NOT_FINITE,
    TOO_LARGE,
    Contract,
)
from ridgeline.tables.reading import as_frame
from ridgeline.tables.writing import as_table


class Accepted(NamedTuple):
    """Rows with the contract's types, and for each the reason why it can't be predicted.

    `table` has null in place of cells that break the contract. `reasons`, shape (rows,), has the
    place of each row's reason in `texts`; -1 if there is none.
    """

    table: pa.Table
    reasons: npt.NDArray[np.int64]
    texts: list[str]


def accept(table: pa.Table, wanted: Contract, decimal: str, required: Sequence[str]) -> Accepted:
    """Return rows with a contract's types, and the first reason why each can't be predicted.

    Parameters
    ----------
    table : Table
        Raw rows, with all of the contract's columns.
    wanted : Contract
        The columns' types; missing keys are allowed.
    decimal : str
        The character before a number's decimals, in texts.
    required : sequence of str
        The columns that may not have missing values.
    """
    typed = contract.quick_check(table, wanted)
    found: dict[tuple[str, str], npt.NDArray[np.bool_]] = {}
    if typed is None:
        frame, unreadable = contract.typed(as_frame(table), wanted, decimal)
        for name, cells in unreadable.items():
            found[name, NOT_A_NUMBER] = frame.index.isin(cells.index)
        for name in wanted.numeric:
            size = frame[name].abs()
            found[name, NOT_FINITE] = (size == np.inf).to_numpy()
            found[name, TOO_LARGE] = ((size > LARGEST) & (size < np.inf)).to_numpy()
            frame[name] = frame[name].where(~(size > LARGEST))
        typed = as_table(frame[list(wanted.columns)])
    found |= {(n, MISSING): typed[n].is_null().to_numpy() for n in required if typed[n].null_count}
    reasons = np.full(len(table), -1)
    for place, rows in enumerate(found.values()):
        reasons[rows & (reasons < 0)] = place
    return Accepted(typed, reasons, [f"{name} {rule}" for name, rule in found])
