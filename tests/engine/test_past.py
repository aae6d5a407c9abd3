"""What the ledger tells of the time before a window, on ledgers written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.past import Past, open_window
from engine.promote.ledger import Ledger
from engine.records import Route, Stage, StageChange
from tests.engine.world import Answer, World

INDEX = {f"w{i}": i for i in range(9)}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "world") as opened:
        yield opened


def move(ledger: Ledger, model: str, source: Stage | None, target: Stage, window: str = "", **more: object) -> None:
    id = f"{model}-{target.value}-{window}"
    change = StageChange(id=id, model=model, source=source, target=target, reason="test", window=window, **more)  # type: ignore[arg-type]
    ledger.change(change)


def enter(ledger: Ledger, model: str, window: str, *, upto: Stage = Stage.PRODUCTION) -> None:
    """A new model, by a person's word, straight to a stage."""
    move(ledger, model, None, Stage.CANDIDATE, window)
    move(ledger, model, Stage.CANDIDATE, upto, window, route=Route.MANUAL, actor="ada")


def test_nothing_was_before() -> None:
    class Empty:
        def history(self) -> list[object]:
            return []

    past = Past(Empty(), "w0")  # type: ignore[arg-type]
    assert (past.champion, past.pending, past.frozen, past.blocked, past.metrics) == ("", "", "", frozenset(), [])
    assert past.attempts(INDEX, "roc_auc_score") == ()
    assert past.tuned_at(INDEX) is None


def test_the_window_at_hand_is_not_past(ledger: Ledger) -> None:
    enter(ledger, "a", "w1")
    enter(ledger, "b", "w2")
    assert [Past(ledger, window).champion for window in ("w1", "w2", "w3")] == ["b", "a", "b"]


def test_a_model_that_waits(ledger: Ledger) -> None:
    enter(ledger, "a", "w1")
    enter(ledger, "b", "w2", upto=Stage.PREPRODUCTION)
    assert (Past(ledger, "w3").champion, Past(ledger, "w3").pending) == ("a", "b")
    move(ledger, "b", Stage.PREPRODUCTION, Stage.RETIRED, "w3", route=Route.MANUAL, actor="ada")
    assert (Past(ledger, "w3").pending, Past(ledger, "w4").pending) == ("b", "")


def test_a_person_in_the_middle_of_the_window_at_hand(ledger: Ledger) -> None:
    """b was promoted in w2 and, before w2 was over, taken back by hand: rows of no window, which count at once."""
    enter(ledger, "a", "w1")
    enter(ledger, "b", "w1", upto=Stage.PREPRODUCTION)
    ledger.append("verdict", "v", {"model": "b", "window": "w2", "outcome": "pass"})
    move(ledger, "b", Stage.PREPRODUCTION, Stage.PRODUCTION, "w2")
    change = StageChange(
        id="back",
        model="a",
        source=Stage.RETIRED,
        target=Stage.PRODUCTION,
        reason="test",
        window="",
        actor="ada",
        route=Route.ROLLBACK,
    )
    ledger.move(change, displaced=Stage.QUARANTINED)
    past = Past(ledger, "w2")
    assert (past.champion, past.pending) == ("a", "")


def test_a_freeze_and_its_end(ledger: Ledger) -> None:
    ledger.append("freeze", "1", {"frozen": True, "reason": "too many"}, window="w1")
    assert (Past(ledger, "w1").frozen, Past(ledger, "w2").frozen) == ("", "too many")
    ledger.append("freeze", "2", {"frozen": False, "reason": "seen"})
    assert Past(ledger, "w2").frozen == ""


def test_attempts_of_a_real_loop(ended: tuple[World, Answer]) -> None:
    """The founding is no attempt; a rejected retrain and a retune that waits, then has passed."""
    world, loop = ended
    with world.ledger() as ledger:
        names = [f"2026-0{i}" for i in range(1, 9)]
        index_of = {name: i for i, name in enumerate(names)}
        then, now = Past(ledger, "2026-07"), Past(ledger, "2026-08")
        waiting = [(a.index, a.retuned, a.passed) for a in then.attempts(index_of, "roc_auc_score")]
        passed = [(a.index, a.retuned, a.passed) for a in now.attempts(index_of, "roc_auc_score")]
        assert waiting == [(4, False, False), (5, True, None)]
        assert passed == [(4, False, False), (5, True, True)]
        assert then.pending == now.champion == loop.value["champion"]
        attempts = now.attempts(index_of, "roc_auc_score")
        assert all(a.hours > 0 and a.gain is not None and a.gain.name == "roc_auc_score" for a in attempts)
        assert [a.age for a in attempts] == [2, 3]
        assert (Past(ledger, "2026-06").tuned_at(index_of), now.tuned_at(index_of)) == (1, 5)
        made = now.candidate(now.champion)
        assert made is not None
        baseline = now.baseline(now.champion, "roc_auc_score")
        assert baseline is not None
        assert baseline.value == world.cycles()["2026-06"].evaluation.metric("roc_auc_score").value  # type: ignore[union-attr]
        assert now.baseline(now.champion, "f1_score") is None
        report = world.cycles()["2026-06"].evaluation
        assert report is not None
        assert (now.holdout_uses(report.fingerprint), now.holdout_uses("other")) == (1, 0)


def test_what_comes_after_the_opening_is_not_past(ledger: Ledger) -> None:
    """The look at the ledger is a row: whoever runs the window later, or again, sees the same."""
    enter(ledger, "a", "w1")
    open_window(ledger, "cycle of w2", "w2", 2)
    move(ledger, "a", Stage.PRODUCTION, Stage.QUARANTINED, route=Route.MANUAL, actor="ada")
    ledger.append("freeze", "f", {"frozen": True, "reason": "incident"})
    open_window(ledger, "cycle of w2", "w2", 2)
    assert (Past(ledger, "w2").champion, Past(ledger, "w2").frozen) == ("a", "")
    assert (Past(ledger, "w3").champion, Past(ledger, "w3").frozen) == ("", "incident")
