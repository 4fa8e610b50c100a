"""The report of a prediction: which facts it states, and Markdown that no name breaks."""

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.pipeline import Pipeline

from ridgeline.model import drift, features, predict, report, scoring
from ridgeline.tables.writing import as_table

MD5 = "0600304242c147e37d9756a229a7c0f0"
ODD = ["Körpermasse (g)", "a|b", "Schnabel {mm}", "a`b", "*x* _y_ <b> [z](u)", "$1$ & 2\n3"]
PREPARED = {
    "md5": "e050a3201d1e6420161f352a8a13f17d",
    "rows": {"read": 12345, "dropped": 45, "train": 12000, "validation": 200, "test": 100},
    "missing": {"age": 44, "tail": 2},
}
TRAINED = {
    "alpha": 1.0,
    "leave_one_out": {"rmse": 1.25},
    "train": {"rmse": 1.125, "mae": 1.0, "r2": 0.75},
    "validation": {"rmse": 1.5, "mae": 1.0, "r2": None},
    "baseline": {"prediction": 36.7928571, "train": {"rmse": 2.0}, "validation": {"rmse": 2.5}},
}


RIDGE = RidgeCV([0.1, 1.0, 10.0])
DRIFT = drift.Drift(
    [
        drift.Change("width", 0.5, 0.2, outside=0.012),
        drift.Change("age", 0.05, 0.2, outside=0.5, strays=True),
        drift.Change("site", 0.01, 0.2, unknown=0.03),
    ],
    drift.Shift(10.0, 9.0, 0.25, 0.5),
)


def model(estimator=RIDGE, numeric=("age", "width"), categorical=("site",)) -> Pipeline:
    rows = pd.DataFrame({name: [1.0, 2.0, 4.0, 9.0] for name in numeric})
    rows = rows.assign(**{name: ["a", "b", "a", "b"] for name in categorical})
    preprocessor, _ = features.fit([as_table(rows)], numeric, categorical, impute=False)
    X = features.matrix(preprocessor, as_table(rows)).T
    fitted = clone(estimator).fit(X, rows[numeric[0]])
    return Pipeline([("preprocessor", preprocessor), ("regressor", fitted)])


def training(names=("age", "width"), metrics=TRAINED) -> report.Training:
    effects = pd.DataFrame({"feature": names, "effect": np.arange(len(names)) - 1.5})
    return report.Training(metrics, effects, "jackknife")


def facts(scored: int = 100, **changes) -> report.Facts:
    actual = np.arange(scored) % 7.0
    sums = scoring.sums(actual, actual + np.where(np.arange(scored) % 2, 1.0, -1.0), 3.0)
    total = predict.NONE._replace(rows=100, sums=sums, covered=scored * 9 // 10)
    values = {
        "model": model(),
        "md5": MD5,
        "target": "tail",
        "data": "data/raw/table.csv",
        "prepared": PREPARED,
        "input": "data/prepared/test",
        "drift": DRIFT,
        "input_md5": "a6027e18c34fbcde59aeddbd3cfda2df.dir",
        "total": total,
        "tested": scoring.report(100, sums, total.covered),
        "level": 0.9,
        "half_width": 1.77864,
        "training": training(),
    }
    return report.Facts(**values | changes)


def tables(text: str) -> list[list[list[str]]]:
    """The rows of each table, as GitHub's Markdown has them: the text of each cell."""
    found: list[list[list[str]]] = []
    inside = False
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        inside = token.type == "table_open" or (inside and token.type != "table_close")
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and inside:
            found[-1][-1].append("".join(child.content for child in token.children))
    return found


def rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables by their first cell."""
    return {row[0]: row[1:] for table in tables(text) for row in table}


def test_the_data_are_counted_and_named_by_md5() -> None:
    found = rows(report.markdown(facts()))
    assert found["table: data/raw/table.csv"] == ["12,345", PREPARED["md5"]]
    assert found["dropped: a value is missing"] == ["45", ""]
    assert found["predicted: data/prepared/test"][0] == "100"


def test_rows_dropped_only_for_the_target_are_named_so() -> None:
    counts = PREPARED | {"rows": PREPARED["rows"] | {"dropped": 2}}
    assert "dropped: the target is missing" in rows(report.markdown(facts(prepared=counts)))


def test_a_table_in_s3_has_no_md5() -> None:
    text = report.markdown(facts(data="s3://bucket/table", prepared=PREPARED | {"md5": None}))
    assert rows(text)["table: s3://bucket/table"] == ["12,345", ""]


def test_metrics_stand_beside_their_intervals_and_the_baselines() -> None:
    given = facts()
    test, baseline = given.tested["test"], given.tested["baseline"]["test"]
    bounds = f"{report.number(test['mae_lower'])} to {report.number(test['mae_upper'])}"
    found = rows(report.markdown(given))
    assert found["MAE"] == [report.number(test["mae"]), bounds, report.number(baseline["mae"])]
    assert found["leave-one-out"] == ["1.25", "–", "–", "–"]
    assert found["validation"] == ["1.5", "1", "–", "2.5"]


def test_without_actual_values_there_are_no_metrics() -> None:
    text = report.markdown(facts(scored=0))
    assert "None has an actual value" in text
    assert "RMSE" not in rows(text)
    assert "predicted_against_actual.png" not in text


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (RidgeCV([0.5, 1.0]), {"class": "sklearn.linear_model.RidgeCV", "alphas": "[0.5, 1.0]"}),
        (RidgeCV(np.logspace(-3, 1, 30).tolist()), {"alphas": "30 values from 0.001 to 10"}),
        (
            RandomForestRegressor(3, random_state=0),
            {
                "class": "sklearn.ensemble.RandomForestRegressor",
                "n_estimators": "3",
                "random_state": "0",
            },
        ),
    ],
)
def test_a_model_is_named_with_the_parameters_that_are_not_defaults(
    estimator: object, expected: dict[str, str]
) -> None:
    found = rows(report.markdown(facts(model=model(estimator))))
    assert {name: found[name][0] for name in expected} == expected


def test_the_ten_largest_effects_are_shown() -> None:
    names = [f"x{place}" for place in range(20)]
    text = report.markdown(facts(training=training(names)))
    [shown] = [table for table in tables(text) if table[0] == ["feature", "coefficient"]]
    assert [name for name, _ in shown[1:]] == names[:-11:-1]
    assert "The 10 largest of 20" in text


def test_a_model_without_coefficients_has_importances() -> None:
    metrics = {
        name: values for name, values in TRAINED.items() if name not in ("alpha", "leave_one_out")
    }
    forest = model(RandomForestRegressor(3, random_state=0))
    text = report.markdown(facts(model=forest, training=training(metrics=metrics)))
    assert "## Permutation importances" in text
    assert "leave-one-out" not in text
    assert "error_by_alpha.png" not in text


def test_of_an_older_version_nothing_is_said_that_only_the_new_model_has() -> None:
    older = "f" * 32
    text = report.markdown(facts(md5=older, training=None))
    assert f"An older version of the model predicted, with md5 `{older}`" in text
    assert not {"train", "validation", "leave-one-out"} & {*rows(text)}
    assert "coefficients" not in text


def test_the_change_from_the_training_rows_is_a_table_and_a_sentence() -> None:
    text = report.markdown(facts())
    assert rows(text)["width"] == ["0.50", "0.20", "1.2%", "–"]
    assert rows(text)["age"] == ["0.05", "0.20", "50.0%", "–"]
    assert rows(text)["site"] == ["0.01", "0.20", "–", "3.0%"]
    assert (
        "have moved beyond chance: `width`, `age`. Mean prediction: 10 (training rows: 9;" in text
    )


def test_a_model_without_a_profile_has_no_change() -> None:
    text = report.markdown(facts(drift=drift.Drift([], None)))
    assert "Change from" not in text


def test_limits_name_what_was_found() -> None:
    total = facts().total._replace(
        unknown={"site": features.Unknown(3, ("x",))},
        incomplete=4,
    )
    text = report.markdown(facts(total=total))
    assert "category that is not in the training rows: `site` 3." in text
    assert "because a value is missing: 4." in text
    assert "90 of 100, a share of 0.900. The level is 0.9;" in text
    assert "two standard errors are 0.060" in text


@pytest.mark.parametrize(("alphas", "end"), [([10.0, 20.0], "smallest"), ([1e-9, 1e-8], "largest")])
def test_a_penalty_at_the_end_of_its_list_is_a_limit(alphas: list[float], end: str) -> None:
    estimator = model(RidgeCV(alphas))
    estimator[-1].alpha_ = min(alphas) if end == "smallest" else max(alphas)
    assert f"is the {end} of its list" in report.markdown(facts(model=estimator))


@pytest.mark.parametrize("estimator", [RidgeCV([1.0]), LinearRegression()])
def test_a_penalty_without_a_choice_is_no_limit(estimator: object) -> None:
    assert "of its list" not in report.markdown(facts(model=model(estimator)))


def test_few_rows_are_a_limit() -> None:
    few = PREPARED | {"rows": PREPARED["rows"] | {"train": 39}}
    text = report.markdown(facts(scored=99, prepared=few))
    assert "Few training rows: 39 for 4 features" in text
    assert "Few rows with an actual value: 99" in text


def test_many_rows_are_no_limit() -> None:
    assert "Few" not in report.markdown(facts())


def test_missing_intervals_are_a_limit() -> None:
    total = facts().total._replace(covered=None)
    assert "no prediction intervals at level 0.9" in report.markdown(
        facts(total=total, half_width=None)
    )


@pytest.mark.parametrize("name", ODD)
def test_any_name_stands_in_a_cell_as_it_is(name: str) -> None:
    text = report.markdown(facts(target=name, training=training([name])))
    shown = " ".join(name.split())
    assert rows(text)[shown] == ["-1.5"]
    [title] = [t for t in MarkdownIt().parse(text) if t.type == "inline" and t.map == [0, 1]]
    assert title.children[0].content == shown


def test_equal_facts_give_equal_text() -> None:
    assert report.markdown(facts()) == report.markdown(facts())
