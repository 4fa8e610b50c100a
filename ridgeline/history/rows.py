"""Compare the rows of two tables by key, in memory that does not grow with the tables.

A hash of each row's key and one of its values are kept in files, 16 bytes per row on disk, sorted
by the key's hash, and joined one range of hashes at a time. The hashes have 64 bits: with a billion
rows in each table, about one comparison in twenty takes two keys for the same one.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ridgeline.intake import unique
from ridgeline.intake.unique import Hashes
from ridgeline.tables.engine import Map
from ridgeline.tables.reading import Part, as_frame

BUCKET_ROWS = 1 << 20  # of each table, joined at a time: 16 MB of hashes
EXAMPLES = 5
SEED = 0  # of the keys' hashes


class Joined(NamedTuple):
    """The hashes of keys, ascending: in one table only, in both but with other values, in both."""

    added: Hashes
    removed: Hashes
    changed: Hashes
    common: Hashes


class Differences(NamedTuple):
    """How many rows were added, removed and changed, of how many common ones.

    `examples` are the lowest hashes of the keys of each of the three, at most `EXAMPLES`.
    """

    added: int
    removed: int
    changed: int
    common: int
    examples: tuple[Hashes, ...]


def spill(folder: Path, key: str, columns: Sequence[str], part: Part) -> None:
    """Write the hashes of a part's keys, and of its values in `columns`, to a file in `folder`."""
    hashed = [(_keys(table, key), _values(table, columns)) for table in part.tables()]
    both = np.concatenate(hashed, axis=1)
    np.save(folder / f"{part.number}.npy", both[:, both[0].argsort()])


def join(a: Path, b: Path, map: Map = map) -> Iterator[Joined]:  # noqa: A002 - a drop-in replacement
    """Join the rows of two tables by the hashes of their keys.

    Parameters
    ----------
    a, b : Path
        Where `spill` wrote the hashes of all parts of each table, or folders of such.
    map : callable
        Applies a function to each range of hashes, such as `engine.mapped`.

    Yields
    ------
    Joined
        The rows of `b` compared with those of `a`, for one range of hashes after the other.
    """
    files = sorted(a.rglob("*.npy")), sorted(b.rglob("*.npy"))
    rows = max(sum(np.load(file, mmap_mode="r").shape[1] for file in side) for side in files)
    buckets = max(1, -(-rows // BUCKET_ROWS))
    bounds = [(bucket << 64) // buckets for bucket in range(buckets + 1)]
    ranges = [(low, high - 1) for low, high in pairwise(bounds)]
    yield from map(partial(_joined, files), ranges)


def differences(joined: Iterable[Joined]) -> Differences:
    """Count the rows of all ranges, and keep the first examples."""
    counts = [0, 0, 0, 0]
    examples = [np.zeros(0, np.uint64)] * 3
    for found in joined:
        counts = [count + len(more) for count, more in zip(counts, found, strict=True)]
        examples = [
            np.concatenate([few, more])[:EXAMPLES]
            for few, more in zip(examples, found[:3], strict=True)
        ]
    added, removed, changed, common = counts
    return Differences(added, removed, changed, common, tuple(examples))


def write_common(path: Path, joined: Iterable[Joined]) -> int:
    """Write the hashes of the keys in both tables to a file, ascending; return their number."""
    rows = 0
    with path.open("wb") as file:
        for found in joined:
            file.write(found.common.data)
            rows += len(found.common)
    return rows


def selected(key: str, hashes: Hashes | Path, table: pa.Table) -> pa.Table:
    """Return the rows whose key has one of some hashes, ascending, or in a file of them."""
    if isinstance(hashes, Path):
        hashes = np.memmap(hashes, np.uint64, mode="r")
    return table.filter(_contained(_keys(table, key), hashes))


def with_keys(key: str, hashes: Hashes, part: Part) -> pa.Table:
    """Return the few rows of a part whose key has one of some hashes, ascending."""
    return pa.concat_tables([selected(key, hashes, table) for table in part.tables()])


def keys(table: pa.Table, key: str, hashes: Hashes) -> list[str]:
    """Return the keys of a table's rows that have one of some hashes; integers in their order."""
    found: list[str] = selected(key, hashes, table)[key].to_pylist()
    return sorted(
        found, key=lambda text: (not text.isdecimal(), text.isdecimal() * len(text), text)
    )


def _keys(table: pa.Table, key: str) -> Hashes:
    return unique.hashes(table[key], SEED)


def _values(table: pa.Table, columns: Sequence[str]) -> Hashes:
    """Return hashes of the rows' values; 0.0 and -0.0 are equal, and so are missing values."""
    frame = as_frame(table.select(list(columns)))
    for name in frame.select_dtypes("float"):
        frame[name] += 0.0
    hashes: Hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy().view(np.uint64)
    return hashes


def _contained(values: Hashes, within: Hashes) -> npt.NDArray[np.bool_]:
    """Return which values are among those of an ascending array, of any size on disk."""
    order = values.argsort()  # neighbours are read together
    places = np.searchsorted(within, values[order])
    contained = np.zeros(len(values), bool)
    inside = places < len(within)
    contained[order[inside]] = within[places[inside]] == values[order[inside]]
    return contained


def _joined(files: tuple[Sequence[Path], Sequence[Path]], bounds: tuple[int, int]) -> Joined:
    (a, a_values), (b, b_values) = (_range(side, bounds) for side in files)
    in_a, in_b = _contained(b, a), _contained(a, b)
    changed = a[in_b][a_values[in_b] != b_values[in_a]]
    return Joined(added=b[~in_a], removed=a[~in_b], changed=changed, common=a[in_b])


def _range(files: Sequence[Path], bounds: tuple[int, int]) -> Hashes:
    """Return the hashes of keys in a range, ascending, and of their values, shape (2, n)."""
    spans = [np.zeros((2, 0), np.uint64)]
    low, high = np.array(bounds, np.uint64)
    for file in files:
        both = np.load(file, mmap_mode="r")
        first, last = both[0].searchsorted(low), both[0].searchsorted(high, "right")
        spans.append(np.array(both[:, first:last]))  # a view would keep the file open
    together = np.concatenate(spans, axis=1)
    together = together[:, together[0].argsort()]
    once = np.ones(together.shape[1], bool)  # two keys may have the same hash
    once[1:] = together[0, 1:] != together[0, :-1]
    return together[:, once]
