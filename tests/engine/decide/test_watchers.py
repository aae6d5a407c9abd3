"""Policies that watch one number, on cases worked by hand: a point is 0.01, the champion was gated at 0.80."""

from __future__ import annotations

import math

import pytest

from engine.decide import DecideConf
from engine.decide.watchers import UNDECIDABLE, cusum, drift, losses, performance
from engine.records import Estimate
from tests.engine.decide.evidence import UNKNOWN, attempt, estimate, evidence, tracked

CONF = DecideConf(cusum_slack=1.0, cusum_limit=4.0, points=3.0, drift_share=0.25)


@pytest.mark.parametrize(("drifted", "acts"), [(0, False), (1, False), (2, True), (8, True)])
def test_drift_acts_on_the_share_of_columns(drifted: int, acts: bool) -> None:
    found, reason = drift(evidence(drifted=drifted, columns=8), CONF)
    assert found is acts
    assert reason == f"{drifted} of 8 columns moved ({drifted / 8:.0%}), the limit is 25%"


def test_drift_without_columns_is_no_drift() -> None:
    assert drift(evidence(drifted=0, columns=0), CONF) == (False, "no column was compared yet")


@pytest.mark.parametrize(("realised", "acts"), [(0.80, False), (0.771, False), (0.769, True), (0.5, True)])
def test_performance_acts_on_points_lost(realised: float, acts: bool) -> None:
    found, reason = performance(evidence(realised=estimate(realised)), CONF)
    assert found is acts
    assert reason.startswith(f"{(0.80 - realised) * 100:+.1f} +- 0.3 points lost, the limit is 3")


def test_an_error_is_lost_upwards() -> None:
    assert performance(evidence(greater_is_better=False, realised=estimate(0.84)), CONF)[0]
    assert not performance(evidence(greater_is_better=False, realised=estimate(0.70)), CONF)[0]


@pytest.mark.parametrize("realised", [None, UNKNOWN, estimate(math.inf)])
def test_performance_that_is_undecidable_does_not_act(realised: Estimate | None) -> None:
    assert performance(evidence(realised=realised), CONF) == (False, UNDECIDABLE)


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ((0.78,), 1.0),  # 2 lost, 1 of them beyond the slack
        ((0.78, 0.78, 0.78), 3.0),
        ((0.77, 0.84, 0.77), 2.0),  # a good window empties the sum, it does not go below 0
        ((0.78, 0.79, 0.761), 3.9),  # 1, 1 + 0, 1 + 2.9
        ((0.78, 0.79, 0.759), 4.1),
    ],
)
def test_cusum_by_hand(values: tuple[float, ...], total: float) -> None:
    acts, reason = cusum(tracked(*values), CONF)
    assert reason == f"the sum of points lost beyond 1 a window is {total:.1f}, the limit is 4"
    assert acts is (total > 4)


def test_cusum_begins_anew_with_an_attempt() -> None:
    """Seen in windows 8, 9 and 10: an attempt in window 9 leaves the last alone."""
    values = (0.77, 0.77, 0.77)
    assert cusum(tracked(*values), CONF)[0]
    held = cusum(tracked(*values, attempts=(attempt(9),)), CONF)
    assert held == (False, "the sum of points lost beyond 1 a window is 2.0, the limit is 4")


def test_labels_that_come_late_count_when_they_come() -> None:
    """Windows 6, 7 and 8, seen in 8, 9 and 10: the attempt in window 8 had not seen windows 7 and 8."""
    late = tracked(0.77, 0.77, 0.77, lag=2, attempts=(attempt(8),))
    assert [round(lost.mean, 6) for lost in losses(late, CONF)] == [3.0, 3.0]


def test_an_undecidable_window_adds_nothing_and_as_the_newest_holds() -> None:
    assert cusum(tracked(0.77, UNKNOWN, 0.769), CONF)[0]
    assert cusum(tracked(0.5, 0.5, UNKNOWN), CONF) == (False, UNDECIDABLE)
    assert cusum(tracked(), CONF) == (False, UNDECIDABLE)
    assert cusum(tracked(0.5, baseline=None), CONF) == (False, UNDECIDABLE)
