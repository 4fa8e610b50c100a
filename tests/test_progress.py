import io
import sys
from types import SimpleNamespace

import pytest

from ridgeline.tables import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Time that passes when told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def shown(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, seconds: float
) -> str:
    """What is shown of a stage of 10 parts that takes so many seconds."""
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.bar("train", lambda: 1000) as done:
        for _ in range(10):
            clock.now += seconds / 10
            done(SimpleNamespace(size=100), rows=50_000)
    return stream.getvalue()


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_nothing_is_shown_of_what_takes_less_than_a_second(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO]
) -> None:
    assert shown(clock, monkeypatch, stream(), 0.99) == ""


def test_a_terminal_shows_rows_rate_and_time_left_on_one_line(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = shown(clock, monkeypatch, Terminal(), 20).split("\r")
    assert bars[0] == ""
    assert bars[1].startswith("train:  10%|")
    assert "50.0k/500k [00:02<00:18, 25.0k rows/s]" in bars[1]
    assert max(map(len, bars)) < 80
    assert bars[-1] == "\033[K"  # and leaves it empty
    assert not any("\n" in bar for bar in bars)


def test_a_log_gets_a_line_after_a_second_then_each_half_minute(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown(clock, monkeypatch, io.StringIO(), 80).splitlines() == [
        "train: 50.0k of about 500k rows, 6.25k rows/s, 01:12 left",
        "train: 250k of about 500k rows, 6.25k rows/s, 00:40 left",
        "train: 450k of about 500k rows, 6.25k rows/s, 00:08 left",
    ]


def test_a_log_gets_one_line_of_a_stage_of_seconds(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown(clock, monkeypatch, io.StringIO(), 5).splitlines() == [
        "train: 100k of about 500k rows, 100k rows/s, 00:04 left"
    ]


def test_the_work_is_sized_up_only_when_something_is_shown(clock: Clock) -> None:
    def fail() -> int:
        raise AssertionError

    with progress.bar("train", fail) as done:
        done(SimpleNamespace(size=1))
