"""Exact leave-one-out errors of ridge regression, and what rounding does to them.

Let X and y be centred, n the number of rows and X = U diag(σ) Vᵀ. For penalty α

- the coefficients are        w(α) = V diag(σ / (σ² + α)) Uᵀy,
- the leverage of row i is    hᵢ(α) = 1/n + Σⱼ uᵢⱼ² σⱼ² / (σⱼ² + α),
- and the error at row i of the model fitted without it is  (yᵢ - ŷᵢ) / (1 - hᵢ).

σ, V and Uᵀy follow from the rows' triangular factor (see `moments`), each row of U from the row and
V diag(1/σ). Where n - 1 directions vary, every row is fitted exactly as α goes to 0: residual and
1 - leverage are then tiny differences of large numbers. Both are sums over the directions, too,

    yᵢ - ŷᵢ = Σⱼ uᵢⱼ (Uᵀy)ⱼ α / (σⱼ² + α),    1 - hᵢ = Σⱼ uᵢⱼ² α / (σⱼ² + α),

in which nothing cancels.

References
----------
R. Rifkin, R. Lippert (2007). Notes on Regularized Least Squares. MIT-CSAIL-TR-2007-025.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from ridgeline.model.moments import Array, Moments, chunks

CHUNK_ROWS = 4096  # what is worked on at a time fits a core's cache
TOLERANCE = 1e-6  # relative, of a penalty's leave-one-out error
GRADED = 1e3  # ratio of the columns' sizes
UNIT = 8 * np.finfo(float).eps  # rounding of one operation, with room for the constants of bounds
NO_ERRORS = np.array([[0.0], [np.inf]])  # sum of squares, least 1 - leverage


@dataclass(frozen=True)
class Directions:
    """The singular value decomposition of the centred X, in the r directions that rows vary in.

    `sigma` has shape (r,), `V` (p, r); `loadings` is Uᵀy, shape (r,). `noise`, shape (r,), bounds
    by how many units of rounding an entry of U is off. `negligible` is the largest σ that a
    direction which was left out may have; 0 if there is none.
    """

    sigma: Array
    V: Array
    loadings: Array
    noise: Array
    negligible: float


@dataclass(frozen=True)
class Formulas:
    """How to compute residual and 1 - leverage of a row from u, its row of U, for a penalties.

    They are ``base * y - fitted @ u`` and ``base * (1 - 1 / n) - leverage @ u**2``; `base` has
    shape (a,), the others (a, r). Where `base` is 0, both are divided by the same number, so that
    neither underflows. `residual_rounding` bounds what rounding does to the residuals of all rows
    (the norm), `remaining_rounding` what it does to 1 - leverage of a row; shape (a,).
    """

    base: Array
    fitted: Array
    leverage: Array
    residual_rounding: Array
    remaining_rounding: Array


def directions(total: Moments) -> Directions:
    """Decompose X by the R of [X y].

    Along the directions that are left out (a constant column, one-hot columns that add up to one)
    every row is the same: what is computed there is rounding, which a small penalty would amplify.
    """
    R, Rty = total.root[:, :-1], total.root[:, -1]
    columns = np.linalg.norm(R, axis=0)
    rounded = columns + abs(total.mean[:-1])
    varying = columns[columns > 0]
    if len(R) > R.shape[1] and varying.size and varying.max() > GRADED * varying.min():
        # Jacobi's method, of eight times the time, keeps the digits of small columns beside large
        scaled, W, V, scale, _, _ = lapack.dgejsv(R, joba=2)  # 2: rows and columns of any scale
        sigma = scaled * (scale[0] / scale[1])
        noise = rounded @ abs(V)
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
    """Choose for each penalty the formulas that lose fewer digits, and bound what they lose."""
    sigma, loadings, noise = directions.sigma, directions.loadings, directions.noise
    size_y = np.linalg.norm(total.root[:, -1])
    offset_y = np.sqrt(total.rows) * abs(total.mean[-1])
    terms = np.sqrt(len(sigma))
    with np.errstate(divide="ignore"):
        ratio = sigma**2 / alphas[:, None]
        kept, shrunk = 1 / (1 + 1 / ratio), 1 / (1 + ratio)  # they add up to 1
    lost = 1 / (1 + alphas / directions.negligible**2) if directions.negligible else 0.0
    amplified = (noise * kept).max(axis=1, initial=0)
    plain = Formulas(
        np.ones(len(alphas)),
        kept * loadings,
        kept,
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
        np.where(better, 0.0, 1.0),
        np.where(better[:, None], -shrunk * loadings, plain.fitted),
        np.where(better[:, None], -shrunk, plain.leverage),
        np.where(better, UNIT * (1 + amplified) * size_y, plain.residual_rounding),
        np.where(better, remaining_rounding, plain.remaining_rounding),
    )


def squared_errors(
    total: Moments, directions: Directions, formulas: Formulas, part: tuple[Array, Array]
) -> Array:
    """Return of a part's rows the sum of squared errors and the least 1 - leverage: (2, a)."""
    X, y = part
    seen = NO_ERRORS.repeat(len(formulas.base), axis=1)
    base, basis = formulas.base[:, None], directions.V / directions.sigma
    for rows in chunks(y, CHUNK_ROWS):
        U = basis.T @ (X[rows].T - total.mean[:-1, None])  # (r, m)
        errors = base * (y[rows] - total.mean[-1]) - formulas.fitted @ U  # (a, m)
        U *= U
        remaining = formulas.leverage @ U
        np.subtract(base * (1 - 1 / total.rows), remaining, out=remaining)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # `_errors` finds it
            errors /= remaining
            squares = np.einsum("am,am->a", errors, errors)
        seen = add_errors(seen, np.stack([squares, remaining.min(axis=1)]))
    return seen


def add_errors(a: Array, b: Array) -> Array:
    """Add what `squared_errors` returns for two parts."""
    return np.stack([a[0] + b[0], np.minimum(a[1], b[1])])


def errors(total: Moments, formulas: Formulas, seen: Array) -> tuple[Array, Array]:
    """Return the mean squared errors, NaN where too few digits are known, and rounding's bounds."""
    norm, least = np.sqrt(seen[0]), np.where(seen[1] > 0, seen[1], np.nan)
    off = (formulas.residual_rounding + formulas.remaining_rounding * norm) / least
    errors, rounding = norm**2 / total.rows, (2 * norm + off) * off / total.rows
    # a target that is fitted but for its own rounding is fitted equally well by every penalty
    target = np.linalg.norm(total.root[:, -1]) / np.sqrt(total.rows) + abs(total.mean[-1])
    known = np.isfinite(rounding) & (rounding <= TOLERANCE * errors + (10 * UNIT * target) ** 2)
    return np.where(known, errors, np.nan), rounding
