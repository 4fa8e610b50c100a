"""Latency and throughput of `make serve`: ``python -m bench.serve``, where `dvc repro` has run.

Clients send the possums' rows from this process, and so share the cores with the server. A latency
is that of one row at a time, over a kept connection or over a new one for each request. Rows a
second are those of four clients that each send one batch after the other, over new connections as
nginx does. Medians of the rounds.
"""

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pandas as pd

from ridgeline import config

ROUNDS = 5
WORKERS = (1, 2)
BATCHES = {1: 100, 100: 50, 10_000: 4}  # rows: requests of each client in a round
LATENCIES = 200  # requests in a round
CLIENTS = 4
HEADERS = {"Content-Type": "application/json"}
READY = 120  # seconds, at most


def main() -> None:
    settings = config.load()
    types = dict.fromkeys(settings.data.categorical, str)
    rows = pd.read_csv(settings.data.path, dtype=types)[list(settings.data.features)].dropna()
    bodies = {size: body(rows, size) for size in BATCHES}
    print(f"medians of {ROUNDS} rounds, {CLIENTS} clients, {os.cpu_count()} cores\n")
    sizes = " | ".join(f"rows/s, batches of {size:,}" for size in BATCHES)
    times = "kept: p50, ms | p95, ms | new: p50, ms | p95, ms"
    print(f"| workers | {times} | {sizes} |\n|{' ---: |' * (5 + len(BATCHES))}")
    for workers in WORKERS:
        with served(workers) as port:
            for content in bodies.values():
                rate(port, content, 20)  # the first requests of a process are slower
            latencies = [
                statistics.median(column)
                for send in (ask, ask_anew)
                for column in zip(
                    *(quantiles(send(port, bodies[1], LATENCIES)) for _ in range(ROUNDS)),
                    strict=True,
                )
            ]
            rates = [
                size * statistics.median(rate(port, bodies[size], count) for _ in range(ROUNDS))
                for size, count in BATCHES.items()
            ]
        cells = [f"{workers}", *(f"{1000 * seconds:.0f}" for seconds in latencies)]
        cells += [f"{value:,.0f}" for value in rates]
        print(f"| {' | '.join(cells)} |", flush=True)


def body(rows: pd.DataFrame, size: int) -> bytes:
    table = rows.sample(size, replace=True, random_state=0).to_dict("split")
    return json.dumps(
        {"dataframe_split": {name: table[name] for name in ("columns", "data")}}
    ).encode()


@contextmanager
def served(workers: int) -> Iterator[int]:
    """Serve the champion on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "ridgeline", "serve", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--workers", str(workers)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + READY
        while not answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"error: {' '.join(command)} does not start")
            time.sleep(0.2)
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def answers(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except OSError:
            return False


def ask(port: int, content: bytes, count: int) -> list[float]:
    """Return the seconds that each of some requests took, sent over one connection."""
    times = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for _ in range(count):
            started = time.perf_counter()
            connection.request("POST", "/invocations", content, HEADERS)
            answer = connection.getresponse()
            said = answer.read()
            times.append(time.perf_counter() - started)
            if answer.status != 200:
                sys.exit(f"error: {answer.status}: {said[:500]!r}")
    return times


def ask_anew(port: int, content: bytes, count: int) -> list[float]:
    """Return the seconds that each of some requests took, sent over a connection of its own."""
    return [ask(port, content, 1)[0] for _ in range(count)]


def quantiles(times: list[float]) -> tuple[float, float]:
    """Return the median and the 95 % quantile."""
    cuts = statistics.quantiles(times, n=20)
    return cuts[9], cuts[18]


def rate(port: int, content: bytes, count: int) -> float:
    """Return the requests per second of all clients."""
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(lambda _: ask_anew(port, content, count), range(CLIENTS)))
    return CLIENTS * count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
