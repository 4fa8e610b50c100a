"""Leave-one-out errors, and so the chosen penalty, beside arithmetic with 120 digits."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mpmath import MPContext

from ridgeline.errors import DataError
from ridgeline.model import ridge

mp = MPContext()
mp.dps = 120  # 1 - leverage may be 1e-34, a difference of products as large as 1e40

ROW_OF_ITS_OWN = "a category of one row"
KINDS = [
    "independent columns",
    "collinear columns",
    "nearly collinear columns",
    "a constant column",
    "only one-hot columns",
    ROW_OF_ITS_OWN,
    "a row twice",
    "columns of mixed scale",
]


def columns(kind, X, random):
    rows, count = X.shape
    match kind:
        case "collinear columns":
            X[:, -1] = 2 * X[:, 0]
        case "nearly collinear columns":
            X[:, -1] = X[:, 0] + 10.0 ** -random.integers(1, 14) * random.normal(size=rows)
        case "a constant column":
            X[:, 0] = 3.7
        case "only one-hot columns":
            X = np.eye(count)[random.integers(0, count, size=rows)]
        case "a category of one row":
            X[:, 0] = np.arange(rows) == 0
        case "a row twice":
            X[0] = X[-1]
        case "columns of mixed scale":
            X = X * 10.0 ** random.integers(-6, 7, size=count)
    return X


@st.composite
def problems(draw, kinds=KINDS):
    rows, count = draw(st.integers(2, 10)), draw(st.integers(1, 10))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = columns(draw(st.sampled_from(kinds)), random.normal(size=(rows, count)), random)
    X = X * 10.0 ** draw(st.integers(-6, 6))
    y = draw(st.sampled_from([0.0, 1.0])) * (X @ random.normal(size=count))
    y = y + random.normal(size=rows) * 10.0 ** draw(st.integers(-6, 6))
    exponents = draw(st.lists(st.floats(-6, 6), min_size=1, max_size=3))
    cuts = sorted(draw(st.lists(st.integers(0, rows), max_size=3)))
    return X, y, [10.0**exponent for exponent in exponents], cuts


def in_parts(X, y, cuts):
    return [
        (rows, target) for rows, target in zip(np.split(X, cuts), np.split(y, cuts), strict=True)
    ]


def exact_errors(X, y, alphas):
    """Mean squared leave-one-out errors, by the hat matrix of the centred rows."""
    rows, count = X.shape
    X, y = mp.matrix(X.tolist()), mp.matrix(y.tolist())
    for column in range(count):
        mean = mp.fsum(X[:, column]) / rows
        for row in range(rows):
            X[row, column] -= mean
    mean = mp.fsum(y) / rows
    for row in range(rows):
        y[row] -= mean
    wide = count >= rows
    products = X * X.T if wide else X.T * X
    errors = []
    for alpha in alphas:
        inverse = (products + mp.mpf(alpha) * mp.eye(products.rows)) ** -1
        hat = products * inverse if wide else X * inverse * X.T
        fitted = hat * y
        squares = [
            ((y[i] - fitted[i]) / (1 - mp.mpf(1) / rows - hat[i, i])) ** 2 for i in range(rows)
        ]
        errors.append(mp.fsum(squares) / rows)
    return errors


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(problems())
def test_each_error_has_six_digits_or_its_penalty_is_left_out(problem):
    X, y, alphas, cuts = problem
    exact = [float(error) for error in exact_errors(X, y, alphas)]
    try:
        fit = ridge.fit(in_parts(X, y, cuts), alphas)
    except DataError:  # all are left out
        return
    known = np.isfinite(fit.errors)
    rounding_of_target = (1e-13 * np.abs(y).max()) ** 2
    np.testing.assert_allclose(
        fit.errors[known], np.array(exact)[known], rtol=1e-6, atol=rounding_of_target
    )
    bound = fit.rounding[known] + 1e-14 * fit.errors[known] + rounding_of_target
    assert (np.abs(fit.errors - exact)[known] <= bound).all()
    chosen = exact[alphas.index(fit.model.alpha_)]
    assert chosen <= min(np.array(exact)[known]) * (1 + 2e-6) + rounding_of_target


@settings(max_examples=100, deadline=None)
@given(problems(["independent columns", "collinear columns", "a constant column"]))
def test_of_standardized_columns_no_penalty_of_a_thousandth_or_more_is_left_out(problem):
    X, y, alphas, cuts = problem
    assume(y.std() > 1e-6 * abs(y).max())  # else rounding of the target dominates every error
    spread = X.std(axis=0)
    X = np.divide(
        X - X.mean(axis=0), spread, out=np.zeros_like(X), where=spread > 1e-12 * abs(X[0])
    )
    alphas = [max(alpha, 1e-3) for alpha in alphas]
    fit = ridge.fit(in_parts(X, y + 0.1 * y.std() * (-1) ** np.arange(len(y)), cuts), alphas)
    assert np.isfinite(fit.errors).all()


def wide_and_badly_scaled():
    random = np.random.default_rng(4)
    X = random.normal(size=(33, 44)) * 1e6
    y = X @ random.normal(size=44) + 1e7 * random.normal(size=33)
    return X, y, np.logspace(-3, 3, 8).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [[], [1, 2, 20, 32]])
def test_of_more_columns_than_rows_at_any_scale_the_best_penalty_is_chosen(cuts):
    X, y, alphas = wide_and_badly_scaled()
    exact = exact_errors(X, y, alphas)
    fit = ridge.fit(in_parts(X, y, cuts), alphas)
    assert fit.model.alpha_ == min(zip(exact, alphas, strict=True))[1]
    np.testing.assert_allclose(fit.errors, [float(error) for error in exact], rtol=1e-12)


def test_a_penalty_that_rounding_would_decide_is_left_out():
    # without its only row a category is unknown: 1 - leverage is alpha / (sigma² + alpha)
    X, y = np.eye(5)[:, :1] * 1e6, np.array([1.0, 2.0, 3.0, 5.0, 8.0])
    fit = ridge.fit([(X, y)], [1e-6, 1e6])
    assert np.isnan(fit.errors).tolist() == [True, False]
    assert fit.model.alpha_ == 1e6


def test_if_rounding_would_decide_every_penalty_the_error_says_what_to_do():
    X, y = np.eye(5)[:, :1] * 1e6, np.array([1.0, 2.0, 3.0, 5.0, 8.0])
    with pytest.raises(DataError, match=r"every penalty is too small .*; raise train\.alphas"):
        ridge.fit([(X, y)], [1e-6, 1e-5])
