"""A team's services: S3, Postgres, and docker-compose.yml's MLflow server, with real pipelines."""

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import botocore.session
import mlflow
import pytest
from project import MODEL, ROOT, STAGES, clone, environment, ran, run
from servers import SECRETS, SETTINGS, Server, listening, mlflow_of_compose, postgres, status, store

pytestmark = [pytest.mark.slow, pytest.mark.drill]

KEYS = {name: SETTINGS[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
LOGIN = {name: SETTINGS[name] for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")}


@dataclass(frozen=True)
class Team:
    """The services, and a first clone that ran and pushed the pipeline."""

    s3: str
    mlflow: str
    server: Server
    project: Path
    printed: str
    heard: set[str]  # addresses that are listened on since the services started
    logs: Path

    @property
    def settings(self) -> dict[str, str]:
        return LOGIN | {"MLFLOW_TRACKING_URI": self.mlflow}

    def clone(self, folder: Path) -> Path:
        clone(folder)
        run("dvc", "remote", "modify", "--local", "minio", "endpointurl", self.s3, cwd=folder)
        return folder

    def runs(self, experiment: str = "Possum_tails") -> list[mlflow.entities.Run]:
        client = self.client()
        found = client.get_experiment_by_name(experiment)
        return client.search_runs([found.experiment_id], order_by=["start_time"])

    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.mlflow)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    logs, quiet = tmp_path_factory.mktemp("services"), listening()
    with store(logs / "s3") as (s3, _), postgres(logs / "postgres.log") as port:
        run("python", "-m", "services.buckets", cwd=ROOT, **SETTINGS, AWS_ENDPOINT_URL=s3)
        url, server = mlflow_of_compose(logs / "mlflow", s3, port)
        server.start()
        heard = listening() - quiet
        with pytest.MonkeyPatch.context() as patch:
            for name, value in LOGIN.items():
                patch.setenv(name, value)
            folder = tmp_path_factory.mktemp("first") / "project"
            team = Team(s3, url, server, folder, "", heard, logs)
            team.clone(folder)
            done = run("dvc", "repro", cwd=folder, **team.settings)
            pushed = run("dvc", "push", cwd=folder, **KEYS)
            printed = done.stdout + done.stderr + pushed.stdout + pushed.stderr
            try:
                yield Team(s3, url, server, folder, printed, heard, logs)
            finally:
                server.stop()


def outputs(project: Path) -> dict[str, str]:
    """The md5 of each file that DVC keeps."""
    return {
        path.relative_to(project).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
        for folder in ("data/prepared", "data/features", "models", "predictions", "plots")
        for path in sorted((project / folder).rglob("*"))
        if path.is_file() and path.name != ".gitignore"
    }


def names(team: Team, experiment: str = "Possum_tails") -> list[str]:
    return sorted(
        r.data.tags["dvc.stage"] for r in team.runs(experiment) if r.info.status == "FINISHED"
    )


def test_all_five_stages_log_their_runs_there(team: Team) -> None:
    assert names(team) == sorted(STAGES)
    assert not (team.project / "mlflow.db").exists()


def test_the_model_is_version_1_and_champion_there(team: Team) -> None:
    version = team.client().get_model_version_by_alias(MODEL, "champion")
    assert int(version.version) == 1
    assert version.tags["gate.decision"] == "champion"


def test_artifacts_are_in_the_bucket_though_clients_have_no_keys(team: Team) -> None:
    client = botocore.session.get_session().create_client(
        "s3",
        "us-east-1",
        endpoint_url=team.s3,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    found = client.list_objects_v2(Bucket=SETTINGS["S3_BUCKET_MLFLOW"])["Contents"]
    kept = {item["Key"].rpartition("/")[2] for item in found}
    assert {"error_by_alpha.png", "predicted_and_actual.png", "model.skops"} <= kept
    assert "AWS_SECRET_ACCESS_KEY" not in environment(**team.settings)


def test_a_colleague_pulls_it_bit_by_bit_and_reruns_nothing(team: Team, tmp_path: Path) -> None:
    second = team.clone(tmp_path / "second")
    run("dvc", "pull", cwd=second, **KEYS)
    assert outputs(second) == outputs(team.project)
    before = names(team)
    done = run("dvc", "repro", cwd=second, **team.settings)
    assert ran(done) == []
    assert "Data and pipelines are up to date." in done.stdout
    assert run("git", "status", "--porcelain", cwd=second).stdout == ""
    assert names(team) == before


def test_a_clone_that_lost_everything_pulls_it_back(team: Team) -> None:
    before = outputs(team.project)
    shutil.rmtree(team.project / ".dvc/cache")
    for folder in ("data/prepared", "data/features", "models", "predictions"):
        shutil.rmtree(team.project / folder)
    run("dvc", "pull", cwd=team.project, **KEYS)
    assert outputs(team.project) == before
    assert "up to date" in run("dvc", "status", cwd=team.project).stdout


def test_nobody_gets_in_without_a_login(team: Team) -> None:
    wrong = base64.b64encode(b"admin:wrong").decode()
    right = base64.b64encode(f"admin:{LOGIN['MLFLOW_TRACKING_PASSWORD']}".encode()).decode()
    listed = f"{team.mlflow}/api/2.0/mlflow/registered-models/search"
    for url in (team.mlflow, listed):
        assert status(url) == 401
        assert status(url, Authorization=f"Basic {wrong}") == 401
        assert status(url, Authorization=f"Basic {right}") == 200


def test_a_stage_with_a_wrong_password_fails_clearly(team: Team) -> None:
    wrong = team.settings | {"MLFLOW_TRACKING_PASSWORD": "wrongwrongwrong"}
    done = run("python", "-m", "stages.register", cwd=team.project, check=False, **wrong)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: MLflow at {team.mlflow} ")
    assert "wrongwrongwrong" not in done.stderr


def test_only_names_in_use_are_answered_to(team: Team) -> None:
    login = base64.b64encode(f"admin:{LOGIN['MLFLOW_TRACKING_PASSWORD']}".encode()).decode()
    listed = f"{team.mlflow}/api/2.0/mlflow/registered-models/search"
    answers = [
        status(listed, Host=host, Authorization=f"Basic {login}")
        for host in ("mlflow:5000", "localhost:5000", "elsewhere.example:5000")
    ]
    assert answers == [200, 200, 403]


def test_nothing_listens_on_other_than_loopback(team: Team) -> None:
    assert len(team.heard) >= 3
    assert [a for a in team.heard if not a.startswith(("127.", "[::1]"))] == []


def test_a_server_killed_in_the_middle_costs_no_training_and_no_run(
    team: Team, tmp_path: Path
) -> None:
    third = team.clone(tmp_path / "third")
    params = third / "params.yaml"
    text = params.read_text().replace("Possum_tails", "Killed").replace(MODEL, "Killed")
    params.write_text(text)
    printed, heard = [], {}
    with subprocess.Popen(
        ["dvc", "repro"],
        cwd=third,
        env=environment(**team.settings, PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as repro:
        assert repro.stdout
        for line in repro.stdout:
            printed.append(line)
            if "Running stage" in line:
                heard[line.split("'")[1]] = time.monotonic()
            if "Running stage 'featurize'" in line:
                team.server.kill()
    team.server.start()
    output = "".join(printed)
    assert repro.returncode != 0
    assert "warning: featurize is done, but its run is not logged" in output
    assert "warning: train is done, but its run is not logged" in output
    assert "warning: prepare" not in output
    assert "error: MLflow at" in output
    assert "Traceback" not in output
    assert heard["register"] - heard["featurize"] < 60

    done = run("dvc", "repro", cwd=third, **team.settings)
    assert ran(done) == ["register", "predict"]
    assert names(team, "Killed") == sorted(STAGES)


def test_a_server_that_hangs_is_a_warning_within_ten_seconds(team: Team) -> None:
    def timed(**settings: str) -> tuple[float, str]:
        started = time.monotonic()
        command = ("python", "-m", "stages.prepare")
        done = run(*command, cwd=team.project, **team.settings | settings)
        return time.monotonic() - started, done.stderr

    usual, _ = timed()
    os.killpg(team.server.process.pid, signal.SIGSTOP)
    try:
        hanging, said = timed()
    finally:
        os.killpg(team.server.process.pid, signal.SIGCONT)
    assert said.startswith("warning: prepare is done, but its run is not logged")
    assert hanging < usual + 10


def test_no_secret_is_in_git_mlflow_a_log_or_an_argument(team: Team) -> None:
    told = {"printed": team.printed}
    told |= {log.name: log.read_text() for log in team.logs.glob("*.log")}
    told["processes"] = run("ps", "-ewwo", "args", cwd=team.project).stdout
    assert "mlflow server" in told["processes"]
    listed = run("git", "ls-files", "-z", cwd=team.project).stdout.split("\0")
    for name in filter(None, listed):
        told[name] = (team.project / name).read_text(errors="ignore")
    for kind in ("dvc.lock", ".dvc/config", ".dvc/config.local"):
        told[kind] = (team.project / kind).read_text()
    for found in team.runs():
        told[found.data.tags["dvc.stage"]] = json.dumps(found.to_dictionary())
    for version in team.client().search_model_versions(f"name = '{MODEL}'"):
        told[f"version {version.version}"] = json.dumps(dict(version), default=str)
    assert len(told) > 80
    leaks = [(name, s) for name, text in told.items() for s in SECRETS if SECRETS[s] in text]
    assert leaks == []
