"""Ridge regression with exact leave-one-out choice of the penalty, in two passes over the rows.

The result is scikit-learn's ``RidgeCV(alphas)``, to rounding; the rows may be as many as they
like, because only p × p matrices are held (p features).

Let X and y be centred, XᵀX = V diag(s) Vᵀ, Z = XV and n the number of rows. For penalty α

- the coefficients are        w(α) = V diag(1 / (s + α)) Zᵀy,
- the leverage of row i is    hᵢ(α) = 1/n + Σⱼ zᵢⱼ² / (sⱼ + α),
- and the error at row i of the model fitted without it is  (yᵢ - ŷᵢ) / (1 - hᵢ).

The first pass sums up XᵀX and Xᵀy, the second the squared errors for all α at once.

References
----------
R. Rifkin, R. Lippert (2007). Notes on Regularized Least Squares. MIT-CSAIL-TR-2007-025.
T. Chan, G. Golub, R. LeVeque (1983). Algorithms for Computing the Sample Variance.
The American Statistician 37(3), 242-247 (how centred sums of two parts are put together).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import RidgeCV

from ridgeline.engine import Map
from ridgeline.errors import DataError

Array = npt.NDArray[np.float64]
CHUNK_ROWS = 4096  # what is worked on at a time fits a core's cache


@dataclass(frozen=True)
class Moments:
    """Number of rows, means and centred cross-products of some rows of [X y].

    `mean` has shape (p + 1,), `cross` (p + 1, p + 1); y is last.
    """

    rows: int
    mean: Array
    cross: Array


NO_ROWS = Moments(0, np.zeros(0), np.zeros((0, 0)))


@dataclass(frozen=True)
class Fit:
    """A fitted model, and what was seen on the way.

    `errors` is the mean squared leave-one-out error for each penalty, shape (a,);
    `target_mean` the mean of y.
    """

    model: RidgeCV
    errors: Array
    target_mean: float


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
        When there are fewer than two rows: with one, nothing can be left out. When no penalty's
        error is a finite number.
    """
    total = reduce(combine, map(moments, parts), NO_ROWS)
    if total.rows < 2:
        raise DataError(f"leave-one-out needs two training rows or more, not {total.rows}")
    s, V, Zty = _decompose(total)
    shrink = 1 / (s + np.asarray(alphas)[:, None])  # (a, r)
    weights = (shrink * Zty).T  # (r, a): coefficients in the basis V
    errors_of = partial(_squared_errors, total, V, shrink, weights)
    errors: Array = reduce(np.add, map(errors_of, parts)) / total.rows
    # a penalty too small to keep a row from being fitted exactly leaves 0 / 0 there, or x / 0
    usable = np.isfinite(errors)
    if not usable.any():
        raise DataError(
            "every penalty is too small for these training rows, or the target too large; raise "
            "train.alphas, or scale the target down"
        )
    best = int(np.argmin(np.where(usable, errors, np.inf)))

    model = RidgeCV(alphas=list(alphas))
    model.alpha_ = float(alphas[best])
    model.best_score_ = -float(errors[best])
    model.coef_ = V @ weights[:, best]
    model.intercept_ = float(total.mean[-1] - total.mean[:-1] @ model.coef_)
    model.n_features_in_ = len(model.coef_)
    return Fit(model, errors, float(total.mean[-1]))


def moments(part: tuple[Array, Array]) -> Moments:
    """Sum up one part: X of shape (m, p), y of shape (m,)."""
    X, y = part
    if not len(y):
        return NO_ROWS
    with np.errstate(over="ignore", invalid="ignore"):  # `fit` tells of it
        mean = np.append(X.mean(axis=0), y.mean())
        cross = np.zeros((len(mean), len(mean)))
        for rows in _chunks(y):
            apart = np.vstack([X[rows].T, y[rows]]) - mean[:, None]
            cross += apart @ apart.T
    return Moments(len(y), mean, cross)


def combine(a: Moments, b: Moments) -> Moments:
    """Put two parts' sums together, without cancellation (Chan, Golub and LeVeque 1983)."""
    if not a.rows or not b.rows:
        return a if a.rows else b
    rows = a.rows + b.rows
    apart = b.mean - a.mean
    return Moments(
        rows,
        a.mean + apart * (b.rows / rows),
        a.cross + b.cross + np.outer(apart, apart) * (a.rows * b.rows / rows),
    )


def _decompose(total: Moments) -> tuple[Array, Array, Array]:
    """Return s of shape (r,), V of shape (p, r) and Zᵀy, for the r directions that rows vary in.

    Along the other directions (a constant column, one-hot columns that add up to one) every
    row is the same: an eigenvalue there, and what it would be multiplied with, is rounding
    error, which a small penalty would blow up.
    """
    s, V = np.linalg.eigh(total.cross[:-1, :-1])
    size = np.diag(total.cross)[:-1] @ V**2  # of the columns that a direction is made of
    rounding = np.finfo(float).eps * (len(s) + np.sqrt(total.rows)) * size
    varies = s > rounding
    s, V = s[varies], V[:, varies]
    return s, V, V.T @ total.cross[:-1, -1]


def _chunks(rows: Array) -> Iterator[slice]:
    return (slice(start, start + CHUNK_ROWS) for start in range(0, len(rows), CHUNK_ROWS))


def _squared_errors(
    total: Moments, V: Array, shrink: Array, weights: Array, part: tuple[Array, Array]
) -> Array:
    """Sum the squared leave-one-out errors of a part's rows, for each penalty: shape (a,)."""
    X, y = part
    squares = np.zeros(len(shrink))
    for rows in _chunks(y):
        Z = V.T @ (X[rows].T - total.mean[:-1, None])  # (r, m)
        residuals = (y[rows] - total.mean[-1]) - weights.T @ Z  # (a, m)
        Z *= Z
        remaining = shrink @ Z  # 1 - leverages
        np.subtract(1 - 1 / total.rows, remaining, out=remaining)
        with np.errstate(divide="ignore", invalid="ignore"):
            residuals /= remaining
        squares += np.einsum("am,am->a", residuals, residuals)
    return squares
