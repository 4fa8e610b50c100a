"""Models traced to what they were made from, brought back, and MLflow filled from DVC."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn
from unittest.mock import Mock

import mlflow
import mlflow.sklearn
import pandas as pd
import pytest
from mlflow.entities.model_registry import ModelVersion
from project import MODEL, STAGES, clone, run, runs, store

from ridgeline.history import lineage, revisions
from ridgeline.tracking import records

pytestmark = [pytest.mark.slow, pytest.mark.drill]

Command = Callable[..., tuple[int | str, str, str]]


@dataclass(frozen=True)
class History:
    """A project with a commit (version 1), an experiment (version 2), and a remote with both."""

    project: Path
    remote: Path
    experiment: str = "puffy-cat"

    def version(self, number: int) -> ModelVersion:
        return store(self.project).get_model_version(MODEL, str(number))

    def md5(self, number: int) -> str:
        return str(self.version(number).tags["dvc.md5"])

    def object(self, number: int) -> Path:
        """The model's file in the remote."""
        return self.remote / "files/md5" / self.md5(number)[:2] / self.md5(number)[2:]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = tmp_path_factory.mktemp("history")
    made = History(clone(folder / "project"), folder / "remote")
    shutil.rmtree(made.project / ".git")  # this project's own history is not the test's
    run("git", "init", "--quiet", "--initial-branch=main", cwd=made.project)
    run("dvc", "remote", "add", "--default", "shelf", str(made.remote), cwd=made.project)
    run("git", "add", "--all", cwd=made.project)
    run("git", "commit", "--quiet", "--message", "a project of its own", cwd=made.project)
    run("dvc", "repro", cwd=made.project)
    run("dvc", "push", cwd=made.project)
    tried = ("dvc", "exp", "run", "--name", made.experiment, "-S", "train.alphas=[0.5]")
    run(*tried, cwd=made.project)
    run("dvc", "push", cwd=made.project)
    run("git", "checkout", "--quiet", ".", cwd=made.project)
    run("dvc", "checkout", "--quiet", "--force", cwd=made.project)
    return made


@pytest.fixture
def here(history: History, monkeypatch: pytest.MonkeyPatch) -> History:
    """The history, its project the working directory."""
    monkeypatch.chdir(history.project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{history.project}/mlflow.db")
    return history


@pytest.fixture
def colleague(history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone, as if from a server: without experiments, its DVC cache empty."""
    run("git", "clone", "--quiet", f"file://{history.project}", "project", cwd=tmp_path)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{history.project}/mlflow.db")
    return tmp_path / "project"


@pytest.fixture
def wiped(history: History, colleague: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone with an MLflow store that has nothing."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    run("git", "fetch", "--quiet", "origin", "refs/exps/*:refs/exps/*", cwd=colleague)
    return colleague


@pytest.fixture
def lineage_of(ridgeline: Command) -> Command:
    """Runs `lineage` in this process; returns its status or error, and what it printed."""
    return partial(ridgeline, "lineage")


def test_a_version_an_alias_and_a_run_lead_to_the_same_model_data_and_params(
    here: History, lineage_of: Command
) -> None:
    tags = here.version(1).tags
    md5s = [tags["dvc.md5"], tags["dvc.deps.data/raw/possum.csv"]]
    for of in (f"models:/{MODEL}/1", f"models:/{MODEL}@previous", here.version(1).run_id):
        status, out, err = lineage_of(of)
        assert (status, err) == (0, "")
        assert all(md5 in out for md5 in md5s)
        assert "prepare.seed: 18" in out
        assert "train.alphas: logspace(-3, 1, 30)" in out


def test_a_models_md5_leads_to_its_version(here: History, lineage_of: Command) -> None:
    _, out, _ = lineage_of(here.md5(2))
    assert out.startswith(f"{MODEL} version 2\n")


def test_git_finds_the_commit_by_the_md5_in_the_report(here: History) -> None:
    report = (here.project / "report.md").read_text()
    [by_md5] = re.findall(r"^\$ (git log .*)$", report, re.MULTILINE)
    found = run(*by_md5.split(), cwd=here.project).stdout.splitlines()
    commit = found[-1].split()[0]
    lock = run("git", "show", f"{commit}:dvc.lock", cwd=here.project).stdout
    assert f"md5: {here.md5(1)}" in lock


def test_at_alias_alone_is_of_the_registered_model_in_the_settings(
    here: History, lineage_of: Command
) -> None:
    _, out, _ = lineage_of("@challenger")
    assert out.startswith(f"{MODEL} version 2\n")
    assert f"experiment  {here.experiment}\n" in out
    assert "train.alphas: [0.5]" in out


def test_it_names_the_run_of_each_stage_that_the_model_comes_from(
    here: History, lineage_of: Command
) -> None:
    _, out, _ = lineage_of(f"models:/{MODEL}/2")
    named = re.findall(r"([0-9a-f]{32})  (\w+)$", out, re.MULTILINE)
    assert [stage for _, stage in named] == ["prepare", "featurize", "train"]
    by_id = {r.info.run_id: r.data.tags["dvc.stage"] for r in runs(here.project)}
    assert all(by_id[run_id] == stage for run_id, stage in named)


def test_another_run_with_the_same_outputs_does_not_lend_its_data(
    here: History, lineage_of: Command
) -> None:
    client, version = store(here.project), here.version(2)
    [prepare] = [r for r in runs(here.project) if r.data.tags["dvc.stage"] == "prepare"]
    raw = "dvc.deps.data/raw/possum.csv"
    other = client.create_run(prepare.info.experiment_id, tags=prepare.data.tags | {raw: "f" * 32})
    client.set_terminated(other.info.run_id)
    _, out, _ = lineage_of(f"models:/{MODEL}/2")
    client.delete_run(other.info.run_id)
    assert version.tags[raw] in out
    assert prepare.info.run_id in out
    assert "f" * 32 not in out


def test_runs_are_found_in_the_experiment_that_they_are_in(
    here: History, lineage_of: Command
) -> None:
    params = here.project / "params.yaml"
    params.write_text(params.read_text().replace("experiment: Possum_tails", "experiment: Other"))
    _, out, _ = lineage_of(f"models:/{MODEL}/2")
    run("git", "checkout", "--quiet", "params.yaml", cwd=here.project)
    assert here.version(2).run_id in out
    assert store(here.project).get_experiment_by_name("Other") is None


def test_what_it_prints_fits_a_terminal(here: History, lineage_of: Command) -> None:
    _, out, _ = lineage_of(f"models:/{MODEL}/2")
    described, _, commands = out.partition("contains it")
    assert max(map(len, described.splitlines())) <= 80
    assert commands.startswith(".\nTo restore it")


def test_the_commands_that_it_prints_bring_the_model_back(
    here: History, lineage_of: Command, tmp_path: Path
) -> None:
    _, out, _ = lineage_of(f"models:/{MODEL}/2")
    by_hand = "\n".join(line.strip() for line in out.partition("by hand:")[2].splitlines())
    (tmp_path / "here").mkdir()
    run("bash", "-e", "-c", by_hand, cwd=tmp_path / "here")
    assert records.md5_of(tmp_path / "restored/models/model.joblib") == here.md5(2)


@pytest.mark.parametrize("number", [1, 2])
def test_a_fresh_clone_restores_a_version_with_the_same_md5(
    history: History, colleague: Path, lineage_of: Command, tmp_path: Path, number: int
) -> None:
    restored = tmp_path / "restored"
    of = f"models:/{MODEL}/{number}"
    status, out, err = lineage_of(of, "--restore", str(restored))
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].split() == ["restored", history.md5(number), "models/model.joblib"]
    assert records.md5_of(restored / "models/model.joblib") == history.md5(number)


def test_what_dvc_gc_removed_is_restored_from_the_remote(
    here: History, lineage_of: Command, tmp_path: Path
) -> None:
    cached = here.project / ".dvc/cache/files/md5" / here.md5(2)[:2] / here.md5(2)[2:]
    assert cached.is_file()
    run("dvc", "gc", "--workspace", "--force", cwd=here.project)
    assert not cached.exists()
    restored = tmp_path / "restored"
    status, _, err = lineage_of(f"models:/{MODEL}/2", "--restore", str(restored))
    assert (status, err) == (0, "")
    assert records.md5_of(restored / "models/model.joblib") == here.md5(2)


def test_an_object_that_the_remote_lacks_is_named(
    history: History, colleague: Path, lineage_of: Command, tmp_path: Path
) -> None:
    model = history.object(2)
    model.rename(model.with_suffix(".away"))
    try:
        restored = tmp_path / "restored"
        status, _, _ = lineage_of(f"models:/{MODEL}/2", "--restore", str(restored))
    finally:
        model.with_suffix(".away").rename(model)
    assert status == (
        "error: models/model.joblib can't be restored: "
        "it is neither in DVC's cache nor in its remote"
    )
    assert not restored.exists()


def test_a_state_that_git_does_not_have_is_named(
    history: History, colleague: Path, lineage_of: Command
) -> None:
    run("git", "remote", "remove", "origin", cwd=colleague)
    status, out, _ = lineage_of(f"models:/{MODEL}/2")
    assert history.md5(2) in out
    assert str(status).startswith(
        "error: no commit or experiment in this repository has a dvc.lock that matches "
        f"{MODEL} version 2 ("
    )


def test_a_folder_that_is_in_use_is_left_as_it_is(
    here: History, lineage_of: Command, tmp_path: Path
) -> None:
    (tmp_path / "mine").touch()
    status, _, _ = lineage_of("@challenger", "--restore", str(tmp_path))
    assert status == f"error: {tmp_path} already exists; choose an empty or a new folder"
    assert [*tmp_path.iterdir()] == [tmp_path / "mine"]


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (f"models:/{MODEL}/77", f"{MODEL} has no version 77; its versions: "),
        (
            f"models:/{MODEL}@nobody",
            f"{MODEL} has no version with the alias 'nobody'; its versions: ",
        ),
        ("models:/other@champion", "MLflow has no registered model other"),
        ("nobody", f"{MODEL} has no version with the alias 'nobody'; its versions: "),
        ("3f2a9c1", "; write all 32 digits of a model's md5 or a run's id"),
        ("0" * 32, f"Run with id={'0' * 32} not found"),
    ],
)
def test_what_mlflow_does_not_have_is_one_line(
    here: History, lineage_of: Command, of: str, said: str
) -> None:
    status, out, err = lineage_of(of)
    assert said in str(status)
    assert (str(status).count("\n"), out, err) == (0, "", "")


def test_backfill_has_nothing_to_write_where_stages_wrote_it(here: History) -> None:
    before = len(runs(here.project))
    status, out, _ = backfill(here.project, "--all-commits", "--all-experiments")
    assert (status, out) == (0, "MLflow is up to date; nothing was written\n")
    assert len(runs(here.project)) == before


def test_backfill_rebuilds_a_wiped_store_from_history_and_remote_once(
    history: History, wiped: Path
) -> None:
    everything = ("--all-commits", "--all-experiments", "--pull")
    status, out, err = backfill(wiped, *everything)
    assert (status, err) == (0, "")
    assert out.count("\n") == 2
    assert out.splitlines()[1].startswith(f"experiment {history.experiment}: train, register, ")
    written = runs(wiped)
    assert sorted(r.data.tags["dvc.stage"] for r in written) == sorted([*STAGES, *STAGES[2:]])
    for run_, like in zip(by_digest(written), by_digest(runs(history.project)), strict=True):
        assert run_.data.metrics == like.data.metrics
        assert run_.data.params == like.data.params
    workspace = store(wiped).get_model_version_by_alias(MODEL, "challenger")
    assert workspace.tags["dvc.md5"] == history.md5(1)
    for alias in ("champion", "previous"):
        made = store(wiped).get_model_version_by_alias(MODEL, alias)
        like = store(history.project).get_model_version_by_alias(MODEL, alias)
        assert made.tags["dvc.md5"] == like.tags["dvc.md5"]
        assert report_of(made) == report_of(like) != ""

    status, out, err = backfill(wiped, *everything)
    assert (status, out, err) == (0, "MLflow is up to date; nothing was written\n", "")
    assert len(runs(wiped)) == len(written)


def test_backfill_names_what_the_cache_lacks_and_writes_the_rest(wiped: Path) -> None:
    status, out, err = backfill(wiped)
    assert (status, out) == (1, "workspace: prepare\n")
    assert err == (
        "error: workspace: could not write featurize, train, register, version, predict: "
        "models/preprocessor.joblib is not in DVC's cache; add --pull to fetch it from the remote\n"
    )


def test_backfill_writes_from_the_workspace_what_an_older_state_lacks_the_files_of(
    wiped: Path,
) -> None:
    run("dvc", "pull", cwd=wiped)
    for path in ("data/prepared", "data/features", "models", "predictions"):  # no longer links
        shutil.copytree(wiped / path, wiped / f"{path}.copy")
        shutil.rmtree(wiped / path)
        (wiped / f"{path}.copy").rename(wiped / path)
    shutil.rmtree(wiped / ".dvc/cache")
    status, out, err = backfill(wiped, "--all-commits")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].startswith("workspace: featurize, train, ")
    assert sorted({r.data.tags["dvc.stage"] for r in runs(wiped)}) == sorted(STAGES)


def test_backfill_registers_a_model_by_each_name_it_had(history: History, wiped: Path) -> None:
    run("dvc", "pull", cwd=wiped)
    for name in ("params.yaml", "dvc.lock", "models/registered.json"):
        path = wiped / name
        text = path.read_text().replace(MODEL, "Renamed")
        path.unlink()
        path.write_text(text)
    lock, registered = wiped / "dvc.lock", wiped / "models/registered.json"
    known = records.locked(lock.read_text())["register"].outs[Path("models/registered.json")]
    lock.write_text(lock.read_text().replace(known, records.md5_of(registered)))
    backfill(wiped, "--all-commits")
    client = store(wiped)
    found = {name: client.search_model_versions(f"name = '{name}'") for name in (MODEL, "Renamed")}
    assert [len(versions) for versions in found.values()] == [1, 1]


def test_backfill_crowns_the_best_where_who_made_it_was_killed_before(here: History) -> None:
    client = store(here.project)
    client.set_registered_model_alias(MODEL, "champion", "1")
    status, _, _ = backfill(here.project)
    assert status == 0
    assert client.get_model_version_by_alias(MODEL, "champion").tags["dvc.md5"] == here.md5(2)
    client.set_registered_model_alias(MODEL, "previous", "1")


def test_backfill_does_not_write_what_dvc_lock_does_not_say(wiped: Path) -> None:
    run("dvc", "pull", cwd=wiped)
    (wiped / "metrics/prepare.json").write_text("{}")
    status, out, err = backfill(wiped)
    assert status == 1
    assert out.startswith(f"workspace: featurize, train, register, {MODEL} version 1 ")
    assert out.endswith(", predict\n")
    assert err == (
        "error: workspace: could not write prepare: metrics/prepare.json does not match dvc.lock; "
        "run 'dvc repro'\n"
    )


@pytest.fixture
def predicting(here: History) -> Iterator[Callable[[str], subprocess.CompletedProcess[str]]]:
    """Runs predict in the workspace, whose own model is version 1, with a model by its alias."""
    params = here.project / "params.yaml"

    def predict(model: str) -> subprocess.CompletedProcess[str]:
        text = params.read_text()
        params.write_text(text.replace("  model: candidate ", f"  model: {model} "))
        return run("python", "-m", "stages.predict", cwd=here.project, check=False)

    yield predict
    run("git", "checkout", "--quiet", ".", cwd=here.project)
    run("dvc", "checkout", "--quiet", "--force", cwd=here.project)


def test_predict_takes_the_model_that_has_the_alias(
    here: History, predicting: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    assert "challenger" in here.version(2).aliases
    predicting("challenger").check_returncode()
    model = mlflow.sklearn.load_model(here.version(2).source)
    rows = pd.read_parquet(here.project / "data/prepared/test")
    predicted = pd.read_csv(here.project / "predictions/possum_tail_length.csv")["prediction"]
    # another BLAS kernel may round otherwise
    assert predicted.tolist() == pytest.approx(model.predict(rows).tolist(), rel=1e-12)


def test_the_report_of_an_older_version_is_not_in_the_new_ones_description(
    here: History, predicting: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    before = [here.version(number).description for number in (1, 2)]
    predicting("challenger").check_returncode()
    text = (here.project / "report.md").read_text()
    assert f"An older version of the model predicted, with md5 `{here.md5(2)}`" in text
    assert here.md5(1) not in text
    assert [here.version(number).description for number in (1, 2)] == before


def test_predict_names_an_alias_that_no_version_has(
    predicting: Callable[[str], subprocess.CompletedProcess[str]],
) -> None:
    assert predicting("nobody").stderr == (
        f"error: MLflow has no version of {MODEL} with the alias nobody; give it to one, or change "
        "predict.model in params.yaml\n"
    )


def report_of(version: ModelVersion) -> str:
    """The part of a version's description that predict writes."""
    return version.description.partition("\n\n")[2]


def by_digest(found: list[mlflow.entities.Run]) -> list[mlflow.entities.Run]:
    unique = {r.data.tags["dvc.lock"]: r for r in found}
    return [unique[digest] for digest in sorted(unique)]


def backfill(project: Path, *options: str) -> tuple[int, str, str]:
    """Run it; return its status and what it printed."""
    uri = os.environ["MLFLOW_TRACKING_URI"]
    command = ("python", "-m", "ridgeline", "backfill", *options)
    done = run(*command, cwd=project, check=False, MLFLOW_TRACKING_URI=uri)
    return done.returncode, done.stdout, done.stderr


def test_an_interrupted_restoration_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(revisions, "lay_out", lambda _, folder: folder.mkdir())
    monkeypatch.setattr(revisions, "bring", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lineage.restore(Mock(), Mock(), tmp_path / "it")
    assert not (tmp_path / "it").exists()
