"""Means and centred cross-products of [X y], from any number of parts.

The cross-products are kept as the triangular factor R of the rows' QR decomposition, because their
explicit values would lose half of the digits.

References
----------
J. Demmel, L. Grigori, M. Hoemmen, J. Langou (2012). Communication-optimal Parallel and Sequential
QR and LU Factorizations. SIAM Journal on Scientific Computing 34(1), A206-A239.
T. Chan, G. Golub, R. LeVeque (1983). Algorithms for Computing the Sample Variance.
The American Statistician 37(3), 242-247 (adding up the centred sums of two parts).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

Array = npt.NDArray[np.float64]
QR_ROWS = 512  # rows reduced at a time; at least four times the columns


@dataclass(frozen=True)
class Moments:
    """Number of rows, means and centred cross-products of some rows of [X y].

    `mean` has shape (p + 1,), y last. `root`, shape (k, p + 1) with k at most p + 1, is upper
    triangular; rootᵀ root is the matrix of cross-products.
    """

    rows: int
    mean: Array
    root: Array


NONE = Moments(0, np.zeros(0), np.zeros((0, 0)))


def moments(part: tuple[Array, Array]) -> Moments:
    """Summarise one part: X of shape (m, p), y of shape (m,)."""
    X, y = part
    if not len(y):
        return NONE
    with np.errstate(over="ignore", invalid="ignore"):  # `ridge.fit` reports it
        mean = np.append(X.mean(axis=0, dtype=float), y.mean(dtype=float))
        columns = len(mean)
        size = max(QR_ROWS, 4 * columns)
        block = np.zeros((min(len(y), columns + size), columns), order="F")
        first = 0 if len(y) <= columns + size else columns  # R of earlier rows is above the rows
        for rows in chunks(y, len(block) - first):
            end = first + len(y[rows])
            np.subtract(X[rows], mean[:-1], out=block[first:end, :-1])
            np.subtract(y[rows], mean[-1], out=block[first:end, -1])
            root = _triangle(block[:end])
            block[:first] = root[:first]
    return Moments(len(y), mean, root)


def add(a: Moments, b: Moments) -> Moments:
    """Add the moments of two parts up, without cancellation (Chan, Golub and LeVeque 1983)."""
    if not a.rows or not b.rows:
        return a if a.rows else b
    mean, between = merge_means(a.rows, a.mean, b.rows, b.mean)
    root = _triangle(np.vstack([a.root, b.root, between]))
    return Moments(a.rows + b.rows, mean, root)


def merge_means(
    a_count: int | Array, a_mean: Array, b_count: int | Array, b_mean: Array
) -> tuple[Array, Array]:
    """Merge the means of two parts, without cancellation (Chan, Golub and LeVeque 1983).

    Parameters
    ----------
    a_count, b_count : int or ndarray of shape (p,)
        How many values each part has; 0 where it has none.
    a_mean, b_mean : ndarray of shape (p,)
        Their means.

    Returns
    -------
    tuple of two ndarrays of shape (p,)
        The mean of all values; and what the sum of squared distances from it has besides those
        from the parts' own means, as its square root, with the sign of the means' difference.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # `ridge.fit` reports it
        share, delta = b_count / np.maximum(a_count + b_count, 1), b_mean - a_mean
        return a_mean + delta * share, delta * np.sqrt(a_count * share)


def _triangle(rows: Array) -> Array:
    """Return R of the QR decomposition of rows of shape (m, k), which are overwritten."""
    columns = rows.shape[1]
    decomposed, _, _, _ = lapack.dgeqrf(rows, lwork=32 * columns, overwrite_a=True)
    root: Array = np.triu(decomposed[:columns])
    return root


def chunks(rows: Array, size: int) -> Iterator[slice]:
    """Return slices that cover `rows`, each of at most `size` rows."""
    return (slice(start, start + size) for start in range(0, len(rows), size))
