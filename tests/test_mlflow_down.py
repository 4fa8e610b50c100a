"""MLflow's server goes away while a stage speaks to it."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from project import run

pytestmark = [pytest.mark.slow, pytest.mark.drill]


class Gone(BaseHTTPRequestHandler):
    """Says that it is there, and then hangs up on whatever it is asked."""

    def do_GET(self) -> None:
        if self.path == "/health":
            self.send_response(200)
            self.end_headers()

    do_POST = do_GET  # noqa: N815 - so it is called

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def gone() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Gone) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_goes_away_is_a_warning_within_ten_seconds(fresh: Path, gone: str) -> None:
    times = {}
    for uri in ("", gone):
        started = time.monotonic()
        settings = {"MLFLOW_TRACKING_URI": uri} if uri else {}
        done = run("python", "-m", "stages.prepare", cwd=fresh, **settings)
        times[uri] = time.monotonic() - started
    assert done.stderr.startswith("warning: prepare is done, but its run is not logged: MLflow at")
    assert times[gone] < times[""] + 10
