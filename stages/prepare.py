"""Check the raw table against the data contract and split it into train, validation and test.

A row's split depends only on its key, so it doesn't change when rows are added or reordered.
"""

from collections import Counter
from contextlib import ExitStack
from functools import partial

from ridgeline.config import Settings
from ridgeline.errors import DataError, warn
from ridgeline.files import METRICS, PREPARED, SPLITS, scratch, table_md5, write_json
from ridgeline.intake import contract, division, missing
from ridgeline.intake.findings import Findings
from ridgeline.tables import engine, progress, reading, writing
from stages import run


def main(settings: Settings) -> None:
    """Read ``data.path``; write the three splits, their numbers of rows and the table's md5."""
    data, prepare = settings.data, settings.prepare
    # a row without a target is dropped, so the contract does not require one
    numeric = (data.target, *data.numeric)
    wanted = contract.Contract(data.key_column, None, data.categorical, numeric)
    required = wanted.columns if prepare.missing == "drop" else (data.target,)
    numbering = None if data.key else engine.mapped
    table = reading.open_table(
        data.path,
        wanted.columns,
        wanted.numbers,
        missing_values=data.missing_values,
        csv_options=data.csv,
        numbering=numbering,
    )
    rows: Counter[str] = Counter()
    nulls: Counter[str] = Counter()
    findings = Findings(wanted, table)

    with ExitStack() as stack:
        folders = {name: stack.enter_context(writing.parquet(PREPARED / name)) for name in SPLITS}
        hashes = stack.enter_context(scratch(PREPARED / "hashes"))
        done = stack.enter_context(progress.bar("prepare", lambda: table.size))

        def add(part: reading.Part, counts: division.Counts) -> None:
            rows.update(counts.rows)
            nulls.update(counts.nulls)
            findings.add(part, counts.breaches, counts.rows["read"])
            done(part, rows=counts.rows["read"])

        divide = partial(division.divide, wanted, required, prepare, folders, hashes)
        engine.for_each(divide, table.parts(), add)
        findings.add_repeated_keys(hashes, prepare.seed, engine.mapped)
        findings.raise_if_any()
        rows["dropped"] = rows["read"] - sum(rows[name] for name in SPLITS)
        refuse_empty_splits(data.path, rows)

    counts = {name: rows[name] for name in ("read", "dropped", *SPLITS)}
    print(summary(counts, Counter({name: nulls[name] for name in required})))
    for suspicion in missing.suspicions(
        table, data.categorical, data.missing_values, nulls, rows["read"], engine.mapped
    ):
        warn(suspicion)
    by_column = {name: nulls[name] for name in wanted.columns if nulls[name]}
    found = {"md5": table_md5(data.path), "rows": counts, "missing": by_column}
    write_json(METRICS / "prepare.json", found)


def refuse_empty_splits(path: str, rows: Counter[str]) -> None:
    """Raise a `DataError` if a split has no rows, since the next stages need rows in each."""
    empty = [name for name in SPLITS if not rows[name]]
    if empty:
        raise DataError(
            f"{path}: no rows for {' and '.join(empty)} ({rows['read']} rows read, "
            f"{rows['dropped']} dropped for a missing value); add rows, set prepare.missing to "
            "impute, or change prepare.seed or the fractions in params.yaml"
        )


def summary(counts: dict[str, int], nulls: Counter[str]) -> str:
    """Return the number of rows per split, and the columns that caused rows to be dropped."""
    texts = {name: f"{name} {count}" for name, count in counts.items()}
    if counts["dropped"]:
        texts["dropped"] += f" ({missing.most_frequent(nulls)})"
    return f"{', '.join(texts.values())} rows"


if __name__ == "__main__":
    run("prepare", main)
