import io
from functools import reduce
from operator import add

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ridgeline.errors import DataError
from ridgeline.model import features
from ridgeline.model.features import Unknown
from ridgeline.tables.writing import as_table

NUMERIC, CATEGORICAL = ("age", "weight"), ("site", "sex")
COMPLETE = pd.DataFrame(
    {
        "age": [1.0, 2.0, 4.0, 4.0, 9.0, 3.0],
        "weight": [70.5, 60.25, 80.0, 55.125, 90.0, 61.0],
        "site": ["b", "a", "c", "a", "b", "b"],
        "sex": ["f", "m", "f", "f", "m", "m"],
    }
)
INCOMPLETE = pd.DataFrame(
    {
        "age": [np.nan, 2.0, 4.0, np.nan, 9.0, 3.0],
        "weight": [70.5, 60.25, np.nan, 55.125, 90.0, 61.0],
        "site": ["b", None, "c", "a", "b", None],
        "sex": [None, "m", "f", "f", "m", "m"],
    }
)


def in_parts(frame, rows):
    return [as_table(frame[start : start + rows]) for start in range(0, len(frame), rows)]


def fitted(frame, numeric=NUMERIC, categorical=CATEGORICAL, *, impute=False, rows=None):
    parts = in_parts(frame, rows or len(frame))
    return features.fit(parts, numeric, categorical, impute=impute)[0]


@pytest.mark.parametrize("rows", [1, 2, 6])
def test_the_smallest_and_largest_values_are_those_of_all_parts(rows: int) -> None:
    parts = in_parts(INCOMPLETE, rows)
    _, total = features.fit(parts, NUMERIC, CATEGORICAL, impute=True)
    assert total.smallest.tolist() == INCOMPLETE[[*NUMERIC]].min().tolist()
    assert total.largest.tolist() == INCOMPLETE[[*NUMERIC]].max().tolist()


def scikit_learn(frame, numeric=NUMERIC, categorical=CATEGORICAL, *, impute=False):
    scale, encode = StandardScaler(), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    if impute:
        scale = make_pipeline(SimpleImputer(strategy="mean"), scale)
        encode = make_pipeline(SimpleImputer(strategy="most_frequent"), encode)
    steps = [("numeric", scale, list(numeric)), ("categorical", encode, list(categorical))]
    return ColumnTransformer(
        [step for step in steps if step[2]], verbose_feature_names_out=False
    ).fit(frame[[*numeric, *categorical]])


def matrix(preprocessor, frame):
    return features.matrix(preprocessor, as_table(frame))


def assert_same(ours, theirs, frame):
    assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())
    expected = theirs.transform(frame)
    np.testing.assert_allclose(ours.transform(frame), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(matrix(ours, frame).T, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rows", range(1, 7))
@pytest.mark.parametrize(
    ("frame", "impute"),
    [(COMPLETE, False), (COMPLETE, True), (INCOMPLETE, True)],
    ids=["complete", "complete, imputing", "incomplete, imputing"],
)
def test_it_is_scikit_learns_fit_for_every_size_of_parts(frame, impute, rows):
    ours = fitted(frame, impute=impute, rows=rows)
    assert_same(ours, scikit_learn(frame, impute=impute), frame)


# eighths: their sums are exact, so that a constant column is one however it is summed up
NUMBERS = st.integers(-8000, 8000).map(lambda eighths: eighths / 8)
CATEGORIES = st.sampled_from(["a", "b", "B", "", "é", "10", "9"])


@st.composite
def tables(draw, *, incomplete):
    rows = draw(st.integers(1, 15))
    missing = st.none() if incomplete else st.nothing()

    def column(values):
        drawn = draw(st.lists(values | missing, min_size=rows, max_size=rows))
        if all(value is None for value in drawn):
            drawn[0] = draw(values)
        return drawn

    frame = pd.DataFrame(
        {
            "age": np.array(column(NUMBERS), dtype=float),
            "weight": np.array(column(NUMBERS), dtype=float),
            "site": pd.Series(column(CATEGORIES), dtype="str"),
            "sex": pd.Series(column(CATEGORIES), dtype="str"),
        }
    )
    return frame, draw(st.integers(1, rows))


@settings(max_examples=40, deadline=None)
@given(tables(incomplete=False))
def test_it_is_scikit_learns_fit_of_any_complete_table(table):
    frame, rows = table
    assert_same(fitted(frame, rows=rows), scikit_learn(frame), frame)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(tables(incomplete=True))
def test_it_is_scikit_learns_fit_of_any_incomplete_table(table):
    frame, rows = table
    ours = fitted(frame, impute=True, rows=rows)
    assert_same(ours, scikit_learn(frame, impute=True), frame)


@pytest.mark.parametrize("impute", [False, True])
@pytest.mark.parametrize(
    ("numeric", "categorical"), [(NUMERIC, ()), ((), CATEGORICAL)], ids=["numeric", "categorical"]
)
def test_columns_may_all_be_of_one_kind(numeric, categorical, impute):
    ours = fitted(COMPLETE, numeric, categorical, impute=impute, rows=2)
    assert_same(ours, scikit_learn(COMPLETE, numeric, categorical, impute=impute), COMPLETE)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6 - 0.1, 1e-300, 1e15])
@pytest.mark.parametrize("rows", [1, 3, 50])
def test_a_constant_column_becomes_zeros(value, rows):
    frame = pd.DataFrame({"age": np.full(50, value)})
    preprocessor = fitted(frame, ["age"], [], rows=rows)
    np.testing.assert_allclose(
        preprocessor.transform(frame), np.zeros((50, 1)), atol=1e-13 * (1 + abs(value))
    )


@pytest.mark.parametrize("rows", [1, 3, 50])
def test_a_constant_column_is_not_scaled(rows):
    frame = pd.DataFrame({"age": np.full(50, 0.1)})
    np.testing.assert_array_equal(
        features.scaler_of(fitted(frame, ["age"], [], rows=rows)).scale_, [1.0]
    )


@pytest.mark.parametrize("rows", [1, 3, 300])
def test_a_large_offset_does_not_drown_the_spread(rows):
    frame = pd.DataFrame({"age": 1e6 + np.random.default_rng(0).normal(size=300)})
    ours, theirs = fitted(frame, ["age"], [], rows=rows), scikit_learn(frame, ["age"], [])
    np.testing.assert_allclose(ours.transform(frame), theirs.transform(frame), atol=1e-8)


def test_of_equally_frequent_categories_the_first_in_order_fills_what_is_missing():
    frame = pd.DataFrame({"site": ["b", "a", "c", "b", "a", None]})
    preprocessor = fitted(frame, [], ["site"], impute=True, rows=1)
    assert matrix(preprocessor, frame)[:, 5].tolist() == [1.0, 0.0, 0.0]


def test_missing_values_are_filled_from_the_training_rows_not_from_those_transformed():
    preprocessor = fitted(INCOMPLETE, impute=True, rows=2)
    site = pd.Series([None], dtype="str")
    frame = pd.DataFrame({"age": [np.nan], "weight": [80.0], "site": site, "sex": ["f"]})
    assert_same(preprocessor, scikit_learn(INCOMPLETE, impute=True), frame)


@pytest.mark.parametrize("ages", [[np.nan, 1, 3], [1, np.nan, 3], [1, 3, np.nan]])
def test_a_column_may_have_no_value_in_some_part(ages):
    preprocessor = fitted(pd.DataFrame({"age": ages}), ["age"], [], impute=True, rows=1)
    assert features.scaler_of(preprocessor).mean_ == [2.0]


@pytest.mark.parametrize("impute", [False, True])
@pytest.mark.parametrize("column", ["weight", "sex"])
def test_a_column_without_any_value_is_an_error_that_names_it(column, impute):
    kind = float if column in NUMERIC else "str"
    frame = COMPLETE.assign(**{column: pd.Series([None] * len(COMPLETE), dtype=kind)})
    with pytest.raises(DataError, match=f"column {column} has no value"):
        fitted(frame, impute=impute, rows=2)


@pytest.mark.parametrize(
    ("numeric", "categorical", "name"),
    [(["site_a"], ["site"], "site_a"), ([], ["site", "site_a"], "site_a_b")],
    ids=["numeric and category", "category and category"],
)
def test_two_features_of_the_same_name_are_an_error_that_names_them(numeric, categorical, name):
    texts = {"site": ["a", "a_b"], "site_a": ["b", "c"]}
    frame = pd.DataFrame(texts | {column: [1.0, 2.0] for column in numeric})
    with pytest.raises(DataError, match=rf"same name.*'{name}'"):
        fitted(frame, numeric, categorical)


def test_features_stand_in_the_order_of_the_columns_numeric_ones_first():
    preprocessor = fitted(COMPLETE, ("weight", "age"), ("sex", "site"))
    assert list(preprocessor.get_feature_names_out()) == [
        *("weight", "age", "sex_f", "sex_m", "site_a", "site_b", "site_c")
    ]


def test_a_category_that_training_rows_lack_becomes_zeros():
    preprocessor = fitted(COMPLETE, [], ["site"])
    frame = pd.DataFrame({"site": ["elsewhere"]})
    np.testing.assert_array_equal(preprocessor.transform(frame), [[0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(matrix(preprocessor, frame).T, [[0.0, 0.0, 0.0]])


def test_the_matrix_has_a_row_of_float64_for_each_feature_by_name():
    preprocessor = fitted(COMPLETE)
    made = matrix(preprocessor, COMPLETE)
    assert made.dtype == np.float64
    by_name = dict(zip(preprocessor.get_feature_names_out(), made.tolist(), strict=True))
    assert by_name["site_b"] == [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    assert by_name["sex_f"] == [1.0, 0.0, 1.0, 1.0, 0.0, 0.0]


def test_the_matrix_does_not_mind_other_columns_or_their_order():
    preprocessor = fitted(COMPLETE)
    shuffled = COMPLETE.assign(other=0.0)[["other", "sex", "age", "site", "weight"]]
    np.testing.assert_array_equal(matrix(preprocessor, shuffled), matrix(preprocessor, COMPLETE))


@pytest.mark.parametrize("impute", [False, True])
def test_unknown_categories_are_told_by_column(impute):
    frame = pd.DataFrame(
        {
            "age": [1.0] * 4,
            "weight": [1.0] * 4,
            "site": ["x", "a", "x", None],
            "sex": ["m", "y", "f", "x"],
        }
    )
    assert features.unknown_categories(fitted(COMPLETE, impute=impute), as_table(frame)) == {
        "site": Unknown(2, ("x",)),
        "sex": Unknown(2, ("y", "x")),
    }


def test_of_unknown_categories_the_first_few_are_kept_however_many_there_are():
    frame = pd.DataFrame({"site": [f"new {number}" for number in range(100)]})
    preprocessor = fitted(COMPLETE, [], ["site"])
    parts = [features.unknown_categories(preprocessor, table) for table in in_parts(frame, 4)]
    together = reduce(add, (part["site"] for part in parts))
    assert together.rows == 100
    assert str(together) == "'new 0', 'new 1', 'new 2', 'new 3', 'new 4', …"


def test_a_column_that_names_rows_is_an_error_that_names_it():
    frame = pd.DataFrame({"site": [f"site {number}" for number in range(10_001)]})
    with pytest.raises(DataError, match="column site has more than 10,000 categories"):
        fitted(frame, [], ["site"], rows=5_000)


def test_of_known_categories_none_is_unknown():
    assert not features.unknown_categories(fitted(COMPLETE), as_table(COMPLETE))


def test_without_categorical_columns_nothing_is_unknown():
    assert not features.unknown_categories(fitted(COMPLETE, NUMERIC, ()), as_table(COMPLETE))


@pytest.mark.parametrize("impute", [False, True])
def test_the_typical_row_holds_means_and_first_categories(impute):
    row = features.typical_row(fitted(COMPLETE, impute=impute, rows=1))
    expected = COMPLETE[list(NUMERIC)].mean().to_frame().T.assign(site="a", sex="f")
    pd.testing.assert_frame_equal(row, expected)


@pytest.mark.parametrize(("numeric", "categorical"), [(NUMERIC, ()), ((), CATEGORICAL)])
def test_the_typical_row_can_be_transformed(numeric, categorical):
    preprocessor = fitted(COMPLETE, numeric, categorical)
    assert matrix(preprocessor, features.typical_row(preprocessor)).shape[1] == 1


@pytest.mark.parametrize("impute", [False, True])
@pytest.mark.parametrize(
    ("numeric", "categorical"), [(NUMERIC, CATEGORICAL), (NUMERIC, ()), ((), CATEGORICAL)]
)
def test_it_tells_whether_missing_values_are_filled(numeric, categorical, impute):
    assert features.imputes(fitted(COMPLETE, numeric, categorical, impute=impute)) is impute


@pytest.mark.parametrize(
    ("frame", "impute"), [(COMPLETE, False), (INCOMPLETE, True)], ids=["complete", "imputing"]
)
@pytest.mark.parametrize("attribute", ["mean_", "var_", "scale_", "n_samples_seen_"])
def test_the_scaler_learnt_what_scikit_learns_does(frame, impute, attribute):
    ours = features.scaler_of(fitted(frame, impute=impute, rows=2))
    theirs = features.scaler_of(scikit_learn(frame, impute=impute))
    np.testing.assert_allclose(getattr(ours, attribute), getattr(theirs, attribute), rtol=1e-12)


@pytest.mark.parametrize("impute", [False, True])
def test_two_fits_are_stored_as_the_same_bytes(impute):
    stored = []
    for _ in range(2):
        file = io.BytesIO()
        joblib.dump(fitted(INCOMPLETE.copy() if impute else COMPLETE.copy(), impute=impute), file)
        stored.append(file.getvalue())
    assert stored[0] == stored[1]


@pytest.mark.parametrize(
    ("frame", "impute"), [(COMPLETE, False), (INCOMPLETE, True)], ids=["complete", "imputing"]
)
def test_it_is_loaded_from_skops_as_it_was_stored(frame, impute):
    preprocessor = fitted(frame, impute=impute)
    loaded = skops.io.loads(skops.io.dumps(preprocessor), trusted=["numpy.dtype"])
    np.testing.assert_array_equal(matrix(loaded, frame), matrix(preprocessor, frame))
