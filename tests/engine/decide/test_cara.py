"""The three rules of CARA by hand: a point is worth 100, the champion was gated at 0.80."""

from __future__ import annotations

import pytest

from engine.decide import DecideConf
from engine.decide.cara import cumulative, periodic, threshold
from engine.decide.watchers import UNDECIDABLE
from tests.engine.decide.evidence import UNKNOWN, attempt, estimate, evidence, tracked

CONF = DecideConf(point_value=100, cara_threshold=250, cara_cumulative=600, cara_period=4)


@pytest.mark.parametrize(("realised", "cost", "acts"), [(0.776, 240, False), (0.774, 260, True), (0.83, 0, False)])
def test_the_threshold_is_on_the_newest_window(realised: float, cost: float, acts: bool) -> None:
    found = threshold(evidence(realised=estimate(realised)), CONF)
    assert found == (acts, f"the stale model costs {cost} EUR a window, the limit is 250")


@pytest.mark.parametrize(
    ("values", "total"),
    [((0.78, 0.78), 400), ((0.78, 0.78, 0.779), 610), ((0.78, 0.90, 0.77), 500), ((0.779, UNKNOWN, 0.76), 610)],
)
def test_the_sum_takes_no_credit_for_good_windows(values: tuple[float, ...], total: float) -> None:
    acts, reason = cumulative(tracked(*values), CONF)
    assert reason == f"the stale model has cost {total} EUR since the last attempt, the limit is 600"
    assert acts is (total >= 600)


def test_the_sum_begins_anew_with_an_attempt() -> None:
    assert cumulative(tracked(0.77, 0.77, 0.77), CONF)[0]
    assert not cumulative(tracked(0.77, 0.77, 0.77, attempts=(attempt(9),)), CONF)[0]


def test_what_is_undecidable_does_not_act() -> None:
    assert threshold(evidence(realised=UNKNOWN), CONF) == (False, UNDECIDABLE)
    assert threshold(evidence(baseline=None), CONF) == (False, UNDECIDABLE)
    assert cumulative(tracked(0.5, UNKNOWN), CONF) == (False, UNDECIDABLE)
    assert cumulative(tracked(), CONF) == (False, UNDECIDABLE)


def test_the_beat_does_not_move_with_an_attempt() -> None:
    for attempts in ((), (attempt(7),)):
        beats = [i for i in range(1, 13) if periodic(evidence(index=i, attempts=attempts), CONF)[0]]
        assert beats == [4, 8, 12]
    assert periodic(evidence(index=10), CONF)[1] == "2 windows past the beat of 4"
