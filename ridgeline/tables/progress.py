"""How far a stage is, for whoever waits: a bar on a terminal, a line now and then in a log."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from tqdm import tqdm

BAR_SECONDS, LOG_SECONDS = 0.1, 30  # between what is shown; the first after a second
CLEAR = "\r\033[K"
LOG_LINE = "{desc}: {n_fmt} of about {total_fmt} rows, {rate_fmt}, {remaining} left"


class Done(Protocol):
    """What is told of work that is done; see `bar`."""

    def __call__(self, part: "Sized", result: object = None, rows: int | None = None) -> None:
        """Tell of a part, and how many rows it had, if that is not its size."""


class Sized(Protocol):
    """What has a share of the work."""

    @property
    def size(self) -> int:
        """How much it is, in the unit of the whole."""


@contextmanager
def bar(stage: str, size: Callable[[], int]) -> Iterator[Done]:
    """Give a function that tells of work done; nothing is shown of what takes less than a second.

    Parameters
    ----------
    stage : str
        What the bar is called.
    size : callable
        Returns how much there is to do, in the unit of the parts' sizes. It is only called
        when there is something to show.

    Yields
    ------
    callable
        Takes a part that is done; see `Done`.
    """
    terminal = sys.stderr.isatty()
    pause = BAR_SECONDS if terminal else LOG_SECONDS
    started = time.monotonic()
    due = started + 1
    done = seen = total = 0

    def add(part: Sized, result: object = None, rows: int | None = None) -> None:  # noqa: ARG001 - engine.mapped tells of it
        nonlocal done, seen, total, due
        done += part.size
        seen += part.size if rows is None else rows
        now = time.monotonic()
        if now < due:
            return
        due, total = now + pause, total or size()
        told = tqdm.format_meter(
            seen,
            round(seen * max(total / done, 1)) if done else None,
            now - started,
            prefix=stage,
            unit=" rows",
            unit_scale=True,
            ncols=shutil.get_terminal_size().columns - 1 if terminal else None,
            bar_format=None if terminal else LOG_LINE,
        )
        print(
            f"\r{told}" if terminal else told,
            end="" if terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    try:
        yield add
    finally:
        if terminal and due > started + 1:
            print(CLEAR, end="", file=sys.stderr, flush=True)
