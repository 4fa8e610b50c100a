"""Prediction intervals cover what they say, however the rows are cut into parts."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import RidgeCV

from ridgeline.model import intervals, ridge

residuals = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300)
TABLES, TESTED = 200, 500


def half_widths(values):
    return intervals.half_widths(intervals.counts(np.array(values)))


@given(residuals)
def test_a_width_is_the_residual_of_its_rank_rounded_up_by_at_most_one_in_4096(values):
    ordered = np.sort(np.abs(values))
    for level in (0.1, 0.5, 0.9, 0.99):
        rank = int(np.ceil(round(level * (len(values) + 1), 9)))
        width = half_widths(values)[str(level)]
        if rank > len(values):
            assert width is None
        else:
            exact = ordered[rank - 1]
            assert exact <= width <= max(exact * (1 + 1 / 4096), 1e-307)


@given(residuals, st.lists(st.integers(0, 300), max_size=3))
def test_parts_add_up_to_the_whole(values, cuts):
    parts = np.split(np.array(values), sorted(cuts))
    total = reduce(intervals.add, map(intervals.counts, parts), intervals.NONE)
    assert intervals.half_widths(total) == half_widths(values)


def test_equal_residuals_have_one_width():
    assert half_widths([2.0] * 99)["0.01"] == half_widths([-2.0] * 99)["0.99"]


@pytest.mark.parametrize("undefined", [np.nan, np.inf])
def test_an_undefined_residual_is_larger_than_any_other(undefined):
    widths = half_widths([1.0, undefined, 1.0])
    assert (widths["0.5"], widths["0.75"]) == (pytest.approx(1.0, rel=1e-3), None)


def test_memory_does_not_grow_with_the_rows():
    few = intervals.counts(np.random.default_rng(0).normal(size=100_000))
    many = intervals.counts(np.random.default_rng(1).normal(size=3_000_000))
    assert len(many.bins) < 2 * len(few.bins)


@pytest.mark.parametrize("cuts", [[], [7, 30]])
def test_the_residuals_are_scikit_learns(cuts):
    random = np.random.default_rng(5)
    X, y, alphas = random.normal(size=(60, 4)), random.normal(size=60), (0.1, 1.0, 10.0)
    parts = [*zip(np.split(X, cuts), np.split(y, cuts), strict=True)]
    fit = ridge.fit(parts, alphas)
    theirs = RidgeCV(alphas, store_cv_results=True, scoring=None).fit(X, y)
    squares = theirs.cv_results_[:, alphas.index(theirs.alpha_)]
    ours = np.concatenate([fit.residuals(part) for part in parts])
    np.testing.assert_allclose(ours**2, squares, rtol=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_over_200_tables_the_level_is_the_share_of_new_rows_inside(level):
    random = np.random.default_rng(8)
    shares = []
    for _ in range(TABLES):
        X, weights = random.normal(size=(60 + TESTED, 5)), random.normal(size=5)
        y = X @ weights + random.standard_t(3, size=len(X))
        fit = ridge.fit([(X[:60], y[:60])], (0.1, 1.0, 10.0))
        width = intervals.half_widths(intervals.counts(fit.residuals((X[:60], y[:60]))))[str(level)]
        shares.append(np.mean(abs(y[60:] - fit.model.predict(X[60:])) <= width))
    error = np.std(shares) / np.sqrt(TABLES)
    assert abs(np.mean(shares) - level) < 3 * error + 1 / 61
