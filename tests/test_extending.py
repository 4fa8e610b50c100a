"""A user's own stage and columns, made as docs/extending.md and docs/derived-columns.md say."""

import json
import re
from pathlib import Path

import joblib
import pandas as pd
import pytest
from mlflow.entities import Run
from project import ROOT, STAGES, clone, edit, ran, run, runs, store
from sklearn.metrics import root_mean_squared_error

from ridgeline.tracking import records

pytestmark = [pytest.mark.slow, pytest.mark.drill]

PAGE = "".join(
    (ROOT / "docs" / name).read_text(encoding="utf-8")
    for name in ("extending.md", "derived-columns.md")
)
GROUPS, DERIVED, STAGE, PROGRAM = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
LAST, FIRST = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)
REPRO, PYTEST, ADD, COMMIT, LINEAGE, BACKFILL = COMMANDS


def shell(project: Path, command: str) -> str:
    return run("bash", "-c", command, cwd=project).stdout


def insert(project: Path, old: str, new: str) -> None:
    dvc_yaml = project / "dvc.yaml"
    assert dvc_yaml.read_text().count(old) == 1
    dvc_yaml.write_text(dvc_yaml.read_text().replace(old, new))


def run_of(project: Path, stage: str) -> Run:
    [found] = [run for run in runs(project) if run.data.tags["dvc.stage"] == stage]
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the stage `groups`, run and committed."""
    project = clone(tmp_path_factory.mktemp("extended") / "project")
    (project / "stages/groups.py").write_text(GROUPS)
    insert(project, "\nplots:\n", f"\n{LAST}\nplots:\n")
    assert sorted(ran(run("bash", "-c", REPRO, cwd=project))) == sorted([*STAGES, "groups"])
    shell(project, PYTEST)
    shell(project, ADD)
    shell(project, COMMIT)
    return project


def test_all_that_belongs_to_the_stage_is_committed(project: Path) -> None:
    assert run("git", "status", "--porcelain", cwd=project).stdout == ""


def test_the_stages_rmse_is_scikit_learns(project: Path) -> None:
    rows = pd.read_parquet(project / "data/prepared/test")
    predicted = joblib.load(project / "models/model.joblib").predict(rows)
    measured = json.loads((project / "metrics/groups.json").read_text())["rmse"]
    assert list(measured) == ["site", "Pop", "sex"]
    for column, by_category in measured.items():
        for category, group in rows.assign(predicted=predicted).groupby(column):
            rmse = root_mean_squared_error(group["taill"], group["predicted"])
            assert by_category.pop(category) == pytest.approx(rmse, rel=1e-9)
        assert by_category == {}


def test_the_stage_is_logged_like_the_others(project: Path) -> None:
    logged = run_of(project, "groups")
    record = records.locked((project / "dvc.lock").read_text())["groups"]
    assert logged.info.status == "FINISHED"
    assert logged.data.params == {key: str(value) for key, value in record.params.items()}
    assert logged.data.metrics == records.read_metrics(record.outs, project)
    assert record.tags.items() <= logged.data.tags.items()
    assert logged.data.tags["dvc.lock"] == record.digest
    assert logged.data.tags.keys() - record.tags == (
        run_of(project, "featurize").data.tags.keys()
        - records.locked((project / "dvc.lock").read_text())["featurize"].tags
    )
    client = store(project)
    assert client.list_artifacts(logged.info.run_id, "plots")[0].path == "plots/groups.csv"


def test_nothing_runs_again(project: Path) -> None:
    assert "Data and pipelines are up to date." in shell(project, REPRO)


def test_only_the_stage_runs_when_its_file_changes(project: Path) -> None:
    file = project / "stages/groups.py"
    file.write_text(f"{GROUPS}# a comment\n")
    assert list(re.findall(r"^(\w+):$", shell(project, "dvc status"), re.MULTILINE)) == ["groups"]
    file.write_text(GROUPS)


def test_lineage_traces_the_run_and_restores_its_files(project: Path, tmp_path: Path) -> None:
    command = LINEAGE.replace("RUN", run_of(project, "groups").info.run_id)
    traced = shell(project, command)
    stages = re.findall(r"[0-9a-f]{32}  (\w+)$", traced, re.MULTILINE)
    assert stages == ["prepare", "featurize", "train", "groups"]
    assert "dvc pull --with-deps groups" in traced
    restored = shell(project, f"{command} --restore {tmp_path / 'restored'}")
    assert "all with the recorded md5s" in restored
    plot = "plots/groups.csv"
    assert (tmp_path / "restored" / plot).read_bytes() == (project / plot).read_bytes()


def test_backfill_writes_the_stages_run_again(project: Path) -> None:
    before = run_of(project, "groups")
    store(project).delete_run(before.info.run_id)
    assert "groups" in shell(project, BACKFILL)
    after = run_of(project, "groups")
    assert after.data.params == before.data.params
    assert after.data.metrics == before.data.metrics
    assert after.data.tags["dvc.lock"] == before.data.tags["dvc.lock"]
    assert "nothing was written" in shell(project, BACKFILL)


def test_both_files_are_formatted_linted_and_typed(project: Path, tmp_path: Path) -> None:
    for name, text in (("groups", GROUPS), ("derive", STAGE)):
        (project / f"stages/{name}.py").write_text(text)
    (project / "ridgeline/derived.py").write_text(DERIVED)
    files = ("stages/groups.py", "stages/derive.py", "ridgeline/derived.py")
    run("ruff", "format", "--check", *files, cwd=project)
    run("ruff", "check", *files, cwd=project)
    run("mypy", *files, "--cache-dir", str(tmp_path), cwd=project)
    for name in files[1:]:
        (project / name).unlink()


@pytest.fixture(scope="module")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the stage `derive` and its column, run."""
    project = clone(tmp_path_factory.mktemp("derived") / "project")
    (project / "ridgeline/derived.py").write_text(DERIVED)
    (project / "stages/derive.py").write_text(STAGE)
    insert(project, "\nstages:\n", f"\nstages:\n{FIRST}\n")
    edit(project, "path: data/raw/possum.csv   #", "path: data/prepared/derived  #")
    edit(project, "chest, belly]", "chest, belly, chest_to_belly]")
    assert ran(run("dvc", "repro", cwd=project)) == ["derive", *STAGES]
    return project


def test_a_derived_column_is_a_feature(derived: Path) -> None:
    effects = pd.read_csv(derived / "plots/effects.csv")
    assert "chest_to_belly" in {*effects["feature"]}
    rows = pd.read_parquet(derived / "data/prepared/train")
    assert (rows["chest_to_belly"] == rows["chest"] / rows["belly"]).all()


def test_the_rest_of_the_table_is_as_it_was(derived: Path, project: Path) -> None:
    for split in ("train", "validation", "test"):
        with_it, without = (
            pd.read_parquet(folder / "data/prepared" / split) for folder in (derived, project)
        )
        pd.testing.assert_frame_equal(with_it.drop(columns="chest_to_belly"), without)


def test_the_registered_model_takes_the_derived_column(derived: Path) -> None:
    predictions = run("python", "-c", PROGRAM, cwd=derived, PYTHONWARNINGS="").stdout
    assert len(re.findall(r"\d+\.\d+", predictions)) == 101


def test_a_table_without_the_derived_column_is_refused_by_name(derived: Path) -> None:
    command = ("python", "-m", "ridgeline", "predict", "@challenger")
    done = run(*command, "data/raw/possum.csv", "-o", "no.csv", cwd=derived, check=False)
    assert done.returncode == 1
    assert "chest_to_belly" in done.stderr
    assert "Traceback" not in done.stderr
    done = run(*command, "data/prepared/derived", "-o", "yes.csv", cwd=derived)
    assert "101 of 104 rows predicted" in done.stdout


def test_a_number_that_is_none_is_reported_by_prepare(derived: Path) -> None:
    raw = derived / "data/raw/possum.csv"
    text = raw.read_text()
    raw.write_text(re.sub(r"[\d.]+\n", "wide\n", text, count=1))
    done = run("dvc", "repro", "prepare", cwd=derived, check=False)
    raw.write_text(text)
    assert done.returncode != 0
    assert "wide" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_derived_tests_know_the_stage(derived: Path) -> None:
    run("pytest", "-q", "-m", "not slow", "tests/test_dvc_yaml.py", cwd=derived)
