"""`train.model` chooses any regressor, and it goes the whole way: trained, registered, loaded."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from project import clone, documented_models, edit, ran, run, store, sweep_ends

from ridgeline import config
from ridgeline.model import regressors

pytestmark = [pytest.mark.slow, pytest.mark.drill]
STREAMED = [
    f"sklearn.linear_model.{name}" for name in ("ElasticNet", "Lasso", "LinearRegression", "Ridge")
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = clone(tmp_path_factory.mktemp("model") / "project")
    run("dvc", "repro", cwd=project)
    return project


def choose(project: Path, model: str) -> None:
    edit(project, config.load(project / "params.yaml").train.model, model)


def features(project: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    table = pd.read_parquet(project / f"data/features/{split}")
    return table.drop(columns=["case", "taill"]).to_numpy(), table["taill"].to_numpy()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("model", [*documented_models(), *STREAMED])
def test_the_registered_version_predicts_as_scikit_learns_fit(project: Path, model: str) -> None:
    choose(project, model)
    assert ran(run("dvc", "repro", "register", cwd=project)) == ["train", "register"]
    theirs = regressors.regressor(model, {}).fit(*features(project, "train"))
    mlflow.set_tracking_uri(f"sqlite:///{project / 'mlflow.db'}")
    loaded = mlflow.sklearn.load_model("models:/Reg_RidgeCV_possums@challenger")
    ours = loaded.predict(pd.read_parquet(project / "data/prepared/test"))
    np.testing.assert_allclose(ours, theirs.predict(features(project, "test")[0]), rtol=1e-8)


def test_its_predictions_have_split_conformal_intervals(project: Path) -> None:
    choose(project, "sklearn.svm.SVR")
    run("dvc", "repro", cwd=project)
    written = pd.read_csv(project / "predictions/possum_tail_length.csv")
    X, y = features(project, "validation")
    model = regressors.regressor("sklearn.svm.SVR", {}).fit(*features(project, "train"))
    width = np.sort(abs(y - model.predict(X)))[int(np.ceil(0.9 * (len(y) + 1))) - 1]
    np.testing.assert_allclose(written["upper"] - written["prediction"], width, rtol=1e-3)
    np.testing.assert_allclose(written["prediction"] - written["lower"], width, rtol=1e-3)
    assert json.loads((project / "metrics.json").read_text())["model"] == "SVR"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("sklearn.tree.DecisionTreeRegressor", "a DecisionTreeRegressor can't be registered"),
        ("sklearn.linear_model.Rigde", "train.model: scikit-learn has no sklearn.linear_model.R"),
        ("os.system", "params.yaml: train.model is 'os.system'; it should"),
    ],
)
def test_other_models_are_refused_in_one_line(project: Path, model: str, message: str) -> None:
    choose(project, model)
    refused = run("dvc", "repro", "--single-item", "train", cwd=project, check=False)
    edit(project, model, "sklearn.linear_model.RidgeCV")
    assert refused.returncode != 0
    errors = [line for line in refused.stderr.splitlines() if line.startswith("error:")]
    assert [line.startswith(f"error: {message}") for line in errors] == [True]
    assert "Traceback" not in refused.stderr


def test_a_sweep_over_models_and_params_compares_them_all(project: Path) -> None:
    run("git", "checkout", "params.yaml", cwd=project)
    models = "sklearn.linear_model.Lasso,sklearn.linear_model.Ridge"
    sweep = ["-S", f"train.model={models}", "-S", "+train.params.alpha=0.01,0.5"]
    run("dvc", "exp", "run", "--queue", *sweep, cwd=project)
    run("dvc", "queue", "start", cwd=project, PYTHONWARNINGS="")
    sweep_ends(project, 4)
    versions = store(project).search_model_versions("name = 'Reg_RidgeCV_possums'")
    swept = [version for version in versions if "dvc.experiment" in version.tags]
    assert len(swept) == 4
    assert all("gate.decision" in version.tags for version in swept)
