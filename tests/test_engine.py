import http.server
import socket
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from project import ROOT, run
from sklearn.compose import make_column_transformer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ridgeline.errors import EngineError
from ridgeline.model import features, ridge
from ridgeline.tables import cluster, engine, reading, writing

ALPHAS = (0.01, 0.1, 1.0, 10.0)


def slow_at_first(number: int) -> int:
    time.sleep(0.02 * (number < 2))
    return number


def fail_at(wrong: int, number: int) -> int:
    if number == wrong:
        raise KeyError(number)
    return number


@pytest.fixture(params=["1", "2", "8"])
def _threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_CPU_COUNT", request.param)


@pytest.mark.usefixtures("_threads")
def test_results_come_in_the_order_of_the_items() -> None:
    assert list(engine.mapped(slow_at_first, range(50))) == list(range(50))


@pytest.mark.usefixtures("_threads")
def test_only_so_many_items_are_taken_ahead_of_the_results() -> None:
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = engine.mapped(slow_at_first, items())
    next(results)
    assert len(taken) <= 2 * engine.threads() + 1
    results.close()


@pytest.mark.usefixtures("_threads")
def test_the_first_error_in_order_is_raised() -> None:
    with pytest.raises(KeyError, match="7"):
        list(engine.mapped(partial(fail_at, 7), range(50)))


def test_each_item_is_told_of_with_its_result_in_order() -> None:
    told = []
    list(engine.mapped(abs, [-2, -1], lambda item, result: told.append((item, result))))
    assert told == [(-2, 2), (-1, 1)]


def test_a_worker_that_would_give_other_bytes_is_refused() -> None:
    with pytest.raises(EngineError, match=r"instead of openblas-Other; start it"):
        cluster._task(("openblas-Other", *cluster._signature()[1:]), abs, 1)


@pytest.mark.parametrize("address", ["nonsense://x", "tcp://127.0.0.1:notaport"])
def test_an_address_that_is_none_is_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engine.ADDRESS, address)
    with pytest.raises(EngineError, match="no Dask scheduler answers at"):
        list(engine.mapped(abs, [1]))


ASKING = """
from ridgeline.tables import cluster, engine
from ridgeline.errors import exit_on_error
cluster.PATIENCE = 1
with exit_on_error("it"):
    list(engine.mapped(abs, [1]))
"""


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a port that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a web server."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "server", "reason"),
    [
        ("tcp", "silent", "no reply within 1 seconds"),
        ("tcp", "web", ""),
        ("ws", "web", "Non-websocket response"),
        ("tls", "silent", "TLS expects a `ssl_context` argument"),
    ],
)
def test_what_answers_but_is_no_scheduler_is_told_in_a_line(
    protocol: str, server: str, reason: str, request: pytest.FixtureRequest
) -> None:
    address = f"{protocol}://{request.getfixturevalue(server)}"
    done = run(
        *(sys.executable, "-c", ASKING),
        cwd=ROOT,
        check=False,
        timeout=30,
        DASK_SCHEDULER_ADDRESS=address,
    )
    assert done.stderr.startswith(f"error: no Dask scheduler answers at {address} ({reason}")
    assert "(); start it" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("part_rows", [1, 2, 7, 50, 101])
def test_tables_of_any_part_size_give_scikit_learns_fit(part_rows: int, tmp_path: Path) -> None:
    frame = pd.read_csv(ROOT / "data/raw/possum.csv", dtype={"site": "str"}).dropna()
    numeric, categorical = list(frame.columns[4:8]), ["site", "Pop", "sex"]
    with writing.parquet(tmp_path / "raw") as folder:
        for number, start in enumerate(range(0, len(frame), part_rows)):
            with writing.parquet_part(folder, number) as write:
                part = frame[start : start + part_rows].astype({"case": "str", "taill": float})
                write(writing.as_table(part))
    raw = reading.open_table(tmp_path / "raw", (*numeric, *categorical, "taill"))
    parts = [*raw.parts()]
    preprocessor, _ = features.fit(
        parts, numeric, categorical, impute=False, map=engine.over(reading.Part.table)
    )

    def arrays(part: reading.Part):
        rows = part.table()
        return features.matrix(preprocessor, rows).T, rows["taill"].to_numpy()

    fit = ridge.fit(parts, ALPHAS, engine.over(arrays))

    theirs = make_pipeline(
        make_column_transformer(
            (StandardScaler(), numeric), (OneHotEncoder(sparse_output=False), categorical)
        ),
        RidgeCV(ALPHAS),
    ).fit(frame, frame["taill"])
    assert fit.model.alpha_ == theirs[-1].alpha_
    np.testing.assert_allclose(fit.model.coef_, theirs[-1].coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fit.model.intercept_, theirs[-1].intercept_, rtol=1e-12)
