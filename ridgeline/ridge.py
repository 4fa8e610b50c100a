"""Ridge regression with exact leave-one-out choice of the penalty, in two passes over the rows.

The result is scikit-learn's ``RidgeCV(alphas)``; there may be any number of rows, because only
p × p matrices are held in memory (p features; n × p with fewer rows than features).

Let X and y be centred, n the number of rows and X = U diag(σ) Vᵀ. For penalty α

- the coefficients are        w(α) = V diag(σ / (σ² + α)) Uᵀy,
- the leverage of row i is    hᵢ(α) = 1/n + Σⱼ uᵢⱼ² σⱼ² / (σⱼ² + α),
- and the error at row i of the model fitted without it is  (yᵢ - ŷᵢ) / (1 - hᵢ).

The first pass reduces the rows of [X y] to the triangular factor R of their QR decomposition, part
by part. σ, V and Uᵀy follow from R alone, to the accuracy of a singular value decomposition of all
rows; the cross-products XᵀX would lose half of the digits. The second pass computes each row of U
as a product of the row and V diag(1/σ), and adds up the squared errors for all α at once.

Where n - 1 directions vary, every row is fitted exactly as α goes to 0: residual and 1 - leverage
are then tiny differences of large numbers. Both are sums over the directions, too,

    yᵢ - ŷᵢ = Σⱼ uᵢⱼ (Uᵀy)ⱼ α / (σⱼ² + α),    1 - hᵢ = Σⱼ uᵢⱼ² α / (σⱼ² + α),

in which nothing cancels. What rounding can still do to the errors is bounded, and a penalty whose
error is not known to six digits is left out.

References
----------
R. Rifkin, R. Lippert (2007). Notes on Regularized Least Squares. MIT-CSAIL-TR-2007-025.
J. Demmel, L. Grigori, M. Hoemmen, J. Langou (2012). Communication-optimal Parallel and Sequential
QR and LU Factorizations. SIAM Journal on Scientific Computing 34(1), A206-A239.
T. Chan, G. Golub, R. LeVeque (1983). Algorithms for Computing the Sample Variance.
The American Statistician 37(3), 242-247 (how centred sums of two parts are combined).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack
from sklearn.linear_model import RidgeCV

from ridgeline.engine import Map
from ridgeline.errors import DataError

Array = npt.NDArray[np.float64]
CHUNK_ROWS = 4096  # what is worked on at a time fits a core's cache
QR_ROWS = 512  # or four times the columns: rows reduced at a time
TOLERANCE = 1e-6  # relative, of a penalty's leave-one-out error
GRADED = 1e3  # ratio of the columns' sizes
UNIT = 8 * np.finfo(float).eps  # rounding of one operation, with room for the constants of bounds


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
NO_ERRORS = np.array([[0.0], [np.inf]])  # sum of squares, least 1 - leverage


@dataclass(frozen=True)
class Fit:
    """A fitted model, and how good each penalty is.

    `errors` is the mean squared leave-one-out error for each penalty, shape (a,), NaN where
    rounding leaves fewer than six digits of it; `rounding` bounds how far rounding moves each.
    `target_mean` is the mean of y.
    """

    model: RidgeCV
    errors: Array
    rounding: Array
    target_mean: float


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


def fit(
    parts: Iterable[Any],
    alphas: Sequence[float],
    map: Map = map,  # noqa: A002 - it stands for it
) -> Fit:
    """Fit ridge regression, its penalty chosen by exact leave-one-out validation.

    Parameters
    ----------
    parts : iterable of (X, y)
        The rows, in parts of shape (m, p) and (m,) with any m, or what `map` reads them from.
        Iterated twice.
    alphas : sequence of float, length a
        The penalties to choose from, each above 0. Of equally good ones the first is chosen,
        as scikit-learn does.
    map : callable
        What applies a function to each part, such as `engine.over` gives.

    Returns
    -------
    Fit
        With a ``RidgeCV`` as if scikit-learn had fitted it: `alpha_`, `best_score_` (minus
        the mean squared leave-one-out error), `coef_`, `intercept_`, `n_features_in_`.

    Raises
    ------
    DataError
        When there are fewer than two rows: with one, nothing can be left out. When rounding
        leaves no penalty's error six digits.
    """
    total = reduce(combine, map(moments, parts), NO_ROWS)
    if total.rows < 2:
        raise DataError(f"leave-one-out needs two training rows or more, not {total.rows}")
    if not np.isfinite(total.root).all():
        raise DataError(UNUSABLE)
    with np.errstate(over="ignore", invalid="ignore"):  # then no error is known
        directions = _directions(total)
        formulas = _formulas(total, directions, np.asarray(alphas, dtype=float))
        squared_errors = partial(_squared_errors, total, directions, formulas)
        seen = reduce(_add_errors, map(squared_errors, parts))
        errors, rounding = _errors(total, formulas, seen)
    usable = np.isfinite(errors)
    if not usable.any():
        raise DataError(UNUSABLE)
    best = int(np.argmin(np.where(usable, errors, np.inf)))

    sigma, chosen = directions.sigma, float(alphas[best])
    model = RidgeCV(alphas=list(alphas))
    model.alpha_ = chosen
    model.best_score_ = -float(errors[best])
    model.coef_ = directions.V @ (directions.loadings * sigma / (sigma**2 + chosen))
    model.intercept_ = float(total.mean[-1] - total.mean[:-1] @ model.coef_)
    model.n_features_in_ = len(model.coef_)
    return Fit(model, errors, rounding, float(total.mean[-1]))


def open_end(alphas: Sequence[float], fit: Fit) -> str:
    """Return at which end of the penalties the best one may lie beyond them.

    Parameters
    ----------
    alphas : sequence of float, length a
        The penalties that were chosen from.
    fit : Fit
        What `fit` returned for them.

    Returns
    -------
    str
        "smallest" or "largest" where that penalty was chosen and the error still falls from the
        next one to it, by more than rounding; else empty.
    """
    chosen = fit.model.alpha_
    known = {
        alpha: (error, rounding)
        for alpha, error, rounding in zip(alphas, fit.errors, fit.rounding, strict=True)
        if np.isfinite(error)
    }
    others = sorted(known.keys() - {chosen}, key=lambda alpha: abs(alpha - chosen))
    if not others or chosen not in (min(alphas), max(alphas)):
        return ""
    (error, rounding), (next_error, next_rounding) = known[chosen], known[others[0]]
    if next_error - error <= rounding + next_rounding:
        return ""
    return "smallest" if chosen == min(alphas) else "largest"


UNUSABLE = (
    "every penalty is too small for these training rows, or the target too large; raise "
    "train.alphas, or scale the target down"
)


def moments(part: tuple[Array, Array]) -> Moments:
    """Summarise one part: X of shape (m, p), y of shape (m,)."""
    X, y = part
    if not len(y):
        return NO_ROWS
    with np.errstate(over="ignore", invalid="ignore"):  # `fit` reports it
        mean = np.append(X.mean(axis=0), y.mean())
        root = np.zeros((0, len(mean)))
        for rows in _chunks(y, max(QR_ROWS, 4 * len(mean))):
            root = _triangle(root, (np.vstack([X[rows].T, y[rows]]) - mean[:, None]).T)
    return Moments(len(y), mean, root)


def combine(a: Moments, b: Moments) -> Moments:
    """Combine the moments of two parts, without cancellation (Chan, Golub and LeVeque 1983)."""
    if not a.rows or not b.rows:
        return a if a.rows else b
    rows = a.rows + b.rows
    with np.errstate(over="ignore", invalid="ignore"):  # `fit` reports it
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


def _directions(total: Moments) -> Directions:
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


def _formulas(total: Moments, directions: Directions, alphas: Array) -> Formulas:
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


def _squared_errors(
    total: Moments, directions: Directions, formulas: Formulas, part: tuple[Array, Array]
) -> Array:
    """Return of a part's rows the sum of squared errors and the least 1 - leverage: (2, a)."""
    X, y = part
    seen = NO_ERRORS.repeat(len(formulas.base), axis=1)
    base, basis = formulas.base[:, None], directions.V / directions.sigma
    for rows in _chunks(y, CHUNK_ROWS):
        U = basis.T @ (X[rows].T - total.mean[:-1, None])  # (r, m)
        errors = base * (y[rows] - total.mean[-1]) - formulas.fitted @ U  # (a, m)
        U *= U
        remaining = formulas.leverage @ U
        np.subtract(base * (1 - 1 / total.rows), remaining, out=remaining)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # `_errors` finds it
            errors /= remaining
            squares = np.einsum("am,am->a", errors, errors)
        seen = _add_errors(seen, np.stack([squares, remaining.min(axis=1)]))
    return seen


def _add_errors(a: Array, b: Array) -> Array:
    return np.stack([a[0] + b[0], np.minimum(a[1], b[1])])


def _errors(total: Moments, formulas: Formulas, seen: Array) -> tuple[Array, Array]:
    """Return the mean squared errors, NaN where too few digits are known, and rounding's bounds."""
    norm, least = np.sqrt(seen[0]), np.where(seen[1] > 0, seen[1], np.nan)
    off = (formulas.residual_rounding + formulas.remaining_rounding * norm) / least
    errors, rounding = norm**2 / total.rows, (2 * norm + off) * off / total.rows
    # a target that is fitted but for its own rounding is fitted equally well by every penalty
    target = np.linalg.norm(total.root[:, -1]) / np.sqrt(total.rows) + abs(total.mean[-1])
    known = np.isfinite(rounding) & (rounding <= TOLERANCE * errors + (10 * UNIT * target) ** 2)
    return np.where(known, errors, np.nan), rounding


def _chunks(rows: Array, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, len(rows), size))
