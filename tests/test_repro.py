"""`dvc repro` in a fresh clone, as a newcomer meets it."""

import json
import shutil
import sys
from pathlib import Path
from urllib.parse import urlparse

import pandas as pd
import pytest
from project import MODEL, STAGES, ran, run, runs, store
from ruamel.yaml import YAML

from ridgeline.files import md5_of

pytestmark = pytest.mark.slow


def test_the_committed_lock_is_what_a_fresh_clone_reproduces(reproduced: Path) -> None:
    assert run("git", "status", "--porcelain", cwd=reproduced).stdout == ""


def test_each_stage_leaves_one_finished_run_in_mlflow(reproduced: Path) -> None:
    found = [(r.info.run_name, r.info.status) for r in runs(reproduced)[:5]]
    commit = run("git", "rev-parse", "HEAD", cwd=reproduced).stdout[:7]
    assert found == [(f"{stage} · {commit}", "FINISHED") for stage in STAGES]


def test_the_experiment_is_tagged_as_one_of_model_training(reproduced: Path) -> None:
    experiment = store(reproduced).get_experiment_by_name("Possum_tails")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_the_metrics_table_fits_100_columns(reproduced: Path) -> None:
    lines = run("dvc", "metrics", "show", cwd=reproduced).stdout.splitlines()
    assert max(map(len, lines)) <= 100


def test_the_model_is_version_1_and_champion(reproduced: Path) -> None:
    version = store(reproduced).get_model_version_by_alias(MODEL, "champion")
    assert int(version.version) == 1
    assert version.tags["model_type"] == "regression"
    assert version.tags["gate.decision"] == "champion"
    assert "no champion" in version.description


def test_the_report_is_logged_and_follows_the_decision_in_the_versions_description(
    reproduced: Path,
) -> None:
    client = store(reproduced)
    report = (reproduced / "report.md").read_text()
    predicted = runs(reproduced)[4].info
    logged = urlparse(f"{predicted.artifact_uri}/report.md").path
    assert Path(logged).read_text() == report
    description = client.get_model_version_by_alias(MODEL, "champion").description
    decision, _, rest = description.partition("\n\n")
    assert decision.startswith("Champion: ")
    without_figures = [line for line in report.splitlines() if line and "](plots/" not in line]
    assert [line for line in without_figures if line not in rest.splitlines()] == []
    assert "plots/" in report
    assert "](plots/" not in rest


def test_prepare_records_the_raw_tables_md5_as_dvc_does(reproduced: Path) -> None:
    prepared = json.loads((reproduced / "metrics/prepare.json").read_text())
    assert prepared["md5"] == lock(reproduced, "prepare")["dvc.deps.data/raw/possum.csv"]


@pytest.mark.drill
def test_a_raw_table_changed_only_where_nothing_reads_it_changes_the_report(
    unchanged: Path,
) -> None:
    table = unchanged / "data/raw/possum.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([f"{lines[0]},note", *(f"{line},x" for line in lines[1:])]) + "\n")
    assert ran(run("dvc", "repro", cwd=unchanged)) == ["prepare", "predict"]
    assert md5_of(table) in (unchanged / "report.md").read_text()


def test_the_version_is_tagged_with_the_md5_of_the_model_in_dvc_lock(reproduced: Path) -> None:
    version = store(reproduced).get_model_version_by_alias(MODEL, "champion")
    lock = (reproduced / "dvc.lock").read_text()
    assert f"md5: {version.tags['dvc.md5']}" in lock


def lock(project: Path, stage: str) -> dict[str, str]:
    """What dvc.lock says of a stage's files, as tags."""
    entry = YAML(typ="safe").load(project / "dvc.lock")["stages"][stage]
    return {f"dvc.{k}.{e['path']}": e["md5"] for k in ("deps", "outs") for e in entry[k]}


def md5s(tags: dict[str, str]) -> dict[str, str]:
    return {tag: md5 for tag, md5 in tags.items() if tag.startswith(("dvc.deps.", "dvc.outs."))}


def test_each_run_names_all_that_its_stage_read_and_wrote(reproduced: Path) -> None:
    for run_ in runs(reproduced)[:5]:
        assert md5s(run_.data.tags) == lock(reproduced, run_.data.tags["dvc.stage"])


def test_the_version_names_all_that_made_it_and_the_raw_table(reproduced: Path) -> None:
    tags = store(reproduced).get_model_version_by_alias(MODEL, "champion").tags
    raw = "dvc.deps.data/raw/possum.csv"
    expected = lock(reproduced, "train") | {raw: lock(reproduced, "prepare")[raw]}
    assert md5s(tags) == expected


def test_runs_and_the_version_name_the_commit_and_the_execution(reproduced: Path) -> None:
    version = store(reproduced).get_model_version_by_alias(MODEL, "champion")
    told = [version.tags, *(r.data.tags for r in runs(reproduced)[:5])]
    head = run("git", "rev-parse", "HEAD", cwd=reproduced).stdout.strip()
    assert {(tags["git.commit"], tags["git.dirty"]) for tags in told} == {(head, "false")}
    assert len({tags["dvc.execution"] for tags in told}) == 1


def test_the_runs_name_their_tables_by_the_md5_in_dvc_lock(reproduced: Path) -> None:
    lock = (reproduced / "dvc.lock").read_text()
    digests = [i.dataset.digest for r in runs(reproduced)[:5] for i in r.inputs.dataset_inputs]
    assert len(digests) == 8
    assert [digest for digest in digests if f"md5: {digest}" not in lock] == []


def test_the_train_run_shows_params_metrics_and_figures(reproduced: Path) -> None:
    train = runs(reproduced)[2]
    client = store(reproduced)
    figures = [f.path for f in client.list_artifacts(train.info.run_id, "plots")]
    assert train.data.params["train.alphas"] == "logspace(-3, 1, 30)"
    assert train.data.metrics["validation.rmse"] < train.data.metrics["baseline.validation.rmse"]
    assert "plots/error_by_alpha.png" in figures


def test_the_featurize_run_holds_the_scaler_and_the_means(reproduced: Path) -> None:
    featurize = runs(reproduced)[1]
    models = store(reproduced).search_logged_models([featurize.info.experiment_id])
    assert 3 < featurize.data.metrics["mean.age"] < 5
    assert "scaler" in [m.name for m in models if m.source_run_id == featurize.info.run_id]


def test_predictions_and_both_figures_are_there(reproduced: Path) -> None:
    lines = (reproduced / "predictions/possum_tail_length.csv").read_text().splitlines()
    assert lines[0] == "case,prediction,lower,upper,actual,residual"
    assert len(lines) == 17
    for figure in ("predicted_and_actual", "predicted_against_actual"):
        assert (reproduced / f"plots/{figure}.png").read_bytes().startswith(b"\x89PNG")


def test_the_version_carries_the_widths_of_its_intervals(reproduced: Path) -> None:
    version = store(reproduced).get_model_version_by_alias(MODEL, "champion")
    widths = json.loads(version.tags["interval.half_width"])
    rows = pd.read_csv(reproduced / "predictions/possum_tail_length.csv")
    for width in (rows["upper"] - rows["prediction"], rows["prediction"] - rows["lower"]):
        assert width.tolist() == pytest.approx([widths["0.9"]] * len(rows))
    inside = rows["actual"].between(rows["lower"], rows["upper"]).mean()
    assert json.loads((reproduced / "metrics.json").read_text())["test"]["coverage"] == inside


def test_a_second_repro_runs_nothing(reproduced: Path) -> None:
    done = run("dvc", "repro", cwd=reproduced)
    assert ran(done) == []
    assert "Data and pipelines are up to date." in done.stdout


@pytest.mark.drill
def test_a_forced_repro_leaves_every_tracked_byte_as_it_was(reproduced: Path) -> None:
    done = run("dvc", "repro", "--force", cwd=reproduced)
    assert ran(done) == STAGES
    assert run("git", "status", "--porcelain", cwd=reproduced).stdout == ""


def test_one_process_that_does_all_five_stages_makes_the_same_bytes(reproduced: Path) -> None:
    run("python", "-m", "bench.floor", cwd=reproduced)
    assert run("git", "status", "--porcelain", cwd=reproduced).stdout == ""
    assert "up to date" in run("dvc", "status", cwd=reproduced).stdout


def test_a_model_that_is_registered_already_gets_no_second_version(reproduced: Path) -> None:
    run("dvc", "repro", "--force", "--single-item", "register", cwd=reproduced)
    assert len(store(reproduced).search_model_versions(f"name = '{MODEL}'")) == 1


def test_an_edited_param_reruns_only_what_depends_on_it(unchanged: Path) -> None:
    params = unchanged / "params.yaml"
    params.write_text(params.read_text().replace("min_r2: 0.0", "min_r2: 0.1"))
    assert ran(run("dvc", "repro", cwd=unchanged)) == ["register"]


@pytest.mark.drill
def test_the_champion_predicts_raw_rows_where_this_repository_is_not(
    reproduced: Path, tmp_path: Path
) -> None:
    script = f"""
import mlflow, pandas, sys
mlflow.set_tracking_uri("sqlite:///{reproduced / "mlflow.db"}")
rows = pandas.read_csv(r"{reproduced / "data/raw/possum.csv"}", dtype={{"site": str}}).dropna()
rows["age"] = rows["age"].astype(float)
model = mlflow.sklearn.load_model("models:/{MODEL}@champion")
served = mlflow.pyfunc.load_model("models:/{MODEL}@champion")
print(len(model.predict(rows)), abs(model.predict(rows) - served.predict(rows)).max())
assert not [name for name in sys.modules if name.startswith(("ridgeline", "stages"))]
"""
    done = run(sys.executable, "-c", script, cwd=tmp_path, PYTHONPATH="")
    assert done.stdout.split() == ["101", "0.0"]


def test_data_and_models_travel_through_a_remote(unchanged: Path, tmp_path: Path) -> None:
    run("dvc", "remote", "add", "--default", "shelf", str(tmp_path / "shelf"), cwd=unchanged)
    run("dvc", "push", cwd=unchanged)
    before = (unchanged / "models/model.joblib").read_bytes()
    shutil.rmtree(unchanged / ".dvc/cache")
    for folder in ("data/prepared", "data/features", "models", "predictions"):
        shutil.rmtree(unchanged / folder)
    run("dvc", "pull", cwd=unchanged)
    assert (unchanged / "models/model.joblib").read_bytes() == before
    assert "up to date" in run("dvc", "status", cwd=unchanged).stdout


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("metrics", "show"), "validation.rmse"),
        (("metrics", "diff", "--all"), "validation.rmse"),
        (("params", "diff", "--all"), "train.alphas"),
        (("dag",), "featurize"),
        (("exp", "show", "--no-pager"), "workspace"),
        (("plots", "show"), "index.html"),
        (("plots", "diff", "HEAD"), "index.html"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_dvc_has_something_to_show(
    reproduced: Path, command: tuple[str, ...], expected: str
) -> None:
    assert expected in run("dvc", *command, cwd=reproduced, COLUMNS="400").stdout
