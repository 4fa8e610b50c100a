"""Run functions on threads of this process, or on the workers of a Dask cluster.

Dask is only imported if ``DASK_SCHEDULER_ADDRESS`` is set, to the address of the scheduler.
Results do not depend on where work runs: a function is applied to each item separately, with
one BLAS thread, and results are returned in the items' order.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from operator import call
from typing import Any, Protocol, TypeVar

ADDRESS = "DASK_SCHEDULER_ADDRESS"

T = TypeVar("T")
R = TypeVar("R")

# One thread and one kernel fix the order of additions, so outputs have the same bytes on every
# machine. OpenBLAS reads both when numpy is imported. All x86 processors with AVX2 can use this
# kernel, others ignore it. The environment can't override it: that would change dvc.lock.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OPENBLAS_CORETYPE"] = "Haswell"


class Map(Protocol):
    """The type of functions like `map`, with results in the items' order."""

    def __call__(self, function: Callable[..., R], items: Iterable[Any], /) -> Iterable[R]:
        """Apply the function to each item."""


def mapped(
    function: Callable[[T], R],
    items: Iterable[T],
    done: Callable[[T, R], object] | None = None,
) -> Iterator[R]:
    """Apply a function to many items in parallel.

    Parameters
    ----------
    function : callable
        A module-level function or a `functools.partial` of one. Like items and results, it
        must be picklable, to be sent to workers.
    items : iterable
        Consumed as workers become free: the number of pending items is limited.
    done : callable, optional
        Called with each item and its result, in order.

    Yields
    ------
    object
        The results, in the items' order.

    Raises
    ------
    EngineError
        If the scheduler can't be reached or has no workers, or they can't do the work.
    """
    with _executor() as (executor, task, ahead):
        waiting: deque[tuple[T, Future[R]]] = deque()

        def first() -> R:
            item, future = waiting.popleft()
            result = future.result()
            if done is not None:
                done(item, result)
            return result

        for item in items:
            waiting.append((item, executor.submit(task, function, item)))
            if len(waiting) > ahead:
                yield first()
        while waiting:
            yield first()


def for_each(
    function: Callable[[T], R],
    items: Iterable[T],
    done: Callable[[T, R], object] | None = None,
) -> None:
    """Apply a function to each item for its side effects, or those of `done`; see `mapped`."""
    for _ in mapped(function, items, done):
        pass


def over(read: Callable[[Any], object], done: Callable[..., object] | None = None) -> Map:
    """Return a `mapped` that passes ``read(item)``, evaluated by the worker, to the function."""

    def mapped_over(function: Callable[..., R], items: Iterable[Any], /) -> Iterator[R]:
        return mapped(partial(_read, read, function), items, done)

    return mapped_over


def threads() -> int:
    """Return how many threads to use: ``PYTHON_CPU_COUNT``, or the cores this process may use."""
    override = os.environ.get("PYTHON_CPU_COUNT", "")  # Python itself reads it from 3.13 on
    if override.isdecimal() and int(override):
        return int(override)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(read: Callable[[Any], object], function: Callable[..., R], item: object) -> R:
    return function(read(item))


@contextmanager
def _executor() -> Iterator[tuple[Executor, Callable[..., Any], int]]:
    """Yield an executor, the function that runs a task on it, and how many tasks to queue."""
    address = os.environ.get(ADDRESS)
    if address:
        from ridgeline.tables import cluster  # most runs do not need it

        with cluster.executor(address) as on_cluster:
            yield on_cluster
        return
    executor = ThreadPoolExecutor(threads())
    try:
        yield executor, call, 2 * threads()
    finally:
        executor.shutdown(cancel_futures=True)
