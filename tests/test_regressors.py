"""Regressors give scikit-learn's fit: linear ones from sums of the parts, others in memory."""

import hashlib
import warnings
from functools import reduce

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from project import documented_models
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LassoCV,
    LinearRegression,
    QuantileRegressor,
    Ridge,
)
from sklearn.svm import SVR

from ridgeline import files
from ridgeline.errors import DataError, SettingsError
from ridgeline.model import intervals, regressors

STREAMED = [
    LinearRegression(),
    LinearRegression(fit_intercept=False),
    LinearRegression(positive=True),
    Ridge(0.3),
    Ridge(1e-3),
    Ridge(2.0, fit_intercept=False),
    Ridge(positive=True),
    Lasso(0.02),
    Lasso(0.1, fit_intercept=False),
    Lasso(0.05, selection="random", random_state=3),
    ElasticNet(0.05, l1_ratio=0.3),
    ElasticNet(0.05, positive=True),
]  # fmt: skip


def table(rows=80, features=6, seed=0):
    """Rows of numbers and of one category in three one-hot columns, and their target."""
    random = np.random.default_rng(seed)
    X = random.normal(3, 2, size=(rows, features))
    X = np.hstack([X, np.eye(3)[random.integers(3, size=rows)]])
    return X, X @ random.normal(size=features + 3) + 5 + random.normal(size=rows)


def parts(X, y, cuts=(30,)):
    return [*zip(np.split(X, sorted(cuts)), np.split(y, sorted(cuts)), strict=True)]


def fit(estimator, X, y, cuts=(30,)):
    return regressors.fit(clone(estimator), (1.0,), parts(X, y, cuts), X.shape)


@pytest.mark.parametrize("estimator", STREAMED, ids=repr)
@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(20, 150),
    features=st.integers(1, 12),
    seed=st.integers(0, 99),
    cuts=st.lists(st.integers(0, 150), max_size=3),
)
def test_a_linear_model_is_scikit_learns_however_the_rows_are_cut(
    estimator, rows, features, seed, cuts
) -> None:
    X, y = table(rows, features, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = clone(estimator).fit(X, y)
    ours = fit(estimator, X, y, cuts).model
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-8)
    assert ours.get_params() == theirs.get_params()


@pytest.mark.parametrize("estimator", [Ridge(0.5), Ridge(), LinearRegression()], ids=repr)
def test_leave_one_out_residuals_are_those_of_fits_without_the_row(estimator) -> None:
    X, y = table(25, 3)
    found = fit(estimator, X, y)
    rest = [np.arange(len(y)) != row for row in range(len(y))]
    theirs = [
        y[i] - clone(estimator).fit(X[others], y[others]).predict(X[i : i + 1])[0]
        for i, others in enumerate(rest)
    ]
    np.testing.assert_allclose(found.residuals((X, y)), theirs, atol=1e-8)
    assert found.error == pytest.approx(np.mean(np.square(theirs)))


def test_least_squares_has_no_leave_one_out_error_if_a_row_alone_determines_a_coefficient() -> None:
    X, y = table()
    X[:, 0] = np.arange(len(y)) == 7
    found = fit(LinearRegression(), X, y)
    assert (found.error, found.residuals) == (None, None)


def test_least_squares_fits_fewer_rows_than_features() -> None:
    X, y = table(10, 20)
    found = fit(LinearRegression(), X, y)
    np.testing.assert_allclose(found.model.predict(X), y, atol=1e-8)
    assert found.error is None


@pytest.mark.parametrize("path", documented_models())
def test_a_model_fitted_in_memory_has_the_same_bytes_every_time(path, tmp_path) -> None:
    X, y = table()
    md5s = set()
    for _ in range(2):
        found = fit(regressors.regressor(path, {}), X, y)
        files.write_model(tmp_path / "model", found.model)
        md5s.add(hashlib.md5((tmp_path / "model").read_bytes()).hexdigest())
    loaded = skops.io.loads(skops.io.dumps(found.model), trusted=[])
    np.testing.assert_array_equal(loaded.predict(X), found.model.predict(X))
    assert len(md5s) == 1


@pytest.mark.parametrize(
    ("path", "params", "message"),
    [
        ("sklearn.linear_model.Riged", {}, "name a regressor such as sklearn.linear_model.Ridge"),
        ("sklearn.linaer_model.Lasso", {}, "name a regressor such as sklearn.linear_model.Lasso"),
        ("sklearn.ensemble.RandomForestClassifier", {}, "not a regressor; name"),
        ("sklearn.preprocessing.StandardScaler", {}, "StandardScaler is not a regressor"),
        ("sklearn.cluster.KMeans", {}, "KMeans is not a regressor"),
        ("sklearn.utils.Bunch", {}, "sklearn.utils.Bunch is not a regressor"),
        ("sklearn.linear_model.Lasso", {"alhpa": 1}, "no parameter 'alhpa'; it has alpha, "),
        ("sklearn.linear_model.RidgeCV", {"gcv_mode": "svd"}, "; remove gcv_mode"),
        ("sklearn.ensemble.VotingRegressor", {}, "'estimators'); name another model"),
    ],
)  # fmt: skip
def test_what_is_not_a_regressor_is_refused(path, params, message) -> None:
    with pytest.raises(SettingsError) as refused:
        regressors.regressor(path, params)
    assert message in str(refused.value)
    assert str(refused.value).startswith("train.")


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (Lasso(alpha=-1), "Got -1 instead); change train.model or train.params"),
        (Ridge(alpha="a"), "The 'alpha' parameter of Ridge must be"),
        (Ridge(alpha=[1, 2]), "Number of targets and number of penalties do not correspond"),
        (LinearRegression(positive="yes"), "The 'positive' parameter of LinearRegression must be"),
        (SVR(kernel="linaer"), "The 'kernel' parameter of SVR must be"),
    ],
    ids=repr,
)  # fmt: skip
def test_parameters_that_a_model_does_not_take_are_refused(estimator, message) -> None:
    with pytest.raises(DataError) as refused:
        fit(estimator, *table())
    assert message in str(refused.value)


def test_a_table_that_does_not_fit_in_memory_is_refused_before_it_is_read() -> None:
    def read(_):
        raise AssertionError

    with pytest.raises(DataError, match="SVR is fitted in memory, and 1,000,000,000,000 rows of 9"):
        regressors.fit(SVR(), (1.0,), [0], (10**12, 9), lambda *_: read(0))


def test_a_fit_that_does_not_converge_is_a_warning() -> None:
    found = fit(Lasso(1e-4, max_iter=1), *table())
    assert [text.partition(".")[0] for text in found.warnings] == [
        "Lasso: Objective did not converge"
    ]


def test_random_models_have_a_fixed_random_state() -> None:
    path = "sklearn.linear_model.SGDRegressor"
    assert regressors.regressor(path, {}).random_state == 0
    assert regressors.regressor(path, {"random_state": 5}).random_state == 5


def test_effects_are_coefficients_or_permutation_importances() -> None:
    X, y = table(300)
    X[:, 0] = np.random.default_rng(1).normal(size=300)  # not what y was made from
    kind, values = regressors.effects(LassoCV().fit(X, y), X, y)
    assert (kind, len(values)) == ("coefficient", X.shape[1])
    kind, values = regressors.effects(SVR(C=10).fit(X[:200], y[:200]), X[200:], y[200:])
    assert kind == "importance"
    assert abs(values[0]) < 0.1 * values.max()


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_over_200_tables_split_conformal_intervals_cover_what_theory_says(level) -> None:
    random, fitted, held, tested = np.random.default_rng(8), 40, 39, 300
    shares = []
    for _ in range(200):
        X = random.normal(size=(fitted + held + tested, 3))
        y = X @ random.normal(size=3) + random.standard_t(3, size=len(X))
        model = fit(QuantileRegressor(alpha=0.01), X[:fitted], y[:fitted]).model
        errors = abs(y - model.predict(X))
        counted = [*map(intervals.counts, np.split(errors[fitted : fitted + held], [10]))]
        width = intervals.half_widths(reduce(intervals.add, counted))[str(level)]
        shares.append(np.mean(errors[fitted + held :] <= width))
    error = np.std(shares) / np.sqrt(len(shares))
    assert level - 3 * error < np.mean(shares) < level + 1 / (held + 1) + 3 * error


def test_a_kernel_is_computed_for_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = np.random.default_rng(0).normal(size=(2, 50, 3))[0], np.arange(50.0)
    model = KernelRidge(kernel="rbf").fit(X, y)
    whole, sizes, real = model.predict(X), [], KernelRidge.predict
    monkeypatch.setattr(regressors, "KERNEL_VALUES", 7 * 50)
    monkeypatch.setattr(
        KernelRidge, "predict", lambda self, rows: sizes.append(len(rows)) or real(self, rows)
    )
    np.testing.assert_allclose(regressors.predict(model, X), whole, rtol=1e-12)
    assert sizes == [7] * 7 + [1]
