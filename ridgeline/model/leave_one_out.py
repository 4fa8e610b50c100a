"""Exact leave-one-out errors of ridge regression, with bounds on their rounding errors.

Let X and y be centred, n the number of rows and X = U diag(σ) Vᵀ. For penalty α

- the coefficients are        w(α) = V diag(σ / (σ² + α)) Uᵀy,
- the leverage of row i is    hᵢ(α) = 1/n + Σⱼ uᵢⱼ² σⱼ² / (σⱼ² + α),
- and the error at row i of the model fitted without it is  (yᵢ - ŷᵢ) / (1 - hᵢ).

σ, V and Uᵀy are computed from the rows' triangular factor (see `moments`), and U as X V diag(1/σ).
When X has rank n - 1, the fit becomes exact as α goes to 0: the residual and 1 - leverage are then
small differences of large numbers. They can also be computed as sums in which nothing cancels:

    yᵢ - ŷᵢ = Σⱼ uᵢⱼ (Uᵀy)ⱼ α / (σⱼ² + α),    1 - hᵢ = Σⱼ uᵢⱼ² α / (σⱼ² + α).

References
----------
R. Rifkin, R. Lippert (2007). Notes on Regularized Least Squares. MIT-CSAIL-TR-2007-025.
J. Demmel, K. Veselić (1992). Jacobi's Method is More Accurate than QR. SIAM Journal on Matrix
Analysis and Applications 13(4), 1204-1245 (its errors grow with the condition of equal columns).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from ridgeline.model.moments import Array, Moments, chunks

CHUNK_ROWS = 4096  # rows processed at a time, few enough for a core's cache
TOLERANCE = 1e-6  # largest relative rounding error of a penalty's leave-one-out error
GRADED = 1e3  # ratio of column norms above which Jacobi's method is used
UNIT = 16 * np.finfo(float).eps  # rounding error of one operation; 16 covers the bounds' constants
NONE = np.array([[0.0], [np.inf]])  # sum of squares, smallest 1 - leverage


@dataclass(frozen=True)
class Directions:
    """The singular value decomposition of the centred X, for the r directions in which rows vary.

    `sigma` has shape (r,), `V` (p, r); `loadings` is Uᵀy, shape (r,). `noise`, shape (r,), bounds
    the error of an entry of U, in units of rounding. `negligible` is the largest σ that an omitted
    direction can have; 0 if none is omitted.
    """

    sigma: Array
    V: Array
    loadings: Array
    noise: Array
    negligible: float


@dataclass(frozen=True)
class Formulas:
    """Coefficients of the residual and 1 - leverage of a row, for a penalties.

    With u the row of U, they are ``residual @ [u, y]`` and ``remaining @ [u**2, 1]``; both have
    shape (a, r + 1). For some penalties both are divided by the same number, so that neither
    underflows. `residual_rounding` bounds the norm of the rounding errors of all residuals,
    `remaining_rounding` the rounding error of a row's 1 - leverage; shape (a,).
    """

    residual: Array
    remaining: Array
    residual_rounding: Array
    remaining_rounding: Array


def directions(total: Moments) -> Directions:
    """Decompose the centred X, given R of [X y].

    Directions in which the rows don't vary (a constant column, one-hot columns that add up to one)
    are omitted: their values are rounding errors, which a small penalty would amplify.
    """
    R, Rty = total.root[:, :-1], total.root[:, -1]
    columns = np.linalg.norm(R, axis=0)
    rounded = columns + abs(total.mean[:-1])
    varying = columns[columns > 0]
    if len(R) > R.shape[1] and varying.size and varying.max() > GRADED * varying.min():
        # Jacobi's method is 8 times slower, but accurate for small columns next to large ones
        scaled, W, V, scale, _, _ = lapack.dgejsv(R, joba=2)  # 2: any row and column scales
        sigma = scaled * (scale[0] / scale[1])
        equal = R[:, columns > 0] / columns[columns > 0]
        noise = rounded @ abs(V) * np.linalg.cond(equal)
    else:
        W, sigma, Vt = np.linalg.svd(R, full_matrices=False)
        V, noise = Vt.T, np.full(len(sigma), np.linalg.norm(rounded))
    negligible = np.finfo(float).eps * (len(columns) + np.sqrt(total.rows)) * sigma[0]
    varies = sigma > negligible
    return Directions(
        sigma[varies],
        V[:, varies],
        W[:, varies].T @ Rty,
        noise[varies] / sigma[varies],
        float(negligible) if varies.sum() < len(columns) else 0.0,
    )


def formulas(total: Moments, directions: Directions, alphas: Array) -> Formulas:
    """Choose the formulas with the smaller rounding error for each penalty, and bound it."""
    sigma, loadings, noise = directions.sigma, directions.loadings, directions.noise
    size_y = np.linalg.norm(total.root[:, -1])
    offset_y = np.sqrt(total.rows) * abs(total.mean[-1])
    terms = np.sqrt(len(sigma))
    with np.errstate(divide="ignore"):
        ratio = sigma**2 / alphas[:, None]
        kept, shrunk = 1 / (1 + 1 / ratio), 1 / (1 + ratio)  # they add up to 1
    omitted = directions.negligible  # least squares (alpha 0) leaves such directions out as well
    lost = np.where(alphas > 0, 1 / (1 + alphas / omitted**2), 0.0) if omitted else 0.0
    amplified = (noise * kept).max(axis=1, initial=0)
    ones = np.ones((len(alphas), 1))
    plain = Formulas(
        np.hstack([-kept * loadings, ones]),
        np.hstack([-kept, ones * (1 - 1 / total.rows)]),
        UNIT * (offset_y + (1 + amplified) * size_y) + lost * size_y,
        UNIT * (1 + terms * amplified) + lost,
    )
    if len(sigma) < total.rows - 1:
        return plain
    largest = shrunk.max(axis=1, initial=0)
    shrunk /= largest[:, None]
    amplified = (noise * shrunk).max(axis=1, initial=0)
    remaining_rounding = UNIT * terms * amplified
    better = remaining_rounding * largest < plain.remaining_rounding
    return Formulas(
        np.where(better[:, None], np.hstack([shrunk * loadings, 0 * ones]), plain.residual),
        np.where(better[:, None], np.hstack([shrunk, 0 * ones]), plain.remaining),
        np.where(better, UNIT * (offset_y + (1 + amplified) * size_y), plain.residual_rounding),
        np.where(better, remaining_rounding, plain.remaining_rounding),
    )


def squared_errors(
    total: Moments, directions: Directions, formulas: Formulas, part: tuple[Array, Array]
) -> Array:
    """Return a part's sum of squared errors and smallest 1 - leverage, shape (2, a)."""
    seen = NONE.repeat(len(formulas.residual), axis=1)
    for errors, remaining in _errors(total, directions, formulas, part):
        squares = np.einsum("am,am->a", errors, errors)
        seen = add(seen, np.stack([squares, remaining.min(axis=1)]))
    return seen


def residuals(
    total: Moments, directions: Directions, formulas: Formulas, part: tuple[Array, Array]
) -> Array:
    """Return a part's leave-one-out residuals for the formulas' first penalty, shape (m,)."""
    found = [errors[0] for errors, _ in _errors(total, directions, formulas, part)]
    return np.concatenate([np.zeros(0), *found])


def only(formulas: Formulas, penalty: int) -> Formulas:
    """Return the formulas of one penalty, given its index."""
    row = slice(penalty, penalty + 1)
    return Formulas(
        formulas.residual[row],
        formulas.remaining[row],
        formulas.residual_rounding[row],
        formulas.remaining_rounding[row],
    )


@np.errstate(divide="ignore", invalid="ignore", over="ignore")  # `errors` finds what it leaves
def _errors(
    total: Moments, directions: Directions, formulas: Formulas, part: tuple[Array, Array]
) -> Iterator[tuple[Array, Array]]:
    """Yield the errors and 1 - leverages of a part's rows, both of shape (a, m), in chunks."""
    X, y = part
    basis = np.zeros((len(directions.sigma) + 1, len(total.mean)))
    basis[:-1, :-1] = (directions.V / directions.sigma).T
    basis[-1, -1] = 1
    for rows in chunks(y, CHUNK_ROWS):
        values = basis @ (np.vstack([X[rows].T, y[rows]]) - total.mean[:, None])  # rows of [U y]
        errors = formulas.residual @ values  # (a, m)
        values *= values
        values[-1] = 1
        remaining = formulas.remaining @ values
        errors /= remaining
        yield errors, remaining


def add(a: Array, b: Array) -> Array:
    """Add what `squared_errors` returns for two parts."""
    return np.stack([a[0] + b[0], np.minimum(a[1], b[1])])


def errors(total: Moments, formulas: Formulas, seen: Array) -> tuple[Array, Array]:
    """Return the mean squared errors, NaN where rounding exceeds `TOLERANCE`, and its bounds."""
    norm, least = np.sqrt(seen[0]), np.where(seen[1] > 0, seen[1], np.nan)
    bound = (formulas.residual_rounding + formulas.remaining_rounding * norm) / least
    errors, rounding = norm**2 / total.rows, (2 * norm + bound) * bound / total.rows
    # errors as small as the target's own rounding are known well enough: all are equally good
    target = np.linalg.norm(total.root[:, -1]) / np.sqrt(total.rows) + abs(total.mean[-1])
    known = np.isfinite(rounding) & (rounding <= TOLERANCE * errors + (10 * UNIT * target) ** 2)
    return np.where(known, errors, np.nan), rounding
