"""Where work runs: on threads of this process, or on the workers of a Dask cluster.

The cluster is the one whose scheduler ``DASK_SCHEDULER_ADDRESS`` names; without that variable
Dask is not even imported. What is computed depends on neither: a function is applied to each
item by itself, with one BLAS thread, and results come in the items' order.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

ADDRESS = "DASK_SCHEDULER_ADDRESS"

T = TypeVar("T")
R = TypeVar("R")

# Sums are added in one order, by one kernel: the same bytes on every machine. OpenBLAS would
# choose one by the processor; this one every x86 processor with AVX2 has, and others ignore it.
# It looks when numpy is imported. Whoever sets another gets another dvc.lock: nobody is asked.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OPENBLAS_CORETYPE"] = "Haswell"


class Map(Protocol):
    """What `map` does: apply a function to items, give the results in the items' order."""

    def __call__(self, function: Callable[..., R], items: Iterable[Any], /) -> Iterable[R]:
        """Return an iterable of the results."""


def mapped(
    function: Callable[[T], R],
    items: Iterable[T],
    done: Callable[[T, R], object] | None = None,
) -> Iterator[R]:
    """Apply a function to each item, many at a time.

    Parameters
    ----------
    function : callable
        A module's function, or a `functools.partial` of one, so that it can be sent to a
        worker, as can items and results.
    items : iterable
        Taken as workers need them: only so many are waited for at a time.
    done : callable, optional
        Told of each item and its result, in order.

    Yields
    ------
    object
        The results, in the items' order.

    Raises
    ------
    EngineError
        When the scheduler can't be reached, has no workers, or these can't do the work.
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
    """Apply a function to each item for what it writes, or for what `done` does; see `mapped`."""
    for _ in mapped(function, items, done):
        pass


def over(read: Callable[[Any], object], done: Callable[..., object] | None = None) -> Map:
    """Return a `mapped` whose function gets what `read` makes of an item, read by the worker."""

    def mapped_over(function: Callable[..., R], items: Iterable[Any], /) -> Iterator[R]:
        return mapped(partial(_read, read, function), items, done)

    return mapped_over


def threads() -> int:
    """Return how many threads to use: one a core that this process may run on.

    Or ``PYTHON_CPU_COUNT``, by which Python itself overrides that number from 3.13 on.
    """
    told = os.environ.get("PYTHON_CPU_COUNT", "")
    if told.isdecimal() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read(read: Callable[[Any], object], function: Callable[..., R], item: object) -> R:
    return function(read(item))


@contextmanager
def _executor() -> Iterator[tuple[Executor, Callable[..., Any], int]]:
    """Give an executor, how a function is called on it, and how many tasks it should be given."""
    address = os.environ.get(ADDRESS)
    if address:
        from ridgeline.tables import cluster  # imported here: most runs need none

        with cluster.executor(address) as found:
            yield found
        return
    executor = ThreadPoolExecutor(threads())
    try:
        yield executor, _call, 2 * threads()
    finally:
        executor.shutdown(cancel_futures=True)


def _call(function: Callable[[T], R], item: T) -> R:
    return function(item)
