"""One part of the raw table on its way in: checked, and each row written to its split."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ridgeline.config import Prepare
from ridgeline.intake import contract, split, unique
from ridgeline.tables import reading, writing


class Counts(NamedTuple):
    """What became of a part's rows: how many were read and went to each split.

    `nulls` counts missing values by column, `breaches` has the cells that break the contract.
    """

    rows: Counter[str]
    nulls: Counter[str]
    breaches: list[contract.Breaches]


def divide(
    wanted: contract.Contract,
    prepare: Prepare,
    folders: dict[str, Path],
    hashes: Path,
    part: reading.Part,
) -> Counts:
    """Write the rows of a part to the same part of the splits, and the hashes of its keys.

    Parameters
    ----------
    wanted : Contract
        What the rows must keep.
    prepare : Prepare
        The fractions, the seed, and what becomes of rows with a missing value.
    folders : dict of str
        For each split the folder that its parts are written to.
    hashes : Path
        The folder that the keys' hashes are written to.
    part : Part
        What to read.
    """
    counts = Counts(Counter(), Counter(), [])
    found = []
    with ExitStack() as stack:
        write = {
            name: stack.enter_context(writing.parquet_part(folder, part.number))
            for name, folder in folders.items()
        }
        for checked in contract.check(part, wanted):
            counts.rows["read"] += checked.rows
            of_keys = unique.hashes(checked.keys, prepare.seed)
            found.append(of_keys)
            if checked.table is None:
                counts.breaches.append(checked.breaches)
                continue
            nulls = {name: checked.table[name].null_count for name in wanted.columns}
            counts.nulls.update(nulls)
            places = split.assign(of_keys, validation=prepare.validation, test=prepare.test)
            if prepare.missing == "drop" and any(nulls.values()):
                places[_incomplete(checked.table)] = ""
            for name in folders:
                rows = checked.table.filter(places == name)
                write[name](rows)
                counts.rows[name] += len(rows)
    unique.spill(hashes, part.number, np.concatenate(found))
    return counts


def _incomplete(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Return which rows miss a value."""
    nulls = [column.is_null().to_numpy() for column in table.columns if column.null_count]
    rows: npt.NDArray[np.bool_] = np.any(nulls, axis=0)
    return rows
