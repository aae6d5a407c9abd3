"""How far up the stages the evidence carries a challenger."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.cycle import replay
from engine.cycle.promotion import Promotion
from engine.cycle.replay import Replayed
from engine.data.tables import write_parquet
from engine.errors import ArtifactError
from engine.models import challenger
from engine.models.challenger import Cold
from engine.promote.store import Store
from engine.records import Answer, Outcome, Stage, Verdict
from tests.engine.world import ROWS, World, make_world


def stages_of(world: World, model: str) -> list[Stage]:
    with world.ledger() as ledger:
        return [change.target for change in ledger.changes() if change.model == model]


@pytest.fixture
def waiting(paused: World, tmp_path: Path) -> World:
    """A copy of `paused`, to write in."""
    return paused.copy(tmp_path / "run")


def pending(world: World) -> str:
    with world.ledger() as ledger:
        head = ledger.head(Stage.PREPRODUCTION)
        return head.model if head else ""


def test_a_model_that_does_not_come_back_cold_is_quarantined(grown: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def cold_check(store: Store, model: str, trusted: tuple[str, ...], *, measure: bool) -> Cold:
        asked.append(model)
        said = "256 recorded predictions, largest difference 0.2"
        return Cold(agrees=Answer(request="recorded predictions", fine=False, reason=said))

    monkeypatch.setattr(challenger, "cold_check", cold_check)
    assert grown.run("loop", "loop.until=2026-06", "promote.cold_check=true") == 0
    cycle = grown.cycles()["2026-06"]
    assert [(v.gate, v.outcome) for v in cycle.verdicts] == [("offline", Outcome.PASS), ("cold", Outcome.FAIL)]
    assert stages_of(grown, asked[0]) == [Stage.CANDIDATE, Stage.STAGING, Stage.QUARANTINED]
    assert cycle.champion_after == cycle.champion
    said = "artifact[recorded predictions]: 256 recorded predictions, largest difference 0.2"
    assert cycle.changes[-1].reason == f"cold gate: {said}"
    assert len(asked) == 1


def test_a_model_whose_bytes_are_not_those_that_were_judged_is_quarantined(
    grown: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(store: Store, artifact: str) -> None:
        raise ArtifactError(store.where(artifact), "the model is not signed", "sign it")

    monkeypatch.setattr(Store, "verify", verify)
    assert grown.run("loop", "loop.until=2026-06") == 0
    cycle = grown.cycles()["2026-06"]
    cold = cycle.verdicts[-1]
    assert (cold.gate, cold.outcome) == ("cold", Outcome.FAIL)
    assert cold.reason.endswith(": the model is not signed - sign it")
    assert stages_of(grown, cold.model) == [Stage.CANDIDATE, Stage.STAGING, Stage.QUARANTINED]
    assert cycle.champion_after == cycle.champion


def test_nothing_reaches_production_after_its_shadow_that_is_no_longer_whole(
    waiting: World, capsys: pytest.CaptureFixture[str]
) -> None:
    model = pending(waiting)
    store = Store(waiting.out / "store")
    blob = store.root / "blobs" / store.manifest(model)["files"]["probe.json"]["sha256"]
    blob.write_bytes(blob.read_bytes()[:-1])
    capsys.readouterr()
    assert waiting.run("loop", "loop.until=2026-07") == 2
    assert "probe.json" in capsys.readouterr().err
    assert pending(waiting) == model


def test_the_cold_check_is_a_fresh_process(tmp_path: Path) -> None:
    """The real one, on the smallest loop there is."""
    world = make_world(tmp_path, windows=("2026-01", "2026-02"), rows=200)
    budgets = "+gate.cold={ram: {kind: memory, threshold: 8000}, disk: {kind: size, threshold: 5}}"
    assert world.run("loop", "promote.cold_check=true", "train.max_epochs=1", budgets) == 0
    cold = world.cycles()["2026-02"].verdicts[-1]
    assert (cold.gate, cold.outcome, cold.first) == ("cold", Outcome.PASS, False)
    assert [rule.rule for rule in cold.rules][-2:] == ["ram", "disk"]
    assert cold.rules[0].rule == "artifact[recorded predictions]"
    assert cold.rules[0].reason.startswith("30 recorded predictions, largest difference ")
    assert {rule.outcome for rule in cold.rules} == {Outcome.PASS}
    assert len(cold.rules) == 17
    with world.ledger() as ledger:
        row = next(row for row in ledger.rows("verdict") if row.payload["gate"] == "cold")
        assert replay.replay(ledger, row).state is replay.Replayed.EQUAL
    assert world.cycles()["2026-02"].timings["cold start"] > 0


# What the challenger gains is seen on one window to be near this margin, and on two to exceed it.
TWO_LOOKS = ("promote.shadow_windows=2", "gate.shadow.holds={kind: superiority, margin: 0.22}")


def shadows(world: World) -> list[Verdict]:
    return [v for cycle in world.cycles().values() for v in cycle.verdicts if v.gate == "shadow"]


def test_looks_go_on_until_they_decide(waiting: World) -> None:
    model = pending(waiting)
    assert waiting.run("loop", "loop.until=2026-07", *TWO_LOOKS) == 0
    assert pending(waiting) == model
    assert waiting.run("loop", "loop.until=2026-08", *TWO_LOOKS) == 0
    first, second = shadows(waiting)
    assert [(v.window, v.outcome, v.waiting) for v in (first, second)] == [
        ("2026-06", Outcome.INCONCLUSIVE, True),
        ("2026-07", Outcome.PASS, False),
    ]
    assert (first.rules[0].critical, second.rules[0].critical) == pytest.approx((2.963, 1.969), abs=0.002)
    cycles = waiting.cycles()
    assert cycles["2026-07"].champion_after != model == cycles["2026-08"].champion_after
    decided = cycles["2026-07"].decision
    assert decided is not None
    assert decided.reason == f"challenger {model[:12]} is still in shadow"
    reports = [cycles[name].shadow for name in ("2026-07", "2026-08")]
    assert [r and (r.windows, r.n_rows) for r in reports] == [((), ROWS), (("2026-06", "2026-07"), 2 * ROWS)]


def test_a_challenger_that_is_clear_is_not_kept_waiting(waiting: World) -> None:
    model = pending(waiting)
    assert waiting.run("loop", "loop.until=2026-07", "promote.shadow_windows=5") == 0
    assert [(v.outcome, v.reason) for v in shadows(waiting)] == [
        (Outcome.PASS, "look 1 of 5: its one rule holds"),
    ]
    assert waiting.cycles()["2026-07"].champion_after == model


def test_each_look_is_made_again_bit_for_bit(waiting: World) -> None:
    assert waiting.run("loop", "loop.until=2026-08", *TWO_LOOKS) == 0
    with waiting.ledger() as ledger:
        rows = [row for row in ledger.rows("verdict") if row.payload["gate"] == "shadow"]
        assert [replay.replay(ledger, row).state for row in rows] == [Replayed.EQUAL] * 2
        forged = {**rows[1].payload, "rules": [{**rows[1].payload["rules"][0], "critical": 1.5}]}
        done = replay.replay(ledger, dataclasses.replace(rows[1], payload=forged))
        assert done.state is Replayed.DIFFERENT
        assert done.detail.startswith("rules[0].critical is 1.5, and its inputs give 1.97")


def test_a_loop_that_dies_between_looks_goes_on(
    waiting: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first look, and again between the second evaluation and its verdict."""
    assert waiting.run("loop", "loop.until=2026-07", *TWO_LOOKS) == 0
    straight = waiting.copy(tmp_path / "straight")
    assert straight.run("loop", "loop.until=2026-08", *TWO_LOOKS) == 0

    def dies(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Promotion, "_record", dies)
        assert waiting.run("loop", "loop.until=2026-08", *TWO_LOOKS) == 130
    assert len(waiting.rows("shadow")) == 2
    assert len(shadows(waiting)) == 1
    assert waiting.run("loop", "loop.until=2026-08", *TWO_LOOKS) == 0
    assert shadows(waiting) == shadows(straight)


def test_a_window_that_validation_blocked_is_no_look(waiting: World, tmp_path: Path) -> None:
    folder = tmp_path / "holed"
    shutil.copytree(waiting.folder / "windows", folder)
    table = pq.read_table(folder / "2026-07.parquet")
    write_parquet(table.slice(0, 40), folder / "2026-07.parquet")
    assert waiting.run("loop", "loop.until=2026-08", f"data.path={folder}", *TWO_LOOKS) == 0
    cycles = waiting.cycles()
    assert not cycles["2026-07"].validation.usable
    assert shadows(waiting) == []
    assert pending(waiting)


def test_a_challenger_that_fails_its_shadow_is_retired(waiting: World) -> None:
    model = pending(waiting)
    strict = "gate.shadow.holds={kind: superiority, margin: 0.9}"
    assert waiting.run("loop", "loop.until=2026-07", strict) == 0
    cycle = waiting.cycles()["2026-07"]
    assert stages_of(waiting, model)[-1] is Stage.RETIRED
    assert cycle.champion_after == cycle.champion
    assert cycle.verdicts[0].outcome is not Outcome.PASS


def test_a_frozen_loop_promotes_nobody_who_waits(waiting: World) -> None:
    model = pending(waiting)
    with waiting.ledger() as ledger:
        ledger.append("freeze", "by-hand", {"frozen": True, "reason": "incident 7", "actor": "ada"})
    assert waiting.run("loop", "loop.until=2026-07") == 0
    cycle = waiting.cycles()["2026-07"]
    assert (cycle.verdicts, cycle.changes, cycle.shadow) == ((), (), None)
    assert pending(waiting) == model
    assert waiting.run("promote", "thaw=true", "actor=ada", "reason=over") == 0
    assert waiting.run("loop", "loop.until=2026-08") == 0
    assert waiting.cycles()["2026-08"].champion_after == model


def test_evidence_stands_behind_every_step_forward(waiting: World) -> None:
    with waiting.ledger() as ledger:
        verdicts = {row.id: row.payload["outcome"] for row in ledger.rows("verdict")}
        forward = [c for c in ledger.changes() if c.target in (Stage.STAGING, Stage.PREPRODUCTION, Stage.PRODUCTION)]
    assert len(forward) == 5
    assert {verdicts[change.evidence] for change in forward} == {"pass"}
