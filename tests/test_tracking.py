"""Which store runs go to."""

import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from unittest.mock import Mock

import pytest
from botocore.exceptions import NoCredentialsError
from matplotlib.figure import Figure
from mlflow.entities.model_registry import ModelVersion

from ridgeline.errors import TrackingError
from ridgeline.tracking import address, runs, store

pytestmark = pytest.mark.slow  # MLflow takes seconds


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
    client = store.connect()
    experiment = client.get_experiment(store.experiment_id(client, "new"))
    assert (root / database).is_file()
    assert experiment.artifact_location == (root / "mlartifacts").as_uri()
    os.environ.pop("MLFLOW_TRACKING_URI")


def test_a_deleted_experiment_is_named_with_how_to_restore_it(root: Path) -> None:
    client = store.connect()
    number = store.experiment_id(client, "gone")
    client.delete_experiment(number)
    with pytest.raises(store.TrackingError, match=f"mlflow experiments restore -x {number}"):
        store.experiment_id(client, "gone")


def test_a_path_may_have_what_a_url_may_not(tmp_path: Path, monkeypatch) -> None:
    root = tmp_path / "José's a b#c%d?e;f&g"
    root.mkdir()
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    client = store.connect()
    client.create_run(store.experiment_id(client, "new"))
    assert [*tmp_path.rglob("mlflow.db")] == [root / "mlflow.db"]


@pytest.fixture
def decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a folder whose name MLflow would decode as part of a URL."""
    folder = tmp_path / "p%41q"
    folder.mkdir()
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


def test_a_folder_that_mlflow_would_decode_is_refused(decoded: Path) -> None:
    with pytest.raises(store.TrackingError) as raised:
        address.tracking_uri()
    assert str(raised.value) == (
        f"MLflow can't keep its files in {decoded}: it would look for them in "
        f"{decoded.with_name('pAq')}; rename that folder, or set MLFLOW_TRACKING_URI to a database "
        "elsewhere (sqlite:////absolute/path/mlflow.db) or to a server"
    )


@pytest.mark.parametrize("uri", ["sqlite:////elsewhere/mlflow.db", "http://127.0.0.1:5000"])
def test_from_such_a_folder_a_store_elsewhere_can_be_used(
    decoded: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert address.tracking_uri() == uri


def test_a_store_elsewhere_has_its_artifacts_beside_it(root: Path, monkeypatch) -> None:
    shared = root / "shared"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared / 'mlflow.db'}")
    client = store.connect()
    experiment = client.get_experiment(store.experiment_id(client, "new"))
    assert experiment.artifact_location == (shared / "mlartifacts").as_uri()


def test_what_an_artifact_store_refuses_is_an_error_of_mlflow(monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    told = pytest.raises(store.TrackingError, match="failed: Unable to locate credentials")
    with told, store.speaking_of_mlflow():
        raise NoCredentialsError


def test_a_certificate_is_for_mlflow_to_judge(monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://127.0.0.1:1")
    unknown = urllib.error.URLError(ssl.SSLCertVerificationError("self-signed"))
    monkeypatch.setattr(urllib.request, "urlopen", Mock(side_effect=unknown))
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "1")
    store.connect()


@pytest.mark.parametrize(
    "uri", ["sqlite://", "sqlite:///:memory:", "sqlite:///", "sqlite+pysqlite:///x.db"]
)
def test_a_store_that_would_not_last_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match="should name a file, as in sqlite"):
        address.tracking_uri()


def test_only_the_databases_folder_is_decoded(root: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///a%2520b.db")
    assert address.database(address.tracking_uri()) == root / "a%20b.db"


def test_a_password_in_what_is_no_url_is_not_printed(monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://name:hid/den@localhost:1")
    with pytest.raises(TrackingError) as raised:
        store.connect()
    assert "hid" not in str(raised.value)
    assert "MLFLOW_TRACKING_URI" in str(raised.value)


def test_a_run_of_predictions_that_is_not_complete_has_failed(root: Path) -> None:
    client = store.connect()
    experiment = client.create_experiment("it", artifact_location="file:///dev/null/none")
    version, figure = ModelVersion("possums", "1", 0), Figure()
    with pytest.raises(TrackingError):
        runs.log_predictions(client, "it", version, {}, {"rows": {"read": 1}}, figure)
    [run] = client.search_runs([experiment])
    assert run.info.status == "FAILED"
