"""The pipeline on other settings and other data, and what a user can get wrong."""

import shutil
import socket
from pathlib import Path

import pandas as pd
import pytest
from processes import run_stage
from project import MODEL, STAGES, edit, messages, run, runs, store

pytestmark = pytest.mark.slow


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def set_alphas(project: Path, alphas: str) -> None:
    edit(project, "alphas: logspace(-3, 1, 30)", f"alphas: {alphas}")


@pytest.mark.parametrize("stage", STAGES)
def test_a_wrong_setting_is_one_line_and_status_1(unchanged: Path, stage: str) -> None:
    edit(unchanged, "test: 0.15 ", "test: 0.95 ")
    done = run("python", "-m", f"stages.{stage}", cwd=unchanged, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: params.yaml: prepare: validation 0.15 and test 0.95 leave no rows to train on; "
        "their sum must be below 1\n"
    )


def test_bad_data_is_refused_and_nothing_is_written(unchanged: Path) -> None:
    raw = unchanged / "data/raw/possum.csv"
    raw.write_text(raw.read_text().replace("\n2,1,Vic,f,6.0,", "\n2,1,Vic,f,old,"))
    before = (unchanged / "metrics/prepare.json").read_bytes()
    parts = sorted((unchanged / "data/prepared").rglob("*"))
    done = run_stage("prepare", unchanged, check=False)
    assert done.returncode == 1
    assert messages(done) == [
        "error: data/raw/possum.csv breaks the data contract; fix the rows, or the columns that "
        "params.yaml names under data:",
        "  age is not a number in 1 row: case 2 = 'old'",
    ]
    assert (unchanged / "metrics/prepare.json").read_bytes() == before
    assert sorted((unchanged / "data/prepared").rglob("*")) == parts


def test_a_number_too_large_to_be_squared_is_refused_by_key_and_value(unchanged: Path) -> None:
    raw = unchanged / "data/raw/possum.csv"
    raw.write_text(raw.read_text().replace("\n2,1,Vic,f,6.0,", "\n2,1,Vic,f,1e308,"))
    done = run_stage("prepare", unchanged, check=False)
    assert done.returncode == 1
    assert messages(done)[1:] == [
        "  age is too large (above 1e+150 in absolute value) in 1 row: case 2 = 1e+308"
    ]


def test_prepare_prints_what_was_dropped_and_why(unchanged: Path) -> None:
    done = run_stage("prepare", unchanged)
    assert done.stdout == (
        "read 104, dropped 3 (age 2, footlgth 1), train 70, validation 15, test 16 rows\n"
    )
    assert done.stderr == ""


@pytest.fixture
def north_american(unchanged: Path) -> Path:
    """The possums, a population of which is called NA."""
    raw = unchanged / "data/raw/possum.csv"
    raw.write_text(raw.read_text().replace(",Vic,", ",NA,"))
    return unchanged


def test_a_category_that_reads_as_missing_is_a_warning(north_american: Path) -> None:
    done = run_stage("prepare", north_american)
    assert done.stdout.startswith("read 104, dropped 46 (Pop 46, age 2, footlgth 1), train")
    assert done.stderr == (
        "warning: Pop is 'NA' in 46 of 104 rows, which counts as missing; if it is a category, "
        "remove it from data.missing_values in params.yaml\n"
    )


def test_a_text_that_is_not_among_the_missing_values_is_a_category(north_american: Path) -> None:
    edit(north_american, '"NA", ', "")
    done = run_stage("prepare", north_american)
    assert done.stdout.startswith("read 104, dropped 3 (age 2, footlgth 1)")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("alphas", "said"),
    [
        ("[0.1, 1, 10, 100]", ""),
        ("[0.01, 0.1]", "0.1 is the largest of train.alphas: the best may lie beyond; add larger"),
        ("[10, 100]", "10 is the smallest of train.alphas: the best may lie beyond; add smaller"),
        ("[10]", ""),
    ],
)
def test_a_best_penalty_at_the_end_of_the_list_is_a_warning(
    unchanged: Path, alphas: str, said: str
) -> None:
    set_alphas(unchanged, alphas)
    done = run_stage("train", unchanged)
    assert done.stderr == (f"warning: {said} ones\n" if said else "")


def test_a_penalty_that_rounding_would_decide_is_a_warning(unchanged: Path) -> None:
    set_alphas(unchanged, "[1.0e-40, 0.1, 1, 10]")
    done = run_stage("train", unchanged)
    assert done.stderr == (
        "warning: 1e-40 of train.alphas ignored: too small for these training rows, as rounding "
        "would dominate the leave-one-out error; remove or raise these values\n"
    )
    errors = pd.read_csv(unchanged / "plots/error_by_alpha.csv")["rmse"]
    assert errors.isna().tolist() == [True, False, False, False]


def test_if_rounding_would_decide_every_penalty_train_says_what_to_do(unchanged: Path) -> None:
    set_alphas(unchanged, "[1.0e-40]")
    done = run_stage("train", unchanged, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: every penalty is too small for these training rows")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_folder_that_mlflow_would_decode_is_refused_before_anything_is_written(
    reproduced: Path, tmp_path: Path, stage: str
) -> None:
    folder = tmp_path / "p%41q"
    shutil.copytree(reproduced, folder, symlinks=True)
    shutil.rmtree(folder / "mlartifacts")
    (folder / "mlflow.db").unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = run_stage(stage, folder, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: MLflow can't keep its files in {folder}: ")
    assert done.stderr.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_rows_without_the_target_are_predicted(unchanged: Path) -> None:
    rows = pd.read_csv(unchanged / "data/raw/possum.csv").drop(columns="taill")
    rows.loc[0, "site"] = 8
    rows.to_csv(unchanged / "data/raw/new.csv", index=False)
    edit(unchanged, "input: data/prepared/test ", "input: data/raw/new.csv ")
    done = run_stage("predict", unchanged)
    predicted = pd.read_csv(unchanged / "predictions/possum_tail_length.csv")
    assert list(predicted.columns) == ["case", "prediction", "lower", "upper"]
    assert predicted["prediction"].notna().sum() == 101
    assert "site has categories that are not in the training rows: '8' (rows: 1)" in done.stderr
    assert "rows without a prediction because a value is missing: 3" in done.stderr


def test_the_raw_table_is_predicted_as_it_is_written(unchanged: Path) -> None:
    raw, output = (
        unchanged / "data/raw/possum.csv",
        unchanged / "predictions/possum_tail_length.csv",
    )
    edit(unchanged, "input: data/prepared/test", "input: data/raw/possum.csv")
    run_stage("predict", unchanged)
    expected = output.read_bytes()
    pd.read_csv(raw, dtype="str", keep_default_na=False).map(
        lambda text: text.replace(".", ",")
    ).to_csv(raw, sep=";", index=False)
    edit(unchanged, "  key:", "  csv: {delimiter: ;, decimal: ','}\n  key:")
    run_stage("predict", unchanged)
    assert output.read_bytes() == expected


@pytest.mark.parametrize("stage", ["prepare", "featurize", "train"])
def test_without_mlflow_a_stage_warns_and_is_done(
    unchanged: Path, stage: str, closed_port: int
) -> None:
    uri = f"http://127.0.0.1:{closed_port}"
    done = run_stage(stage, unchanged, MLFLOW_TRACKING_URI=uri)
    assert done.stderr.startswith(f"warning: {stage} is done, but its run is not logged: MLflow at")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "uri",
    [
        "http://[bad",
        "http://127.0.0.1:notaport",
        "foo://name:hidden@host/x",
        "postgresql+nodriver://name:hidden@host/x",
        "sqlite:///README.md",
        "sqlite:////dev/null/x.db",
    ],
)
def test_a_store_that_can_not_be_used_is_a_warning(unchanged: Path, uri: str) -> None:
    done = run_stage("prepare", unchanged, MLFLOW_TRACKING_URI=uri)
    assert done.stderr.startswith("warning: prepare is done, but its run is not logged: MLflow at")
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stderr


def test_without_mlflow_register_fails_with_one_line(unchanged: Path, closed_port: int) -> None:
    uri = f"http://name:hidden@127.0.0.1:{closed_port}"
    done = run_stage("register", unchanged, check=False, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error: MLflow at http://127.0.0.1:{closed_port} does not answer"
    )
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stderr


def test_a_model_that_mlflow_lost_is_logged_and_registered_again(unchanged: Path) -> None:
    (unchanged / "mlflow.db").unlink()
    lost = run_stage("register", unchanged)
    done = run_stage("register", unchanged)
    assert done.stdout.startswith("Reg_RidgeCV_possums version 1 (challenger, champion): ")
    assert done.stdout == lost.stdout


def test_penalties_may_be_powers_of_ten(unchanged: Path) -> None:
    set_alphas(unchanged, "logspace(-1, 1, 5)")
    run_stage("train", unchanged)
    alphas = pd.read_csv(unchanged / "plots/error_by_alpha.csv")["alpha"]
    assert alphas.tolist() == pytest.approx([0.1, 10**-0.5, 1, 10**0.5, 10])


@pytest.mark.drill
def test_a_temporary_experiment_that_imputes_is_in_the_main_store(reproduced: Path) -> None:
    run("dvc", "exp", "run", "--temp", "-S", "prepare.missing=impute", cwd=reproduced)
    imputed = [r for r in runs(reproduced) if r.data.params.get("prepare.missing") == "impute"]
    predict = runs(reproduced)[-1]
    assert [r.data.tags["dvc.stage"] for r in imputed] == ["prepare", "featurize"]
    assert imputed[0].data.metrics["rows.dropped"] == 0
    assert (predict.data.tags["dvc.stage"], predict.info.status) == ("predict", "FINISHED")
    assert predict.data.tags["dvc.experiment"]


def test_a_table_may_have_only_categories(unchanged: Path) -> None:
    params = unchanged / "params.yaml"
    lines = params.read_text().splitlines()
    lines = ["  numeric: []" if line.startswith("  numeric:") else line for line in lines]
    params.write_text("\n".join(lines))
    for stage in ("prepare", "featurize", "train"):
        run_stage(stage, unchanged)
    names = pd.read_csv(unchanged / "plots/effects.csv")["feature"]
    assert sorted({name.partition("_")[0] for name in names}) == ["Pop", "sex", "site"]
    assert {r.info.status for r in runs(unchanged)} == {"FINISHED"}


def test_a_column_with_the_name_of_a_feature_is_refused(unchanged: Path) -> None:
    raw = unchanged / "data/raw/possum.csv"
    raw.write_text(raw.read_text().replace("taill", "sex_f"))
    edit(unchanged, "target: taill ", "target: sex_f ")
    run_stage("prepare", unchanged)
    done = run_stage("featurize", unchanged, check=False)
    assert "error: column sex_f has the same name as a one-hot encoded feature" in done.stderr


def test_a_file_in_the_way_is_one_line(unchanged: Path) -> None:
    (unchanged / "predictions/possum_tail_length.csv").unlink()
    (unchanged / "predictions").rmdir()
    (unchanged / "predictions").touch()
    done = run_stage("predict", unchanged, check=False)
    (unchanged / "predictions").unlink()
    assert done.returncode == 1
    assert done.stderr == ("error: predict: predictions: File exists; fix that, and run it again\n")


@pytest.mark.drill
def test_a_champion_whose_files_are_lost_is_kept_and_not_scored(unchanged: Path) -> None:
    run_stage("register", unchanged)
    for model in (unchanged / "mlartifacts").rglob("model.skops"):
        model.unlink()
    edit(unchanged, "  seed: 18 ", "  seed: 99 ")
    done = run("dvc", "repro", "register", cwd=unchanged)
    assert "stays champion, for it can't be loaded; to replace it" in done.stdout


@pytest.mark.drill
def test_a_model_whose_files_are_lost_is_registered_again_as_the_error_says(
    unchanged: Path,
) -> None:
    run_stage("register", unchanged)
    for folder in (unchanged / "mlartifacts").glob("models/*"):
        shutil.rmtree(folder)
    failed = run_stage("predict", unchanged, check=False)
    assert "or delete the version and register the model again" in failed.stderr
    client = store(unchanged)
    for version in client.search_model_versions(f"name = '{MODEL}'"):
        client.delete_model_version(MODEL, str(version.version))
    run("dvc", "repro", "--force", "--single-item", "register", cwd=unchanged)
    run_stage("predict", unchanged)
