"""Drift: a moved column is found, and rows of the same distribution give no false alarm."""

from functools import reduce

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ridgeline.model import drift, features
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
        drift.histogram(((values - mean) / deviation)[None])[0] for values in (reference, rows)
    )
    edges = drift.edges(expected)
    return np.add.reduceat(expected, edges), np.add.reduceat(observed, edges)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), max_size=50), st.integers(0, 50))
def test_the_histograms_of_parts_add_up(values, cut):
    scaled = np.array(values)[None]
    parts = scaled[:, :cut], scaled[:, cut:]
    whole = drift.histogram(scaled)
    np.testing.assert_array_equal(sum(map(drift.histogram, parts)), whole)
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
    drift.keep_profile(preprocessor, statistics, drift.observe(preprocessor, rows))
    return preprocessor


def moved(preprocessor, *parts):
    observed = reduce(drift.add, (drift.observe(preprocessor, part) for part in parts))
    return [change.column for change in drift.changes(preprocessor, observed) if change.moved]


def test_rows_like_the_training_rows_have_not_moved():
    assert moved(fitted(table(2000)), table(300, 1), table(700, 2)) == []


def test_a_column_that_moved_is_named_whatever_moved_in_it():
    preprocessor = fitted(table(2000))
    assert moved(preprocessor, table(1000, 1, shift=1.0)) == ["age"]
    assert moved(preprocessor, table(1000, 1, sites=("a", "b", "new"))) == ["site"]
    missing = table(1000, 1).to_pandas()
    missing.loc[::4, "width"] = None
    assert moved(preprocessor, as_table(missing)) == ["width"]


def test_200_tables_like_the_training_rows_give_no_warning():
    preprocessor = fitted(table(2000))
    alarms = sum(bool(moved(preprocessor, table(500, seed))) for seed in range(1, 201))
    assert alarms <= 1


def test_a_model_without_a_profile_has_no_changes():
    preprocessor, _ = features.fit([table(50)], ["age"], ["site"], impute=False)
    assert drift.changes(preprocessor, drift.observe(preprocessor, table(50))) == []
    assert drift.outside(preprocessor, table(50)) == {}


def test_values_outside_the_training_range_are_counted_and_missing_ones_are_not():
    preprocessor = fitted(table(2000))
    ages = [-99.0, 0.0, None, 99.0]
    rows = as_table(pd.DataFrame({"age": ages, "width": 9.0, "site": "a"}))
    assert drift.outside(preprocessor, rows) == {"age": 2}
