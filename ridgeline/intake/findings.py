"""Collect what breaks the contract in a table, and report all of it in one error."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from ridgeline.errors import DataError
from ridgeline.intake import unique
from ridgeline.intake.contract import ABSENT, REPEATED, Breach, Breaches, Contract, Example, as_text
from ridgeline.tables.engine import Map
from ridgeline.tables.reading import Part, Table, as_frame


class Findings:
    """The breaches found in a table's parts, which are added in order."""

    def __init__(self, contract: Contract, table: Table) -> None:
        self.contract, self.table = contract, table
        self.breaches: Breaches = {}
        self.file, self.first_row = "", 1

    def add(self, part: Part, breaches: Iterable[Breaches], rows: int) -> None:
        """Add the breaches of the next part, and its number of rows."""
        if part.file != self.file:
            self.file, self.first_row = part.file, 1
        for (column, rule), found in chain.from_iterable(map(dict.items, breaches)):
            known = self.breaches.setdefault((column, rule), Breach())
            if rule == ABSENT:
                if part.file not in known.examples:
                    known.add([part.file], 1, 0)
            else:
                known.add(map(self._describe, found.examples), found.cases, found.rows)
        self.first_row += rows

    def add_repeated_keys(self, folder: Path, seed: int, map: Map) -> None:  # noqa: A002
        """Add repeated keys, found by the hashes that `unique.spill` wrote to `folder`.

        The keys of repeated hashes are read again and compared. If there are `unique.MOST_SUSPECTS`
        such hashes or more, the rows are counted by hash instead.
        """
        suspects, rows = unique.suspects(folder, map)
        if not suspects.size:
            return
        key = self.contract.key
        counts: Counter[str] = Counter()
        among = partial(_keys_among, key, seed, suspects)
        for found in map(among, replace(self.table, columns=(key,), numeric=()).parts()):
            counts.update(found)
        repeated = {name: times for name, times in counts.items() if times > 1}
        if suspects.size < unique.MOST_SUSPECTS:
            rows = sum(repeated.values())
        if repeated:
            examples = (f"{key} {name} ({times} rows)" for name, times in repeated.items())
            self.breaches.setdefault((key, REPEATED), Breach()).add(examples, len(repeated), rows)

    def raise_if_any(self) -> None:
        """Raise a `DataError` with each column and rule, its count of rows and a few examples."""
        if self.breaches:
            lines = [f"  {column} {rule}{found}" for (column, rule), found in self.breaches.items()]
            raise DataError(
                f"{_name(self.table)} breaks the data contract; fix the rows, or the columns that "
                "params.yaml names under data:\n" + "\n".join(lines)
            )

    def _describe(self, example: Example) -> str:
        if example.key is None:
            return f"row {self.first_row + example.row} of {self.file}{example.value}"
        of = f" of {self.file}" if len(self.table.files) > 1 else ""
        return f"{self.contract.key} {example.key}{of}{example.value}"


def _keys_among(key: str, seed: int, suspects: unique.Hashes, part: Part) -> Counter[str]:
    """Count the part's keys whose hashes are among the suspects."""
    counts: Counter[str] = Counter()
    for table in part.tables():
        if key in table.column_names:
            texts = as_text(as_frame(table.select([key]))[key]).dropna()
            counts.update(texts[np.isin(unique.hashes(texts, seed), suspects)])
    return counts


def _name(table: Table) -> str:
    return table.files[0] if len(table.files) == 1 else table.files[0].rpartition("/")[0] or "."
