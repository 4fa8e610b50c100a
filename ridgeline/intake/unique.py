"""Whether each row's key is there once, however many rows there are.

Of each key a 64-bit hash is kept, in files: 8 bytes a row on disk while a table is checked, and
in memory one bucket of hashes a thread. Rows whose hash comes twice are suspects, no more: two
different keys may share one, of a billion keys about one pair in thirty tables. Whoever asks
reads the suspects' keys again and compares them.
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
BUCKET_ROWS = 1 << 22  # 32 MB of hashes, sorted at a time; twice that where most are equal
MOST_SUSPECTS = 100_000


def hashes(keys: "pd.Series | pa.ChunkedArray", seed: int) -> Hashes:
    """Hash text keys: SipHash, which another seed makes independent. Shape (n,), uint64."""
    sip_key = hashlib.blake2b(str(seed).encode(), digest_size=8).hexdigest()
    texts = keys.to_numpy(object) if isinstance(keys, pd.Series) else keys.to_numpy()
    return pd.util.hash_array(texts.astype(object), hash_key=sip_key, categorize=False)


def spill(folder: Path, number: int, values: Hashes) -> None:
    """Write the hashes of a table's part number `number`, sorted, to a file in `folder`."""
    partial_file = folder / f".{number}.{uuid4().hex}"
    with naming(partial_file):
        partial_file.write_bytes(np.sort(values).data)
        partial_file.replace(folder / f"{number}.u64")


def suspects(folder: Path, map: Map = map) -> tuple[Hashes, int]:  # noqa: A002 - it stands for it
    """Find the hashes that come more than once.

    Parameters
    ----------
    folder : Path
        Where `spill` wrote the hashes of all parts.
    map : callable
        What applies a function to each bucket, such as `engine.mapped`.

    Returns
    -------
    tuple of ndarray and int
        The hashes, the lowest `MOST_SUSPECTS` of them, and how many rows have any of them.
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
    """Find the hashes that come twice in one of `buckets` equal ranges of all hashes."""
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
                if end == len(together):  # most hashes are equal
                    end = _thinned(together)
                    if 2 * end > len(together):
                        together = np.resize(together, 2 * len(together))
                free = together[end : end + last - first]
                stream.readinto(free.data)
                first, end = first + len(free), end + len(free)
    end = _thinned(together[:end])
    together = together[:end]
    again = together[1:][together[1:] == together[:-1]]
    values = np.unique(again)
    return values[:MOST_SUSPECTS], rows - (end - len(again) - len(values))


def _thinned(values: Hashes) -> int:
    """Sort hashes; leave two at most of those that are equal, at the front; return how many."""
    values.sort()  # in place: what is in memory is the bucket, once
    kept = values[2:] != values[:-2]
    end = len(values) - len(kept) + int(kept.sum())
    if end < len(values):
        values[2:end] = values[2:][kept]
    return end
