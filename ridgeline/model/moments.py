"""Means and centred cross-products of [X y], from any number of parts.

The cross-products are kept as the triangular factor R of the rows' QR decomposition: computing
them would lose half of the digits.

References
----------
J. Demmel, L. Grigori, M. Hoemmen, J. Langou (2012). Communication-optimal Parallel and Sequential
QR and LU Factorizations. SIAM Journal on Scientific Computing 34(1), A206-A239.
T. Chan, G. Golub, R. LeVeque (1983). Algorithms for Computing the Sample Variance.
The American Statistician 37(3), 242-247 (how centred sums of two parts are combined).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

Array = npt.NDArray[np.float64]
QR_ROWS = 512  # or four times the columns: rows reduced at a time


@dataclass(frozen=True)
class Moments:
    """Number of rows, means and centred cross-products of some rows of [X y].

    `mean` has shape (p + 1,), y last. `root` of shape (k, p + 1), k at most p + 1, is upper
    triangular: rootᵀ root are the cross-products.
    """

    rows: int
    mean: Array
    root: Array


NO_ROWS = Moments(0, np.zeros(0), np.zeros((0, 0)))


def moments(part: tuple[Array, Array]) -> Moments:
    """Summarise one part: X of shape (m, p), y of shape (m,)."""
    X, y = part
    if not len(y):
        return NO_ROWS
    with np.errstate(over="ignore", invalid="ignore"):  # `ridge.fit` reports it
        mean = np.append(X.mean(axis=0), y.mean())
        root = np.zeros((0, len(mean)))
        for rows in chunks(y, max(QR_ROWS, 4 * len(mean))):
            root = _triangle(root, (np.vstack([X[rows].T, y[rows]]) - mean[:, None]).T)
    return Moments(len(y), mean, root)


def combine(a: Moments, b: Moments) -> Moments:
    """Combine the moments of two parts, without cancellation (Chan, Golub and LeVeque 1983)."""
    if not a.rows or not b.rows:
        return a if a.rows else b
    rows = a.rows + b.rows
    with np.errstate(over="ignore", invalid="ignore"):  # `ridge.fit` reports it
        apart = b.mean - a.mean
        between = apart * np.sqrt(a.rows * (b.rows / rows))
        mean = a.mean + apart * (b.rows / rows)
    return Moments(rows, mean, _triangle(a.root, b.root, between[None, :]))


def _triangle(*blocks: Array) -> Array:
    """Return R of the QR decomposition of rows, given in blocks: shape (min(m, k), k)."""
    stacked = np.concatenate([block.T for block in blocks], axis=1).T  # in LAPACK's order
    columns = stacked.shape[1]
    decomposed, _, _, _ = lapack.dgeqrf(stacked, lwork=32 * columns, overwrite_a=True)
    root: Array = np.triu(decomposed[:columns])
    return root


def chunks(rows: Array, size: int) -> Iterator[slice]:
    """Cut rows into slices of a size that fits a core's cache."""
    return (slice(start, start + size) for start in range(0, len(rows), size))
