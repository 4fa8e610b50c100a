"""Assign rows to the train, validation and test splits by their keys."""

import numpy as np
import numpy.typing as npt

from ridgeline.intake.unique import Hashes


def assign(hashes: Hashes, *, validation: float, test: float) -> npt.NDArray[np.str_]:
    """Assign each row to a split.

    A row's split only depends on its key and the seed. It stays the same when rows are added,
    removed or reordered, and the parts of a table can be split independently.

    Parameters
    ----------
    hashes : ndarray of uint64, shape (n,)
        Hashes of the rows' keys with the seed; see `unique.hashes`.
    validation, test : float
        The expected fractions of rows in these splits; the rest is for training.

    Returns
    -------
    ndarray of str, shape (n,)
        "train", "validation" or "test" for each row.

    Examples
    --------
    >>> first, middle, last = 0, 2**63, 2**64 - 1
    >>> assign(np.array([first, middle, last], np.uint64), validation=0.4, test=0.2).tolist()
    ['test', 'validation', 'train']
    """
    place = hashes / 2.0**64
    return np.select([place < test, place < test + validation], ["test", "validation"], "train")
