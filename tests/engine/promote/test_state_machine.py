"""Any sequence of orders, from two clients that notice each other late, keeps the invariants."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from engine.errors import ArtifactError, ConflictError, InputError, TidegateError
from engine.promote import rollback as rollback_module
from engine.promote import stages, transition
from engine.promote.chain import Row, Tip
from engine.promote.entries import VERDICT, Entries
from engine.promote.gc import collect
from engine.promote.ledger import Ledger
from engine.promote.rollback import promote, rollback
from engine.promote.stages import HEADS, TRANSITIONS, fold
from engine.promote.store import Store
from engine.promote.tables import rows
from engine.records import Route, Stage, StageChange, from_plain
from tests.memory import in_memory

FULL_LOOK = 10  # each so many orders, and in the end, the whole chain is proved


class Clients(RuleBasedStateMachine):
    """Two clients of one ledger and one store."""

    models = Bundle("models")
    changes = Bundle("changes")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="tg-", dir=in_memory()))
        self.url = f"sqlite:///{self.folder}/ledger.db"
        self.minute = 0
        self.store = Store(self.folder / "artifacts")
        self.clients = [self.open(), self.open()]
        self.count = 0
        self.end = Tip()  # where the last look found the end of the ledger
        self.looks = 0
        self.changes_seen: list[StageChange] = []
        self.verdicts: dict[str, tuple[str, str]] = {}  # model -> id and outcome of its newest verdict

    def open(self) -> Ledger:
        return Ledger.open(self.url, "flights", now=self.now)

    def now(self) -> datetime:
        self.minute += 1
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=self.minute)

    def teardown(self) -> None:
        assert self.clients[1].verify() == self.end.seq
        for client in self.clients:
            client.close()
        shutil.rmtree(self.folder)

    def attempt(self, action: Any) -> StageChange | None:
        """What an order leads to. One that is refused must change nothing."""
        before = self.clients[0].tip()
        try:
            result = action()
        except (InputError, ConflictError):
            assert self.clients[1].tip() == before
            return None
        made = result[0] if isinstance(result, tuple) else result
        assert isinstance(made, StageChange)
        return made

    @initialize(target=models)
    def start(self) -> Any:
        return self.create(client=0)

    @rule(target=models, client=st.integers(0, 1))
    def make(self, client: int) -> str:
        return self.create(client)

    def create(self, client: int) -> str:
        self.count += 1
        model = self.store.put({"weights": str(self.count).encode()}, {"number": self.count})
        new = StageChange(
            id=f"new {self.count}", model=model, source=None, target=Stage.CANDIDATE, reason="", window=""
        )
        self.clients[client].change(new)
        return model

    @rule(target=models, client=st.integers(0, 1))
    def champion(self, client: int) -> str:
        """A new model walks all the way, as most do in a good year; each step is ordered twice."""
        model = self.create(client)
        self.judged(client, model, "pass")
        for _ in range(3):
            made = self.promoted(client, model)
            assert made is not None
            self.repeated(1 - client, made)
        assert self.clients[1 - client].stage_of(model) is Stage.PRODUCTION
        return model

    @rule(
        client=st.integers(0, 1),
        model=models,
        outcome=st.sampled_from(["pass", "pass", "fail", "inconclusive"]),
    )
    def judge(self, client: int, model: str, outcome: str) -> None:
        self.judged(client, model, outcome)

    def judged(self, client: int, model: str, outcome: str) -> None:
        self.count += 1
        self.clients[client].append("verdict", f"v{self.count}", {"model": model, "outcome": outcome})

    @rule(
        target=changes,
        client=st.integers(0, 1),
        model=models,
        target_stage=st.sampled_from(Stage),
        route=st.sampled_from(Route),
    )
    def change(self, client: int, model: str, target_stage: Stage, route: Route) -> Any:
        ledger = self.clients[client]
        source = ledger.stage_of(model)
        self.count += 1
        order = StageChange(
            id=f"c{self.count}",
            model=model,
            source=source,
            target=target_stage,
            reason="r",
            window="w",
            actor="anna",
            route=route,
        )
        made = self.attempt(lambda: ledger.move(order))
        if made is None:
            return multiple()
        assert route in TRANSITIONS[source].get(target_stage, ()), "no such way"
        return made

    @rule(client=st.integers(0, 1), model=models)
    def advance(self, client: int, model: str) -> None:
        self.promoted(client, model)

    def promoted(self, client: int, model: str) -> StageChange | None:
        """The loop's own way: the next stage, with the generation that it saw."""
        ledger = self.clients[client]
        order = [Stage.CANDIDATE, *HEADS]
        source = ledger.stage_of(model)
        if source not in order[:-1]:
            return None
        target = order[order.index(source) + 1]
        self.count += 1
        seen = ledger.generation(target)
        step = StageChange(id=f"a{self.count}", model=model, source=source, target=target, reason="", window="")
        made = self.attempt(lambda: ledger.change(step, expected_generation=seen))
        assert made is None or made.generation == seen + 1
        return made

    @rule(client=st.integers(0, 1), change=changes)
    def repeat(self, client: int, change: StageChange) -> None:
        self.repeated(client, change)

    def repeated(self, client: int, change: StageChange) -> None:
        before = self.clients[0].tip()
        assert self.clients[client].change(change) == change
        assert self.clients[0].tip() == before

    @rule(first=st.integers(0, 1))
    def race(self, first: int) -> None:
        """Both clients saw the same generation; the second one is told that it lost."""
        seen = self.clients[0].generation(Stage.PRODUCTION)
        for client, wins in ((first, True), (1 - first, False)):
            self.count += 1
            order = StageChange(
                id=f"r{self.count}",
                model=self.create(client),
                source=Stage.CANDIDATE,
                target=Stage.PRODUCTION,
                reason="r",
                window="",
                actor="anna",
                route=Route.MANUAL,
            )
            ledger = self.clients[client]
            made = self.attempt(lambda order=order, ledger=ledger: ledger.move(order, expected_generation=seen))
            assert (made is not None) is wins

    @rule(client=st.integers(0, 1), outcome=st.sampled_from(["fail", "inconclusive", None]))
    def rejected(self, client: int, outcome: str | None) -> None:
        """What no PASS is about, rejected or judged by nobody, stays where it is."""
        model = self.create(client)
        if outcome:
            self.judged(client, model, outcome)
        self.promoted(client, model)
        assert self.clients[client].stage_of(model) is Stage.CANDIDATE

    @rule(client=st.integers(0, 1), rehearse=st.booleans())
    def back(self, client: int, rehearse: bool) -> None:
        ledger = self.clients[client]
        before = ledger.head(Stage.PRODUCTION)
        tip = ledger.tip()
        made = self.attempt(lambda: rollback(ledger, self.store, reason="r", actor="anna", rehearse=rehearse))
        if rehearse:
            assert ledger.tip() == tip
        if made is None:
            retired = {c.model for c in ledger.changes() if c.target is Stage.PRODUCTION}
            ways = [m for m in retired if ledger.stage_of(m) is Stage.RETIRED]
            assert before is None or not ways, "there was a way back"
        elif not rehearse:
            assert before is not None
            assert ledger.stage_of(before.model) is Stage.QUARANTINED
            assert ledger.stage_of(made.model) is Stage.PRODUCTION

    @rule(client=st.integers(0, 1), model=models, target_stage=st.sampled_from(Stage))
    def by_hand(self, client: int, model: str, target_stage: Stage) -> None:
        ledger = self.clients[client]
        self.attempt(lambda: promote(ledger, self.store, model=model, target=target_stage, reason="r", actor="anna"))

    @rule(client=st.integers(0, 1))
    def restart(self, client: int) -> None:
        self.clients[client].close()
        self.clients[client] = self.open()

    @rule(client=st.integers(0, 1))
    def clean(self, client: int) -> None:
        for _ in range(2):
            self.store.put({"weights": b"of a trial nobody chose"}, {})
        collect([self.clients[client]], self.store, older_than=timedelta(0))
        assert len(self.store.list()) == len({row.model for row in self.clients[client].rows("stage")})

    @invariant()
    def the_ledger_holds(self) -> None:
        """The chain, the heads and the history, of which only what is new is looked at a second time."""
        ledger = self.clients[0]
        new = ledger.rows(after=self.end.seq)
        assert not new or new[0].previous == self.end.hash, "it only grows"
        for row in new:
            self.end = Tip(seq=row.seq, hash=row.hash, at=row.at)
            self.check_lawful(row)
        assert ledger.tip() == self.end
        self.looks += 1
        if self.looks % FULL_LOOK == 0:
            assert ledger.verify() == self.end.seq
        self.check_heads(self.clients[1])

    def check_heads(self, ledger: Ledger) -> None:
        """Heads are the fold of the rows."""
        state = fold(self.changes_seen)
        heads = {stage: ledger.head(stage) for stage in HEADS}
        assert {s: h.model for s, h in heads.items() if h} == state.models
        held = list(state.models.values())
        assert len(held) == len(set(held)), "a model is in one stage"
        assert all(ledger.stage_of(model) is stage for stage, model in state.models.items())
        live = ledger.live(datetime(2030, 1, 1, tzinfo=UTC))
        assert (live.model if live else None) == state.models.get(Stage.PRODUCTION)

    def check_lawful(self, row: Row) -> None:
        """What the table of transitions and the rule of evidence are for, said once more and otherwise."""
        if row.kind == "verdict":
            self.verdicts[row.model] = (row.id, row.payload["outcome"])
            return
        order = [None, Stage.CANDIDATE, *HEADS]
        verdict = self.verdicts.get(row.model)
        change = from_plain(StageChange, row.payload)
        self.changes_seen.append(change)
        if change.target is Stage.PRODUCTION:
            assert change.source is not Stage.QUARANTINED, "quarantine has no way straight back"
        if change.route is Route.EVIDENCE and change.target in order:
            if change.source in order:
                assert order.index(change.target) == order.index(change.source) + 1, "no stage is skipped"
            else:
                assert change.target is Stage.CANDIDATE
                assert verdict == (change.evidence, "pass"), "only evidence brings a model back"
            if change.target in HEADS:
                assert verdict == (change.evidence, "pass"), "it carries the PASS behind it"
        if change.route is Route.ROLLBACK and change.source is Stage.PRODUCTION:
            assert change.target is Stage.QUARANTINED, "what was rolled back is not simply retired"

    @invariant()
    def what_may_serve_is_whole(self) -> None:
        for stage in HEADS:
            head = self.clients[0].head(stage)
            if head:
                try:
                    self.store.verify(head.model)
                except ArtifactError as error:
                    raise AssertionError(f"{stage}: {error}") from error


@pytest.mark.parametrize(
    ("examples", "steps"),
    [pytest.param(40, 30, id="small"), pytest.param(2000, 50, id="full", marks=pytest.mark.slow)],
)
def test_no_sequence_of_orders_breaks_the_ledger(
    examples: int, steps: int, record_property: Callable[[str, object], None]
) -> None:
    explore(examples, steps, [Phase.generate, Phase.shrink])
    record_property("state machine: invariants", f"0 broken in {examples} sequences of up to {steps} orders")


def explore(examples: int, steps: int, phases: list[Phase]) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Clients,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=phases,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


with_evidence = transition._with_evidence


def any_verdict(entries: Entries, change: StageChange) -> StageChange:
    """The newest verdict is named, whatever it says."""
    newest = entries.newest(rows.c.kind == VERDICT, rows.c.model == change.model)
    return replace(change, evidence=newest.id if newest else "")


def unjudged_goes_forward(entries: Entries, change: StageChange) -> StageChange:
    """A model that nobody judged goes forward; the verdicts that there are still count."""
    judged = entries.newest(rows.c.kind == VERDICT, rows.c.model == change.model)
    return with_evidence(entries, change) if judged or change.target not in HEADS else change


def no_displacement(change: StageChange, model: str, target: Stage) -> StageChange:
    """The new model twice, the old one never."""
    return replace(change, id=change.id + transition.DISPLACED, source=change.target, generation=0, target=target)


GUARDS: dict[str, tuple[object, str, object]] = {
    "table of transitions": (stages, "check_transition", lambda _change: None),
    "source and generation": (transition, "_check_current", lambda *_: None),
    "evidence": (transition, "_with_evidence", any_verdict),
    "a verdict at all": (transition, "_with_evidence", unjudged_goes_forward),
    "displacement": (transition, "_displacement", no_displacement),
    "idempotency": (Entries, "first", lambda *_: None),
    "heads": (Entries, "swap", lambda *_: None),
    "quarantine": (rollback_module, "QUARANTINE", Stage.RETIRED),
    "references": (Ledger, "mentions", lambda *_: set()),
}


def test_every_guard_is_needed(monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]) -> None:
    """Without it, some sequence breaks an invariant."""
    for name, (owner, guard, without) in GUARDS.items():
        with monkeypatch.context() as patch:
            patch.setattr(owner, guard, without)
            try:
                explore(40, 20, [Phase.generate])
            except (AssertionError, TidegateError):
                continue
        raise AssertionError(f"nobody misses {name}")
    record_property("state machine: guards removed", f"{len(GUARDS)} of {len(GUARDS)} missed by an invariant")
