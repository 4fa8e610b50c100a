"""Every command in the README, then in docs/, is run here, in its order, in one fresh clone.

(The tutorial's are run in a clone of their own: tests/test_tutorial.py.)
"""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from project import MODEL, ROOT, STAGES, environment, installed, ran, run, runs, store, sweep_ends

from ridgeline.tracking import records

pytestmark = [pytest.mark.slow, pytest.mark.drill]

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    README,
    *(
        page.read_text(encoding="utf-8")
        for page in sorted((ROOT / "docs").glob("*.md"))
        if page.name != "tutorial.md"
    ),
]
COMMANDS = [
    re.sub(r"\s+#.*", "", line.removeprefix("$ "))
    for page in PAGES
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    for line in block.splitlines()
]
# CI runs these on this very checkout; a test can't run the tests.
RUN_BY_CI = {"make test", "make drills", "make check"}
# These need ports that others may have, another remote, or more machines: other tests run them so.
RUN_ELSEWHERE = {
    "tests/test_store.py": {"make env", "cp .env.example .env", "make services", "make repro push"},
    "tests/test_serving.py": {
        "make serve",
        "make serve PORT=5002",
        "head -3 data/raw/possum.csv | curl -sH 'Content-Type: text/csv' --data-binary @- "
        "127.0.0.1:5001/invocations",
        "sudo cp deploy/nginx.conf /etc/nginx/conf.d/champion.conf",
        "sudo nginx -s reload",
        "curl -sf --retry 60 --retry-delay 1 --retry-connrefused 127.0.0.1:5002/ping",
    },
    "tests/test_team.py": {
        "make pull repro",
        "cp /from/a/safe/place/.env .env",
        "git clone … && cd …",
        "set -a; . ./.env; set +a",
        "dvc push",
    },
    "tests/test_lineage.py": {
        "python -m ridgeline backfill",
        "python -m ridgeline backfill --all-commits --all-experiments",
        "python -m ridgeline backfill --all-commits --pull",
    },
    "tests/test_scale.py": {
        "export PYTHONPATH=. OPENBLAS_CORETYPE=Haswell",
        "export MALLOC_TRIM_THRESHOLD_=134217728 MALLOC_MMAP_THRESHOLD_=33554432",
        "dask scheduler --host 10.0.0.1 --port 8786",
        "dask worker tcp://10.0.0.1:8786 --nworkers auto --nthreads 1",
        "export DASK_SCHEDULER_ADDRESS=tcp://10.0.0.1:8786",
    },
    "tests/test_model_choice.py": {
        "dvc exp run -S train.model=sklearn.linear_model.Lasso -S '+train.params.alpha=0.1'",
        "dvc exp run --queue -S train.model=sklearn.linear_model.LinearRegression,sklearn.svm.SVR",
        "dvc queue start",
    },
    "tests/test_scheduling.py": {
        "deploy/nightly.sh",
        "cp deploy/github/pipeline.yml .github/workflows/",
    },
    "tests/test_airflow.py": {"make test-airflow"},
    "tests/test_extending.py": {
        "pytest -q -m 'not slow' tests/test_dvc_yaml.py tests/test_pipeline.py "
        "tests/test_environment.py",
        "git add stages dvc.yaml dvc.lock metrics plots",
        "git commit -m 'Measure errors by category'",
        "python -m ridgeline lineage RUN",
    },
    "tests/test_init.py": {"make init TABLE=../diamonds.csv TARGET=price"},
    "tests/test_bench.py": {
        "python -m bench.scale --kind csv --rows 1000000",
        "python -m bench.scale --bar",
        "make bench-scale",
    },
}
# There may be no Docker here, nor another company's store; the network may be of this machine only.
NOT_RUN = {
    "docker compose up -d",
    "dvc remote modify minio endpointurl --unset",
    "dvc remote modify minio endpointurl https://<account>.r2.cloudflarestorage.com",
    "dvc remote modify minio endpointurl https://storage.googleapis.com",
    "uv pip install -r requirements.txt -r requirements-dask.txt",
}

SWEEP = [
    "dvc exp run --queue -S 'train.alphas=[0.01],[0.1],[1],[10],[100]'",
    "dvc queue start -j 2",
]

Done = subprocess.CompletedProcess[str]


def stages_run(*stages: str) -> Callable[[Path, Done], None]:
    def check(project: Path, done: Done) -> None:
        assert ran(done) == list(stages)

    return check


def says(text: str) -> Callable[[Path, Done], None]:
    def check(project: Path, done: Done) -> None:
        assert text in done.stdout

    return check


def sweep_is_in_mlflow(project: Path, done: Done) -> None:
    sweep_ends(project, 5)
    for alpha in ("[0.01]", "[0.1]", "[1]", "[10]", "[100]"):
        [train] = [r for r in runs(project) if r.data.params.get("train.alphas") == alpha]
        assert train.data.tags["dvc.experiment"]
    versions = store(project).search_model_versions(f"name = '{MODEL}'")
    passed = [v for v in versions if float(v.tags["validation.rmse"]) < 1.5]
    best = min(passed, key=lambda version: float(version.tags["validation.rmse"]))
    champion = store(project).get_model_version_by_alias(MODEL, "champion")
    assert champion.version == best.version

    for command in SWEEP:
        run("bash", "-c", command, cwd=project, PYTHONWARNINGS="")
    sweep_ends(project, 10)
    again = store(project).search_model_versions(f"name = '{MODEL}'")
    assert sorted(int(v.version) for v in again) == sorted(int(v.version) for v in versions)


def restored_has_the_champions_md5(project: Path, done: Done) -> None:
    champion = store(project).get_model_version_by_alias(MODEL, "champion")
    restored = project.parent / "restored/models/model.joblib"
    assert records.md5_of(restored) == champion.tags["dvc.md5"]


def version_3_is_restored(project: Path, done: Done) -> None:
    version = store(project).get_model_version(MODEL, "3")
    restored = project.parent / "version-3/models/model.joblib"
    assert records.md5_of(restored) == version.tags["dvc.md5"]


def champion_is_version(number: int) -> Callable[[Path, Done], None]:
    def check(project: Path, done: Done) -> None:
        champion = store(project).get_model_version_by_alias(MODEL, "champion")
        assert int(champion.version) == number
        assert f"version {number} is champion" in done.stdout

    return check


def remote_holds_the_model(project: Path, done: Done) -> None:
    [md5] = re.findall(r"path: models/model.joblib\n +hash: md5\n +md5: (\w+)", lock(project))[:1]
    assert (project.parent / f"ridgeline-data/files/md5/{md5[:2]}/{md5[2:]}").is_file()


def lock(project: Path) -> str:
    return (project / "dvc.lock").read_text()


CHECKS: dict[str, Callable[[Path, Done], None]] = {
    "make repro": stages_run(*STAGES),
    "source .venv/bin/activate": lambda project, done: None,
    "dvc repro": says("Data and pipelines are up to date."),
    "dvc exp run -S 'train.alphas=[0.1,1,10]'": stages_run("train", "register", "predict"),
    "dvc exp show --only-changed": says("workspace"),
    "dvc plots show": says("dvc_plots/index.html"),
    "dvc remote add --local shelf ../ridgeline-data": lambda project, done: None,
    "dvc push -r shelf": remote_holds_the_model,
    "dvc pull -r shelf": says("Everything is up to date."),
    SWEEP[0]: says("Queued experiment"),
    SWEEP[1]: sweep_is_in_mlflow,
    "python -m ridgeline lineage @champion": says("dvc pull --with-deps train"),
    "python -m ridgeline lineage @champion --restore ../restored": restored_has_the_champions_md5,
    "python -m ridgeline lineage models:/Reg_RidgeCV_possums/3 --restore ../version-3": (
        version_3_is_restored
    ),
    "python -m ridgeline predict @champion data/raw/possum.csv -o ../predicted.csv": (
        says("101 of 104 rows predicted by Reg_RidgeCV_possums version ")
    ),
    "python -m ridgeline predict models:/Reg_RidgeCV_possums/1 data/raw -o ../predicted "
    "--fail-on-drift": says("version 1: ../predicted\n"),
    "python -m ridgeline diff 1 2": says("train.alphas"),
    "python -m ridgeline diff previous champion": says("train.alphas"),
    "python -m ridgeline diff HEAD~1 HEAD --markdown": says("## Metrics"),
    "make report": says("changes/changes.md"),
    "make promote VERSION=2": champion_is_version(2),
    "make rollback": champion_is_version(1),
    "make backfill": says("nothing was written"),
}


@pytest.fixture(scope="module")
def project(fresh: Path) -> Path:
    return installed(fresh)


def test_no_command_is_without_a_check() -> None:
    elsewhere = set().union(*RUN_ELSEWHERE.values())
    assert set(COMMANDS) == CHECKS.keys() | RUN_BY_CI | elsewhere | NOT_RUN


def test_the_tests_and_checks_are_what_ci_runs() -> None:
    assert set((ROOT / ".ci/run").read_text().splitlines()) >= RUN_BY_CI


def test_the_commands_do_what_the_readme_says(project: Path) -> None:
    for command in COMMANDS:
        if command in CHECKS:
            warnings = {"PYTHONWARNINGS": ""} if command in SWEEP else {}
            done = run("bash", "-c", command, cwd=project, COLUMNS="200", **warnings)
            CHECKS[command](project, done)
    [python] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    run("python", "-c", f"{python}\nassert model['regressor'].alpha_ > 0", cwd=project)


def test_make_ui_shows_mlflow(project: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    server = subprocess.Popen(
        ["make", "ui", f"PORT={port}"],
        cwd=project,
        env=environment(PYTHONWARNINGS=""),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 90
        page = b""
        while time.monotonic() < deadline and not page:
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
            except OSError:
                time.sleep(0.5)
        assert b"MLflow" in page
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
