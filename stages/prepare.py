"""Check the raw table against its contract and split it: train, validation and test.

A row's split follows from its key, so it never changes when rows are added or reordered.
"""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from ridgeline import dataset, split
from ridgeline.config import Settings
from ridgeline.contract import Contract, checked
from ridgeline.errors import DataError
from ridgeline.files import write_json
from stages import run

PREPARED = Path("data/prepared")


def main(settings: Settings) -> None:
    """Read ``data.path``; write the three splits and how many rows went where."""
    data, prepare = settings.data, settings.prepare
    contract = Contract(data.key, data.target, data.categorical, data.numeric)
    table = dataset.open_table(data.path, contract.columns)
    rows: Counter[str] = Counter()
    missing: Counter[str] = Counter()

    with ExitStack() as writers:
        write = {
            name: writers.enter_context(dataset.writing(PREPARED / name)) for name in split.SPLITS
        }
        for frame in checked(table, contract):
            rows["read"] += len(frame)
            missing.update({name: int(frame[name].isna().sum()) for name in contract.columns})
            if prepare.missing == "drop":
                frame = frame.dropna()
            splits = split.assign(
                frame[data.key],
                validation=prepare.validation,
                test=prepare.test,
                seed=prepare.seed,
            )
            for name in split.SPLITS:
                write[name](frame[splits == name])
                rows[name] += int((splits == name).sum())

        rows["dropped"] = rows["read"] - sum(rows[name] for name in split.SPLITS)
        empty = [name for name in split.SPLITS if not rows[name]]
        if empty:
            raise DataError(
                f"{data.path}: of {rows['read']} rows, {rows['dropped']} of them dropped for a "
                f"missing value, none falls to {' and '.join(empty)}; add rows, set "
                "prepare.missing to impute, or change prepare.seed or the fractions in params.yaml"
            )

    counts = {name: rows[name] for name in ("read", "dropped", *split.SPLITS)}
    print(", ".join(f"{name} {count}" for name, count in counts.items()), "rows")
    write_json(
        Path("metrics/prepare.json"),
        {
            "rows": counts,
            "missing": {name: count for name, count in missing.items() if count},
        },
    )


if __name__ == "__main__":
    run("prepare", main)
