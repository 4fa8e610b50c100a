"""Drift: a moved column is found, and rows of the same distribution give no false alarm."""

from functools import reduce
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT
from sklearn.pipeline import Pipeline

from ridgeline import config
from ridgeline.model import drift, features, predict, profile, ridge
from ridgeline.tables.writing import as_table

RESAMPLES = 200
DISTRIBUTIONS = {
    "normal": lambda x: x,
    "skewed": lambda x: np.exp(3 * x),
    "a few values": lambda x: np.round(1.5 * x),
    "far from zero": lambda x: 2000 + 10 * x,
}


def binned(reference, rows):
    """The counts of both in bins between the deciles of the first."""
    mean, deviation = reference.mean(), reference.std()
    expected, observed = (
        profile.histogram(((values - mean) / deviation)[None])[0] for values in (reference, rows)
    )
    edges = profile.edges(expected)
    return np.add.reduceat(expected, edges), np.add.reduceat(observed, edges)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), max_size=50), st.integers(0, 50))
def test_the_histograms_of_parts_add_up(values, cut):
    scaled = np.array(values)[None]
    parts = scaled[:, :cut], scaled[:, cut:]
    whole = profile.histogram(scaled)
    np.testing.assert_array_equal(sum(map(profile.histogram, parts)), whole)
    assert whole.sum() == np.isfinite(scaled).sum()


def test_the_bins_of_many_values_are_between_their_deciles():
    expected, _ = binned(np.random.default_rng(0).normal(size=100_000), np.zeros(1))
    np.testing.assert_allclose(expected / expected.sum(), 0.1, atol=0.02)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=20))
def test_the_index_of_equal_shares_is_zero_and_never_negative(counts):
    expected = np.array(counts)
    assert drift.population_stability(expected, expected) == 0
    assert drift.population_stability(expected, expected[::-1]) >= 0


def test_the_index_is_the_sum_of_its_definition():
    expected, observed = np.array([50_000, 50_000]), np.array([20_000, 80_000])
    index = (0.2 - 0.5) * np.log(0.2 / 0.5) + (0.8 - 0.5) * np.log(0.8 / 0.5)
    assert drift.population_stability(expected, observed) == pytest.approx(index, rel=1e-3)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_resamples_of_the_same_distribution_give_no_false_alarm(name):
    random, alarms = np.random.default_rng(3), 0
    for _ in range(RESAMPLES):
        n, m = random.choice([70, 500, 5000]), random.choice([16, 100, 1000, 20_000])
        counts = binned(*(DISTRIBUTIONS[name](random.normal(size=rows)) for rows in (n, m)))
        alarms += drift.population_stability(*counts) > drift.threshold(*counts, columns=1)
    assert alarms <= 1


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_shift_by_half_a_standard_deviation_is_found_in_500_rows(name):
    random = np.random.default_rng(4)
    reference, rows = (DISTRIBUTIONS[name](random.normal(x, size=500)) for x in (0, 0.5))
    counts = binned(reference, rows)
    assert drift.population_stability(*counts) > drift.threshold(*counts, columns=10)


def table(rows, seed=0, shift=0.0, sites=("a", "b")):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": random.normal(shift, 1, rows),
            "width": random.normal(9, 3, rows),
            "site": random.choice([*sites], rows),
        }
    )
    return as_table(frame)


def fitted(rows):
    preprocessor, statistics = features.fit([rows], ["age", "width"], ["site"], impute=False)
    profile.keep(preprocessor, statistics, profile.observe(preprocessor, rows))
    return preprocessor


def moved(preprocessor, *parts):
    observed = reduce(profile.add, (profile.observe(preprocessor, part) for part in parts))
    return [change.column for change in drift.columns(preprocessor, observed, {}) if change.moved]


def test_rows_like_the_training_rows_have_not_moved():
    assert moved(fitted(table(2000)), table(300, 1), table(700, 2)) == []


def test_a_column_that_moved_is_named_whatever_moved_in_it():
    preprocessor = fitted(table(2000))
    assert moved(preprocessor, table(1000, 1, shift=1.0)) == ["age"]
    assert moved(preprocessor, table(1000, 1, sites=("a", "b", "new"))) == ["site"]
    missing = table(1000, 1).to_pandas()
    missing.loc[::4, "width"] = None
    assert moved(preprocessor, as_table(missing)) == ["width"]


@pytest.mark.slow
def test_200_tables_like_the_training_rows_give_no_warning():
    preprocessor = fitted(table(2000))
    alarms = sum(bool(moved(preprocessor, table(500, seed))) for seed in range(1, 201))
    assert alarms <= 1


def test_a_model_without_a_profile_has_no_changes():
    preprocessor, _ = features.fit([table(50)], ["age"], ["site"], impute=False)
    assert drift.columns(preprocessor, profile.observe(preprocessor, table(50)), {}) == []
    assert profile.outside(preprocessor, table(50)) == {}


def test_no_rows_have_no_changes():
    assert compared(fitted_model(50), table(0)) == drift.Drift([], None)


def test_values_outside_the_training_range_are_counted_and_missing_ones_are_not():
    preprocessor = fitted(table(2000))
    ages = [-99.0, 0.0, None, 99.0]
    rows = as_table(pd.DataFrame({"age": ages, "width": 9.0, "site": "a"}))
    assert profile.outside(preprocessor, rows) == {"age": 2}


@pytest.mark.parametrize(("n", "m"), [(1, 3), (2, 4), (5, 3)])
def test_the_chance_of_values_outside_a_range_counts_all_orders_of_the_values(n, m):
    places = [*combinations(range(n + m), n)]  # of the n values among all sorted ones
    outside = [n + m - 1 - (chosen[-1] - chosen[0]) for chosen in places]
    for k in range(m + 1):
        share = sum(count >= k for count in outside) / comb(n + m, n)
        assert drift.chance_outside(n, m, k) == pytest.approx(share)


def test_a_few_values_far_outside_are_a_warning_that_the_index_would_not_give():
    model = fitted_model(2000)
    rows = table(1000, 1).to_pandas()
    rows.loc[::40, "width"] = -999.0
    found = compared(model, as_table(rows))
    assert not any(change.moved for change in found.columns)
    assert [*drift.warnings(found)] == [
        "column width has values outside the range of the training rows in 2.5% of the rows; check "
        "the data, or train anew"
    ]


def fitted_model(rows):
    """A model of twice the age, with the profile of its training rows."""
    training = table(rows)
    preprocessor = fitted(training)
    X = features.matrix(preprocessor, training).T
    regressor = ridge.fit([(X, 2 * training["age"].to_numpy())], (1e-3,)).model
    model = Pipeline([("preprocessor", preprocessor), ("regressor", regressor)])
    profile.keep_predictions(model, profile.spread(regressor.predict(X)))
    return model


def compared(model, *parts):
    rows = (predict.predict_rows(model, "age", None, 0.0, None, part)[1] for part in parts)
    total = reduce(predict.add, rows, predict.NONE)
    return drift.compare(model, total.observed, total.outside, total.predictions)


def test_the_mean_prediction_is_compared_in_standard_deviations():
    model, parts = fitted_model(2000), (table(300, 1, shift=1.0), table(700, 2, shift=1.0))
    shift = compared(model, *parts).prediction
    predicted, training = (
        np.concatenate([model.predict(part.to_pandas()) for part in some])
        for some in (parts, [table(2000)])
    )
    assert shift.mean == pytest.approx(predicted.mean())
    assert shift.training_mean == pytest.approx(training.mean())
    assert shift.distance == pytest.approx((shift.mean - training.mean()) / training.std())
    assert shift.moved


def test_means_of_equal_predictions_do_not_differ_by_rounding():
    training, rows = (profile.spread(np.full(n, 0.1)) for n in (7, 1001))
    training = profile.add_spread(training, profile.spread(np.full(3, 0.1 + 1e-17)))
    assert drift.shift(training, rows).distance == 0


@given(st.lists(st.floats(-1e6, 1e6), max_size=50), st.integers(0, 50))
def test_the_spreads_of_parts_combine(values, cut):
    parts = profile.spread(np.array(values[:cut])), profile.spread(np.array(values[cut:]))
    whole, combined = profile.spread(np.array(values)), profile.add_spread(*parts)
    assert combined.rows == whole.rows
    assert combined.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-6)
    assert combined.squares == pytest.approx(whole.squares, rel=1e-9, abs=1e-6)


def test_a_model_without_predictions_of_its_training_rows_has_no_shift():
    model = fitted_model(50)
    delattr(model, profile.PREDICTIONS)
    assert compared(model, table(50, 1)).prediction is None


def test_rows_that_are_all_incomplete_have_no_mean_prediction():
    rows = table(50, 1).to_pandas().assign(age=np.nan)
    assert compared(fitted_model(50), as_table(rows)).prediction is None


def test_the_profile_travels_with_the_model_in_the_skops_format():
    model = fitted_model(50)
    loaded = skops.io.loads(skops.io.dumps(model))
    assert compared(loaded, table(50, 1)) == compared(model, table(50, 1))


def test_metrics_have_the_index_and_the_shares_of_each_column():
    rows = as_table(pd.DataFrame({"age": [0.0, 99.0], "width": [9.0, 9.0], "site": ["a", "new"]}))
    metrics = drift.metrics(compared(fitted_model(2000), rows))
    assert metrics["psi"].keys() == {"age", "width", "site"}
    assert metrics["outside"] == {"age": 0.5, "width": 0.0}
    assert metrics["unknown"] == {"site": 0.5}
    assert metrics["prediction"].keys() == {"mean", "training_mean", "distance"}


@pytest.mark.slow
def test_200_divisions_of_the_possums_give_no_warning():
    data, random, alarms = config.load(ROOT / "params.yaml").data, np.random.default_rng(5), 0
    types = dict.fromkeys((data.key, *data.categorical), str) | dict.fromkeys(data.numeric, float)
    possums = pd.read_csv(ROOT / data.path, dtype=types).dropna()
    for _ in range(RESAMPLES):
        shuffled = possums.sample(frac=1, random_state=random.integers(2**32))
        training, rows = as_table(shuffled[:70]), as_table(shuffled[70:])
        preprocessor, statistics = features.fit(
            [training], data.numeric, data.categorical, impute=False
        )
        profile.keep(preprocessor, statistics, profile.observe(preprocessor, training))
        X = features.matrix(preprocessor, training).T
        regressor = ridge.fit([(X, training[data.target].to_numpy())], (1.0,)).model
        model = Pipeline([("preprocessor", preprocessor), ("regressor", regressor)])
        profile.keep_predictions(model, profile.spread(regressor.predict(X)))
        alarms += bool([*drift.warnings(compared(model, rows))])
    assert alarms <= 1
