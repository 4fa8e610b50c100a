"""Which rows train, which validate and which test: decided by each row's key alone."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from ridgeline import keys as key_hashes

SPLITS = ("train", "validation", "test")


def assign(keys: pd.Series, *, validation: float, test: float, seed: int) -> npt.NDArray[np.str_]:
    """Give each row its split.

    A row's split follows from its key and the seed, so it stays when rows are added, removed
    or reordered, and every part of a table can be split without knowing the others.

    Parameters
    ----------
    keys : Series of str, length n
        The rows' keys.
    validation, test : float
        The expected fractions of rows for these splits; the rest trains.
    seed : int
        Another seed gives an independent split.

    Returns
    -------
    ndarray of str, shape (n,)
        One of `SPLITS` a row.
    """
    return by_hash(key_hashes.hashes(keys, seed), validation=validation, test=test)


def by_hash(hashes: key_hashes.Hashes, *, validation: float, test: float) -> npt.NDArray[np.str_]:
    """Give each row its split, as `assign`, by the hash of its key with the seed."""
    place = hashes / 2.0**64
    return np.select([place < test, place < test + validation], ["test", "validation"], "train")
