"""What action items do: each thing once, recorded before and after, within limits, and told outside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.act import EscalateConf, LimitConf
from engine.effects.channels import Sent
from engine.effects.sendings import sendings
from engine.promote.ledger import Ledger
from engine.promote.rollback import rollback
from engine.records import Done, Route, Stage
from engine.records.items import ACTED, FREEZE, ITEM, QUARANTINE, REQUEST
from tests.engine.house import LOOP, House, events, guarded, rule
from tests.engine.promote.conftest import bring, make
from tests.engine.world import World

ROOT = Path(__file__).parents[3]


def house(folder: Path, action: str, **more: object) -> House:
    """One rule with one action, three champions; `more` are settings of the rule."""
    act = guarded(bad=rule(action=action, tell=["team"], **more))
    return House(folder, act).found("first", "second", "third")


# ---- each action --------------------------------------------------------------------------------------------------


def test_a_freeze_is_recorded_between_its_item_and_what_came_of_it(tmp_path: Path) -> None:
    found = house(tmp_path, "freeze")
    (_, frozen) = found.run(5, 20)
    assert [row.kind for row in found.rows() if row.window == "w1"] == [
        "opened", "decision", ITEM, FREEZE, ACTED, "effect", "cycle", "delivery",
    ]  # fmt: skip
    assert found.past().frozen == "bad: data.rows = 20 > 10"
    (acted,) = frozen.acted
    assert (acted.state, acted.action, acted.rule, acted.window) == (Done.DONE, "freeze", "bad", "w1")
    assert (acted.item, acted.alert) == (frozen.actions[0].id, frozen.actions[0].alert)


def test_a_rollback_quarantines_and_a_fallback_retires(tmp_path: Path) -> None:
    for action, stage in (("rollback", Stage.QUARANTINED), ("fallback", Stage.RETIRED)):
        found = house(tmp_path / action, action)
        (_, moved) = found.run(5, 20)
        _, second, third = found.models
        assert found.champion == moved.champion_after == second
        assert [(c.model, c.target) for c in moved.changes] == [(second, Stage.PRODUCTION), (third, stage)]
        assert (moved.acted[0].model, moved.acted[0].displaced) == (second, third)


def test_a_fallback_is_gone_to_once_and_not_back_and_forth(tmp_path: Path) -> None:
    found = house(tmp_path, "fallback")
    cycles = found.run(5, 20, 20, 20)
    assert [c.champion_after == found.models[1] for c in cycles] == [False, True, True, True]
    assert [a.state for c in cycles for a in c.acted] == [Done.DONE, Done.REFUSED, Done.REFUSED]
    assert found.warned[0].startswith("w2: bad asks for a fallback that cannot be done: production: the fallback")
    (change, _) = cycles[1].changes
    assert (change.route, change.actor) == (Route.MANUAL, "ml")
    assert change.reason == "standing order of rule bad: data.rows = 20 > 10"


def test_a_fallback_may_be_named(tmp_path: Path) -> None:
    found = house(tmp_path, "fallback")
    found.act = replace(found.act, fallback=found.models[0][:12])
    assert [c.champion_after for c in found.run(5, 20, 20)][1:] == [found.models[0]] * 2
    assert "is there already - nothing to do" in found.warned[0]


def test_a_fallback_may_be_the_model_that_waits_in_staging(tmp_path: Path) -> None:
    found = house(tmp_path, "fallback")
    found.act = replace(found.act, fallback="staging")
    assert found.run(20)[0].acted[0].reason == "staging: there is no model - name another fallback"
    model = make(found.store, "fourth")
    with Ledger.open(found.url, LOOP) as ledger:
        bring(ledger, model, Stage.STAGING)
    assert found.run(20, 20)[1].champion_after == model


def test_a_model_in_quarantine_is_never_fallen_back_to(tmp_path: Path) -> None:
    found = house(tmp_path, "fallback")
    with Ledger.open(found.url, LOOP) as ledger:
        rollback(ledger, found.store, reason="harm", actor="ada")
    found.act = replace(found.act, fallback=found.models[2])
    (_, refused) = found.run(5, 20)
    assert refused.acted[0].reason.startswith(f"stage:{found.models[2]}: quarantined -> production is not allowed")
    assert found.champion == found.models[1]


@pytest.mark.parametrize("action", ["retrain", "retune"])
def test_a_request_is_spent_by_the_next_decision(tmp_path: Path, action: str) -> None:
    found = house(tmp_path, action)
    found.run(5, 20, 5, 5)
    assert [row.payload["action"] for row in found.rows("decision")] == ["keep", "keep", action, "keep"]
    (asked,) = found.rows(REQUEST)
    assert asked.payload["reason"] == "bad: data.rows = 20 > 10"


def test_a_quarantined_window_is_left_out_and_the_founding_one_never_is(tmp_path: Path) -> None:
    found = house(tmp_path, "quarantine")
    first, second = found.run(20, 20)
    assert first.acted[0].reason.startswith("quarantine:w0: it founded the loop, and all is held against it")
    assert (first.acted[0].state, second.acted[0].state) == (Done.REFUSED, Done.DONE)
    assert found.past().quarantined == {"w1"}
    assert found.past().blocked == {"w0", "w1"}, "w0 by a check of the cycle"
    assert [row.payload["window"] for row in found.rows(QUARANTINE)] == ["w1"]


def test_what_cannot_be_done_is_said_and_the_others_are_done(tmp_path: Path) -> None:
    act = guarded(bad=rule(action="rollback", actions=["freeze", "log", "freeze"]))
    found = House(tmp_path, act).found("first")
    (cycle,) = found.run(20)
    assert [(a.action, a.state) for a in cycle.acted] == [("rollback", Done.REFUSED), ("freeze", Done.DONE)]
    assert found.warned == [
        "w0: bad asks for a rollback that cannot be done: production: there is no earlier champion to go back to"
        " - retrain, or promote another model by hand"
    ]
    assert found.champion == found.models[0]


def test_a_champion_that_left_is_not_rolled_back_once_more(tmp_path: Path) -> None:
    act = guarded(one=rule(action="rollback"), two=rule(action="rollback"))
    found = House(tmp_path, act).found("first", "second", "third")
    (cycle,) = found.run(20)
    assert [a.state for a in cycle.acted] == [Done.DONE, Done.REFUSED]
    assert cycle.champion_after == found.models[1]


# ---- dry run, limits ----------------------------------------------------------------------------------------------


def test_a_dry_run_does_and_sends_nothing_and_says_what_it_would(tmp_path: Path) -> None:
    found = house(tmp_path, "rollback")
    found.act = replace(found.act, dry_run=True)
    (_, cycle) = found.run(5, 20)
    assert (cycle.acted[0].state, cycle.changes, found.champion) == (Done.WOULD, (), found.models[2])
    assert found.sent == []
    (would,) = sendings(found.rows())
    assert (would.outcome, would.message.done) == ("rehearsed", "rollback would be done")


def test_a_limit_holds_an_action_and_the_owner_is_told(tmp_path: Path) -> None:
    found = house(tmp_path, "freeze")
    found.act = replace(found.act, limits={"freeze": LimitConf(most=2, windows=3)})
    cycles = found.run(20, 20, 20, 20, 20)
    done, limited = Done.DONE, Done.LIMITED
    assert [a.state for c in cycles for a in c.acted] == [done, done, limited, done, done]
    assert cycles[2].acted[0].reason == "2 in 3 windows, act.limits allows 2"
    assert found.sent[2].done == "freeze not done: 2 in 3 windows, act.limits allows 2"


def test_a_limit_counts_what_other_rules_did_in_the_same_window(tmp_path: Path) -> None:
    act = guarded(one=rule(action="freeze"), two=rule(action="freeze"))
    found = House(tmp_path, replace(act, limits={"freeze": LimitConf(most=1, windows=1)}))
    assert [a.state for c in found.run(20, 20) for a in c.acted] == [Done.DONE, Done.LIMITED] * 2


# ---- who is told --------------------------------------------------------------------------------------------------


def test_messages_follow_the_episode_each_under_the_key_of_its_item(tmp_path: Path) -> None:
    act = guarded(bad=rule(tell=["team"], cooldown=9, escalate=EscalateConf(after=2, owner="head", tell=["team"])))
    found = House(tmp_path, act)
    cycles = found.run(20, 20, 20, 5)
    assert events(cycles) == ["raised", "open", "escalated", "resolved"]
    items = [item for c in cycles for item in c.actions]
    assert [(m.event, m.key) for m in found.sent] == [
        ("raised", items[0].id), ("escalated", items[2].id), ("resolved", items[3].id),
    ]  # fmt: skip
    assert [(m.owner, m.severity) for m in found.sent] == [("ml", "suspected"), *[("head", "detected")] * 2]
    assert (found.sent[0].value, found.sent[0].threshold, found.sent[0].text) == (20.0, 10.0, "data.rows = 20 > 10")
    assert {item.alert for item in items} == {items[0].alert}


def test_a_channel_that_fails_is_told_and_the_loop_goes_on(tmp_path: Path) -> None:
    found = house(tmp_path, "freeze")
    found.answer = lambda message: Sent(ok=False, said="503")
    assert len(found.run(20, 5)) == 2
    assert found.warned == ["team: bad: waiting, 503"] * 2, "it was raised, and good again"
    assert [s.outcome for s in sendings(found.rows())] == ["waiting", "waiting"]


def test_a_channel_that_is_configured_no_more_stops_nothing(tmp_path: Path) -> None:
    found = house(tmp_path, "log", cooldown=9)
    found.answer = lambda message: Sent(ok=False, said="503")
    found.run(20)
    found.act = replace(found.act, channels={}, rules={})
    assert events(found.run(20, 20)) == ["raised", "withdrawn"]


def test_again_changes_nothing(tmp_path: Path) -> None:
    found = house(tmp_path, "rollback")
    found.run(5, 20, 5)
    before, sent = found.rows(), len(found.sent)
    found.run(5, 20, 5)
    assert (found.rows(), len(found.sent)) == (before, sent)


# ---- in a real loop -----------------------------------------------------------------------------------------------


def test_a_rule_makes_a_loop_retrain_without_the_window_that_it_quarantined(grown: World) -> None:
    """The policy is never to act. In 2026-05 the rule rings; the next decision is to retrain, on other rows."""
    act = "+act.rules={bad: {metric: data.rows, threshold: 0, cooldown: 9, action: retrain, actions: [quarantine]}}"
    assert grown.run("loop", "loop.until=2026-06", "decide=never", act) == 0
    rung, retrained = grown.cycles()["2026-05"], grown.cycles()["2026-06"]
    assert rung.decision is not None
    assert rung.decision.action.value == "keep"
    assert [(a.action, a.state) for a in rung.acted] == [("retrain", Done.DONE), ("quarantine", Done.DONE)]
    assert retrained.decision is not None
    assert (retrained.decision.action.value, retrained.decision.policy) == ("retrain", "never")
    assert retrained.decision.reason == "asked for by bad: data.rows = 600 > 0"
    assert retrained.candidate is not None
    assert retrained.candidate.holdout_window == "2026-04", "2026-05 is quarantined"
    assert "2026-05" not in retrained.candidate.training_windows
    assert retrained.monitor is not None
    assert retrained.monitor.consecutive is not None
    assert retrained.monitor.consecutive.reference == "2026-04"
    rung_again = [(item.rule, item.event.value, item.windows) for item in retrained.actions]
    assert rung_again == [("risk", "open", 2), ("decay", "open", 2), ("bad", "open", 2)]
    why = grown.ask("why", "2026-06")
    assert why.code == 0, "the decision is made again from its recorded evidence"
    assert grown.ask("alerts").code == 3


# ---- kill -9 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every", "doubles"),
    [pytest.param(40, 1, id="small"), pytest.param(1, 60, id="full", marks=pytest.mark.slow)],
)
def test_kill_9_between_any_two_steps_of_raising_acting_and_telling(
    tmp_path: Path, every: int, doubles: int, record_property: Callable[[str, object], None]
) -> None:
    """Six windows, three rules, each kind of action; every row is there once, every message at least once."""
    command = [sys.executable, "-m", "tests.engine.alert_crash", str(tmp_path), str(every), str(doubles)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=7200)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["wrong"] == []
    assert result["killed"] >= result["cases"]
    assert result["sends"] > 5
    record_property(
        "kill -9 while rules act and tell",
        f"{result['cases']} of {result['cases']} cases at K = {result['points']} points reach the same ledger,"
        f" {result['killed']} kills; {result['sends']} messages, each sent at least once, in {result['twice']} cases"
        " one of them twice, under its one key",
    )
