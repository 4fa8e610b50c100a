"""Which store runs go to."""

import os
from pathlib import Path

import pytest

from ridgeline import tracking


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's root, and a folder that DVC runs an experiment in."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("uri", "database"), [("", "mlflow.db"), ("sqlite:///other.db", "other.db")]
)
def test_a_local_store_is_in_the_root_wherever_dvc_runs_the_stage(
    root: Path, monkeypatch: pytest.MonkeyPatch, uri: str, database: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = tracking.connect()
    experiment = client.get_experiment(tracking.experiment_id(client, "new"))
    assert (root / database).is_file()
    assert experiment.artifact_location == (root / "mlartifacts").as_uri()
    os.environ.pop("MLFLOW_TRACKING_URI")


def test_a_deleted_experiment_is_named_with_how_to_restore_it(root: Path) -> None:
    client = tracking.connect()
    number = tracking.experiment_id(client, "gone")
    client.delete_experiment(number)
    with pytest.raises(tracking.TrackingError, match=f"mlflow experiments restore -x {number}"):
        tracking.experiment_id(client, "gone")
