from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from ridgeline.model import scoring

ORACLE = {
    "rmse": metrics.root_mean_squared_error,
    "mae": metrics.mean_absolute_error,
    "r2": metrics.r2_score,
}


def rows(count=40, seed=0, offset=0.0):
    random = np.random.default_rng(seed)
    actual = offset + random.normal(size=count)
    return actual, actual + 0.5 * random.normal(size=count)


def in_parts(actual, predicted, cuts=()):
    return list(zip(np.split(actual, cuts), np.split(predicted, cuts), strict=True))


def total(parts, baseline):
    return reduce(scoring.add, (scoring.sums(*part, baseline) for part in parts), scoring.NONE)


def assert_same(ours, theirs, rtol=1e-10):
    assert list(ours) == list(theirs)
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=rtol)


def of_scikit_learn(actual, predicted):
    return {name: float(metric(actual, predicted)) for name, metric in ORACLE.items()}


@st.composite
def scored_tables(draw):
    """Draw any table whose actual values are not all equal, and whose baseline is among them."""
    values = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))
    table = st.lists(st.tuples(values, values), min_size=2, max_size=50)
    actual, predicted = np.array(draw(table.filter(lambda t: len({row[0] for row in t}) > 1))).T
    cuts = sorted(draw(st.lists(st.integers(0, len(actual)), max_size=5)))
    baseline = draw(st.floats(actual.min(), actual.max()))
    return actual, predicted, baseline, cuts


@settings(max_examples=200, deadline=None)
@given(scored_tables())
def test_metrics_are_scikit_learns_however_rows_are_cut_into_parts(table):
    actual, predicted, baseline, cuts = table
    scored = scoring.metrics(total(in_parts(actual, predicted, cuts), baseline))
    expected = of_scikit_learn(actual, predicted)
    assert scored["rmse"] == pytest.approx(expected["rmse"], rel=1e-12, abs=1e-300)
    assert scored["mae"] == pytest.approx(expected["mae"], rel=1e-12, abs=1e-300)
    assert 1 - scored["r2"] == pytest.approx(1 - expected["r2"], rel=1e-6, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(scored_tables())
def test_baseline_metrics_are_those_of_predicting_the_baseline(table):
    actual, predicted, baseline, cuts = table
    sums = total(in_parts(actual, predicted, cuts), baseline)
    expected = scoring.metrics(total([(actual, np.full(len(actual), baseline))], baseline))
    assert scoring.baseline_metrics(sums) == pytest.approx(expected, rel=1e-12)


def test_predicting_the_mean_has_an_r2_of_zero():
    actual, predicted = rows()
    sums = total([(actual, predicted)], actual.mean())
    assert scoring.baseline_metrics(sums)["r2"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("count", [scoring.GROUPS - 1, scoring.GROUPS, 3 * scoring.GROUPS + 7])
def test_metrics_are_scikit_learns_for_more_rows_than_groups(count):
    actual, predicted = rows(count)
    sums = total(in_parts(actual, predicted, [1, 500, 501]), 0.0)
    assert_same(scoring.metrics(sums), of_scikit_learn(actual, predicted))


@pytest.mark.parametrize("baseline", [1e6, 1e6 + 100, 1e6 - 0.3])
def test_a_large_offset_of_the_target_costs_no_accuracy(baseline):
    actual, predicted = rows(offset=1e6)
    sums = total([(actual, predicted)], baseline)
    assert_same(scoring.metrics(sums), of_scikit_learn(actual, predicted), rtol=1e-9)


def test_r2_is_right_where_the_rows_lie_far_from_the_baseline():
    actual, predicted = rows(offset=1e5)
    scored = scoring.metrics(total([(actual, predicted)], 0.0))
    assert scored["r2"] == pytest.approx(metrics.r2_score(actual, predicted), abs=1e-4)


def test_perfect_predictions_have_no_error():
    actual, _ = rows()
    sums = total([(actual, actual)], 0.0)
    assert scoring.metrics(sums) == {"rmse": 0.0, "mae": 0.0, "r2": 1.0}


@pytest.mark.parametrize("count", [1, 2, 1000, 12345])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e6 - 0.1])
@pytest.mark.parametrize("baseline", [0.0, 0.3, 1e6])
def test_r2_is_none_where_all_actual_values_are_equal(count, value, baseline):
    sums = total([(np.full(count, value), np.zeros(count))], baseline)
    assert scoring.metrics(sums)["r2"] is None


def test_where_r2_is_none_the_errors_are_still_told():
    sums = total([(np.array([3.0]), np.array([1.0]))], 0.0)
    assert scoring.metrics(sums) == {"rmse": 2.0, "mae": 2.0, "r2": None}


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(0, 2500), max_size=6).map(sorted))
def test_sums_are_the_same_however_rows_are_cut_into_parts(cuts):
    actual, predicted = rows(2500)
    whole = total([(actual, predicted)], 0.1)
    cut = total(in_parts(actual, predicted, cuts), 0.1)
    np.testing.assert_allclose(cut, whole, rtol=1e-12, atol=1e-13)


def test_every_row_is_counted_in_its_group():
    before = scoring.sums(*rows(scoring.GROUPS - 1), baseline=0.0)
    sums = scoring.add(before, scoring.sums(*rows(3), baseline=0.0)) - before
    assert list(np.flatnonzero(sums[:, 0])) == [0, 1, scoring.GROUPS - 1]


def test_no_parts_sum_up_to_nothing():
    np.testing.assert_array_equal(total([], 0.0), np.zeros((scoring.GROUPS, 6)))


def test_summing_up_leaves_the_sums_of_no_rows_alone():
    total([rows()], 0.0)
    assert not scoring.NONE.any()


@pytest.mark.parametrize("count", [40, 5000], ids=["a row a group", "rows in groups"])
@pytest.mark.parametrize("name", scoring.NAMES)
def test_intervals_contain_the_estimate(name, count):
    sums = total([rows(count)], 0.0)
    low, high = scoring.intervals(sums)[name]
    assert low < scoring.metrics(sums)[name] < high


def test_intervals_are_the_same_each_time():
    sums = total([rows()], 0.0)
    assert scoring.intervals(sums) == scoring.intervals(sums.copy())


def test_intervals_follow_the_seed():
    sums = total([rows()], 0.0)
    assert scoring.intervals(sums, seed=1) != scoring.intervals(sums, seed=2)


@pytest.mark.parametrize("name", scoring.NAMES)
def test_a_higher_level_gives_a_wider_interval(name):
    sums = total([rows()], 0.0)
    narrow, wide = (scoring.intervals(sums, level)[name] for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "tolerance"),
    [(15, 0.1), (200, 0.1), (3000, 0.15)],
    ids=["15 rows", "200 rows", "3000 rows"],
)
@pytest.mark.parametrize("name", scoring.NAMES)
def test_intervals_are_about_those_of_scipys_bootstrap(name, count, tolerance):
    actual, predicted = rows(count)
    low, high = scoring.intervals(total([(actual, predicted)], 0.0))[name]
    expected = stats.bootstrap(
        (actual, predicted),
        ORACLE[name],
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=1000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = expected.high - expected.low
    np.testing.assert_allclose([low, high], expected, rtol=0, atol=tolerance * width)


def test_about_95_of_100_intervals_contain_the_truth():
    inside = 0
    for seed in range(100):
        low, high = scoring.intervals(total([rows(200, seed)], 0.0))["rmse"]
        inside += low <= 0.5 <= high
    assert 88 <= inside <= 100


def test_intervals_do_not_mind_a_large_offset():
    plain, offset = (
        scoring.intervals(total([rows(offset=offset)], offset)) for offset in (0.0, 1e6)
    )
    for name in scoring.NAMES:
        np.testing.assert_allclose(offset[name], plain[name], rtol=1e-6)


def test_r2_has_no_interval_where_it_is_not_defined():
    sums = total([(np.full(20, 3.0), rows(20)[1])], 0.0)
    assert scoring.intervals(sums)["r2"] == (None, None)


def test_the_interval_of_a_single_row_is_its_error():
    sums = total([(np.array([3.0]), np.array([1.0]))], 0.0)
    assert scoring.intervals(sums) == {"rmse": (2.0, 2.0), "mae": (2.0, 2.0), "r2": (None, None)}


def test_resamples_of_equal_values_are_left_out_of_r2s_interval():
    actual, predicted = np.array([0.0, 1.0]), np.array([0.5, 0.5])
    sums = total([(actual, predicted)], 0.0)
    assert scoring.intervals(sums)["r2"] == (0.0, 0.0)


def test_errors_too_large_to_be_squared_leave_metrics_undefined():
    far = scoring.sums(np.array([1.0, 2.0]), np.array([1e200, 2.0]), 1.5)
    assert scoring.metrics(far) == {"rmse": None, "mae": pytest.approx(5e199), "r2": None}
    assert scoring.intervals(far)["rmse"] == (None, None)


# Two models on the same rows


def pair(count=200, seed=0, scales=(0.5, 0.5), shared=1.0):
    """Return the errors of two models: a shared part, and a part of each model's own."""
    random = np.random.default_rng(seed)
    common = shared * random.normal(size=count)
    return [common + scale * random.normal(size=count) for scale in scales]


def compared(errors, cuts=(), **options):
    """Compare two models by their errors, the rows cut into parts."""
    return scoring.compare(
        *(total(in_parts(e, np.zeros(len(e)), cuts), 0.0) for e in errors), **options
    )


def rmse(errors):
    return np.sqrt(np.mean(errors**2, axis=-1))


def test_the_comparison_is_that_of_resampling_the_rows_one_by_one():
    first, second = pair(60, scales=(0.5, 0.7))
    rows = np.random.default_rng(0).integers(60, size=(scoring.RESAMPLES, 60))
    differences = rmse(first[rows]) - rmse(second[rows])
    expected = (
        rmse(first) - rmse(second),
        *np.percentile(differences, [2.5, 97.5]),
        np.mean(differences < 0),
    )
    assert compared((first, second)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [200, 5000], ids=["a row a group", "rows in groups"])
def test_the_comparisons_interval_is_about_that_of_scipys_paired_bootstrap(count):
    first, second = pair(count, scales=(0.5, 0.55))
    expected = stats.bootstrap(
        (first, second),
        lambda a, b, axis: np.sqrt(np.mean(a**2, axis)) - np.sqrt(np.mean(b**2, axis)),
        paired=True,
        method="percentile",
        n_resamples=2000,
        batch=100,
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = expected.high - expected.low
    _, lower, upper, _ = compared((first, second))
    np.testing.assert_allclose([lower, upper], expected, rtol=0, atol=0.15 * width)


def test_the_difference_is_that_of_scikit_learns_rmse():
    first, second = pair()
    of_scikit_learn = [
        metrics.root_mean_squared_error(e, np.zeros(len(e))) for e in (first, second)
    ]
    assert compared((first, second)).difference == pytest.approx(np.subtract(*of_scikit_learn))


def test_errors_that_both_models_make_do_not_widen_the_differences_interval():
    errors = pair(scales=(0.1, 0.1), shared=1.0)
    _, lower, upper, _ = compared(errors)
    low, high = scoring.intervals(total([(errors[0], np.zeros(200))], 0.0))["rmse"]
    assert upper - lower < 0.25 * (high - low)


def test_exchanging_the_models_reverses_the_comparison():
    first, second = pair()
    ours, theirs = compared((first, second)), compared((second, first))
    reversed_ = (-theirs.difference, -theirs.upper, -theirs.lower, 1 - theirs.probability)
    assert ours == pytest.approx(reversed_, rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 40, 2500])
def test_models_that_predict_the_same_are_equally_good(count):
    first, _ = pair(count)
    assert compared((first, first)) == (0.0, 0.0, 0.0, 0.5)


@pytest.mark.parametrize(("errors", "expected"), [((1.0, 3.0), 1.0), ((3.0, 1.0), 0.0)])
def test_on_a_single_row_one_model_is_better_in_all_resamples(errors, expected):
    first, second = errors
    difference = first - second
    assert compared([np.array([e]) for e in errors]) == (
        difference, difference, difference, expected,
    )  # fmt: skip


def test_the_comparison_is_the_same_however_rows_are_cut_into_parts():
    errors = pair(2500)
    assert compared(errors, cuts=[1, 700, 1999]) == pytest.approx(compared(errors), rel=1e-9)


def test_a_comparison_is_the_same_each_time_and_follows_the_seed():
    errors = pair()
    assert compared(errors) == compared(errors)
    assert compared(errors) != compared(errors, seed=1)


@pytest.mark.parametrize("wrong", [0, 1], ids=["candidate", "champion"])
def test_errors_too_large_to_be_squared_are_not_compared(wrong):
    errors = pair()
    errors[wrong][7] = 1e200
    assert compared(errors) is None


def test_no_rows_are_not_compared():
    assert scoring.compare(scoring.NONE, scoring.NONE) is None


@pytest.mark.slow
def test_about_95_of_100_intervals_contain_the_true_difference():
    true = np.hypot(1, 0.6) - np.hypot(1, 0.5)  # the RMSE of infinitely many rows
    tables = (compared(pair(100, seed, scales=(0.6, 0.5))) for seed in range(200))
    inside = sum(c.lower <= true <= c.upper for c in tables)
    assert 180 <= inside <= 198  # 190 expected; the standard deviation is 3


@pytest.mark.slow
def test_between_equally_good_models_every_probability_is_about_as_likely():
    probabilities = [compared(pair(100, seed)).probability for seed in range(200)]
    assert stats.kstest(probabilities, "uniform").pvalue > 0.05
