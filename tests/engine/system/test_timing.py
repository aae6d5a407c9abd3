"""The stopwatch: no second counts twice, none is lost between nested laps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.errors import ConfigError
from engine.system import timing
from engine.system.timing import Stopwatch, duration


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", clock)
    return clock.sleep


def test_laps_of_one_name_add_up(sleep: Callable[[float], None]) -> None:
    watch = Stopwatch()
    for seconds in (1, 2):
        with watch.lap("read"):
            sleep(seconds)
        sleep(10)
    assert watch.laps == {"read": 3}
    assert watch.wall == 23


def test_an_inner_lap_takes_its_time_from_the_outer_one(sleep: Callable[[float], None]) -> None:
    watch = Stopwatch()
    with watch.lap("train"):
        sleep(1)
        with watch.lap("ledger"):
            sleep(2)
            with watch.lap("disk"):
                sleep(4)
            sleep(8)
        sleep(16)
        with watch.lap("train"):
            sleep(32)
    assert watch.laps == {"train": 49, "ledger": 10, "disk": 4}
    assert sum(watch.laps.values()) == watch.wall


def test_a_lap_that_raises_is_counted(sleep: Callable[[float], None]) -> None:
    watch = Stopwatch()

    def fail() -> None:
        with watch.lap("outer"):
            sleep(1)
            with watch.lap("inner"):
                sleep(2)
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with watch.lap("next"):
        sleep(4)
    assert watch.laps == {"outer": 1, "inner": 2, "next": 4}


def test_since_tells_what_was_added(sleep: Callable[[float], None]) -> None:
    watch = Stopwatch()
    with watch.lap("read"):
        sleep(1)
    before = dict(watch.laps)
    assert watch.since(before) == {}
    with watch.lap("train"):
        sleep(5)
    with watch.lap("read"):
        sleep(2)
    assert watch.since(before) == {"read": 2, "train": 5}
    assert watch.since({}) == {"read": 3, "train": 5}


def test_moving_time_keeps_the_sum(sleep: Callable[[float], None]) -> None:
    watch = Stopwatch()
    with watch.lap("train"):
        sleep(5)
    watch.move(2, "train", "ray")
    assert watch.laps == {"train": 3, "ray": 2}


@pytest.mark.parametrize("text", ["7", "d", "-1d", "1y", "1.5h", "", "99999999d"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        duration(text, "older_than")
    assert str(refused.value) == f"older_than: {text!r} is no duration - write 7d, 12h, 90m or 30s"


def test_durations() -> None:
    found = [duration(text, "x").total_seconds() for text in ("30s", " 90m ", "12h", "7d", "2w")]
    assert found == [30, 5400, 43_200, 604_800, 1_209_600]
