"""A policy over a past, worked by hand: a point is 0.01 and worth 100, an attempt costs 300 and 2 an hour."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.backtest.oracle import scripted
from engine.backtest.play import Span, play, policy
from engine.decide import Choice, DecideConf, Evidence
from engine.records import Action
from tests.engine.backtest.matrix import decaying

CONF = DecideConf(review_cost=300, hour_price=2, point_value=100)
SPAN = Span(first=2, last=7)


def test_never_loses_what_newer_models_would_have_kept() -> None:
    """The champion of window 2 is model 0. Labels come a window late, so window w could be served by model w - 3."""
    played = play(decaying(8), CONF, SPAN, policy(replace(CONF, policy="never")))
    assert played.served == (0,) * 6
    assert played.below == pytest.approx((0, 0, 1, 2, 3, 4))
    assert (played.spent, played.attempts) == (0, ())
    assert played.cost == played.lost == pytest.approx(1000)
    assert (played.degraded(1.0 - 1e-9), played.degraded(2.0 - 1e-9)) == (4, 3)


def test_a_model_serves_from_the_window_after_its_attempt() -> None:
    """At window 4 the newest labelled window is 3: model 2 is made, and judged on window 3."""
    played = play(decaying(8), CONF, SPAN, lambda evidence: scripted(evidence, frozenset({4})))
    assert played.served == (0, 0, 0, 2, 2, 2)
    assert played.below == pytest.approx((0, 0, 1, 0, 1, 2))
    (attempt,) = played.attempts
    assert (attempt.index, attempt.passed, attempt.retuned, attempt.age, attempt.hours) == (4, True, False, 2, 1.0)
    assert attempt.gain is not None
    assert attempt.gain.value == pytest.approx(0.02)
    assert played.spent == pytest.approx(302)
    assert played.promoted == 1


def test_a_shadow_delays_service_and_holds_the_policy() -> None:
    seen: list[str] = []

    def chooser(evidence: Evidence) -> Choice:
        seen.append(evidence.pending)
        return scripted(evidence, frozenset({4}))

    played = play(decaying(8, shadow=2), CONF, SPAN, chooser)
    assert played.served == (0, 0, 0, 0, 0, 2)
    assert [bool(pending) for pending in seen] == [False, False, False, True, True, False]


def test_a_failed_attempt_is_paid_and_changes_nothing() -> None:
    played = play(decaying(8, fails=frozenset({2})), CONF, SPAN, lambda e: scripted(e, frozenset({4})))
    assert played.served == (0,) * 6
    assert (played.spent, played.promoted, played.attempts[0].passed) == (pytest.approx(302), 0, False)


def test_a_retrain_on_the_champions_own_windows_fails() -> None:
    played = play(decaying(8), CONF, SPAN, lambda evidence: scripted(evidence, frozenset({2})))
    assert [(a.passed, a.gain, a.age) for a in played.attempts] == [(False, None, 0)]


@pytest.mark.parametrize("lag", [1, 2, 3])
def test_no_policy_sees_a_label_before_it_is_in(lag: int) -> None:
    past, seen = decaying(9, lag=lag), []

    def chooser(evidence: Evidence) -> Choice:
        seen.append(max(entry.window for entry in evidence.track) <= max(1, evidence.index - lag))
        assert all(window <= max(1, evidence.index - lag) for _, window in past.asked)
        return scripted(evidence, frozenset({4, 6}))

    play(past, CONF, Span(first=2, last=8), chooser)
    assert len(seen) == 7
    assert all(seen)


def test_the_track_begins_anew_with_a_champion_and_old_attempts_are_known() -> None:
    told: list[Evidence] = []

    def chooser(evidence: Evidence) -> Choice:
        told.append(evidence)
        return Choice(action=Action.RETUNE if evidence.index == 4 else Action.KEEP, reason="")

    before = play(decaying(8), CONF, SPAN, lambda evidence: scripted(evidence, frozenset({3})))
    play(decaying(8), CONF, SPAN, chooser, before)
    assert [[entry.window for entry in evidence.track] for evidence in told] == [
        [1],
        [1, 2],
        [1, 2, 3],
        [4],
        [4, 5],
        [4, 5, 6],
    ]
    assert [evidence.model for evidence in told] == ["0", "0", "0", "2", "2", "2"]
    assert [evidence.age for evidence in told] == [0, 1, 2, 1, 2, 3]
    assert [evidence.tuned_at for evidence in told] == [1, 1, 1, 4, 4, 4]
    assert [len(evidence.attempts) for evidence in told] == [1, 1, 1, 2, 2, 2]
    assert told[2].baseline is not None
    assert told[2].realised is not None
    assert (told[2].baseline.value, told[2].realised.value) == (pytest.approx(0.80), pytest.approx(0.78))
    assert [evidence.drifted for evidence in told] == [2, 3, 4, 3, 4, 4]


def test_the_policies_play_as_the_loop_decides() -> None:
    """calendar=2 after the founding in window 1: attempts in 3, 5 and 7, guards and scopes as decide has them."""
    played = play(decaying(8), CONF, SPAN, policy(replace(CONF, policy="calendar", calendar=2, retune_after=4)))
    assert [(attempt.index, attempt.retuned) for attempt in played.attempts] == [(3, False), (5, True), (7, False)]
    assert played.spent == pytest.approx(302 + 308 + 302)


def test_patience_counts_in_a_past_as_in_the_loop() -> None:
    conf = replace(CONF, policy="performance", points=0.5, patience=2)
    played = play(decaying(8), conf, SPAN, policy(conf))
    assert [attempt.index for attempt in played.attempts][:1] == [4]  # one point is seen in 3: wanted in 3 and 4
