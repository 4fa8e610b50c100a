import os
import subprocess
import sys
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ridgeline.errors import DataError
from ridgeline.model import leave_one_out, moments, ridge

EPS = np.finfo(float).eps
ALPHAS = (0.001, 0.1, 1.0, 10.0, 1000.0)


def random_rows(rows=30, columns=4, seed=0):
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, columns))
    return X, X @ random.normal(size=columns) + random.normal(size=rows)


def in_parts(X, y, cuts=()):
    pairs = zip(np.split(X, cuts), np.split(y, cuts), strict=True)
    return [(part_X, part_y) for part_X, part_y in pairs if len(part_y)]


def row_by_row(X, y):
    return in_parts(X, y, range(1, len(y)))


def scikit_learn(X, y, alphas):
    model = RidgeCV(alphas=list(alphas), store_cv_results=True).fit(X, y)
    return model, model.cv_results_.mean(axis=0)


def rounding(X, y, alpha):
    """Say how large a relative difference rounding makes between two exact algorithms.

    Both invert s + alpha, so the largest s / alpha multiplies it, as does what cancels when
    means are taken off.
    """
    spread = np.linalg.norm(X - X.mean(axis=0), 2)
    amplitude = 1 + spread**2 / alpha
    offset_X = np.linalg.norm(X.mean(axis=0)) * np.sqrt(len(y)) / spread if spread else 0
    offset_y = abs(y.mean()) / y.std() if y.std() else 0
    return 100 * EPS * amplitude * (1 + max(offset_X, offset_y))


def assert_same_as_scikit_learn(fit, X, y, alphas):
    reference, errors = scikit_learn(X, y, alphas)
    tolerance = rounding(X, y, min(alphas))
    negligible = (EPS * np.abs(y).max()) ** 2
    np.testing.assert_allclose(fit.errors, errors, rtol=tolerance, atol=100 * negligible)
    np.testing.assert_allclose(
        fit.model.best_score_, reference.best_score_, rtol=tolerance, atol=100 * negligible
    )
    if fit.model.alpha_ != reference.alpha_:
        # Two penalties whose errors differ by no more than rounding: either is the best one.
        chosen = errors[list(alphas).index(fit.model.alpha_)]
        assert chosen <= errors.min() * (1 + tolerance) + 100 * negligible
        reference, _ = scikit_learn(X, y, [fit.model.alpha_])
    tolerance = rounding(X, y, fit.model.alpha_)
    size_X, size_y = np.linalg.norm(X - X.mean(axis=0), 2), np.linalg.norm(y - y.mean())
    np.testing.assert_allclose(
        size_X * fit.model.coef_,
        size_X * reference.coef_,
        rtol=tolerance,
        atol=tolerance * size_y + 100 * EPS * np.abs(y).max() * size_X,
    )
    at_mean = abs(y.mean()) + np.abs(X.mean(axis=0)) @ np.abs(reference.coef_)
    np.testing.assert_allclose(
        fit.model.intercept_, reference.intercept_, atol=tolerance * (at_mean + y.std()), rtol=0
    )


@st.composite
def problems(draw):
    rows, columns = draw(st.integers(2, 40)), draw(st.integers(1, 12))
    X, y = random_rows(rows, columns, draw(st.integers(0, 2**32 - 1)))
    X *= 10.0 ** draw(st.integers(-3, 3))
    y *= 10.0 ** draw(st.integers(-6, 6))
    alphas = draw(st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=6))
    cuts = sorted(draw(st.lists(st.integers(0, rows), max_size=4)))
    return X, y, alphas, cuts


@settings(max_examples=200, deadline=None)
@given(problems())
def test_it_is_scikit_learns_fit_whatever_the_rows_scales_penalties_and_parts(problem):
    X, y, alphas, cuts = problem
    assert_same_as_scikit_learn(ridge.fit(in_parts(X, y, cuts), alphas), X, y, alphas)


def _constant_column():
    X, y = random_rows()
    X[:, 1] = 3.7
    return X, y


def _one_hot_columns():
    X, y = random_rows()
    return np.column_stack([X, np.eye(4)[np.arange(30) % 4]]), y


def _category_of_one_row():
    X, y = random_rows()
    return np.column_stack([X, np.eye(30)[:, 0]]), y


def _duplicated_columns():
    X, y = random_rows()
    return np.column_stack([X, X]), y


def _large_offsets():
    X, y = random_rows()
    return X + 1e6, y + 1e6


def _constant_target():
    return random_rows()[0], np.full(30, 2.3)


def _columns_of_mixed_scale():
    X, y = random_rows()
    return X * [1e-3, 1, 1, 1e3], y


SPECIAL = {
    "a constant column": _constant_column(),
    "only constant columns": (np.full((30, 2), 3.7), random_rows()[1]),
    "one-hot columns that add up to one": _one_hot_columns(),
    "a category of one row": _category_of_one_row(),
    "duplicated columns": _duplicated_columns(),
    "large offsets": _large_offsets(),
    "columns of mixed scale": _columns_of_mixed_scale(),
    "a constant target": _constant_target(),
    "one column": random_rows(columns=1),
    "two rows": random_rows(rows=2),
    "two rows, one column": random_rows(rows=2, columns=1),
    "two equal rows": (np.ones((2, 3)), np.array([1.0, 2.0])),
    "fewer rows than columns": random_rows(rows=8, columns=20),
    "as many rows as columns": random_rows(rows=10, columns=10),
    "one column more than rows less one": random_rows(rows=10, columns=9),
}


@pytest.mark.parametrize("cut", [in_parts, row_by_row], ids=["one part", "parts of one row"])
@pytest.mark.parametrize("name", SPECIAL)
def test_it_is_scikit_learns_fit_of(name, cut):
    X, y = SPECIAL[name]
    assert_same_as_scikit_learn(ridge.fit(cut(X, y), ALPHAS), X, y, ALPHAS)


def test_it_is_scikit_learns_fit_of_more_rows_than_are_worked_on_at_once():
    X, y = random_rows(rows=2 * leave_one_out.CHUNK_ROWS + 1, columns=3)
    assert_same_as_scikit_learn(ridge.fit(in_parts(X, y, [10, 5000]), ALPHAS), X, y, ALPHAS)


def test_of_standardized_features_everything_agrees_to_ten_digits():
    X, y = random_rows(rows=200, columns=8)
    X = StandardScaler().fit_transform(X)
    fit = ridge.fit(in_parts(X, y, [50, 51, 120]), ALPHAS)
    reference, errors = scikit_learn(X, y, ALPHAS)
    ours = [*fit.errors, fit.model.best_score_, *fit.model.coef_, fit.model.intercept_]
    theirs = [*errors, reference.best_score_, *reference.coef_, reference.intercept_]
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_a_column_is_used_however_small_it_is_beside_another():
    X, _ = random_rows(rows=1000, columns=2)
    X *= [1e8, 1]
    y = X[:, 1]
    reference, _ = scikit_learn(X, y, [1.0])
    fit = ridge.fit([(X, y)], [1.0])
    np.testing.assert_allclose(fit.model.coef_[1], reference.coef_[1], rtol=1e-3)


@pytest.mark.parametrize(
    "alphas",
    [(1.0,), (10.0, 0.1, 1.0), (1.0, 1.0), (1e6, 1e-6, 1e6)],
    ids=["single", "unsorted", "the same twice", "unsorted, one twice"],
)
def test_the_chosen_penalty_is_scikit_learns(alphas):
    X, y = random_rows()
    assert ridge.fit([(X, y)], alphas).model.alpha_ == scikit_learn(X, y, alphas)[0].alpha_


def test_of_equally_good_penalties_the_first_is_chosen():
    y = np.array([1.0, 2.0, 4.0])
    nothing_to_shrink = np.zeros((3, 1))
    assert ridge.fit([(nothing_to_shrink, y)], (3.0, 1.0, 2.0)).model.alpha_ == 3.0


def test_errors_stand_in_the_order_of_the_penalties():
    X, y = random_rows()
    forward, backward = (ridge.fit([(X, y)], alphas) for alphas in (ALPHAS, ALPHAS[::-1]))
    np.testing.assert_array_equal(forward.errors, backward.errors[::-1])


def test_a_penalty_whose_error_can_not_be_computed_is_not_chosen():
    # so small beside X that without a row nothing is left: 1 - leverage is 0
    X, y = np.array([[0.0], [1.0]]), np.array([0.0, 1.0])
    with np.errstate(invalid="ignore", divide="ignore"):
        assert ridge.fit([(X, y)], (1.0, 1e-20)).model.alpha_ == 1.0


@pytest.mark.parametrize("error", [np.inf, np.nan])
def test_penalties_of_which_none_leaves_a_finite_error_are_refused(error, monkeypatch):
    # which of the two comes of fitting a row exactly, rounding decides
    seen = np.full((2, len(ALPHAS)), error)
    monkeypatch.setattr(leave_one_out, "squared_errors", lambda *_: seen)
    with pytest.raises(DataError, match=r"every penalty is too small .*; raise train\.alphas"):
        ridge.fit([random_rows()], ALPHAS)


@pytest.mark.parametrize("size", [1e160, 1e308])
def test_a_target_too_large_to_be_squared_is_refused(size):
    X, y = random_rows()
    with pytest.raises(DataError, match="or the target is too large"):
        ridge.fit([(X, size * np.sign(y))], ALPHAS)


def test_the_error_is_that_of_leaving_each_row_out():
    X, y = random_rows(rows=12)
    squares = []
    for i in range(12):
        rest = np.arange(12) != i
        model = RidgeCV(alphas=[0.1]).fit(X[rest], y[rest])
        squares.append((y[i] - model.predict(X[[i]])[0]) ** 2)
    np.testing.assert_allclose(ridge.fit([(X, y)], [0.1]).errors, [np.mean(squares)], rtol=1e-10)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 50), max_size=8).map(sorted))
def test_how_rows_are_cut_into_parts_makes_no_difference(cuts):
    X, y = random_rows(rows=50)
    whole, cut = ridge.fit([(X, y)], ALPHAS), ridge.fit(in_parts(X, y, cuts), ALPHAS)
    np.testing.assert_allclose(
        [*cut.errors, *cut.model.coef_, cut.model.intercept_],
        [*whole.errors, *whole.model.coef_, whole.model.intercept_],
        rtol=1e-10,
    )


def test_target_mean_is_the_mean_of_y_over_all_parts():
    X, y = random_rows()
    assert ridge.fit(in_parts(X, y, [3, 7]), ALPHAS).target_mean == pytest.approx(y.mean())


def test_the_model_predicts_as_scikit_learns_does():
    X, y = random_rows()
    reference, _ = scikit_learn(X, y, ALPHAS)
    predicted = ridge.fit([(X, y)], ALPHAS).model.predict(X)
    np.testing.assert_allclose(predicted, reference.predict(X), rtol=1e-10)


def test_the_model_knows_its_number_of_features():
    assert ridge.fit([random_rows(columns=4)], ALPHAS).model.n_features_in_ == 4


def test_the_model_refuses_another_number_of_features():
    model = ridge.fit([random_rows(columns=4)], ALPHAS).model
    with pytest.raises(ValueError, match="expecting 4 features"):
        model.predict(np.zeros((1, 5)))


@pytest.mark.parametrize("alphas", [ALPHAS, (1.0,)], ids=["many penalties", "one penalty"])
def test_a_clone_of_the_model_fits_to_the_same(alphas):
    X, y = random_rows()
    model = ridge.fit([(X, y)], alphas).model
    np.testing.assert_allclose(clone(model).fit(X, y).coef_, model.coef_, rtol=1e-10)


def test_the_model_works_as_the_end_of_a_pipeline():
    X, y = random_rows()
    scaler = StandardScaler().fit(X)
    model = ridge.fit([(scaler.transform(X), y)], ALPHAS).model
    reference = make_pipeline(StandardScaler(), RidgeCV(alphas=ALPHAS)).fit(X, y)
    predicted = make_pipeline(scaler, model).predict(X)
    np.testing.assert_allclose(predicted, reference.predict(X), rtol=1e-10)


def test_one_row_can_not_be_trained_on():
    with pytest.raises(DataError, match="at least two training rows"):
        ridge.fit([random_rows(rows=1)], ALPHAS)


def test_no_rows_can_not_be_trained_on():
    with pytest.raises(DataError):
        ridge.fit([], ALPHAS)


def test_a_part_without_rows_adds_nothing():
    X, y = random_rows()
    with_empty = ridge.fit([(X[:0], y[:0]), (X, y)], ALPHAS)
    np.testing.assert_array_equal(with_empty.model.coef_, ridge.fit([(X, y)], ALPHAS).model.coef_)


FIT_IN_A_PROCESS = """
import numpy as np
from ridgeline.model import leave_one_out, moments, ridge
random = np.random.default_rng(0)
parts = [(random.normal(size=(5000, 20)), random.normal(size=5000)) for _ in range(3)]
fit = ridge.fit(parts, (0.001, 1.0, 1000.0))
print(fit.model.coef_.tobytes().hex(), fit.errors.tobytes().hex(), fit.model.intercept_.hex())
"""


@pytest.mark.slow
def test_the_same_parts_give_the_same_bytes_in_every_process():
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIT_IN_A_PROCESS],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        for _ in range(2)
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert first == second != b""


def centred_cross_products(X, y):
    joined = np.column_stack([X, y])
    return np.cov(joined, rowvar=False, bias=True) * len(y)


def cross_products(of):
    return of.root.T @ of.root


def test_moments_are_the_number_of_rows_means_and_centred_cross_products():
    X, y = random_rows()
    of = moments.moments((X, y))
    assert of.rows == 30
    np.testing.assert_allclose(of.mean, [*X.mean(axis=0), y.mean()], rtol=1e-13)
    np.testing.assert_allclose(cross_products(of), centred_cross_products(X, y), rtol=1e-12)


def test_moments_leave_their_arguments_alone():
    X, y = random_rows()
    before = X.copy(), y.copy()
    moments.moments((X, y))
    np.testing.assert_array_equal(np.column_stack([X, y]), np.column_stack(before))


@pytest.mark.parametrize("offset", [0, 1e6])
@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(0, 30), max_size=6).map(sorted))
def test_combined_moments_are_those_of_all_rows(offset, cuts):
    X, y = random_rows()
    X, y = X + offset, y + offset
    total = reduce(moments.add, (moments.moments(part) for part in in_parts(X, y, cuts)))
    assert total.rows == 30
    rtol, atol = 1e-13, 1e3 * EPS * (1 + offset)
    np.testing.assert_allclose(total.mean, [*X.mean(axis=0), y.mean()], rtol=rtol, atol=atol)
    np.testing.assert_allclose(
        cross_products(total), centred_cross_products(X, y), rtol=rtol, atol=30 * atol
    )


def test_combining_is_associative_to_rounding():
    a, b, c = (moments.moments(random_rows(rows=rows, seed=rows)) for rows in (1, 5, 20))
    left = moments.add(moments.add(a, b), c)
    right = moments.add(a, moments.add(b, c))
    np.testing.assert_allclose(left.mean, right.mean, rtol=1e-12)
    np.testing.assert_allclose(cross_products(left), cross_products(right), rtol=1e-12)
