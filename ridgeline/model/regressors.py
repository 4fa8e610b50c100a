"""Fit any of scikit-learn's regressors: linear ones from sums over the rows, others in memory.

Least squares with or without a penalty depends on the rows only by their means and cross-products.
So the rows of their triangular factor R (see `moments`), of which there are no more than columns,
have the same solution as all rows, and scikit-learn's own solver finds it there.
"""

import inspect
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import reduce
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from sklearn.base import BaseEstimator, is_regressor
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge, RidgeCV

from ridgeline.errors import DataError, SettingsError
from ridgeline.model import intervals, moments, profile, ridge, scoring
from ridgeline.model.moments import Array
from ridgeline.model.ridge import Fit
from ridgeline.tables.engine import Map

LINEAR = (LinearRegression, Ridge, ElasticNet)  # Lasso is an ElasticNet
SAMPLE_ROWS = 1000  # of the validation rows, to measure importances
COPIES = 4  # of the features that fitting in memory may hold at a time
KERNEL_VALUES = 1 << 22  # of rows and training rows, computed at a time: 32 MB
CONTAINER = Path("/sys/fs/cgroup/memory.max")


def regressor(path: str, params: Mapping[str, Any]) -> Any:
    """Return an unfitted regressor.

    Parameters
    ----------
    path : str
        Its import path in scikit-learn.
    params : mapping of str
        Its constructor's arguments.

    Returns
    -------
    estimator
        With the fixed `random_state` 0 if it has one that is not given.

    Raises
    ------
    SettingsError
        If scikit-learn has no such regressor, or it has no such parameters.
    """
    module, _, name = path.rpartition(".")
    try:
        found: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        raise SettingsError(f"train.model: scikit-learn has no {path}{_suggestion(name)}") from None
    if not (inspect.isclass(found) and issubclass(found, BaseEstimator)):
        raise SettingsError(f"train.model: {path} is not a regressor{_suggestion(name)}")
    allowed = [*inspect.signature(found).parameters]
    wrong = [given for given in params if given not in allowed]
    if found is RidgeCV and params:
        raise SettingsError(
            f"train.params: RidgeCV takes its penalties from train.alphas and no other parameters; "
            f"remove {next(iter(params))}"
        )
    if wrong:
        shown = f"it has {', '.join(allowed)}" if allowed else "it has none"
        raise SettingsError(f"train.params: {name} has no parameter {wrong[0]!r}; {shown}")
    try:
        estimator: Any = found(**params)
    except TypeError as error:  # such as a required list of other estimators
        raise SettingsError(
            f"train.model: {path} can't be made from train.params ({error}); name another model"
        ) from None
    if not is_regressor(estimator):
        raise SettingsError(f"train.model: {path} is not a regressor{_suggestion(name)}")
    if "random_state" in allowed and "random_state" not in params:
        estimator.set_params(random_state=0)
    return estimator


def fit(
    estimator: BaseEstimator,
    alphas: Sequence[float],
    parts: Sequence[Any],
    shape: tuple[int, int],
    map: Map = map,  # noqa: A002 - a drop-in replacement
) -> Fit:
    """Fit a regressor, streaming over the rows if it is a linear one.

    Parameters
    ----------
    estimator : estimator
        As returned by `regressor`.
    alphas : sequence of float, length a
        The penalties that ``RidgeCV`` chooses from; other models have none.
    parts : sequence of (X, y)
        The rows, in parts of shape (m, p) and (m,) with any m, or the items from which `map`
        reads them.
    shape : tuple of int
        The numbers of rows and features of all parts.
    map : callable
        Applies a function to each part, such as `engine.over` returns.

    Returns
    -------
    Fit
        What scikit-learn's `fit` gives for all rows at once; with exact leave-one-out residuals
        for ``RidgeCV``, ``Ridge`` and ``LinearRegression``.

    Raises
    ------
    DataError
        If the rows don't fit in memory, or scikit-learn can't fit them.
    """
    if isinstance(estimator, RidgeCV):
        found = ridge.fit(parts, alphas, map)
        return replace(found, warnings=(*ridge.warnings(alphas, found),))
    name, given = type(estimator).__name__, estimator.get_params(deep=False)
    streams = isinstance(estimator, LINEAR) and given.get("solver") not in ("sag", "saga")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if streams:
                found = _from_sums(estimator, parts, map)
            else:
                check_memory(name, *shape)
                X, y = _join(map(_all, parts))
                found = Fit(estimator.fit(X, y), float(y.mean()))
        except (ValueError, TypeError, MemoryError) as error:
            reason = str(error).split("\n")[0].rstrip(".") or type(error).__name__
            raise DataError(
                f"{name} can't be fitted ({reason}); change train.model or train.params"
            ) from None
    texts = dict.fromkeys(f"{name}: {_sentence(warning.message)}" for warning in caught)
    return replace(found, warnings=(*texts,))


def check_memory(name: str, rows: int, features: int) -> None:
    """Raise a `DataError` if rows and the copies that fitting makes of them don't fit in memory."""
    limit = CONTAINER.read_text() if CONTAINER.exists() else "max"
    allowed = float(limit) if limit.strip().isdecimal() else inf
    available = min(psutil.virtual_memory().available, allowed - psutil.Process().memory_info().rss)
    needed = COPIES * 8 * rows * (features + 1)
    if needed > available:
        raise DataError(
            f"{name} is fitted in memory, and {rows:,} rows of {features} features need about "
            f"{needed / 1e9:.1f} GB where {available / 1e9:.1f} GB are free; name a model that "
            "streams (RidgeCV, Ridge, LinearRegression, Lasso, ElasticNet) as train.model"
        )


def score(
    fit: Fit, split: str, part: tuple[Array, Array]
) -> tuple[Array, intervals.Counts, profile.Spread]:
    """Return the sums of a part's errors, the residuals' counts, and the predictions' spread.

    Intervals are made of the residuals: the leave-one-out ones of the split "train", or if a fit
    has none, those of the split "validation".
    """
    X, y = part
    predicted = predict(fit.model, X)
    errors, residuals = scoring.sums(y, predicted, fit.target_mean), np.zeros(0)
    if fit.residuals is not None and split == "train":
        residuals = fit.residuals(part)
    if fit.residuals is None and split == "validation":
        residuals = y - predicted
    return errors, intervals.counts(residuals), profile.spread(predicted)


def predict(model: Any, X: Array) -> Array:
    """Predict rows, shape (m, p); with a kernel, so many at a time that memory is bounded."""
    kernel = getattr(model, "X_fit_", None)
    rows = len(X) if kernel is None else max(1, KERNEL_VALUES // len(kernel))
    with np.errstate(over="ignore", invalid="ignore"):  # such predictions are not finite
        return np.concatenate([model.predict(X[some]) for some in moments.chunks(X, rows)])


def effects(model: BaseEstimator, X: Array, y: Array) -> tuple[str, Array]:
    """Return the effect of each feature: its coefficient, or else its permutation importance.

    Parameters
    ----------
    model : estimator
        A fitted regressor.
    X, y : ndarray of shape (m, p) and (m,)
        Rows that were not used in fitting; the first `SAMPLE_ROWS` are used.

    Returns
    -------
    tuple of str and ndarray of shape (p,)
        "coefficient"; or "importance", how much the RMSE increases when the feature's values are
        shuffled, in the target's unit.
    """
    coefficients = np.ravel(getattr(model, "coef_", ()))
    if len(coefficients) == X.shape[1]:
        return "coefficient", coefficients
    from sklearn.inspection import permutation_importance  # imports 0.3 s of other modules

    some = slice(SAMPLE_ROWS)
    measured = permutation_importance(
        model, X[some], y[some], scoring="neg_root_mean_squared_error", random_state=0
    )
    return "importance", np.asarray(measured.importances_mean)


def _from_sums(estimator: BaseEstimator, parts: Sequence[Any], map: Map) -> Fit:  # noqa: A002
    """Fit a linear model from the sums of the parts."""
    given = estimator.get_params(deep=False)
    alpha = 0.0 if isinstance(estimator, LinearRegression) else given["alpha"]
    smooth = not isinstance(estimator, ElasticNet) and not given["positive"]
    if smooth and given["fit_intercept"] and isinstance(alpha, int | float):
        rows = np.eye(2, 1)
        estimator.fit(rows, rows[:, 0])  # checks the parameters, and sets all attributes
        return ridge.fit_one(estimator, alpha, parts, map)
    total = reduce(moments.add, map(moments.moments, parts), moments.NONE)
    root, mean = total.root, total.mean
    if not given["fit_intercept"]:
        root = np.vstack([root, np.sqrt(total.rows) * mean])
    if isinstance(estimator, ElasticNet):  # its error is a mean over the rows, others' is a sum
        root = root * np.sqrt(len(root) / total.rows)
    estimator.set_params(fit_intercept=False).fit(root[:, :-1], root[:, -1])
    if given["fit_intercept"]:
        estimator.set_params(fit_intercept=True)
        estimator.intercept_ = float(mean[-1] - mean[:-1] @ estimator.coef_)
    return Fit(estimator, float(mean[-1]))


def _all(part: tuple[Array, Array]) -> tuple[Array, Array]:
    return part


def _join(arrays: Iterable[tuple[Array, Array]]) -> tuple[Array, Array]:
    Xs, ys = zip(*arrays, strict=True)
    return np.concatenate(Xs), np.concatenate(ys)


def _suggestion(name: str) -> str:
    """Return the end of a message: which regressors of scikit-learn have a similar name."""
    from sklearn.utils import all_estimators  # imports all of scikit-learn

    known = {
        found: f"{cls.__module__.partition('._')[0]}.{found}"
        for found, cls in all_estimators(type_filter="regressor")
    }
    close = get_close_matches(name, known, n=1, cutoff=0.5) or ["Ridge"]
    return f"; name a regressor such as {known[close[0]]}"


def _sentence(message: Warning | str) -> str:
    return " ".join(str(message).split()).partition(". ")[0].rstrip(".")
