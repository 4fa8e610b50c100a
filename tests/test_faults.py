"""What befalls a machine: killed processes, a full disk, a lost database, a wrong clock."""

import importlib
import os
import re
import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import psutil
import pytest
import sqlalchemy
from processes import Ended, begin, context, end
from project import MODEL, ROOT, STAGES, clone, edit, ran, run, runs, store

import stages
from ridgeline.tracking import origin, records
from ridgeline.tracking.champion import CHAMPION, PREVIOUS
from ridgeline.tracking.records import DECISION, RMSE, ROWS

pytestmark = [pytest.mark.slow, pytest.mark.drill]

FAULTS = str(ROOT / "tests/faults")
POINTS_A_STAGE = 6
DAY = 24 * 3600

# Where each stage is killed as `dvc repro` runs it.
POINTS = {
    "prepare": "os.rename data/prepared/validation",  # of its outputs one is there
    "featurize": "os.mkdir data/features/.test.parts.partial",  # it has begun, and none is there
    "train": "os.rename plots/effects.png",  # all others are there
    "register": "os.rename models/registered.json",  # MLflow has the version, DVC not yet
    "predict": "os.rename metrics/test.json",
}


@dataclass(frozen=True)
class Killed:
    """A clone in which each stage was killed once as DVC ran it; what then stood in dvc.lock.

    `runs` are the names and statuses of all runs after a last repro.
    """

    project: Path
    exits: dict[str, int]
    stages_in_lock: dict[str, list[str]]
    runs: list[tuple[str, str]]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    project = clone(tmp_path_factory.mktemp("killed") / "project")
    (project / "dvc.lock").unlink()
    exits, in_lock = {}, {}
    for stage, point in POINTS.items():
        fault = {"PYTHONPATH": FAULTS, "KILL": f"{stage} {point}"}
        done = run("dvc", "repro", cwd=project, check=False, **fault)
        # -9, or 137 where the shell that DVC runs it by does not become it
        assert re.search(rf"python -m stages\.{stage}, exited with (-9|137)\n", done.stderr)
        exits[stage], in_lock[stage] = done.returncode, [*lock(project)]
    run("dvc", "repro", cwd=project)
    return Killed(
        project, exits, in_lock, [(r.data.tags["dvc.stage"], r.info.status) for r in runs(project)]
    )


@pytest.fixture
def project(killed: Killed) -> Iterator[Path]:
    """The clone in which all has run; what a test does to its files is taken back."""
    folder = killed.project
    yield folder
    if run("git", "status", "--porcelain", cwd=folder).stdout or outputs(folder) != recorded(
        folder
    ):
        run("git", "checkout", "--quiet", ".", cwd=folder)
        run("dvc", "checkout", "--quiet", "--force", cwd=folder)


def lock(project: Path) -> dict[str, records.Record]:
    path = project / "dvc.lock"
    return records.locked(path.read_text()) if path.is_file() else {}


def outputs(project: Path) -> dict[Path, str]:
    """All stages' outputs with their md5s, as they are; those that are not there are left out."""
    return {
        path: records.md5_of(project / path)
        for record in lock(project).values()
        for path in record.outs
        if (project / path).exists()
    }


def recorded(project: Path) -> dict[Path, str]:
    """All stages' outputs with their md5s, as dvc.lock has them."""
    return {path: md5 for record in lock(project).values() for path, md5 in record.outs.items()}


def partial(project: Path) -> list[Path]:
    written = {project / path.parts[0] for path in recorded(project)}
    return [path for folder in written for path in folder.rglob("*.partial")]


CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.copyfile", "open"}


def run_stage(
    project: Path,
    stage: str,
    *,
    kill_at: int = 0,
    kill_in: str | None = None,
    full_at: int = resource.RLIM_INFINITY,
    uri: str = "sqlite:///mlflow.db",
) -> tuple[Ended, int]:
    """Run a stage; kill it at one of its changes, or in an SQL statement; let its disk be full.

    With how it ended comes how many changes it made: of files, and of the database. The disk is
    full after some bytes of a file.
    """
    changes = context.Value("i")
    ended = end(*begin(project, be_stage, stage, changes, kill_at, kill_in, full_at, uri=uri))
    return ended, changes.value


def be_stage(
    stage: str, changes: "Synchronized[int]", kill_at: int, kill_in: str | None, full_at: int
) -> None:
    def change(*_: object) -> None:
        changes.value += 1
        if changes.value == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def execute(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if kill_in and kill_in in statement:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event in CHANGES and not (event == "open" and arguments[1] in (None, "r", "rb")):
            change()

    sqlalchemy.event.listen(sqlalchemy.Engine, "commit", change)
    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", execute)
    sys.addaudithook(audit)
    resource.setrlimit(resource.RLIMIT_FSIZE, (full_at, resource.RLIM_INFINITY))
    stages.run(stage, importlib.import_module(f"stages.{stage}").main)


# Killed


def test_dvc_repro_fails_as_a_stage_is_killed_and_records_nothing_of_it(killed: Killed) -> None:
    assert [stage for stage in STAGES if not killed.exits[stage]] == []
    assert killed.stages_in_lock == {s: STAGES[:number] for number, s in enumerate(STAGES)}


def test_the_next_repro_leaves_every_byte_as_if_nothing_had_happened(killed: Killed) -> None:
    assert run("git", "status", "--porcelain", cwd=killed.project).stdout == ""
    assert outputs(killed.project) == recorded(killed.project)
    assert partial(killed.project) == []


def test_the_next_execution_closes_the_run_of_the_killed_one(killed: Killed) -> None:
    finished = [(stage, "FINISHED") for stage in STAGES]
    assert sorted(killed.runs) == sorted(finished)


def test_a_killed_child_costs_its_stage_only_the_run_and_register_writes_it(
    killed: Killed, tmp_path: Path
) -> None:
    project = shutil.copytree(killed.project, tmp_path / "project", symlinks=True)
    edit(project, "logspace(-3, 1, 30)", "logspace(-3, 1, 29)")
    known = {r.info.run_id for r in runs(project)}
    fault = {"PYTHONPATH": FAULTS, "KILL": "train shutil.copyfile mlartifacts"}
    done = run("dvc", "repro", "train", cwd=project, **fault)
    assert done.stderr == (
        "warning: train is done, but its run is not logged: "
        "the process that calls MLflow was killed\n"
    )
    run("dvc", "repro", "register", cwd=project)
    made = [r for r in runs(project) if r.info.run_id not in known]
    assert sorted((r.data.tags["dvc.stage"], r.info.status) for r in made) == [
        ("register", "FINISHED"),
        ("train", "FINISHED"),
        ("train", "KILLED"),
    ]


def test_the_child_ends_with_its_stage_when_that_is_killed(project: Path) -> None:
    stage = psutil.Popen([sys.executable, "-m", "stages.train"], cwd=project)
    while not (children := stage.children()):
        pass
    stage.kill()
    stage.wait()
    assert psutil.wait_procs(children, timeout=30)[1] == []


def forget_model(project: Path) -> None:
    client = store(project)
    if client.search_registered_models():
        client.delete_registered_model(MODEL)
    experiment = client.get_experiment_by_name("Possum_tails").experiment_id
    for model in client.search_logged_models([experiment]):
        client.delete_logged_model(model.model_id)


@pytest.mark.parametrize("stage", STAGES)
def test_wherever_a_stage_is_killed_nothing_is_torn_and_the_next_one_puts_all_right(
    project: Path, stage: str
) -> None:
    client, before, torn = store(project), outputs(project), []
    known = {r.info.run_id for r in runs(project)}

    def attempt(kill_at: int = 0) -> tuple[int | None, int]:
        if stage == "register":  # so that all is to be done
            forget_model(project)
        ended, changes = run_stage(project, stage, kill_at=kill_at)
        return ended.exit, changes

    exit_, changes = attempt()
    exits = [exit_]
    for point in range(1, changes, changes // POINTS_A_STAGE):
        exits.append(attempt(kill_at=point)[0])
        torn += outputs(project).items() - before.items()
    ended, _ = run_stage(project, stage)

    assert exits == [0, *[-signal.SIGKILL] * (len(exits) - 1)]
    assert torn == []
    assert (ended.exit, outputs(project), partial(project)) == (0, before, [])
    made = [r for r in runs(project) if r.info.run_id not in known]
    whole = [records.DIGEST in r.data.tags for r in made if r.info.status == "FINISHED"]
    assert len(whole) >= 2
    assert all(whole)
    assert {r.info.status for r in made} == {"FINISHED", "KILLED"}
    [version] = client.search_model_versions(f"name = '{MODEL}'")
    assert version.tags[DECISION] == CHAMPION
    champion = client.get_model_version_by_alias(MODEL, CHAMPION)
    assert champion.version == version.version
    assert run_stage(project, "predict")[0].exit == 0


def test_a_store_that_was_killed_in_the_making_is_made_again(project: Path, tmp_path: Path) -> None:
    uri, half = f"sqlite:///{tmp_path / 'mlflow.db'}", "INSERT INTO _alembic_tmp_"
    killed, _ = run_stage(project, "prepare", uri=uri, kill_in=half)
    again, _ = run_stage(project, "prepare", uri=uri)
    assert (killed.exit, again.exit) == (-signal.SIGKILL, 0)
    assert "warning" not in again.printed


# The disk is full

WRITES_FIRST = {
    "prepare": "data/prepared/train",
    "featurize": "data/features/train",
    "train": "models/model.joblib",
    "register": "models/registered.json",
    "predict": "predictions/possum_tail_length.csv",
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_is_told_with_the_file_and_the_old_outputs_stay(
    project: Path, stage: str
) -> None:
    before = outputs(project)
    ended, _ = run_stage(project, stage, full_at=64)
    assert ended.exit == 1
    assert ended.printed.splitlines()[-1] == (
        f"error: {stage}: {WRITES_FIRST[stage]}: File too large; fix that, and run it again"
    )
    assert "Traceback" not in ended.printed
    assert (outputs(project), partial(project)) == (before, [])


def test_a_full_disk_costs_a_run_but_not_the_stage_that_it_is_of(project: Path) -> None:
    before = outputs(project)
    ended, _ = run_stage(project, "prepare", full_at=100_000)  # the database is larger
    assert ended.exit == 0
    *_, warning = ended.printed.splitlines()
    assert warning.startswith("warning: prepare is done, but its run is not logged: MLflow at")
    assert warning.endswith("failed: disk I/O error")
    assert outputs(project) == before


def test_dvc_repro_on_a_full_disk_leaves_dvc_lock_and_checkout_brings_all_back(
    project: Path,
) -> None:
    before = outputs(project)
    fault = {"PYTHONPATH": FAULTS, "FULL": "train 64"}
    repro = ("dvc", "repro", "--force", "--single-item", "train")
    done = run(*repro, cwd=project, check=False, **fault)
    assert done.returncode != 0
    assert "error: train: models/model.joblib: File too large" in done.stderr
    assert not (project / "models/model.joblib").exists()
    assert run("git", "diff", "--name-only", "dvc.lock", cwd=project).stdout == ""
    run("git", "checkout", "metrics", "plots", cwd=project)
    run("dvc", "checkout", cwd=project)
    assert outputs(project) == before


# MLflow is lost


def measured(project: Path) -> dict[str, dict[str, float]]:
    """The metrics of each stage's newest whole run."""
    whole = [r for r in runs(project) if r.info.status == "FINISHED"]
    return {r.data.tags["dvc.stage"]: r.data.metrics for r in whole}


def test_runs_model_and_champion_of_a_lost_store_are_made_again(
    killed: Killed, tmp_path: Path
) -> None:
    before = store(killed.project).get_model_version_by_alias(MODEL, CHAMPION)
    metrics = measured(killed.project)
    lost = shutil.ignore_patterns("mlflow.db*", "mlartifacts")
    project = shutil.copytree(killed.project, tmp_path / "project", symlinks=True, ignore=lost)
    edit(project, "min_r2: 0.0", "min_r2: 0.1")
    done = run("dvc", "repro", cwd=project)
    assert ran(done) == ["register"]
    assert measured(project) == {stage: metrics[stage] for stage in STAGES[:4]}
    assert sorted(r.data.tags["dvc.stage"] for r in runs(project)) == sorted(STAGES[:4])
    after = store(project).get_model_version_by_alias(MODEL, CHAMPION)
    same = ("dvc.md5", RMSE, ROWS, DECISION)
    assert [after.tags[tag] for tag in same] == [before.tags[tag] for tag in same]
    assert run_stage(project, "predict")[0] == Ended(0, "")


# The clock is moved


def test_a_clock_that_goes_back_a_day_changes_no_order(
    killed: Killed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = shutil.copytree(killed.project, tmp_path / "project", symlinks=True)
    client = store(project)
    first = client.get_model_version_by_alias(MODEL, CHAMPION)
    ended = {r.info.run_id: r.info.status for r in runs(project)}
    experiment = client.get_experiment_by_name("Possum_tails").experiment_id
    alive = client.create_run(experiment, tags={"dvc.execution": origin.execution()})

    edit(project, "logspace(-3, 1, 30)", "[0.5]")  # better than the champion's
    done = run("dvc", "repro", "register", cwd=project, PYTHONPATH=FAULTS, CLOCK=str(-DAY))
    assert ran(done) == ["train", "register"]

    second = client.get_model_version_by_alias(MODEL, CHAMPION)
    assert int(second.version) == int(first.version) + 1
    assert second.creation_timestamp < first.creation_timestamp
    assert float(second.tags[RMSE]) < float(first.tags[RMSE])
    previous = client.get_model_version_by_alias(MODEL, PREVIOUS)
    assert previous.version == first.version

    recorded = lock(project)
    made = {r.info.run_id: r for r in runs(project) if r.info.run_id not in ended}
    assert made.pop(alive.info.run_id).info.status == "RUNNING"
    assert {r.data.tags["dvc.stage"]: r.data.tags[records.DIGEST] for r in made.values()} == {
        stage: recorded[stage].digest for stage in ("train", "register")
    }
    assert made[second.run_id].data.params["train.alphas"] == "[0.5]"
    assert {r.info.run_id: r.info.status for r in runs(project)}.items() >= ended.items()
    monkeypatch.chdir(project)
    assert records.latest("train") == recorded["train"]
