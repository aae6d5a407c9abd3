"""A decay that is shown makes a retrain worth weighing, once, by the prices of the config; and no more than that."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from engine.decide import DecideConf, Evidence, decayed, decide
from engine.decide.expected import expected
from engine.records import Action, Money, from_plain, to_plain
from tests.engine.decide.evidence import UNKNOWN, attempt, estimate, tracked

# Two attempts were measured, so the plan decides; the newest window says that nothing was lost.
TRIED = tuple(attempt(at, gain=estimate(0.001), age=1, passed=False) for at in (2, 3))
CONF = DecideConf(point_value=150)


def seen(drop: float = 20.0, began: int = 8, **more: Any) -> Evidence:
    """A drop of so many points since window 8, of ten; a retrain now would be trained up to window 9."""
    known: dict[str, Any] = {"attempts": TRIED, "age": 4, "tuned_at": 9}
    shown = {"decayed": estimate(drop, 1.0, n=3), "decayed_at": began} if drop else {}
    return tracked(0.80, 0.80, 0.80, 0.79, 0.80, **(known | shown | more))


def test_the_plan_keeps_and_what_is_shown_acts() -> None:
    quiet, told = decide(seen(0.0), CONF), decide(seen(), CONF)
    assert quiet.action is Action.KEEP
    assert told.action is not Action.KEEP
    assert "; 20.0 points below its reference are shown over 3 windows" in told.reason
    assert "shown" not in quiet.reason
    brings = expected(seen(), CONF)
    assert brings.waiting.mean == pytest.approx(0.5 * 20 * 150 * 3)  # recovered x points x value x horizon
    assert brings.gain.mean == pytest.approx(0.25 * brings.waiting.mean)  # two of two failed: Beta(1, 3)


def test_it_is_a_price_and_no_order() -> None:
    """Where points are worth little, the champion is kept, and it is said what is shown; never stays never."""
    cheap = decide(seen(), dataclasses.replace(CONF, point_value=10.0))
    assert cheap.action is Action.KEEP
    assert "20.0 points below its reference are shown" in cheap.reason
    assert decide(seen(), DecideConf(policy="never", point_value=1e6)).action is Action.KEEP
    held = decide(seen(pending="challenger"), CONF)
    assert held.reason.startswith("challenger challenger is still in shadow")


def test_an_undecidable_newest_window_does_not_hide_it() -> None:
    lost = dataclasses.replace(seen(), realised=UNKNOWN)
    assert decide(dataclasses.replace(lost, decayed=None, decayed_at=None), CONF).action is Action.KEEP
    assert decide(lost, CONF).action is not Action.KEEP


@pytest.mark.parametrize(
    ("more", "waits"),
    [
        ({}, True),
        ({"began": 9}, True),
        ({"began": 10}, False),  # the newest labelled window is the hold-out: nothing to learn from yet
        ({"attempts": (*TRIED, attempt(9, passed=False))}, False),  # was trained up to window 8
        ({"attempts": (*TRIED, attempt(8, passed=False))}, True),  # was trained up to window 7
        ({"attempts": (*TRIED, attempt(9, passed=True, recalibrated=True))}, True),
        ({"drop": 0.0}, False),
        ({"decayed_at": None}, False),
    ],
)
def test_it_counts_until_an_attempt_has_learned_from_it(more: dict[str, Any], waits: bool) -> None:
    assert decayed.waits(seen(**more)) is waits
    known = seen(**more)
    plain = dataclasses.replace(known, decayed=None, decayed_at=None)
    assert (expected(known, CONF) != expected(plain, CONF)) is waits


def test_the_plan_stands_where_it_expects_more() -> None:
    small = seen(1.2)
    assert expected(small, CONF).gain.mean >= expected(seen(0.0), CONF).gain.mean
    collapsed = tracked(0.80, 0.80, 0.55, 0.55, 0.55, attempts=TRIED, age=4, decayed=estimate(1.5, 1.0), decayed_at=8)
    plain = dataclasses.replace(collapsed, decayed=None, decayed_at=None)
    assert expected(collapsed, CONF) == expected(plain, CONF)


def test_evidence_without_it_has_the_id_that_it_had() -> None:
    told = seen(0.0)
    plain = to_plain(told)
    del plain["decayed"], plain["decayed_at"]
    assert decide(from_plain(Evidence, plain), CONF).id == decide(told, CONF).id
    assert decide(seen(), CONF).id != decide(told, CONF).id
    assert decide(from_plain(Evidence, to_plain(seen())), CONF) == decide(seen(), CONF)


def test_what_cannot_be_known_of_it_does_not_act() -> None:
    unknown = dataclasses.replace(seen(), decayed=UNKNOWN)
    assert decide(unknown, CONF).action is Action.KEEP
    assert isinstance(expected(unknown, CONF).gain, Money)
