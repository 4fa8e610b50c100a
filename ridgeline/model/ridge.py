"""Ridge regression with exact leave-one-out choice of the penalty, in two passes over the rows.

The result is scikit-learn's ``RidgeCV(alphas)``; there may be any number of rows, because only
p × p matrices are held in memory (p features; n × p with fewer rows than features).

The first pass reduces the rows to their `moments`, the second adds up the squared leave-one-out
errors for all penalties at once. What rounding can do to an error is bounded, and a penalty whose
error is not known to six digits is left out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeCV

from ridgeline.errors import DataError
from ridgeline.model import leave_one_out
from ridgeline.model.moments import NO_ROWS, Array, combine, moments
from ridgeline.tables.engine import Map

UNUSABLE = (
    "every penalty is too small for these training rows, or the target too large; raise "
    "train.alphas, or scale the target down"
)


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
        directions = leave_one_out.directions(total)
        formulas = leave_one_out.formulas(total, directions, np.asarray(alphas, dtype=float))
        squared_errors = partial(leave_one_out.squared_errors, total, directions, formulas)
        seen = reduce(leave_one_out.add_errors, map(squared_errors, parts))
        errors, rounding = leave_one_out.errors(total, formulas, seen)
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


def warnings(alphas: Sequence[float], fit: Fit) -> Iterator[str]:
    """Yield what a user should know about the penalties, each as a sentence.

    Parameters
    ----------
    alphas : sequence of float, length a
        The penalties that were chosen from.
    fit : Fit
        What `fit` returned for them.

    Yields
    ------
    str
        That penalties were left out; that the smallest or largest of all was chosen and the error
        still falls from the next one to it, by more than rounding.
    """
    penalties = zip(alphas, fit.errors, fit.rounding, strict=True)
    known = {alpha: (error, bound) for alpha, error, bound in penalties if np.isfinite(error)}
    left_out = [f"{alpha:g}" for alpha in alphas if alpha not in known]
    if left_out:
        yield (
            f"{', '.join(left_out)} of train.alphas left out: too small for these training rows, "
            "rounding would decide their leave-one-out errors; remove them, or raise them"
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
