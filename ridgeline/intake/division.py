"""Check a part of the raw table, and write each row to its split."""

from collections import Counter
from collections.abc import Sequence
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
    """Counts of a part's rows (read and per split) and missing values by column; its breaches."""

    rows: Counter[str]
    nulls: Counter[str]
    breaches: list[contract.Breaches]


def divide(
    wanted: contract.Contract,
    required: Sequence[str],
    prepare: Prepare,
    folders: dict[str, Path],
    hashes: Path,
    part: reading.Part,
) -> Counts:
    """Write the rows of a part to the same part of the splits, and the hashes of its keys.

    Parameters
    ----------
    wanted : Contract
        The contract that rows must satisfy.
    required : sequence of str
        A row with a missing value in one of these columns is dropped.
    prepare : Prepare
        The fractions and the seed.
    folders : dict of str
        The folder for the parts of each split.
    hashes : Path
        The folder for the hashes of keys.
    part : Part
        What to read.
    """
    counts = Counts(Counter(), Counter(), [])
    with ExitStack() as stack:
        write = {
            name: stack.enter_context(writing.parquet_part(folder, part.number))
            for name, folder in folders.items()
        }
        for number, checked in enumerate(contract.check(part, wanted)):
            counts.rows["read"] += checked.rows
            key_hashes = unique.hashes(checked.keys, prepare.seed)
            if checked.table is None:
                counts.breaches.append(checked.breaches)
            else:
                nulls = {name: checked.table[name].null_count for name in wanted.columns}
                counts.nulls.update(nulls)
                splits = split.assign(key_hashes, validation=prepare.validation, test=prepare.test)
                if any(nulls[name] for name in required):
                    splits[_incomplete(checked.table.select(list(required)))] = ""
                for name in folders:
                    rows = checked.table.filter(splits == name)
                    write[name](rows)
                    counts.rows[name] += len(rows)
            unique.spill(hashes, f"{part.number}-{number}", key_hashes)
    return counts


def _incomplete(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows with a missing value, shape (n,)."""
    nulls = [column.is_null().to_numpy() for column in table.columns if column.null_count]
    rows: npt.NDArray[np.bool_] = np.any(nulls, axis=0)
    return rows
