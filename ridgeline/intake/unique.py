"""Find repeated keys in tables of any size.

A 64-bit hash of each key is kept in files: 8 bytes per row on disk while a table is checked, and
one bucket of hashes per thread in memory. Rows with equal hashes are only suspects, since different
keys may share a hash (with a billion keys, about one pair in thirty tables). The caller must read
the suspects' keys again and compare them.
"""

import hashlib
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ridgeline.files import naming
from ridgeline.tables.engine import Map

Hashes = npt.NDArray[np.uint64]
BUCKET_ROWS = 1 << 22  # sorted at a time: 32 MB of hashes, or twice that if most are equal
MOST_SUSPECTS = 100_000


def hashes(keys: "pd.Series | pa.ChunkedArray", seed: int) -> Hashes:
    """Return SipHash hashes of text keys, shape (n,); different seeds give independent hashes."""
    sip_key = hashlib.blake2b(str(seed).encode(), digest_size=8).hexdigest()
    texts = keys.to_numpy(object) if isinstance(keys, pd.Series) else keys.to_numpy()
    return pd.util.hash_array(texts.astype(object), hash_key=sip_key, categorize=False)


def spill(folder: Path, name: str, values: Hashes) -> None:
    """Write hashes, sorted, to a file in `folder`; equal names are of the same rows."""
    partial_file = folder / f".{name}.{uuid4().hex}"
    with naming(partial_file):
        partial_file.write_bytes(np.sort(values).data)
        partial_file.replace(folder / f"{name}.u64")


def suspects(folder: Path, map: Map = map) -> tuple[Hashes, int]:  # noqa: A002 - a drop-in replacement
    """Return the hashes that occur more than once.

    Parameters
    ----------
    folder : Path
        Where `spill` wrote the hashes of all parts.
    map : callable
        Applies a function to each bucket, such as `engine.mapped`.

    Returns
    -------
    tuple of ndarray and int
        The lowest `MOST_SUSPECTS` repeated hashes, and the number of rows with any repeated hash.
    """
    files = sorted(folder.glob("*.u64"))
    rows = sum(file.stat().st_size for file in files) // 8
    buckets = -(-rows // BUCKET_ROWS)
    found, count = np.zeros(0, np.uint64), 0
    for values, times in map(partial(_bucket, files, buckets), range(buckets)):
        found = np.concatenate([found, values])[:MOST_SUSPECTS]
        count += times
    return found, count


def _bucket(files: list[Path], buckets: int, bucket: int) -> tuple[Hashes, int]:
    """Return the repeated hashes in one of `buckets` equal ranges of all hashes; see `suspects`."""
    bounds = np.array([(bucket << 64) // buckets, ((bucket + 1 << 64) // buckets) - 1], np.uint64)
    spans = []
    for file in files:
        if file.stat().st_size:
            mapped = np.memmap(file, np.uint64, mode="r")
            first = int(mapped.searchsorted(bounds[0]))
            spans.append((file, first, int(mapped.searchsorted(bounds[1], "right"))))
    rows = sum(last - first for _, first, last in spans)
    together = np.empty(min(rows, 2 * BUCKET_ROWS), np.uint64)
    end = 0
    for file, first, last in spans:
        with file.open("rb") as stream:
            stream.seek(first * together.itemsize)
            while first < last:
                if end == len(together):  # full, since many hashes are equal
                    end = _thin(together)
                    if 2 * end > len(together):
                        together = np.resize(together, 2 * len(together))
                free = together[end : end + last - first]
                stream.readinto(free.data)
                first, end = first + len(free), end + len(free)
    end = _thin(together[:end])
    together = together[:end]
    again = together[1:][together[1:] == together[:-1]]
    values = np.unique(again)
    return values[:MOST_SUSPECTS], rows - (end - len(again) - len(values))


def _thin(values: Hashes) -> int:
    """Sort hashes, move at most two of each value to the front; return how many these are."""
    values.sort()  # in place, to hold the bucket in memory only once
    kept = values[2:] != values[:-2]
    end = len(values) - len(kept) + int(kept.sum())
    if end < len(values):
        values[2:end] = values[2:][kept]
    return end
