"""deploy/airflow's DAG in a real Airflow; `make test-airflow` installs it, and runs this."""

from pathlib import Path

import pytest
from project import PROGRAMS, ROOT, STAGES, edit, run

AIRFLOW = ROOT / "deploy/airflow/.venv/bin/airflow"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.drill,
    pytest.mark.skipif(not AIRFLOW.exists(), reason="'make test-airflow' installs Airflow"),
]


@pytest.fixture(scope="module")
def project(fresh: Path) -> Path:
    (fresh / ".venv").symlink_to(PROGRAMS.parent)
    with (fresh / ".git/info/exclude").open("a") as file:
        file.write("/.venv\n")
    return fresh


@pytest.fixture(scope="module")
def settings(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Airflow's settings: a database of its own, and the DAGs of the clone."""
    home = tmp_path_factory.mktemp("airflow")
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(project / "deploy/airflow/dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "PYTHONWARNINGS": "",
    }
    run(str(AIRFLOW), "db", "migrate", cwd=home, **settings)
    return settings


def test_a_task_for_each_stage_does_what_dvc_repro_does(
    project: Path, pristine: Path, settings: dict[str, str]
) -> None:
    done = run(str(AIRFLOW), "dags", "test", "ridgeline", cwd=project, **settings)
    printed = done.stdout + done.stderr
    assert [stage for stage in STAGES if f"end task task_id={stage} " in printed] == STAGES
    assert run("dvc", "status", cwd=project).stdout == "Data and pipelines are up to date.\n"
    differences = [run("git", "diff", cwd=clone).stdout for clone in (project, pristine)]
    assert differences[0] == differences[1]


def test_it_is_scheduled_by_the_table(project: Path, settings: dict[str, str]) -> None:
    run(str(AIRFLOW), "dags", "reserialize", cwd=project, **settings)
    assets = run(str(AIRFLOW), "assets", "list", "--output", "plain", cwd=project, **settings)
    assert (project / "data/raw/possum.csv").as_uri() in assets.stdout


def test_a_stage_that_fails_fails_the_run(
    project: Path, settings: dict[str, str], tmp_path: Path
) -> None:
    edit(project, "key: case", "key: nobody")
    dag = (project / "deploy/airflow/dags/ridgeline.py").read_text()
    (tmp_path / "once.py").write_text(dag.replace('"retries": 2', '"retries": 0'))
    copied = {"AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path), "RIDGELINE_HOME": str(project)}
    command = [str(AIRFLOW), "dags", "test", "ridgeline"]
    done = run(*command, cwd=tmp_path, check=False, **settings | copied)
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert "nobody" in printed  # the message of the stage
    assert "starting task_id=featurize" not in printed
