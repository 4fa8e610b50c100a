import pytest

from ridgeline.model.scoring import Comparison
from ridgeline.tracking import gate

PASSES = {"rmse": 2.0, "r2": 0.5, "baseline_rmse": 3.0}
COMPARED = {"champion_rmse": 2.5, "comparison": Comparison(-0.5, -0.814, 0.0361, 0.8)}


@pytest.mark.parametrize(
    ("changed", "promoted"),
    [
        pytest.param({}, True, id="there is no champion"),
        pytest.param({"champion_rmse": 2.5}, True, id="better than the champion"),
        pytest.param({"champion_rmse": 2.0}, True, id="as good as the champion"),
        pytest.param({"champion_rmse": 1.9}, False, id="worse than the champion"),
        pytest.param({"baseline_rmse": 2.1}, True, id="better than the baseline"),
        pytest.param({"baseline_rmse": 2.0}, False, id="as good as the baseline"),
        pytest.param({"baseline_rmse": 1.9}, False, id="worse than the baseline"),
        pytest.param(
            {"baseline_rmse": 2.0, "must_beat_baseline": False}, True, id="baseline not asked about"
        ),
        pytest.param(
            {"champion_rmse": 2.5, "min_improvement": 0.4}, True, id="better by more than asked"
        ),
        pytest.param({"champion_rmse": 2.5, "min_improvement": 0.5}, True, id="better as asked"),
        pytest.param(
            {"champion_rmse": 2.5, "min_improvement": 0.6}, False, id="better by less than asked"
        ),
        pytest.param(
            {"champion_rmse": 2.0, "min_improvement": 0.1}, False, id="as good, better asked"
        ),
        pytest.param({"min_improvement": 0.1}, True, id="no champion to be better than"),
        pytest.param(COMPARED, True, id="better by chance perhaps, no probability asked"),
        pytest.param(COMPARED | {"min_probability": 0.7}, True, id="more probable than asked"),
        pytest.param(COMPARED | {"min_probability": 0.8}, True, id="as probable as asked"),
        pytest.param(COMPARED | {"min_probability": 0.9}, False, id="less probable than asked"),
        pytest.param(
            COMPARED | {"champion_rmse": 1.9, "min_probability": 0.7},
            False,
            id="probability as asked, but worse than the champion",
        ),
        pytest.param(
            COMPARED | {"comparison": None, "min_probability": 0.1},
            False,
            id="probability not defined, but asked for",
        ),
        pytest.param(
            COMPARED | {"comparison": None}, True, id="probability not defined, none asked for"
        ),
        pytest.param({"min_probability": 0.9}, True, id="probability asked, but no champion"),
        pytest.param({"max_rmse": 2.1}, True, id="RMSE below max_rmse"),
        pytest.param({"max_rmse": 2.0}, True, id="RMSE at max_rmse"),
        pytest.param({"max_rmse": 1.9}, False, id="RMSE above max_rmse"),
        pytest.param({"min_r2": 0.4}, True, id="R² above min_r2"),
        pytest.param({"min_r2": 0.5}, True, id="R² at min_r2"),
        pytest.param({"min_r2": 0.6}, False, id="R² below min_r2"),
        pytest.param({"r2": -0.1, "min_r2": 0.0}, False, id="R² below a min_r2 of zero"),
        pytest.param({"r2": -0.1}, True, id="R² below zero, none asked for"),
        pytest.param({"r2": None}, True, id="R² not defined, none asked for"),
        pytest.param({"r2": None, "min_r2": -1.0}, False, id="R² not defined, but asked for"),
        pytest.param({"rmse": 0.0, "r2": 1.0}, True, id="no error at all"),
        pytest.param({"rmse": 0.0, "champion_rmse": 0.0}, True, id="neither has any error"),
        pytest.param({"rmse": 0.0, "baseline_rmse": 0.0}, False, id="nor has the baseline"),
        pytest.param({"rmse": float("nan")}, False, id="RMSE is not a number"),
        pytest.param(
            {"max_rmse": 1.9, "champion_rmse": 2.5}, False, id="better, but above max_rmse"
        ),
        pytest.param(
            {"baseline_rmse": 1.9, "champion_rmse": 2.5}, False, id="better, but not than baseline"
        ),
        pytest.param(
            {"max_rmse": 2.1, "min_r2": 0.4, "champion_rmse": 2.5}, True, id="passes everything"
        ),
    ],
)
def test_a_candidate_is_promoted_when_it_passes_everything_asked_of_it(changed, promoted):
    assert gate.decide(**(PASSES | changed)).promote is promoted


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param(
            {"max_rmse": 1.9}, "validation RMSE 2 is above max_rmse 1.9", id="above max_rmse"
        ),
        pytest.param(
            {"min_r2": 0.6}, "validation R² is 0.5, below min_r2 0.6", id="R² below min_r2"
        ),
        pytest.param(
            {"r2": None, "min_r2": 0.6}, "validation R² is not defined", id="R² not defined"
        ),
        pytest.param(
            {"baseline_rmse": 1.9},
            "validation RMSE 2 is not below the baseline's 1.9",
            id="worse than the baseline",
        ),
        pytest.param(
            {}, "validation RMSE 2 passes the gate; there is no champion", id="no champion"
        ),
        pytest.param(
            {"champion_rmse": 1.9},
            "validation RMSE 2 is worse than the champion's 1.9",
            id="worse than the champion",
        ),
        pytest.param(
            {"champion_rmse": 2.5, "min_improvement": 0.6},
            "validation RMSE 2 is not min_improvement 0.6 below the champion's 2.5",
            id="better by less than min_improvement",
        ),
        pytest.param(
            {"champion_rmse": 2.5},
            "validation RMSE 2 is not worse than the champion's 2.5",
            id="better than the champion",
        ),
        pytest.param(
            COMPARED,
            "validation RMSE 2 is not worse than the champion's 2.5 (difference -0.5, 95 % "
            "interval -0.81 to 0.036; better with probability 0.8)",
            id="better than the champion, compared with it",
        ),
        pytest.param(
            {"champion_rmse": 1.9, "comparison": Comparison(0.1, -0.2, 0.4, 0.25025)},
            "validation RMSE 2 is worse than the champion's 1.9 (difference 0.1, 95 % interval "
            "-0.2 to 0.4; better with probability 0.25025)",
            id="worse than the champion, compared with it",
        ),
        pytest.param(
            COMPARED | {"min_probability": 0.9},
            "validation RMSE 2 does not reach min_probability 0.9 of being below the champion's "
            "2.5 (difference -0.5, 95 % interval -0.81 to 0.036; better with probability 0.8)",
            id="better by less than min_probability",
        ),
        pytest.param(
            {
                "rmse": 50000.0,
                "baseline_rmse": 1e5,
                "champion_rmse": 51234.5,
                "comparison": Comparison(-1234.5, -3456.7, 0.0, 0.96),
            },
            "validation RMSE 50000 is not worse than the champion's 51234.5 (difference -1200, "
            "95 % interval -3500 to 0; better with probability 0.96)",
            id="large numbers",
        ),
    ],
)
def test_the_reason_names_the_numbers(changed, reason):
    assert gate.decide(**(PASSES | changed)).reason == reason


@pytest.mark.parametrize("changed", ["max_rmse", "baseline_rmse", "champion_rmse"])
def test_numbers_that_differ_are_told_apart_in_the_reason(changed):
    reason = gate.decide(**(PASSES | {"rmse": 2.00001, changed: 2.0})).reason
    assert "RMSE 2 " not in reason
