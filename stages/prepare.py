"""Check the raw table against its contract and split it: train, validation and test.

A row's split follows from its key, so it never changes when rows are added or reordered.
"""

from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ridgeline import contract, dataset, engine, keys, progress, split
from ridgeline.config import Data, Prepare, Settings
from ridgeline.errors import DataError, warn
from ridgeline.files import scratch, write_json
from stages import run

PREPARED = Path("data/prepared")
SUSPICIOUS = 0.1  # share of the rows
SHOWN = 5


class Counts(NamedTuple):
    """What became of a part's rows."""

    rows: Counter[str]
    missing: Counter[str]
    breaches: list[contract.Breaches]


def main(settings: Settings) -> None:
    """Read ``data.path``; write the three splits and how many rows went where."""
    data, prepare = settings.data, settings.prepare
    wanted = contract.Contract(data.key, data.target, data.categorical, data.numeric)
    table = dataset.open_table(
        data.path, wanted.columns, wanted.numbers, missing_values=data.missing_values
    )
    rows: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    findings = contract.Findings(wanted, table)

    with ExitStack() as stack:
        folders = {
            name: stack.enter_context(dataset.writing(PREPARED / name)) for name in split.SPLITS
        }
        spilled = stack.enter_context(scratch(PREPARED / "hashes"))
        done = stack.enter_context(progress.bar("prepare", lambda: table.size))

        def add(part: dataset.Part, counts: Counts) -> None:
            rows.update(counts.rows)
            missing.update(counts.missing)
            findings.add(part, counts.breaches, counts.rows["read"])
            done(part, rows=counts.rows["read"])

        for _ in engine.mapped(
            partial(divide, wanted, prepare, folders, spilled), table.parts(), add
        ):
            pass
        findings.add_repeated_keys(spilled, prepare.seed, engine.mapped)
        findings.tell()

        rows["dropped"] = rows["read"] - sum(rows[name] for name in split.SPLITS)
        empty = [name for name in split.SPLITS if not rows[name]]
        if empty:
            raise DataError(
                f"{data.path}: of {rows['read']} rows, {rows['dropped']} of them dropped for a "
                f"missing value, none falls to {' and '.join(empty)}; add rows, set "
                "prepare.missing to impute, or change prepare.seed or the fractions in params.yaml"
            )

    counts = {name: rows[name] for name in ("read", "dropped", *split.SPLITS)}
    told = {name: f"{name} {count}" for name, count in counts.items()}
    if counts["dropped"]:
        told["dropped"] += f" ({_most_frequent(missing)})"
    print(", ".join(told.values()), "rows")
    warn_of_missing_texts(table, data, missing, counts["read"])
    write_json(
        Path("metrics/prepare.json"),
        {
            "rows": counts,
            "missing": {name: missing[name] for name in wanted.columns if missing[name]},
        },
    )


def warn_of_missing_texts(
    table: dataset.Table, data: Data, missing: Counter[str], rows: int
) -> None:
    """Warn where a text that means missing, such as NA, may be a category: it is so frequent."""
    suspects = [name for name in data.categorical if missing[name] > SUSPICIOUS * rows]
    if suspects:
        count = partial(dataset.missing_texts, suspects, data.missing_values)
        texts = sum(engine.mapped(count, table.parts()), Counter[tuple[str, str]]())
        for (column, text), times in texts.items():
            if times > SUSPICIOUS * rows:
                warn(
                    f"{column} is {text!r} in {times} of {rows} rows, which counts as missing; if "
                    "it is a category, remove it from data.missing_values in params.yaml"
                )


def _most_frequent(missing: Counter[str]) -> str:
    shown = [f"{name} {count}" for name, count in missing.most_common(SHOWN) if count]
    return ", ".join(shown) + (", …" if len(+missing) > SHOWN else "")


def divide(
    wanted: contract.Contract,
    prepare: Prepare,
    folders: dict[str, Path],
    spilled: Path,
    part: dataset.Part,
) -> Counts:
    """Write the rows of a part to the same part of the splits, and the hashes of its keys."""
    counts = Counts(Counter(), Counter(), [])
    found = []
    with ExitStack() as stack:
        write = {
            name: stack.enter_context(dataset.writing_part(folder, part.number))
            for name, folder in folders.items()
        }
        for checked in contract.check(part, wanted):
            counts.rows["read"] += checked.rows
            hashes = keys.hashes(checked.keys, prepare.seed)
            found.append(hashes)
            if checked.table is None:
                counts.breaches.append(checked.breaches)
                continue
            missing = {name: checked.table[name].null_count for name in wanted.columns}
            counts.missing.update(missing)
            places = split.by_hash(hashes, validation=prepare.validation, test=prepare.test)
            if prepare.missing == "drop" and any(missing.values()):
                places[_incomplete(checked.table)] = ""
            for name in split.SPLITS:
                rows = checked.table.filter(places == name)
                write[name](rows)
                counts.rows[name] += len(rows)
    keys.spill(spilled, part.number, np.concatenate(found))
    return counts


def _incomplete(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Tell which rows miss a value."""
    missing = [column.is_null().to_numpy() for column in table.columns if column.null_count]
    rows: npt.NDArray[np.bool_] = np.any(missing, axis=0)
    return rows


if __name__ == "__main__":
    run("prepare", main)
