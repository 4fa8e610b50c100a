"""Which rows train, which validate and which test: decided by each row's key alone."""

import numpy as np
import numpy.typing as npt

from ridgeline.intake.unique import Hashes


def assign(hashes: Hashes, *, validation: float, test: float) -> npt.NDArray[np.str_]:
    """Assign each row to a split.

    A row's split follows from its key and the seed, so it stays when rows are added, removed
    or reordered, and every part of a table can be split without knowing the others.

    Parameters
    ----------
    hashes : ndarray of uint64, shape (n,)
        Of the rows' keys, with the seed: see `unique.hashes`.
    validation, test : float
        The expected fractions of rows for these splits; the rest trains.

    Returns
    -------
    ndarray of str, shape (n,)
        For each row "train", "validation" or "test".

    Examples
    --------
    >>> first, middle, last = 0, 2**63, 2**64 - 1
    >>> assign(np.array([first, middle, last], np.uint64), validation=0.4, test=0.2).tolist()
    ['test', 'validation', 'train']
    """
    place = hashes / 2.0**64
    return np.select([place < test, place < test + validation], ["test", "validation"], "train")
