"""Data and models in an S3 store: buckets, push, pull, and what can go wrong with them."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import ROOT, clone, environment, run
from servers import SECRETS, SETTINGS, Server, client, free_port, status, store

pytestmark = pytest.mark.slow

KEYS = {name: SETTINGS[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with store(tmp_path_factory.mktemp("store") / "s3") as (url, _):
        run("python", "-m", "services.buckets", cwd=ROOT, **settings(url))
        yield url


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, s3: str) -> Path:
    """A clone with outputs: not the pipeline's, for what travels doesn't matter here."""
    folder = clone(tmp_path_factory.mktemp("project") / "project")
    (folder / "dvc.yaml").unlink()
    (folder / "dvc.lock").unlink()
    (folder / "table").mkdir()
    for number in range(200):
        (folder / f"table/{number}").write_text(f"row {number}\n" * 1000)
    run("dvc", "add", "--quiet", "table", cwd=folder)
    run("dvc", "remote", "modify", "--local", "minio", "endpointurl", s3, cwd=folder)
    return folder


def settings(url: str, **changes: str) -> dict[str, str]:
    return SETTINGS | {"AWS_ENDPOINT_URL": url} | changes


def buckets(url: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    command = ("python", "-m", "services.buckets", *arguments)
    return run(*command, cwd=ROOT, check=False, **settings(url, **changes))


def wipe(project: Path) -> None:
    shutil.rmtree(project / ".dvc/cache")
    shutil.rmtree(project / ".dvc/tmp")  # there DVC remembers what it has seen of a remote
    shutil.rmtree(project / "table", ignore_errors=True)


def contents(project: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (project / "table").iterdir()}


def test_only_the_missing_buckets_are_created(s3: str) -> None:
    done = buckets(s3, S3_BUCKET_DVC="another")
    assert done.stdout == f"{s3}: another created, ridgeline-mlflow exists\n"
    again = buckets(s3, S3_BUCKET_DVC="another")
    assert again.stdout == f"{s3}: another exists, ridgeline-mlflow exists\n"


def test_a_check_creates_nothing(s3: str) -> None:
    for _ in range(2):
        assert "nowhere is missing" in buckets(s3, "--check", S3_BUCKET_DVC="nowhere").stdout


@pytest.mark.parametrize(
    "wrong", [{"AWS_ACCESS_KEY_ID": "nobody"}, {"AWS_SECRET_ACCESS_KEY": "notthisone"}]
)
def test_a_wrong_key_is_one_line(s3: str, wrong: dict[str, str]) -> None:
    done = buckets(s3, **wrong)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {s3}: the keys are rejected")
    assert done.stderr.count("\n") == 1


def test_a_refused_connection_is_one_line() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = buckets(url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {url} can't be reached (EndpointConnectionError); start")
    assert done.stderr.count("\n") == 1


@pytest.mark.drill
def test_a_bucket_of_someone_else_is_one_line(tmp_path: Path) -> None:
    owners = [
        {"name": name, "account": {"id": name}, "actions": actions}
        | {"credentials": [{"accessKey": name, "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}]}
        for name, actions in (("owner", ["Admin"]), ("other", ["List:ridgeline-mlflow"]))
    ]
    config = tmp_path / "owners.json"
    config.write_text(json.dumps({"identities": owners}))
    with store(tmp_path / "s3", "-s3.config", str(config)) as (url, _):
        assert buckets(url, AWS_ACCESS_KEY_ID="owner").returncode == 0
        done = buckets(url, AWS_ACCESS_KEY_ID="other")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {url}: bucket ridgeline-dvc belongs to someone else")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("missing", ["S3_BUCKET_DVC", "AWS_SECRET_ACCESS_KEY"])
def test_a_setting_that_is_not_there_is_one_line(s3: str, missing: str) -> None:
    done = buckets(s3, **{missing: ""}, AWS_EC2_METADATA_DISABLED="true", HOME="/nonexistent")
    assert done.returncode == 1
    assert missing in done.stderr
    assert done.stderr.count("\n") == 1


def test_nobody_gets_in_without_a_key(s3: str) -> None:
    assert {status(f"{s3}/{path}") for path in ("", "ridgeline-dvc", "ridgeline-dvc/x")} == {403}


def test_what_was_pushed_is_pulled_bit_by_bit(project: Path) -> None:
    before = contents(project)
    run("dvc", "push", cwd=project, **KEYS)
    wipe(project)
    run("dvc", "pull", cwd=project, **KEYS)
    assert contents(project) == before


@pytest.mark.parametrize("changed", [{"AWS_SECRET_ACCESS_KEY": "notthisone"}])
def test_with_a_wrong_key_nothing_is_pushed_or_lost(project: Path, changed: dict[str, str]) -> None:
    before = contents(project)
    done = run("dvc", "push", cwd=project, check=False, **KEYS | changed)
    assert done.returncode != 0
    assert contents(project) == before


@pytest.mark.drill
def test_a_push_that_was_cut_off_is_completed_by_the_next(project: Path, s3: str) -> None:
    run("dvc", "remote", "add", "--local", "cut", "s3://ridgeline-dvc/cut", cwd=project)
    run("dvc", "remote", "modify", "--local", "cut", "endpointurl", s3, cwd=project)
    before = contents(project)
    watcher = client(s3)

    def arrived() -> int:
        return int(watcher.list_objects_v2(Bucket="ridgeline-dvc", Prefix="cut/")["KeyCount"])

    push = ["dvc", "push", "--quiet", "--remote", "cut", "--jobs", "1"]
    with subprocess.Popen(push, cwd=project, env=environment(**KEYS)) as process:
        while process.poll() is None and not arrived():
            pass
        process.kill()
    assert 0 < arrived() <= len(before)
    (project / ".dvc/tmp/rwlock").unlink(missing_ok=True)  # DVC's own would do: its owner is dead
    run("dvc", "push", "--remote", "cut", cwd=project, **KEYS)
    assert arrived() == len(before) + 1
    wipe(project)
    run("dvc", "pull", "--remote", "cut", cwd=project, **KEYS)
    assert contents(project) == before


@pytest.mark.drill
def test_a_corrupted_object_is_noticed_and_not_checked_out(project: Path, s3: str) -> None:
    run("dvc", "push", cwd=project, **KEYS)
    before = contents(project)
    objects = client(s3).list_objects_v2(Bucket="ridgeline-dvc", Prefix="files/")["Contents"]
    hurt = next(item["Key"] for item in objects if not item["Key"].endswith(".dir"))
    good = client(s3).get_object(Bucket="ridgeline-dvc", Key=hurt)["Body"].read()
    client(s3).put_object(Bucket="ridgeline-dvc", Key=hurt, Body=b"X" + good[1:])
    wipe(project)
    done = run("dvc", "pull", cwd=project, check=False, **KEYS)
    pulled = contents(project) if (project / "table").exists() else {}
    client(s3).put_object(Bucket="ridgeline-dvc", Key=hurt, Body=good)
    run("dvc", "pull", "--force", cwd=project, **KEYS)
    assert contents(project) == before
    assert done.returncode != 0, done.stdout + done.stderr
    assert all(pulled[name] == before[name] for name in pulled)


@pytest.mark.drill
def test_make_push_says_how_to_start_a_store_that_is_down(project: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    run("dvc", "remote", "add", "--local", "down", "s3://ridgeline-dvc/down", cwd=project)
    run("dvc", "remote", "modify", "--local", "down", "endpointurl", url, cwd=project)
    recipe = make_recipe("push").replace("dvc push", "dvc push --remote down")
    done = run("sh", "-c", recipe, cwd=project, check=False, **settings(url))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {url} can't be reached")
    assert "start it with 'make services'" in done.stderr


def make_recipe(target: str) -> str:
    """What `make` would run, without what it would install first."""
    printed = run("make", "--dry-run", "--always-make", target, cwd=ROOT).stdout
    return printed.splitlines()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("services") / "project")


def test_without_settings_it_fails_with_one_line(folder: Path) -> None:
    done = run("sh", "-c", make_recipe("services"), cwd=folder, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: AWS_ENDPOINT_URL, ")
    assert done.stderr.endswith("not set; set them in .env, or run 'make env'\n")
    shutil.copy(folder / ".env.example", folder / ".env")
    done = run("sh", "-c", make_recipe("services"), cwd=folder, check=False)
    (folder / ".env").unlink()
    assert (
        done.stderr == f"error: {', '.join(EMPTY)}: not set; set them in .env, or run 'make env'\n"
    )


@pytest.mark.drill
def test_both_start_ask_for_keys_and_stop_when_interrupted(folder: Path, tmp_path: Path) -> None:
    ports = {"S3_PORT": str(free_port()), "MLFLOW_PORT": str(free_port())}
    s3, mlflow = (f"http://127.0.0.1:{port}" for port in ports.values())
    log = tmp_path / "log"
    server = Server(
        ["sh", "-c", f"exec {make_recipe('services')}"],
        log,
        lambda: status(f"{mlflow}/health") == 200 and status(s3) == 403,
        folder,
        **settings(s3, MLFLOW_TRACKING_URI=mlflow, **ports),
    ).start()
    try:
        found = buckets(s3, "--check")
        logins = [status(mlflow), status(mlflow, Authorization="Basic YWRtaW46d3Jvbmc=")]
        server.process.send_signal(signal.SIGINT)
        server.process.wait(30)
        stopped = [status(s3), status(mlflow)]
    finally:
        server.kill()
    assert found.stdout == f"{s3}: ridgeline-dvc exists, ridgeline-mlflow exists\n"
    assert logins == [401, 401]
    assert stopped == [0, 0]
    assert log.read_text().count("stopped (rc=0)") == 2
    assert [name for name, secret in SECRETS.items() if secret in log.read_text()] == []


EMPTY = [
    line.removesuffix("=")
    for line in (ROOT / ".env.example").read_text().splitlines()
    if line.endswith("=")
]
