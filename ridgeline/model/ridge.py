"""Ridge regression in two passes over the rows, the penalty chosen by exact leave-one-out error.

The result equals that of scikit-learn's ``RidgeCV(alphas)``, for any number of rows: only p × p
matrices are held in memory (p features; n × p when there are fewer rows than features).

The first pass reduces the rows to their `moments`; the second sums the squared leave-one-out errors
for all penalties. Their rounding errors are bounded: a penalty whose error isn't known to six
digits is ignored.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, RidgeCV

from ridgeline.errors import DataError
from ridgeline.model import leave_one_out, moments
from ridgeline.model.moments import Array
from ridgeline.tables.engine import Map

UNUSABLE = (
    "every penalty is too small for these training rows, or the target is too large; raise "
    "train.alphas, or scale the target down"
)


@dataclass(frozen=True)
class Fit:
    """A fitted model, the mean of its target, and what is known of its leave-one-out errors.

    `error` is the mean squared leave-one-out error, and `residuals` returns the leave-one-out
    residuals of a part; both are None if they are not known to six digits. `alphas` are the
    a penalties that the model's was chosen from, if any; `errors`, shape (a,), has the error for
    each, NaN where it is not known, and `rounding`, shape (a,), bounds its rounding error.
    """

    model: BaseEstimator
    target_mean: float
    error: float | None = None
    residuals: Callable[[tuple[Array, Array]], Array] | None = None
    alphas: tuple[float, ...] = ()
    errors: Array = field(default_factory=lambda: np.zeros(0))
    rounding: Array = field(default_factory=lambda: np.zeros(0))
    warnings: tuple[str, ...] = ()


def fit(
    parts: Iterable[Any],
    alphas: Sequence[float],
    map: Map = map,  # noqa: A002 - a drop-in replacement
) -> Fit:
    """Fit ridge regression, with the penalty chosen by exact leave-one-out validation.

    Parameters
    ----------
    parts : iterable of (X, y)
        The rows, in parts of shape (m, p) and (m,) with any m, or the items from which `map`
        reads them. Iterated twice.
    alphas : sequence of float, length a
        The penalties to choose from, each above 0. Of equally good ones, the first is chosen,
        as in scikit-learn.
    map : callable
        Applies a function to each part, such as `engine.over` returns.

    Returns
    -------
    Fit
        With a ``RidgeCV`` whose attributes are set as by its `fit`: `alpha_`, `best_score_` (minus
        the mean squared leave-one-out error), `coef_`, `intercept_`, `n_features_in_`.

    Raises
    ------
    DataError
        If there are fewer than two rows, or no penalty's error is known to six digits.
    """
    found = _solutions(parts, alphas, map)
    usable = np.isfinite(found.errors)
    if not usable.any():
        raise DataError(UNUSABLE)
    best = int(np.argmin(np.where(usable, found.errors, np.inf)))
    model = RidgeCV(alphas=list(alphas))
    model.alpha_ = float(alphas[best])
    model.best_score_ = -float(found.errors[best])
    fitted = _finished(model, found, best)
    return replace(fitted, alphas=(*alphas,), errors=found.errors, rounding=found.rounding)


def fit_one(
    model: BaseEstimator,
    alpha: float,
    parts: Iterable[Any],
    map: Map = map,  # noqa: A002 - a drop-in replacement
) -> Fit:
    """Fit a linear model with one penalty, which may be 0; see `fit`.

    Returns
    -------
    Fit
        With the given `model`, its `coef_`, `intercept_` and `n_features_in_` set. Its
        leave-one-out error is not known where a row alone determines its prediction.
    """
    found = _solutions(parts, [alpha], map)
    if isinstance(model, LinearRegression):
        model.singular_ = found.directions.sigma
        model.rank_ = len(model.singular_)
    return _finished(model, found, 0)


@dataclass(frozen=True)
class _Solutions:
    """What the solutions for all penalties are computed from, and their errors; see `Fit`."""

    total: moments.Moments
    directions: leave_one_out.Directions
    formulas: leave_one_out.Formulas
    alphas: Sequence[float]
    errors: Array
    rounding: Array


def _solutions(
    parts: Iterable[Any],
    alphas: Sequence[float],
    map: Map,  # noqa: A002 - a drop-in replacement
) -> _Solutions:
    total = reduce(moments.add, map(moments.moments, parts), moments.NONE)
    if total.rows < 2:
        raise DataError(f"leave-one-out needs at least two training rows, not {total.rows}")
    if not np.isfinite(total.root).all():
        raise DataError(UNUSABLE)
    with np.errstate(all="ignore"):  # such errors are not finite
        directions = leave_one_out.directions(total)
        formulas = leave_one_out.formulas(total, directions, np.asarray(alphas, dtype=float))
        squared_errors = partial(leave_one_out.squared_errors, total, directions, formulas)
        seen = reduce(leave_one_out.add, map(squared_errors, parts))
        errors, rounding = leave_one_out.errors(total, formulas, seen)
    return _Solutions(total, directions, formulas, alphas, errors, rounding)


def _finished(model: BaseEstimator, found: _Solutions, penalty: int) -> Fit:
    """Set a model's coefficients to the solution for a penalty, given its index."""
    mean, directions, alpha = found.total.mean, found.directions, found.alphas[penalty]
    sigma = directions.sigma
    model.coef_ = directions.V @ (directions.loadings * sigma / (sigma**2 + alpha))
    model.intercept_ = float(mean[-1] - mean[:-1] @ model.coef_)
    model.n_features_in_ = len(model.coef_)
    formulas = leave_one_out.only(found.formulas, penalty)
    residuals = partial(leave_one_out.residuals, found.total, directions, formulas)
    error = float(found.errors[penalty])
    return Fit(model, float(mean[-1]), *((error, residuals) if np.isfinite(error) else ()))


def warnings(alphas: Sequence[float], fit: Fit) -> Iterator[str]:
    """Yield warnings about the penalties.

    Parameters
    ----------
    alphas : sequence of float, length a
        All penalties.
    fit : Fit
        What `fit` returned for them.

    Yields
    ------
    str
        That penalties were ignored; or that the smallest or largest one was chosen, with an error
        below that of its neighbour by more than rounding.
    """
    penalties = zip(alphas, fit.errors, fit.rounding, strict=True)
    known = {alpha: (error, bound) for alpha, error, bound in penalties if np.isfinite(error)}
    ignored = [f"{alpha:g}" for alpha in alphas if alpha not in known]
    if ignored:
        yield (
            f"{', '.join(ignored)} of train.alphas ignored: too small for these training rows, as "
            "rounding would dominate the leave-one-out error; remove or raise these values"
        )
    chosen = fit.model.alpha_
    ends = {min(alphas): ("smallest", "smaller"), max(alphas): ("largest", "larger")}
    others = sorted(known.keys() - {chosen}, key=lambda alpha: abs(alpha - chosen))
    if chosen in ends and others:
        (error, bound), (next_error, next_bound) = known[chosen], known[others[0]]
        if next_error - error > bound + next_bound:
            end, further = ends[chosen]
            yield (
                f"{chosen:g} is the {end} of train.alphas: the best may lie beyond; add {further} "
                "ones"
            )
