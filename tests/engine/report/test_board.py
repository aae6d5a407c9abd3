from __future__ import annotations

import heapq
import math
import random

import pytest

from engine.records import TrialState
from engine.report.board import ANEW, LEAST, RUNNING, Board, remaining
from tests.engine.report.sweeps import make_epoch, make_sweep, make_trial


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def board(total: int, *, budget: float | None = None, mode: str = "max") -> tuple[Board, Clock]:
    clock = Clock()
    return Board(make_sweep(mode=mode), total, budget, clock), clock


def test_running_trials_come_first_then_the_best() -> None:
    made, _ = board(9)
    for index, value in ((0, 0.7), (1, 0.9), (2, 0.8)):
        made.ended(make_trial(index, value))
    made.ended(make_trial(3, state=TrialState.FAILED))
    for index in (7, 5):
        made.begins(f"trial-{index:03d}", {"train.lr": 0.1}, {})
        made.epoch(f"trial-{index:03d}", make_epoch(1, 0.95 if index == 7 else math.nan))
    order = [line.trial[-1] for line in made.ordered()]
    assert order == ["5", "7", "1", "2", "0", "3"]
    best = made.best()
    assert best is not None
    assert (best.trial, best.state, best.best) == ("trial-007", RUNNING, 0.95)
    assert (made.count(RUNNING), made.count("failed")) == (2, 1)


def test_the_smallest_is_best_where_that_was_asked() -> None:
    made, _ = board(2, mode="min")
    made.ended(make_trial(0, 0.7))
    made.ended(make_trial(1, 0.6))
    assert [line.trial for line in made.ordered()] == ["trial-001", "trial-000"]
    assert made.best() is made.lines["trial-001"]


def test_the_best_of_a_trial_is_not_its_newest_and_a_retry_starts_over() -> None:
    made, clock = board(1)
    made.begins("t", {}, {})
    for epoch, value in ((1, 0.6), (2, 0.8), (3, 0.7)):
        clock.now += 1
        made.epoch("t", make_epoch(epoch, value))
    line = made.lines["t"]
    assert (line.epoch, line.newest, line.best, line.seconds) == (3, 0.7, 0.8, 3.0)
    made.epoch("t", make_epoch(1, 0.5))
    assert (line.epoch, line.newest, line.best, line.seconds) == (1, 0.5, 0.5, 1.0)


def play(rng: random.Random, total: int, workers: int, spread: float, epochs: int) -> list[tuple[bool, bool]]:
    """Let a sweep of log-normal trials run; at five moments, whether its true end lay (below, above) the estimate."""
    made, clock = board(total)
    events: list[tuple[float, int, int, float]] = []
    begun, done, looks = 0, 0, []

    def begin(at: float) -> None:
        nonlocal begun
        length = 100 * rng.lognormvariate(0, spread)
        for epoch in range(1, epochs + 1):
            heapq.heappush(events, (at + length * epoch / epochs, begun, epoch, length))
        begun += 1

    for _ in range(workers):
        begin(0.0)
    while events:
        clock.now, index, epoch, length = heapq.heappop(events)
        name = f"trial-{index:03d}"
        if epoch == 1:
            made.begins(name, {}, {})
        made.epoch(name, make_epoch(epoch, seconds=length / epochs))
        if epoch == epochs:
            made.ended(make_trial(index, seconds=length))
            done += 1
            if begun < total:
                begin(clock.now)
            if done in {round(total * share) for share in (0.2, 0.35, 0.5, 0.65, 0.8)}:
                looks.append((clock.now, made.left()))
    return [(clock.now - at < left[0], clock.now - at > left[1]) for at, left in looks if left]


@pytest.mark.parametrize(
    ("total", "workers", "spread", "epochs"), [(20, 2, 0.3, 8), (40, 8, 0.5, 8), (24, 1, 0.5, 8), (40, 4, 1.0, 1)]
)
def test_the_remaining_time_is_honest(
    total: int, workers: int, spread: float, epochs: int, record_property: pytest.RecordProperty
) -> None:
    """The true end lies within what was told, about as often as was promised, and is not always missed on one side."""
    rng = random.Random(1)
    looks = [look for _ in range(60) for look in play(rng, total, workers, spread, epochs)]
    missed = sum(below or above for below, above in looks) / len(looks)
    record_property(
        "the end of a sweep lies in the interval that was told (asked: 9 in 10)",
        f"{1 - missed:.1%} of {len(looks)} moments, {total} trials, {workers} at once",
    )
    assert missed < 0.12  # 0.03 to 0.10 with three seeds
    assert sum(above for _, above in looks) / len(looks) < 0.1


def test_equal_trials_leave_no_doubt() -> None:
    low, high = remaining([10.0] * 5, [], 5, 1.0) or (0.0, 0.0)
    assert low == pytest.approx(50, rel=0.01)
    assert high == pytest.approx(50, rel=0.01)
    low, high = remaining([10.0] * 4 + [10.001], [4.0, 4.0], 2, 1.6) or (0.0, 0.0)
    assert low <= 16 / 0.8 <= high * 1.001  # two lanes, each 0.8 of its time at work: 6 s, then 10 s


def test_nothing_is_told_that_nothing_supports() -> None:
    assert remaining([10.0] * (LEAST - 1), [], 5, 1.0) is None
    assert remaining([10.0] * LEAST, [], 5, 0.0) is None
    assert remaining([], [], 0, 0.0) == (0.0, 0.0)
    assert remaining([10.0] * LEAST, [], -3, 1.0) == (0.0, 0.0)  # more trials than were planned
    found = remaining([0.0] * LEAST, [0.0], 100_000, 1.0)
    assert found is not None
    assert all(math.isfinite(end) for end in found)


def finish(made: Board, clock: Clock, indices: range, seconds: float = 10.0) -> None:
    for index in indices:
        name = f"trial-{index:03d}"
        clock.now += seconds
        made.begins(name, {}, {})
        made.epoch(name, make_epoch(1, seconds=seconds))
        made.ended(make_trial(index, seconds=seconds))


def test_trials_of_an_earlier_command_say_nothing_of_this_one() -> None:
    """They are not timed: the machine may have been another one."""
    made, clock = board(20)
    for index in range(10):
        made.ended(make_trial(index))
    assert made.left() is None
    clock.now = ANEW
    finish(made, clock, range(10, 15))
    left = made.left()
    assert left is not None
    assert left[0] <= 50 <= left[1] * 1.01


def test_epochs_recalled_from_a_checkpoint_are_no_work() -> None:
    """They come at once; taken for work they would say that many trials run at once."""
    made, clock = board(12)
    for index in range(6):
        name = f"trial-{index:03d}"
        made.begins(name, {}, {})
        for epoch in range(1, 8):
            made.epoch(name, make_epoch(epoch, seconds=100.0))
        clock.now += 100
        made.epoch(name, make_epoch(8, seconds=100.0))
        made.ended(make_trial(index, seconds=100.0))
    left = made.left()
    assert left is not None
    assert left[0] <= 600 <= left[1] * 1.01


def test_the_estimate_runs_down_between_two_of_its_kind_and_ends_with_the_budget() -> None:
    made, clock = board(100, budget=200.0)
    finish(made, clock, range(10))
    assert made.left() == pytest.approx((100, 100), rel=0.01)  # 900 s of work, 100 s of budget
    clock.now += 4
    assert made.left() == pytest.approx((96, 96), rel=0.01)
    clock.now += 1000
    assert made.left() == (0.0, 0.0)
