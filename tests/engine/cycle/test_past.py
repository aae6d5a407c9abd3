"""What the ledger tells of the time before a window, on ledgers written by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.cycle.past import Past, open_window
from engine.gate import GateConf
from engine.monitor.conf import MonitorConf
from engine.monitor.risk import begin
from engine.promote.ledger import Ledger
from engine.records import (
    Cycle,
    Look,
    MonitorReport,
    Outcome,
    Performance,
    Route,
    Stage,
    StageChange,
    Verdict,
    Wear,
    to_plain,
)
from tests.engine.cycles import cycle, drift_report, estimate
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
        assert [a.lost for a in attempts] == [_lost(world, window) for window in ("2026-05", "2026-06")]
        assert (Past(ledger, "2026-06").tuned_at(index_of), now.tuned_at(index_of)) == (1, 5)
        made = now.candidate(now.champion)
        assert made is not None
        baseline = now.baseline(now.champion, "roc_auc_score")
        assert baseline is not None
        assert baseline.value == world.cycles()["2026-06"].evaluation.metric("roc_auc_score").value  # type: ignore[union-attr]
        assert now.baseline(now.champion, "f1_score") is None
        report = world.cycles()["2026-06"].evaluation
        assert report is not None
        worn = now.wear(report, 7, index_of, GateConf())
        assert (worn.uses, worn.windows) == (1, 3)  # used in the cycle of 2026-06, and now is that of 2026-08
        assert worn.best["roc_auc_score"] == max(e.value for e in (report.metrics[0], report.champion_metrics[0]))
        other = dataclasses.replace(report, fingerprint="other", window="other")
        assert now.wear(other, 7, index_of, GateConf()).uses == 0


def _lost(world: World, window: str) -> float:
    """What the loop's decision in a window had seen as lost."""
    told = [row.payload["evidence"] for row in world.rows("inputs") if "conf" in row.payload]
    (evidence,) = [found for found in told if found["window"] == window]
    return float(evidence["baseline"]["value"] - evidence["realised"]["value"])


def watched(window: str, model: str, labelled: str, value: float) -> Cycle:
    """A cycle that saw a model on a window whose labels had come in."""
    seen = Performance(model=model, window=labelled, n_rows=9, metrics=(estimate(value), estimate(0.5, "f1_score")))
    report = MonitorReport(window=window, model=model, baseline=drift_report(), consecutive=None, performance=seen)
    return cycle(id=window, window=window, monitor=report)


def test_the_track_is_of_one_champion_window_by_window(ledger: Ledger) -> None:
    """Labels come two windows late; in w5 those of w3 had not come yet, and w2 was seen again."""
    seen = [watched("w3", "a", "w1", 0.7), watched("w4", "b", "w2", 0.8), watched("w5", "b", "w2", 0.9)]
    for one in (*seen, cycle(id="w6", window="w6", monitor=None)):
        ledger.append("cycle", one.id, to_plain(one), window=one.window)
    now = watched("w7", "b", "w5", 0.75)
    track = Past(ledger, "w7").track(now, "b", "roc_auc_score", INDEX)
    assert [(found.at, found.window, found.estimate.value) for found in track] == [(4, 2, 0.8), (7, 5, 0.75)]
    assert Past(ledger, "w7").track(now, "c", "roc_auc_score", INDEX) == ()
    assert Past(ledger, "w7").track(now, "b", "log_loss", INDEX) == ()


def test_the_risk_is_the_newest_of_that_model(ledger: Ledger) -> None:
    """In w6 the champion of before was looked at once more, and in w7 risk was not tracked."""
    conf, units = MonitorConf(), np.full(200, 0.1)
    for number, (window, model) in enumerate((("w4", "a"), ("w5", "b"), ("w6", "a"))):
        risk = begin("brier", f"w{number}", units, "row", conf)
        one = watched(window, model, "w1", 0.7)
        assert one.monitor is not None
        one = dataclasses.replace(one, monitor=dataclasses.replace(one.monitor, risk=risk))
        ledger.append("cycle", one.id, to_plain(one), window=window)
    one = watched("w7", "a", "w1", 0.7)
    ledger.append("cycle", one.id, to_plain(one), window="w7")
    past = Past(ledger, "w8")
    found = {model: past.risk(model) for model in ("a", "b", "c")}
    assert {model: risk and risk.source_window for model, risk in found.items()} == {"a": "w2", "b": "w1", "c": None}
    assert found["b"] == begin("brier", "w1", units, "row", conf)


def test_patience_is_remembered_by_the_newest_decision(ledger: Ledger) -> None:
    for window, more in (("w1", {"wanted": 2}), ("w2", {"wanted": 3}), ("w3", {})):
        ledger.append("decision", window, {"action": "keep", **more}, window=window)
    assert [Past(ledger, window).wanted for window in ("w3", "w4")] == [3, 0]
    assert Past(ledger, "w9").wanted == 0


def test_what_comes_after_the_opening_is_not_past(ledger: Ledger) -> None:
    """The look at the ledger is a row: whoever runs the window later, or again, sees the same."""
    enter(ledger, "a", "w1")
    open_window(ledger, "cycle of w2", "w2", 2)
    move(ledger, "a", Stage.PRODUCTION, Stage.QUARANTINED, route=Route.MANUAL, actor="ada")
    ledger.append("freeze", "f", {"frozen": True, "reason": "incident"})
    open_window(ledger, "cycle of w2", "w2", 2)
    assert (Past(ledger, "w2").champion, Past(ledger, "w2").frozen) == ("a", "")
    assert (Past(ledger, "w3").champion, Past(ledger, "w3").frozen) == ("", "incident")


def look(ledger: Ledger, model: str, window: str, number: int, *, champion: str = "a", most: int = 3) -> Verdict:
    """An undecided look of the shadow gate."""
    found = Verdict(
        gate="shadow",
        model=model,
        champion=champion,
        window=window,
        outcome=Outcome.INCONCLUSIVE,
        reason="",
        look=Look(number=number, most=most, spending="pocock", futility=0.0),
    )
    id = f"{model}-{champion}-{window}"
    ledger.append("verdict", id, to_plain(found), window=window, model=model)
    return found


def test_looks_are_those_since_the_challenger_came_beside_this_champion(ledger: Ledger) -> None:
    enter(ledger, "a", "w1")
    enter(ledger, "b", "w2", upto=Stage.PREPRODUCTION)
    look(ledger, "b", "w3", 1)
    move(ledger, "b", Stage.PREPRODUCTION, Stage.RETIRED, "w4", route=Route.MANUAL, actor="ada")
    move(ledger, "b", Stage.RETIRED, Stage.CANDIDATE, "w4", route=Route.MANUAL, actor="ada")
    move(ledger, "b", Stage.CANDIDATE, Stage.PREPRODUCTION, "w5", route=Route.MANUAL, actor="ada")
    assert Past(ledger, "w6").looks("b", "a") == []
    look(ledger, "b", "w6", 1, champion="z")
    seen = look(ledger, "b", "w7", 1)
    assert Past(ledger, "w8").looks("b", "a") == [seen]
    assert Past(ledger, "w7").looks("b", "a") == []


@pytest.mark.parametrize(("number", "passed"), [(1, None), (3, False)])
def test_an_attempt_that_waits_for_its_next_look_has_not_failed(
    ledger: Ledger, number: int, passed: bool | None
) -> None:
    made = dataclasses.replace(cycle().candidate, model="b")  # type: ignore[type-var]
    ledger.append("candidate", "c", to_plain(made), window="w2", model="b")
    look(ledger, "b", "w3", number)
    assert [attempt.passed for attempt in Past(ledger, "w4").attempts(INDEX, "roc_auc_score")] == [passed]


def evaluated(ledger: Ledger, id: str, *windows: str, fingerprint: str, auc: float, kind: str = "evaluation") -> None:
    """An evaluation of the rows of some windows, in the cycle of w3."""
    known = cycle().evaluation
    assert known is not None
    found = dataclasses.replace(
        known,
        window=windows[-1],
        windows=windows if len(windows) > 1 else (),
        fingerprint=fingerprint,
        metrics=(estimate(auc), estimate(0.4, "log_loss")),
        champion_metrics=(estimate(0.7), estimate(0.5, "log_loss")),
    )
    ledger.append(kind, id, to_plain(found), window="w3", model="b")


def test_wear_counts_shared_rows_in_whatever_set_they_came(ledger: Ledger) -> None:
    evaluated(ledger, "1", "w1", fingerprint="f", auc=0.75)
    evaluated(ledger, "2", "w1", fingerprint="f", auc=0.72, kind="shadow")
    evaluated(ledger, "3", "w1", fingerprint="late labels", auc=0.9)
    evaluated(ledger, "4", "w1", "w2", fingerprint="both", auc=0.9, kind="shadow")
    evaluated(ledger, "5", "w8", fingerprint="apart", auc=0.9)
    base = cycle().evaluation
    assert base is not None
    one = dataclasses.replace(base, window="w1", fingerprint="f")
    found = Past(ledger, "w5").wear(one, 5, INDEX, GateConf(wear="ladder", max_holdout_uses=9))
    assert (found.way, found.uses, found.limit, found.windows) == ("ladder", 4.0, 9, 3)
    assert found.best == {"roc_auc_score": 0.75, "log_loss": 0.4}  # of just these rows, each the better way
    both = dataclasses.replace(base, window="w2", windows=("w1", "w2"), fingerprint="g")
    assert Past(ledger, "w5").wear(both, 5, INDEX, GateConf()).uses == 3 * 0.5 + 1.0
    fresh = dataclasses.replace(base, window="w4", fingerprint="h")
    assert Past(ledger, "w5").wear(fresh, 5, INDEX, GateConf()) == Wear(way="refuse", uses=0.0, limit=5, windows=1)
