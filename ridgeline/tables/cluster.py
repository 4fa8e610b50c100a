"""Run tasks on the workers of a Dask cluster, and explain what can go wrong there."""

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

PATIENCE = 5  # seconds to wait for the scheduler's answer and its first worker
AHEAD = 256  # tasks to submit before taking the first result; at least twice the threads

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def executor(address: str) -> Iterator[tuple[Executor, Callable[..., Any], int]]:
    """Yield an executor, its task function and queue length; report failures as `EngineError`."""
    client = _client(address)
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    pool = client.get_executor(pure=False)
    try:
        ahead = max(AHEAD, 2 * sum(client.nthreads().values()))
        yield pool, partial(_task, _signature()), ahead
    except (ModuleNotFoundError, RuntimeError) as error:
        # an import error of the scheduler arrives as text in an error of Dask's
        missing = re.search(r"No module named '([\w.]+)'", f"{error} {error.__cause__}")
        if missing is None:
            raise
        raise EngineError(
            f"Dask's scheduler or workers can't import {missing[1]}; start all of them in this "
            "project's folder, with PYTHONPATH=. and the packages in requirements.txt"
        ) from None
    except (CommClosedError, CancelledError):
        raise EngineError(
            f"lost the connection to the Dask scheduler at {address}; restart it and try again"
        ) from None
    except KilledWorker as error:
        raise EngineError(
            f"workers at {address} died repeatedly while running the same task ({error.task}); "
            "see their logs; the usual cause is too little memory"
        ) from None
    finally:
        pool.shutdown(wait=False)


@cache
def _client(address: str) -> Any:
    """Connect to a scheduler, once per process."""
    try:
        from distributed import Client
    except ImportError:
        raise EngineError(
            f"{ADDRESS} is set, but Dask is not installed; install requirements-dask.txt, or unset "
            f"{ADDRESS} to run on this machine"
        ) from None
    try:
        workers = asyncio.run(_workers(address))
        client: Any = Client(address, timeout=PATIENCE, set_as_default=False) if workers else None
    except Exception as error:  # noqa: BLE001 - Dask raises any type for a bad reply
        raise EngineError(
            f"no Dask scheduler answers at {address} ({_reason(error)}); start it, or unset "
            f"{ADDRESS} to run on this machine"
        ) from None
    if client is None:
        raise EngineError(
            f"the Dask scheduler at {address} has no workers; start some in this project's folder "
            f"with 'dask worker {address}'"
        )
    atexit.register(client.close)
    return client


async def _workers(address: str) -> int:
    """Count a scheduler's workers after waiting for the first; a `Client` would wait forever."""
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
    """Return the message of the deepest cause that has one, as a single line."""
    reason = f"no reply within {PATIENCE} seconds"
    while error:
        reason = " ".join(str(error).split("\n")[0].split()) or reason
        error = error.__cause__
    return reason


def _task(signature: tuple[str, ...], function: Callable[[T], R], item: T) -> R:
    """Apply the function on a worker; refuse if the worker would produce different bytes."""
    gc.enable()  # importing a stage disables it
    here = _signature()
    if here != signature:
        theirs, ours = sorted({*here} - {*signature}), sorted({*signature} - {*here})
        raise EngineError(
            f"a Dask worker would produce different bytes: it has {' '.join(theirs)} instead of "
            f"{' '.join(ours)}; start it in this project's folder, with the packages in "
            "requirements.txt and OPENBLAS_CORETYPE=Haswell"
        )
    return function(item)


@cache
def _signature() -> tuple[str, ...]:
    """Return the versions that an output's bytes depend on; limit BLAS to one thread."""
    import numpy  # noqa: F401 - loads its BLAS
    import threadpoolctl

    threadpoolctl.threadpool_limits(1, "blas")
    blas = {
        f"{library['internal_api']}-{library.get('architecture')}"
        for library in threadpoolctl.threadpool_info()
        if library["user_api"] == "blas"
    }
    return (*sorted(blas), *(f"{name}-{version(name)}" for name in environment.COMPUTING))
