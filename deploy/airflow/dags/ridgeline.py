"""The pipeline as an Airflow DAG: a task for each stage in dvc.yaml, run when the table changes.

Airflow and the project have an environment each: the tasks run the project's own. See
docs/scheduling.md.
"""

import os
from datetime import timedelta
from pathlib import Path

import yaml
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, chain

PROJECT = Path(os.environ.get("RIDGELINE_HOME", Path(__file__).resolve().parents[3]))
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
TABLE = yaml.safe_load((PROJECT / "params.yaml").read_text())["data"]["path"]

with DAG(
    "ridgeline",
    schedule=[Asset(TABLE if "://" in TABLE else (PROJECT / TABLE).as_uri())],
    max_active_runs=1,
    # for a stage that another process is running, or an MLflow server that is down
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
):
    chain(
        *(
            BashOperator(
                task_id=stage,
                doc=definition.get("desc"),
                # --single-item: the stages before it were tasks of their own
                bash_command=". .venv/bin/activate && python -m services.run "
                f"dvc --wait-for-lock repro --single-item {stage}",
                cwd=str(PROJECT),
            )
            for stage, definition in STAGES.items()
        )
    )
