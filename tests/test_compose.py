"""docker-compose.yml, as far as it can be checked where there is no Docker."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from dotenv import dotenv_values
from project import ROOT, run
from servers import COMPOSE

TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES = COMPOSE["services"]
EXAMPLE = dotenv_values(ROOT / ".env.example")


def test_it_is_what_the_compose_specification_allows() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*check, ROOT / "docker-compose.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_each_setting_that_it_requires_is_in_the_example() -> None:
    assert set(re.findall(r"\$\{(\w+):\?", TEXT)) - set(EXAMPLE) == set()


def test_each_setting_in_the_example_is_explained() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    unexplained = [b for a, b in pairwise(lines) if "=" in b and a[:2] != "# "]
    assert unexplained == []


def test_no_password_has_a_default() -> None:
    secret = re.compile("PASSWORD|SECRET")
    assert [name for name, value in EXAMPLE.items() if secret.search(name) and value] == []
    defaults = re.findall(r"\$\{(\w+):?-", TEXT)
    assert [name for name in defaults if not name.endswith("_IMAGE")] == []
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert not secret.search(name) or value.startswith("${"), name


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 5
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_images_have_a_tag_and_can_be_replaced() -> None:
    for name, service in SERVICES.items():
        assert re.fullmatch(
            r"\$\{[A-Z]+_IMAGE:-[\w./-]+:[\w.-]+(@sha256:\w{64})?\}", service["image"]
        ), name
        assert "latest" not in service["image"]


@pytest.mark.parametrize(
    ("service", "package", "lock"),
    [
        ("mlflow", "mlflow", "requirements.txt"),
        ("buckets", "mlflow", "requirements.txt"),
        ("dask-worker", "distributed", "requirements-dask.txt"),
    ],
)
def test_an_image_has_the_version_that_is_locked(service: str, package: str, lock: str) -> None:
    found = re.search(rf"^{package}==([\d.]+) ", (ROOT / lock).read_text(), re.MULTILINE)
    assert found
    assert re.search(rf":v?{re.escape(found[1])}(-full)?\}}$", SERVICES[service]["image"])


def test_services_wait_for_what_they_need() -> None:
    waits = {
        (name, needed): condition["condition"]
        for name, service in SERVICES.items()
        for needed, condition in service.get("depends_on", {}).items()
    }
    assert waits == {
        ("buckets", "minio"): "service_healthy",
        ("mlflow", "postgres"): "service_healthy",
        ("mlflow", "buckets"): "service_completed_successfully",
        ("dask-worker", "dask-scheduler"): "service_healthy",
    }
    for _, needed in waits:
        assert needed == "buckets" or "healthcheck" in SERVICES[needed]


def test_files_that_it_mounts_and_builds_from_are_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists()
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_the_bucket_in_the_example_is_dvcs() -> None:
    config = (ROOT / ".dvc/config").read_text()
    assert f"url = s3://{EXAMPLE['S3_BUCKET_DVC']}\n" in config
    assert f"endpointurl = {EXAMPLE['AWS_ENDPOINT_URL']}\n" in config


def test_make_env_fills_in_each_password_at_random(tmp_path: Path) -> None:
    (tmp_path / ".env.example").write_text((ROOT / ".env.example").read_text())
    command = (sys.executable, "-m", "services.passwords")
    run(*command, cwd=tmp_path, PYTHONPATH=str(ROOT))
    first = dotenv_values(tmp_path / ".env")
    assert [name for name, value in first.items() if not value] == []
    assert {name: first[name] for name in EXAMPLE if EXAMPLE[name]} == {
        name: value for name, value in EXAMPLE.items() if value
    }
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    run(*command, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert dotenv_values(tmp_path / ".env") == first
