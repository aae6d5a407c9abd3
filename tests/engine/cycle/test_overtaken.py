"""A person moves models while the loop runs: each window is still decided once, and the person's word stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.promote.ledger import Ledger
from engine.promote.rollback import promote, rollback
from engine.promote.store import Store
from engine.records import Action, Stage, StageChange
from engine.system import durable
from tests.engine.world import World

# A process that dies just after a commit does not live to see SQLAlchemy complain of the rollback; ours does.
pytestmark = pytest.mark.filterwarnings("ignore:transaction already deassociated")


class Killed(BaseException):
    """The process is gone."""


def after_commit(number: int, act: Callable[[], None]) -> durable.Interceptor:
    """Let somebody act just after the loop's commit of that number, before it does anything else."""
    commits = 0
    busy = False

    def intercept(step: durable.Step, execute: Callable[[], None]) -> None:
        nonlocal commits, busy
        execute()
        if busy or step.operation != "commit":
            return
        commits += 1
        if commits == number:
            busy = True
            act()
            busy = False

    return intercept


def by_hand(world: World, stage: Stage, target: Stage) -> None:
    """Ada moves the model that holds a stage, as the command line would."""
    with world.ledger() as ledger:
        head = ledger.head(stage)
        if head is not None:
            promote(ledger, Store(world.out / "store"), model=head.model, target=target, reason="no", actor="ada")


def decided(world: World) -> dict[str, int]:
    """Decisions by window."""
    found: dict[str, int] = {}
    for row in world.rows("decision"):
        found[row.window] = found.get(row.window, 0) + 1
    return found


# Of the commits of a loop's start: 1 the lease, 2 the opening of the window, then the rows of its story.
@pytest.mark.parametrize(("commit", "killed"), [(1, True), (2, True), (5, True), (2, False), (4, False)])
def test_a_challenger_that_a_person_retires(paused: World, tmp_path: Path, commit: int, killed: bool) -> None:
    world = paused.copy(tmp_path / "run")

    def act() -> None:
        by_hand(world, Stage.PREPRODUCTION, Stage.RETIRED)
        if killed:
            raise Killed

    if killed:
        with durable.intercept(after_commit(commit, act)), pytest.raises(Killed):
            world.run("loop", "loop.until=2026-07")
        assert world.run("loop", "loop.until=2026-07") == 0
    else:
        with durable.intercept(after_commit(commit, act)):
            answer = world.ask("loop", "loop.until=2026-07")
        assert answer.code == 0, answer.err
        overtaken = commit in (2, 3, 4)  # after it was looked at, and before it was promoted
        assert ("does not go to production: " in answer.err) is overtaken
    assert decided(world)["2026-07"] == 1
    with world.ledger() as ledger:
        ledger.verify()
        retired = [c for c in ledger.changes() if c.actor == "ada"]
        assert len(retired) == (1 if commit < 5 else 0)
        assert [ledger.stage_of(c.model) for c in retired] == [Stage.RETIRED] * len(retired), "their word stands"


@pytest.mark.parametrize("commit", [1, 2])
def test_a_champion_that_a_person_takes_out(grown: World, commit: int) -> None:
    """Between the look at the ledger and the decision; the process is killed once the decision is written."""
    seen: list[str] = []

    def act() -> None:
        by_hand(grown, Stage.PRODUCTION, Stage.QUARANTINED)

    def die(row: int) -> None:
        raise Killed

    taken = after_commit(commit, act)
    dead = after_commit(commit + 2, lambda: die(0))

    def both(step: durable.Step, execute: Callable[[], None]) -> None:
        dead(step, lambda: taken(step, execute))

    with durable.intercept(both), pytest.raises(Killed):
        grown.run("loop", "loop.until=2026-05")
    seen = [row.id for row in grown.rows("decision") if row.window == "2026-05"]
    assert grown.run("loop", "loop.until=2026-05") in (0, 3)
    assert decided(grown)["2026-05"] == 1
    assert seen in ([], [row.id for row in grown.rows("decision") if row.window == "2026-05"])


def test_evidence_against_another_champion_promotes_nobody(paused: World, tmp_path: Path) -> None:
    """While the shadow is judged, a person puts a third model into production."""
    world = paused.copy(tmp_path / "run")
    rejected = next(c.model for c in changes(world) if c.window == "2026-05" and c.target is Stage.RETIRED)

    def act() -> None:
        with world.ledger() as ledger:
            store = Store(world.out / "store")
            promote(ledger, store, model=rejected, target=Stage.PRODUCTION, reason="I know better", actor="ada")

    with durable.intercept(after_commit(3, act)):
        answer = world.ask("loop", "loop.until=2026-07")
    assert answer.code == 0
    assert f"{rejected[:12]} is in production now, and the evidence is about another champion" in answer.err
    with world.ledger() as ledger:
        head, waits = ledger.head(Stage.PRODUCTION), ledger.head(Stage.PREPRODUCTION)
        assert head is not None
        assert waits is not None
        assert head.model == rejected
        ledger.verify()


def test_a_candidate_that_a_person_retires_is_not_started_cold(grown: World) -> None:
    assert grown.run("loop", "loop.until=2026-05") == 0

    def act() -> None:
        with grown.ledger() as ledger:
            model = ledger.rows("candidate")[-1].model
            store = Store(grown.out / "store")
            promote(ledger, store, model=model, target=Stage.RETIRED, reason="no", actor="ada")

    with durable.intercept(after_commit(6, act)):  # lease, opening, decision, candidate, its stage, evaluation
        answer = grown.ask("loop", "loop.until=2026-06")
    assert answer.code == 0
    assert answer.err.count("does not go to ") == 1
    cycle = grown.cycles()["2026-06"]
    assert [(v.gate, v.outcome.value) for v in cycle.verdicts] == [("offline", "pass")]
    assert [c.target for c in cycle.changes] == [Stage.CANDIDATE]


def changes(world: World) -> list[StageChange]:
    with world.ledger() as ledger:
        return ledger.changes()


def test_a_config_that_is_edited_in_the_middle_of_a_window_does_not_decide_it_again(grown: World) -> None:
    def die() -> None:
        raise Killed

    with durable.intercept(after_commit(3, die)), pytest.raises(Killed):
        grown.run("loop", "loop.until=2026-05")
    assert [row.payload["action"] for row in grown.rows("decision") if row.window == "2026-05"] == ["retrain"]
    assert grown.run("loop", "loop.until=2026-05", "decide=never") == 0
    assert decided(grown)["2026-05"] == 1
    decision = grown.cycles()["2026-05"].decision
    assert decision is not None
    assert decision.action is Action.RETRAIN


def test_a_rollback_while_the_loop_runs(paused: World, tmp_path: Path) -> None:
    """Production went back by hand while a challenger was being judged: the loop goes on."""
    world = paused.copy(tmp_path / "run")
    assert world.run("loop", "loop.until=2026-07") == 0

    def act() -> None:
        with world.ledger() as ledger:
            rollback(ledger, Store(world.out / "store"), reason="harm", actor="ada")

    with durable.intercept(after_commit(2, act)):
        assert world.run("loop", "loop.until=2026-08") == 0
    assert decided(world)["2026-08"] == 1
    cycle = world.cycles()["2026-08"]
    assert cycle.champion_after != cycle.champion
    with Ledger.open(f"sqlite:///{world.out}/ledger.db", "world") as ledger:
        ledger.verify()
