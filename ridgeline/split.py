"""Which rows train, which validate and which test: decided by each row's key alone."""

import hashlib

import numpy as np
import numpy.typing as npt
import pandas as pd

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
    sip_key = hashlib.blake2b(str(seed).encode(), digest_size=8).hexdigest()
    hashes = pd.util.hash_array(keys.to_numpy(object), hash_key=sip_key, categorize=False)
    place = hashes / 2.0**64
    return np.select([place < test, place < test + validation], ["test", "validation"], "train")
