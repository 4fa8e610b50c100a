"""Experiments, however DVC runs them: their runs are in the one MLflow store."""

import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import run
from test_repro import ran, runs

pytestmark = pytest.mark.slow


def train_alphas(project: Path) -> list[str]:
    """The penalties of all train runs, in the order in which they started."""
    return [
        r.data.params.get("train.alphas", "") for r in runs(project) if r.info.run_name == "train"
    ]


def test_an_experiment_takes_its_penalties_from_the_command_line(unchanged: Path) -> None:
    done = run("dvc", "exp", "run", "--set-param", "train.alphas=[0.1,1,10]", cwd=unchanged)
    assert ran(done) == ["train", "register", "predict"]
    assert "[0.1, 1, 10]" in train_alphas(unchanged)


def test_penalties_may_be_powers_of_ten(unchanged: Path) -> None:
    params = unchanged / "params.yaml"
    text = params.read_text()
    start, end = text.index("    [0.001"), text.index("\nregister:")
    params.write_text(f"{text[:start]}    {{logspace: [-1, 1, 5]}}\n{text[end:]}")
    run("dvc", "repro", "train", cwd=unchanged)
    alphas = pd.read_csv(unchanged / "plots/error_by_alpha.csv")["alpha"]
    assert alphas.tolist() == pytest.approx([0.1, 10**-0.5, 1, 10**0.5, 10])


def test_a_temporary_experiment_that_imputes_is_in_the_main_store(reproduced: Path) -> None:
    run("dvc", "exp", "run", "--temp", "-S", "prepare.missing=impute", cwd=reproduced)
    imputed = [r for r in runs(reproduced) if r.data.params.get("prepare.missing") == "impute"]
    predict = runs(reproduced)[-1]
    assert [r.info.run_name for r in imputed] == ["prepare", "featurize"]
    assert imputed[0].data.metrics["rows.dropped"] == 0
    assert (predict.info.run_name, predict.info.status) == ("predict", "FINISHED")
    assert predict.data.tags["dvc.experiment"]


def test_a_queued_sweep_with_two_workers_is_in_the_main_store(reproduced: Path) -> None:
    sweep = "train.alphas=[0.5,5],[2,20]"
    run("dvc", "exp", "run", "--queue", "--set-param", sweep, cwd=reproduced)
    run("dvc", "queue", "start", "--jobs", "2", cwd=reproduced)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        status = run("dvc", "queue", "status", cwd=reproduced).stdout
        if status.count("Success") + status.count("Failed") == 2:
            break
        time.sleep(1)
    assert status.count("Success") == 2, status
    assert {"[0.5, 5]", "[2, 20]"} <= set(train_alphas(reproduced))
