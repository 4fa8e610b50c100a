"""docs/serving.md on the real scoring server: requests, refusals, and moving over to a champion."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import requests
from project import MODEL, ROOT, edit, installed, run
from servers import Server, free_port, listening, status

pytestmark = [pytest.mark.slow, pytest.mark.drill]

PAGE = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
NGINX = """
user root;  # or else the user of this process
daemon off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    include champion.conf;
}
"""


@pytest.fixture(scope="module")
def project(reproduced: Path) -> Path:
    """A clone with two versions: the champion, and a challenger that imputes missing values."""
    edit(installed(reproduced), "missing: drop", "missing: impute")
    edit(reproduced, "max_rmse: null", "max_rmse: 0.001")  # which no model reaches
    run("dvc", "repro", cwd=reproduced)
    return reproduced


@contextmanager
def serving(project: Path, port: int, *options: str) -> Iterator[Server]:
    """Run `make serve` in a terminal of its own."""
    log = project.parent / f"serve-{port}.log"
    up = lambda: status(f"http://127.0.0.1:{port}/ping") == 200  # noqa: E731 - a name for a line
    server = Server(["make", "serve", f"PORT={port}", *options], log, up, project)
    try:
        yield server.start()
    finally:
        server.kill()


def on(ports: dict[str, int], text: str) -> str:
    """Replace the ports of the page and of deploy/nginx.conf."""
    return re.sub(r"\b(5001|5002|8080)\b", lambda found: str(ports[found[0]]), text)


@pytest.fixture(scope="module")
def port(project: Path) -> Iterator[int]:
    port = free_port()
    with serving(project, port):
        yield port


def rows() -> pd.DataFrame:
    return pd.read_csv(ROOT / "data/raw/possum.csv", dtype={"site": str}).dropna()


def predictions(project: Path, version: int) -> list[float]:
    """Return what a version predicts for the rows, as loaded by MLflow."""
    mlflow.set_tracking_uri(f"sqlite:///{project / 'mlflow.db'}")
    return list(mlflow.sklearn.load_model(f"models:/{MODEL}/{version}").predict(rows()))


def invoke(port: int, content: bytes, kind: str = "application/json") -> requests.Response:
    url = f"http://127.0.0.1:{port}/invocations"
    return requests.post(url, content, headers={"Content-Type": kind}, timeout=60)


def first(**changes: Any) -> dict[str, Any]:
    return rows().iloc[0].drop(["case", "taill"]).to_dict() | changes


def ask(port: int, row: dict[str, Any]) -> requests.Response:
    return invoke(port, json.dumps({"dataframe_records": [row]}).encode())


def test_it_listens_on_this_machine_only(port: int) -> None:
    assert {place for place in listening() if place.endswith(f":{port}")} == {f"127.0.0.1:{port}"}


def parquet(table: pd.DataFrame) -> bytes:
    file = BytesIO()
    table.to_parquet(file)
    return file.getvalue()


BODIES: list[tuple[str, Callable[[pd.DataFrame], bytes]]] = [
    ("application/json", lambda t: json.dumps({"dataframe_split": t.to_dict("split")}).encode()),
    (
        "application/json",
        lambda t: json.dumps({"dataframe_records": t.to_dict("records")}).encode(),
    ),
    ("text/csv", lambda t: t.to_csv(index=False).encode()),
    ("application/vnd.apache.parquet", parquet),
]


@pytest.mark.parametrize(("kind", "body"), BODIES, ids=["split", "records", "csv", "parquet"])
def test_it_predicts_as_the_loaded_model(
    project: Path, port: int, kind: str, body: Callable[[pd.DataFrame], bytes]
) -> None:
    """Also if there are more columns than the model needs: here are the key and the target."""
    answer = invoke(port, body(rows()), kind)
    assert answer.json()["predictions"] == pytest.approx(predictions(project, 1), abs=1e-12)


def test_a_missing_column_is_named(port: int) -> None:
    row = first()
    del row["age"], row["sex"]
    answer = ask(port, row)
    assert answer.status_code == 400
    assert "Model is missing inputs ['age', 'sex']." in answer.json()["message"]


def test_a_null_is_refused_by_a_model_that_does_not_impute(port: int) -> None:
    answer = ask(port, first(age=None))
    assert answer.status_code == 400
    message = "Encountered an unexpected error while evaluating the model."
    assert answer.json()["message"].startswith(message)
    assert message in PAGE
    assert "ValueError: Input X contains NaN." in answer.json()["stack_trace"]


def test_text_for_a_number_is_refused(port: int) -> None:
    answer = ask(port, first(age="eight"))
    assert answer.status_code == 400
    message = "Failed to convert column age to type 'float64'."
    assert message in answer.json()["message"]
    assert message in PAGE


def test_one_bad_row_refuses_all(port: int) -> None:
    body = json.dumps({"dataframe_records": [first(), first(age=None)]}).encode()
    assert invoke(port, body).status_code == 400


@pytest.mark.parametrize("number", [8, "8"])
def test_an_integer_or_a_number_as_text_is_a_number(port: int, number: object) -> None:
    assert ask(port, first(age=number)).json() == ask(port, first(age=8.0)).json()


def test_an_unknown_category_is_predicted(port: int) -> None:
    answer = ask(port, first(site="Atlantis"))
    assert answer.status_code == 200
    assert answer.json() != ask(port, first()).json()


@pytest.mark.parametrize("value", [1, None])
def test_a_number_or_a_null_as_category_is_an_unknown_one(port: int, value: object) -> None:
    assert first()["site"] == "1"
    answer = ask(port, first(site=value))
    assert answer.json() == ask(port, first(site="Atlantis")).json() != ask(port, first()).json()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def commands(word: str) -> list[str]:
    """Return the page's commands that have a word, without their comments."""
    lines = [line for block in blocks("console") for line in block.splitlines() if word in line]
    return [re.sub(r"\s+#.*", "", line.removeprefix("$ ")) for line in lines]


@pytest.mark.parametrize("command", [*blocks("bash"), *commands("--data-binary")])
def test_the_pages_requests_are_answered(project: Path, port: int, command: str) -> None:
    done = run("bash", "-c", on({"5001": port}, command), cwd=project)
    [prediction, *_] = json.loads(done.stdout)["predictions"]
    assert prediction == pytest.approx(predictions(project, 1)[0])


def test_the_pages_program_predicts_as_the_stage_does(
    project: Path, pristine: Path, port: int
) -> None:
    [program] = blocks("python")
    program = on({"5001": port}, program) + "rows.to_csv('answered.csv')"
    run("python", "-c", program, cwd=project)
    stage = pd.read_csv(pristine / "predictions/possum_tail_length.csv", index_col="case")
    served = pd.read_csv(project / "answered.csv", index_col="case").loc[stage.index]
    shared = ["prediction", "lower", "upper"]
    pd.testing.assert_frame_equal(served[shared], stage[shared], rtol=1e-9)


def test_it_serves_the_store_that_env_names(project: Path) -> None:
    (project / ".env").write_text("MLFLOW_TRACKING_URI=sqlite:///elsewhere.db\n")
    try:
        done = run("make", "serve", cwd=project, check=False)
    finally:
        (project / ".env").unlink()
    assert f"error: MLflow has no registered model {MODEL}" in done.stderr


@pytest.mark.parametrize("port", ["-1", "0", "65536"])
def test_what_is_no_port_is_refused(port: str) -> None:
    done = run("python", "-m", "ridgeline", "serve", "--port", port, cwd=ROOT, check=False)
    error = f"error: --port is {port}; it should be from 1 to 65535\n"
    assert (done.returncode, done.stderr) == (1, error)


def test_a_port_in_use_is_an_error_that_names_it(project: Path, port: int) -> None:
    command = ("python", "-m", "ridgeline", "serve", "--port", str(port))
    done = run(*command, cwd=project, check=False)
    error = f"error: port {port} can't be used (Address already in use); choose another\n"
    assert (done.returncode, done.stderr) == (1, error)


def eventually(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


STOPS = [(1, signal.SIGINT), (2, signal.SIGTERM)]


@pytest.mark.parametrize(("workers", "stop"), STOPS)
def test_a_server_that_is_stopped_finishes_what_it_has_begun(
    project: Path, workers: int, stop: signal.Signals
) -> None:
    port, body = free_port(), json.dumps({"dataframe_records": [first()]}).encode()
    with (
        serving(project, port, f"WORKERS={workers}") as server,
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection,
    ):
        connection.putrequest("POST", "/invocations")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        assert b"100 Continue" in connection.sock.recv(1000)  # it waits for the body
        os.killpg(server.process.pid, stop)
        eventually(lambda: server.log.read_text().count("Shutting down") == workers)
        connection.send(body)
        answer = connection.getresponse()
        [prediction] = json.loads(answer.read())["predictions"]
        assert prediction == pytest.approx(predictions(project, 1)[0])


def unused_ports() -> Iterator[int]:
    """Yield free ports that the kernel gives to no client.

    While no server listens on a port, nginx could connect to it from that same port: to itself.
    """
    for port in range(20_000, 30_000):
        with suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            yield port


@contextmanager
def proxy(folder: Path, ports: dict[str, int]) -> Iterator[None]:
    """Nginx as in deploy/nginx.conf, on these ports."""
    folder.mkdir()
    (folder / "nginx.conf").write_text(NGINX)
    site = (ROOT / "deploy/nginx.conf").read_text(encoding="utf-8")
    (folder / "champion.conf").write_text(on(ports, site))
    up = lambda: status(f"http://127.0.0.1:{ports['8080']}/ping") == 200  # noqa: E731 - for a line
    command = ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    server = Server(command, folder.with_suffix(".log"), up, folder)
    try:
        server.start()
        yield
    finally:
        server.kill()


@contextmanager
def clients(port: int, bodies: list[bytes]) -> Iterator[list[list[requests.Response]]]:
    """Send each body all the time, over a connection that is kept; collect the answers."""
    answers: list[list[requests.Response]] = [[] for _ in bodies]
    stop = threading.Event()

    def keep_asking(body: bytes, answered: list[requests.Response]) -> None:
        url, headers = f"http://127.0.0.1:{port}/invocations", {"Content-Type": "application/json"}
        with requests.Session() as session:
            while not stop.is_set():
                answered.append(session.post(url, body, headers=headers, timeout=60))

    with ThreadPoolExecutor(len(bodies)) as threads:
        asking = [threads.submit(keep_asking, *pair) for pair in zip(bodies, answers, strict=True)]
        try:
            yield answers
        finally:
            stop.set()
    for client in asking:
        client.result()  # raises if a request had no answer


def further(answers: list[list[requests.Response]], number: int = 5) -> None:
    """Wait until each client has got this many further answers."""
    wanted = [len(answered) + number for answered in answers]
    eventually(lambda: all(len(a) >= least for a, least in zip(answers, wanted, strict=True)))


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed; .ci/run does it")
def test_moving_over_loses_no_request(project: Path, tmp_path: Path) -> None:
    old, new = (predictions(project, version) for version in (1, 2))
    ports = dict(zip(("5001", "5002", "8080"), unused_ports(), strict=False))
    table = rows().to_dict("split")
    bodies = [
        json.dumps({"dataframe_split": table | {"index": None, "data": data}}).encode()
        for data in (table["data"][:1], table["data"], table["data"] * 100)
    ]
    with (
        serving(project, ports["5001"], "WORKERS=2") as server,
        proxy(tmp_path / "nginx", ports),
        ExitStack() as successor,
        clients(ports["8080"], bodies) as answers,
    ):
        further(answers)
        before = [len(answered) for answered in answers]
        run("make", "promote", "VERSION=2", cwd=project)
        successor.enter_context(serving(project, ports["5002"]))
        [wait] = commands("--retry")
        run("bash", "-c", on(ports, wait), cwd=project)
        further(answers)
        os.killpg(server.process.pid, signal.SIGINT)  # as Ctrl-C in its terminal does
        eventually(lambda: status(f"http://127.0.0.1:{ports['5001']}/ping") == 0)
        further(answers)
        after = [len(answered) for answered in answers]
        further(answers)
    assert {answer.status_code for answered in answers for answer in answered} == {200}
    for answered, first_old, first_new in zip(answers, before, after, strict=True):
        said = [answer.json()["predictions"][0] for answer in answered]
        assert said[:first_old] == pytest.approx([old[0]] * first_old)
        assert said[first_new:] == pytest.approx([new[0]] * len(said[first_new:]))
    assert old[0] != pytest.approx(new[0])
