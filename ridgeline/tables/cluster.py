"""The workers of a Dask cluster: how work is sent to them, and what can go wrong there."""

import asyncio
import atexit
import gc
import re
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import version
from typing import Any, TypeVar

from ridgeline import environment
from ridgeline.errors import EngineError
from ridgeline.tables.engine import ADDRESS

PATIENCE = 5  # seconds a scheduler may take to answer, and its first worker to come
AHEAD = 256  # tasks a cluster is given before the first result is taken, or twice its threads

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def executor(address: str) -> Iterator[tuple[Executor, Callable[..., Any], int]]:
    """Give a cluster's executor; say in one sentence what is wrong with it or its workers."""
    client = _client(address)
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    found = client.get_executor(pure=False)
    try:
        ahead = max(AHEAD, 2 * sum(client.nthreads().values()))
        yield found, partial(_task, _signature()), ahead
    except (ModuleNotFoundError, RuntimeError) as error:
        # the scheduler's comes as text, in an error of Dask's
        lacking = re.search(r"No module named '([\w.]+)'", f"{error} {error.__cause__}")
        if lacking is None:
            raise
        raise EngineError(
            f"Dask's scheduler or workers can't import {lacking[1]}; start all of them in this "
            "project's folder, with PYTHONPATH=. and the packages of requirements.txt"
        ) from None
    except (CommClosedError, CancelledError):
        raise EngineError(
            f"the Dask scheduler at {address} went away; start it again, and run this again"
        ) from None
    except KilledWorker as error:
        raise EngineError(
            f"workers at {address} died again and again over the same task ({error.task}); see "
            "their logs: mostly they have too little memory"
        ) from None
    finally:
        found.shutdown(wait=False)


@cache
def _client(address: str) -> Any:
    """Connect to a scheduler, once for all that a process does."""
    try:
        from distributed import Client
    except ImportError:
        raise EngineError(
            f"{ADDRESS} is set, but Dask is not installed; install requirements-dask.txt, or unset "
            "it to work on this machine"
        ) from None
    try:
        workers = asyncio.run(_workers(address))
        client: Any = Client(address, timeout=PATIENCE, set_as_default=False) if workers else None
    except Exception as error:  # noqa: BLE001 - of what another server says, Dask makes any
        raise EngineError(
            f"no Dask scheduler answers at {address} ({_reason(error)}); start it, or unset "
            f"{ADDRESS} to work on this machine"
        ) from None
    if client is None:
        raise EngineError(
            f"the Dask scheduler at {address} has no workers; start some in this project's folder "
            f"with 'dask worker {address}'"
        )
    atexit.register(client.close)
    return client


async def _workers(address: str) -> int:
    """Count a scheduler's workers, having waited for the first; a `Client` would wait for ever."""
    from distributed.core import rpc
    from distributed.security import Security

    workers = None
    settings = {"connection_args": Security().get_connection_args("client")}
    try:
        async with (
            asyncio.timeout(PATIENCE),
            rpc(address, timeout=PATIENCE / 2, **settings) as scheduler,
        ):
            while not workers:
                workers = (await scheduler.identity(n_workers=0))["n_workers"]
                await asyncio.sleep(0 if workers else 0.1)
    except TimeoutError:
        if workers is None:
            raise
    return workers or 0


def _reason(error: BaseException | None) -> str:
    """Tell an error's first cause that has a text, in a line."""
    reason = f"nothing came back within {PATIENCE} seconds"
    while error:
        reason = " ".join(str(error).split("\n")[0].split()) or reason
        error = error.__cause__
    return reason


def _task(signature: tuple[str, ...], function: Callable[[T], R], item: T) -> R:
    """Apply the function on a worker, unless it would make other bytes there than here."""
    gc.enable()  # a stage is imported without it
    here = _signature()
    if here != signature:
        theirs, ours = sorted({*here} - {*signature}), sorted({*signature} - {*here})
        raise EngineError(
            f"a Dask worker would give other bytes: it has {' '.join(theirs)} instead of "
            f"{' '.join(ours)}; start it in this project's folder, with the packages of "
            "requirements.txt and OPENBLAS_CORETYPE=Haswell"
        )
    return function(item)


@cache
def _signature() -> tuple[str, ...]:
    """Name what an output's bytes depend on, and see to it that BLAS uses one thread."""
    import numpy  # noqa: F401 - so that its BLAS is loaded
    import threadpoolctl

    threadpoolctl.threadpool_limits(1, "blas")
    blas = {
        f"{library['internal_api']}-{library.get('architecture')}"
        for library in threadpoolctl.threadpool_info()
        if library["user_api"] == "blas"
    }
    return (*sorted(blas), *(f"{name}-{version(name)}" for name in environment.COMPUTING))
