from __future__ import annotations

import math
from dataclasses import replace

import pytest

from engine.records import Epoch, Trial, TrialState
from engine.train import front

MODES = ("max", "min")


def make(index: int, *values: float, state: TrialState = TrialState.FINISHED, weights: str = "w") -> Trial:
    """A trial whose first epoch, the best, has these values."""
    curve = (
        Epoch(epoch=1, train_loss=0.5, value=values[0], seconds=1.0, others=values[1:]),
        Epoch(epoch=2, train_loss=0.5, value=values[0] - 0.1, seconds=1.0, others=tuple(-9.0 for _ in values[1:])),
    )
    return Trial(
        id=f"trial-{index:03d}",
        params={},
        state=state,
        reason="",
        curve=curve,
        best_epoch=1,
        value=values[0],
        seconds=1.0,
        weights=weights,
    )


def test_the_front_holds_what_nobody_beats() -> None:
    a, b, c = make(0, 0.9, 0.5), make(1, 0.8, 0.3), make(2, 0.7, 0.1)
    beaten, twin = make(3, 0.75, 0.3), make(4, 0.9, 0.5)
    assert front.of((a, beaten, b, twin, c), MODES) == [a, b, twin, c]
    assert front.of((), MODES) == []


def test_the_one_that_gives_up_least_is_chosen() -> None:
    a, b, c = make(0, 0.9, 0.5), make(1, 0.85, 0.2), make(2, 0.7, 0.1)
    assert front.chosen((a, b, c), MODES) == b  # it loses a quarter of either range; a and c all of one
    assert front.chosen((a, c), MODES) == a  # equal losses: the first metric
    twin = replace(a, id="trial-009")
    assert front.chosen((twin, a), MODES) == twin  # equal in all: the one that began first
    assert front.chosen((a,), MODES) == a
    assert front.chosen((), MODES) is None


def test_one_metric_needs_no_front() -> None:
    a, b = make(0, 0.9), make(1, 0.8)
    assert front.chosen((b, a), ("max",)) == a
    assert front.chosen((b, a), ("min",)) == b


@pytest.mark.parametrize(
    "other",
    [
        make(9, 0.99, 0.0, state=TrialState.STOPPED),
        make(9, 0.99, 0.0, state=TrialState.FAILED),
        make(9, 0.99, math.nan),
        make(9, math.nan, 0.0),
        make(9, 0.99, -math.inf),
        make(9, 0.99),  # of a sweep that did not compute the second metric
        make(9, 0.99, 0.0, weights=""),
    ],
)
def test_what_was_stopped_or_cannot_be_compared_is_never_chosen(other: Trial) -> None:
    good = make(0, 0.6, 0.5)
    assert front.of((other, good), MODES) == [good]
    assert front.chosen((other, good), MODES) == good
    assert front.chosen((other,), MODES) is None
