"""Show a stage's progress: a bar on a terminal, an occasional line in a log."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from tqdm import tqdm

BAR_SECONDS, LOG_SECONDS = 0.1, 30  # between updates; the first comes after one second
CLEAR = "\r\033[K"
LOG_LINE = "{desc}: {n_fmt} of about {total_fmt} rows, {rate_fmt}, {remaining} left"


class Done(Protocol):
    """The function that `bar` yields."""

    def __call__(self, part: "Sized", result: object = None, rows: int | None = None) -> None:
        """Report a finished part, and its number of rows if that differs from its size."""


class Sized(Protocol):
    """A part of the work."""

    @property
    def size(self) -> int:
        """Its size, in the unit of the total."""


@contextmanager
def bar(stage: str, size: Callable[[], int]) -> Iterator[Done]:
    """Yield a function that reports progress; nothing is shown during the first second.

    Parameters
    ----------
    stage : str
        The bar's label.
    size : callable
        Returns the total in the unit of the parts' sizes; only called if something is shown.
    """
    terminal = sys.stderr.isatty()
    before, after = ("\r", "") if terminal else ("", "\n")
    pause = BAR_SECONDS if terminal else LOG_SECONDS
    started = time.monotonic()
    due = started + 1
    done = seen = total = 0

    def add(part: Sized, result: object = None, rows: int | None = None) -> None:  # noqa: ARG001 - engine.mapped passes it
        nonlocal done, seen, total, due
        done += part.size
        seen += part.size if rows is None else rows
        now = time.monotonic()
        if now < due:
            return
        due, total = now + pause, total or size()
        line = tqdm.format_meter(
            seen,
            round(seen * max(total / done, 1)) if done else None,
            now - started,
            prefix=stage,
            unit=" rows",
            unit_scale=True,
            ncols=shutil.get_terminal_size().columns - 1 if terminal else None,
            bar_format=None if terminal else LOG_LINE,
        )
        print(f"{before}{line}", end=after, file=sys.stderr, flush=True)

    try:
        yield add
    finally:
        if terminal and due > started + 1:
            print(CLEAR, end="", file=sys.stderr, flush=True)
