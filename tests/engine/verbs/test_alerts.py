"""`tidegate alerts` as a person types it, over ledgers in which rules rang."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import LeaseError
from engine.promote.ledger import Ledger
from engine.promote.rollback import rollback
from engine.records import Route, Stage
from tests.engine.house import LOOP, House, events, guarded, rule
from tests.engine.verbs.test_desk import files
from tests.engine.world import World, configure


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A config; its ledger is written by a house."""
    return configure(tmp_path / "world")


def house(world: World, action: str, *rows: float, **more: object) -> House:
    """A loop in the folder of the world: three champions, one rule."""
    act = guarded(bad=rule(**({"action": action, "cooldown": 9} | more)))
    found = House(world.out, act).found("first", "second", "third")
    found.run(*rows)
    return found


def test_what_is_open_what_was_done_and_whether_it_helped(world: World) -> None:
    house(world, "freeze", 20, 5, 20)
    before = files(world.out)
    answer = world.ask("alerts")
    assert answer.code == 3, "one is open, and nobody has it in hand"
    first, second = answer.value["alerts"]
    assert [(a["state"], a["since"], a["helped"]) for a in (first, second)] == [
        ("resolved", "w0", "helped"), ("open", "w2", "too early to tell"),
    ]  # fmt: skip
    assert first["why"] == "good again in w1"
    (tally,) = answer.value["rules"]
    assert (tally["raised"], tally["acted"], tally["helped"], tally["early"]) == (2, 2, 1, 1)
    assert tally["precision"]["value"] == 1.0
    said = (
        "2 alerts: 1 open, 0 acknowledged, 1 resolved; 2 led to an action, and 1 of 1 helped within 3 windows:"
        " precision 1.00, 95 % sure of 0.21 to 1.00 (Wilson); of 1 it is too early to tell."
    )
    assert said in answer.err.replace("\N{NO-BREAK SPACE}", " ")
    assert files(world.out) == before, "looking writes nothing"


def test_nothing_is_open(world: World) -> None:
    house(world, "freeze", 5)
    answer = world.ask("alerts")
    assert (answer.code, answer.value["alerts"]) == (0, [])
    assert "No alert was ever raised." in answer.err


def test_an_acknowledged_alert_is_silent_until_it_is_good_again(world: World) -> None:
    found = house(world, "log", 20, cooldown=0)
    (alert,) = world.ask("alerts").value["alerts"]
    taken = world.ask("alerts", f"ack={alert['id'][:8]}", "by=ada", "note=I look")
    assert (taken.code, taken.value["acknowledged"]["by"]) == (0, "ada")
    again = world.ask("alerts", f"ack={alert['id']}", "by=bob")
    assert again.value["acknowledged"]["by"] == "ada", "who came first has it in hand"
    assert events(found.run(20, 20, 20)) == ["raised", "open", "open"]
    answer = world.ask("alerts")
    assert (answer.code, answer.value["alerts"][0]["state"]) == (0, "acknowledged")
    assert "ml; ada has it in hand" in answer.err
    found.run(20, 20, 20, 5)
    late = world.ask("alerts", f"ack={alert['id']}", "by=bob")
    assert (late.code, late.out) == (2, "")
    assert "ack: bad was good again in w3 - there is nothing to acknowledge" in late.err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["ack=0", "by=ada"], "ack: '0' is unknown - see `tidegate alerts` for the ids"),
        (["undo=zz", "by=ada", "note=x"], "undo: 'zz' is unknown - see `tidegate alerts` for the ids"),
        (["ack=1"], "by: a word by hand needs a name - add by=<you>"),
        (["undo=1", "by=ada"], "note: a change by hand needs a reason - add note='...'"),
        (["undo=1", "ack=1"], "undo: and ack are two commands - give one of them"),
        (["test=team"], "test: there is no channel 'team' - describe one in act.channels"),
    ],
)
def test_refusals(world: World, words: list[str], line: str) -> None:
    house(world, "freeze", 5)
    answer = world.ask("alerts", *words)
    assert (answer.code, answer.out) == (2, "")
    assert line in answer.err


def test_there_is_no_ledger(world: World) -> None:
    answer = world.ask("alerts")
    assert answer.code == 2
    assert "there is no ledger" in answer.err
    assert not world.out.exists()


# ---- undo ---------------------------------------------------------------------------------------------------------


def undo(world: World, found: House, number: int = -1) -> tuple[int, str]:
    """Take the newest action back; exit code and what was said."""
    id = found.rows("acted")[number].id
    answer = world.ask("alerts", f"undo={id[:16]}", "by=ada", "note=it is a false alarm")
    return answer.code, answer.err


def test_a_freeze_is_thawed_once_and_not_where_somebody_else_has_frozen_since(world: World) -> None:
    found = house(world, "freeze", 20)
    assert undo(world, found)[0] == 0
    assert found.past().frozen == ""
    rows = len(found.rows())
    assert undo(world, found)[0] == 0, "again, as after a kill"
    assert len(found.rows()) == rows
    assert world.ask("alerts").value["alerts"][0]["why"] == "ada took it back"
    found.run(20, 5, 20)
    with Ledger.open(found.url, LOOP) as ledger:
        ledger.append("freeze", "by hand", {"frozen": True, "reason": "incident", "actor": "bob"})
    code, said = undo(world, found)
    assert code == 2
    assert "undo:freeze of w2: promotions were frozen once more since: incident - thaw it all" in said
    assert found.past().frozen == "incident"


def test_a_fallback_comes_back_unless_another_model_came_since(world: World) -> None:
    found = house(world, "fallback", 20)
    assert found.champion == found.models[1]
    assert undo(world, found)[0] == 0
    assert found.champion == found.models[2]
    with Ledger.open(found.url, LOOP) as ledger:
        ledger.verify()
        assert ledger.stage_of(found.models[1]) is Stage.RETIRED
        assert (ledger.changes()[-1].route, ledger.changes()[-1].actor) == (Route.MANUAL, "ada")
    found.run(20, 5, 20)
    with Ledger.open(found.url, LOOP) as ledger:
        rollback(ledger, found.store, reason="harm", actor="bob", to=found.models[0])
    code, said = undo(world, found)
    assert (code, found.champion) == (2, found.models[0])
    assert "is in production by now, and not the fallback - there is nothing to undo" in said


def test_a_request_is_taken_back_until_it_is_spent(world: World) -> None:
    found = house(world, "retune", 20)
    assert undo(world, found)[0] == 0
    found.run(20, 5, 20, 5)
    assert [row.payload["action"] for row in found.rows("decision")] == ["keep", "keep", "keep", "retune"]
    code, said = undo(world, found)
    assert code == 2
    assert "undo:retune of w2: w3 was decided on since: retune - the gates decide on what it has trained" in said


def test_a_window_is_let_in_again(world: World) -> None:
    found = house(world, "quarantine", 5, 20)
    assert found.past().quarantined == {"w1"}
    assert undo(world, found)[0] == 0
    assert found.past().quarantined == frozenset()


def test_a_rollback_cannot_be_undone_and_says_what_can_be_done(world: World) -> None:
    found = house(world, "rollback", 20)
    code, said = undo(world, found)
    assert code == 2
    model = found.models[2][:12]
    assert f"{model} is quarantined, and nothing brings a quarantined model straight back - let the gates" in said
    assert found.champion == found.models[1]


def test_what_was_not_done_cannot_be_undone(world: World) -> None:
    found = house(world, "freeze")
    found.act = replace(found.act, dry_run=True)
    found.run(20)
    code, said = undo(world, found)
    assert (code, found.past().frozen) == (2, "")
    assert "undo:freeze of w0: nothing was done (would) - there is nothing to undo" in said


# ---- a test of a channel ------------------------------------------------------------------------------------------


def test_a_test_message_goes_out_by_the_channel(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real program, which keeps what it is handed."""
    house(world, "log", 5)
    program = tmp_path / "keep"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/told\n")
    program.chmod(0o755)
    monkeypatch.setenv("TIDEGATE_COMMANDS", str(program))
    channel = f"+act.channels={{keep: {{kind: command, argv: [{program}]}}}}"
    answer = world.ask("alerts", "test=keep", "by=ada", channel)
    assert (answer.code, answer.value["sending"]["outcome"]) == (0, "delivered"), answer.err
    told = json.loads((tmp_path / "told").read_text())
    assert (told["event"], told["text"], told["loop"]) == ("test", "a test by ada: nothing has happened", "world")
    monkeypatch.delenv("TIDEGATE_COMMANDS")
    refused = world.ask("alerts", "test=keep", channel)
    assert (refused.code, refused.value["sending"]["outcome"]) == (3, "waiting")


def test_a_test_while_the_loop_runs_is_left_to_the_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    house(world, "log", 5)

    def taken(*_args: object, **_more: object) -> None:
        raise LeaseError("loop world is run by another process")

    monkeypatch.setattr(Ledger, "leased", taken)
    answer = world.ask("alerts", "test=keep", "+act.channels={keep: {kind: command, argv: [/bin/true]}}")
    assert (answer.code, answer.value["sending"]["outcome"]) == (3, "waiting")
    assert "loop world is run by another process: it sends what is due after its next window" in answer.err


# ---- people read it -----------------------------------------------------------------------------------------------


def test_history_and_the_report_tell_of_it(world: World) -> None:
    found = house(world, "freeze", 20, 5)
    undo(world, found)
    said = world.ask("history").err
    for words in ("done: freeze for bad: data.rows = 20 > 10", "undone: ", "thawed: it is a false alarm"):
        assert words in said
    page = world.ask("report")
    assert page.code == 0, page.err
    text = Path(page.value["report"]).read_text()
    for words in ("Alerts and actions", "w0: freeze done", "did not help: ada took it back", "resolved"):
        assert words in text
