"""The sentence, from the first window to the last, on a world that turns round in the middle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.cycle.loop import Loop
from engine.cycle.replay import Replayed, replay
from engine.data.sources import ParquetSource
from engine.data.tables import write_parquet
from engine.records import Action, Outcome, Stage, Trial, Window
from engine.records.items import Event
from engine.system import durable
from engine.train.sweep import LocalSearch, OnEpoch, OnTrial, SweepJob
from tests.engine.world import DATA, LAST, WINDOWS, YOUNG, Answer, World, write

PATH = [Stage.CANDIDATE, Stage.STAGING, Stage.PREPRODUCTION, Stage.PRODUCTION]


def test_the_whole_sentence(ended: tuple[World, Answer]) -> None:
    world, answer = ended
    cycles = world.cycles()
    assert answer.code == 0
    assert list(cycles) == list(WINDOWS[1 : WINDOWS.index(LAST) + 1])
    actions = {window: cycle.decision.action for window, cycle in cycles.items() if cycle.decision}
    assert actions == {
        "2026-02": Action.RETUNE,
        "2026-03": Action.KEEP,
        "2026-04": Action.KEEP,
        "2026-05": Action.RETRAIN,
        "2026-06": Action.RETUNE,
        "2026-07": Action.KEEP,
    }
    assert cycles["2026-02"].founding
    assert [v.outcome for v in cycles["2026-05"].verdicts] == [Outcome.FAIL]
    assert cycles["2026-05"].champion_after == cycles["2026-02"].champion_after
    assert [(v.gate, v.outcome) for v in cycles["2026-07"].verdicts] == [("shadow", Outcome.PASS)]
    assert cycles["2026-07"].champion_after == answer.value["champion"] != cycles["2026-02"].champion_after


def test_stages_are_passed_one_by_one(ended: tuple[World, Answer]) -> None:
    world, answer = ended
    with world.ledger() as ledger:
        assert ledger.verify() == len(ledger.rows())
        for champion in (answer.value["champion"], world.cycles()["2026-02"].champion_after):
            assert [c.target for c in ledger.changes() if c.model == champion][:4] == PATH
        rejected = [c.model for c in ledger.changes() if c.window == "2026-05"]
        assert [c.target for c in ledger.changes() if c.model == rejected[0]] == [Stage.CANDIDATE, Stage.RETIRED]


def test_drift_is_seen_at_the_turn(ended: tuple[World, Answer]) -> None:
    cycles = ended[0].cycles()
    seen = {
        window: cycle.monitor is not None and bool(cycle.monitor.baseline.drifted) for window, cycle in cycles.items()
    }
    assert seen == {"2026-02": False, "2026-03": False, **dict.fromkeys(WINDOWS[3:7], True)}
    jumped = {w: c.monitor.consecutive.drifted for w, c in cycles.items() if c.monitor and c.monitor.consecutive}
    assert [w for w, columns in jumped.items() if columns] == ["2026-04"]


def test_json_alone_is_on_stdout_and_rows_are_on_stderr(ended: tuple[World, Answer]) -> None:
    world, answer = ended
    assert answer.out.count("\n") == 1
    assert answer.value["windows"] == 6
    assert answer.value["verdicts"] == {"offline pass": 2, "cold pass": 2, "offline fail": 1, "shadow pass": 1}
    assert answer.value["seconds"]["wall"] > 0
    for window in world.cycles():
        assert sum(row.startswith(window) for row in answer.err.splitlines()) == 1
    page = Path(answer.value["report"])
    assert page == world.out / "report.html"
    assert all(window in page.read_text() for window in world.cycles())


def test_again_changes_nothing(old: World) -> None:
    before = old.rows()
    again = old.ask("loop", f"loop.until={LAST}")
    assert again.code == 0
    assert old.rows() == before


class Recorder:
    """A source that notes what was read."""

    def __init__(self, source: ParquetSource) -> None:
        self.source, self.read_now = source, set[tuple[str, bool]]()

    def names(self) -> list[str]:
        return self.source.names()

    def read(self, name: str, *, labelled: bool) -> Window:
        self.read_now.add((name, labelled))
        return self.source.read(name, labelled=labelled)

    def labels(self, name: str) -> pa.Table:
        self.read_now.add((name, True))
        return self.source.labels(name)


@pytest.mark.parametrize("lag", [1, 2])
def test_labels_are_not_read_before_they_arrive(fresh: World, lag: int) -> None:
    with fresh.opened(f"data.label_lag={lag}", "loop.until=2026-06") as (confs, ports):
        recorder = Recorder(ports.source)  # type: ignore[arg-type]
        runner = Loop(confs, replace(ports, source=recorder)).run()
        for index in range(1, WINDOWS.index("2026-06") + 1):
            recorder.read_now.clear()
            next(runner)
            labelled = {name for name, with_label in recorder.read_now if with_label}
            assert labelled <= set(WINDOWS[: max(2, index - lag + 1)]), index
            assert all(name <= WINDOWS[index] for name, _ in recorder.read_now)


class Watched(LocalSearch):
    """A search that notes its jobs."""

    jobs: list[SweepJob]

    def run(self, job: SweepJob, *, on_epoch: OnEpoch, on_trial: OnTrial) -> tuple[Trial, ...]:
        self.jobs.append(job)
        return super().run(job, on_epoch=on_epoch, on_trial=on_trial)


def test_gate_rows_are_neither_trained_on_nor_searched_on(grown: World) -> None:
    with grown.opened("loop.until=2026-06") as (confs, ports):
        search = Watched(confs.search)
        search.jobs = []
        cycles = [c for c in Loop(confs, replace(ports, search=search)).run() if c.candidate is not None]
    assert len(search.jobs) == 2
    for job, cycle in zip(search.jobs, cycles[1:], strict=True):
        assert cycle.candidate is not None
        windows = {name: ids_of(grown, name) for name in cycle.candidate.training_windows}
        held = ids_of(grown, cycle.candidate.holdout_window)
        used = np.concatenate([job.train.rows, job.validation.rows])
        assert sorted(used) == sorted(np.concatenate(list(windows.values())))
        assert not np.isin(used, held).any()
        assert job.train.rows.max() < job.validation.rows.min() < held.min()  # ids rise with time in this world
        assert cycle.evaluation is not None
        assert cycle.evaluation.n_rows == len(held)


def ids_of(world: World, name: str) -> np.ndarray:
    """Row ids of a window."""
    return pq.read_table(world.folder / "windows" / f"{name}.parquet", columns=["row"])["row"].to_numpy()


def test_no_shadow_where_none_is_asked_for(grown: World) -> None:
    answer = grown.ask("loop", "loop.until=2026-06", "promote.shadow_windows=0")
    cycle = grown.cycles()["2026-06"]
    assert answer.code == 0
    assert [c.target for c in cycle.changes] == PATH
    assert cycle.champion_after == cycle.changes[-1].model == answer.value["champion"]


def test_a_blocked_window_is_left_out(grown: World, tmp_path: Path) -> None:
    for window in WINDOWS[:6]:
        table = pq.read_table(grown.folder / "windows" / f"{window}.parquet")
        write_parquet(table.slice(0, 50) if window == "2026-05" else table, tmp_path / "cut" / f"{window}.parquet")
    assert grown.run("loop", f"data.path={tmp_path}/cut", "loop.until=2026-06") == 0
    blocked, after = grown.cycles()["2026-05"], grown.cycles()["2026-06"]
    assert [check.name for check in blocked.validation.blocked] == ["few_rows"]
    assert (blocked.decision, blocked.monitor, blocked.changes) == (None, None, ())
    assert after.candidate is not None
    assert after.candidate.holdout_window == "2026-04"
    assert after.candidate.training_windows == ("2026-02", "2026-03")


def test_a_freeze_holds_until_a_person_ends_it(grown: World) -> None:
    rule = "act.rules={rejected: {metric: gate.rejected, threshold: 0, windows: 1, action: freeze}}"
    assert grown.run("loop", "loop.until=2026-06", rule) == 0
    frozen = grown.cycles()["2026-06"].decision
    assert frozen is not None
    assert frozen.action is Action.KEEP
    assert frozen.reason.startswith("promotions are frozen: rejected: ")
    assert grown.run("promote", "thaw=true", "actor=ada", "reason=seen") == 0
    assert grown.run("loop", "loop.until=2026-07", rule) == 0
    thawed = grown.cycles()["2026-07"].decision
    assert thawed is not None
    assert thawed.action is Action.RETUNE


def test_a_rule_rolls_back_once(old: World) -> None:
    rule = "+act.rules={back: {metric: data.rows, threshold: 0, action: rollback, owner: ml}}"
    champions = [c.champion_after for c in old.cycles().values()]
    answer = old.ask("loop", rule)
    cycle = old.cycles()[WINDOWS[-1]]
    assert answer.value["champion"] == cycle.champion_after == champions[0]
    assert [(c.model, c.target) for c in cycle.changes] == [
        (champions[0], Stage.PRODUCTION),
        (champions[-1], Stage.QUARANTINED),
    ]


def test_a_rollback_that_cannot_be_done_is_said_and_the_loop_goes_on(grown: World) -> None:
    rule = "+act.rules={back: {metric: data.rows, threshold: 0, action: rollback}}"
    answer = grown.ask("loop", "loop.until=2026-05", rule)
    assert answer.code == 0
    assert (
        "2026-05: back asks for a rollback that cannot be done: production: there is no earlier champion" in answer.err
    )
    told = [(item.rule, item.action) for item in grown.cycles()["2026-05"].actions]
    assert told == [("risk", "log"), ("decay", "log"), ("back", "rollback")]


def test_a_rule_on_the_time_of_this_cycle_sees_it(grown: World) -> None:
    rule = "+act.rules={slow: {metric: pipeline.seconds, threshold: 0.001}}"
    assert grown.run("loop", "loop.until=2026-05", rule) == 0
    assert [item.rule for item in grown.cycles()["2026-05"].actions] == ["risk", "decay", "slow"]


def test_without_any_rule_of_ones_own_a_harmful_shift_is_told(grown: World) -> None:
    """The world is another one from 2026-04 on. Before the first labels since its hold-out a model's risk is silent."""
    assert grown.run("loop", "loop.until=2026-05", "decide=never") == 0
    told = {name: [(item.rule, item.event) for item in cycle.actions] for name, cycle in grown.cycles().items()}
    both = [("risk", Event.RAISED), ("decay", Event.RAISED)]
    assert told == {"2026-02": [], "2026-03": [], "2026-04": [], "2026-05": both}
    assert grown.ask("alerts").code == 3


class Killed(BaseException):
    """The process is gone."""


def test_what_a_person_did_in_the_middle_of_a_window_counts(grown: World) -> None:
    """The loop is killed after it has promoted a model; a person takes that back before it goes on."""
    assert grown.run("loop", "loop.until=2026-06") == 0
    commits = 0

    def die(step: durable.Step, execute: Callable[[], None]) -> None:
        nonlocal commits
        commits += step.operation == "commit"
        if commits == 6:  # the lease, the opening, three of the shadow
            raise Killed
        execute()

    with durable.intercept(die), pytest.raises(Killed):
        grown.run("loop", "loop.until=2026-07")
    rows = [row for row in grown.rows() if row.window == "2026-07"]
    assert [row.kind for row in rows] == ["opened", "shadow", "inputs", "verdict", "stage", "stage"]
    assert grown.run("rollback", "actor=ada", "reason=it is wrong") == 0
    assert grown.run("loop", "loop.until=2026-07") == 0
    cycles = grown.cycles()
    assert cycles["2026-07"].champion == cycles["2026-07"].champion_after == cycles["2026-02"].champion_after
    with grown.ledger() as ledger:
        ledger.verify()
        assert ledger.stage_of(rows[1].model) is Stage.QUARANTINED


def test_an_interrupt_ends_with_130_and_the_same_command_goes_on(grown: World) -> None:
    def interrupt(step: durable.Step, execute: Callable[[], None]) -> None:
        raise KeyboardInterrupt

    with durable.intercept(interrupt):
        stopped = grown.ask("loop", "loop.until=2026-05")
    assert stopped == Answer(130, "", stopped.err)
    assert stopped.err.endswith("interrupted - the same command goes on where it stopped\n")
    assert grown.ask("loop", "loop.until=2026-05").code == 0
    assert "2026-05" in grown.cycles()


def test_the_loop_runs_with_another_policy_and_its_decisions_are_replayed(fresh: World) -> None:
    """The world turns round in April; CUSUM sums what was lost, which the label lag shows it a window later."""
    answer = fresh.ask("loop", "decide=cusum", "loop.until=2026-05")
    assert answer.code == 0
    decisions = {window: cycle.decision for window, cycle in fresh.cycles().items() if cycle.decision}
    assert {decision.policy for decision in decisions.values()} == {"cusum"}
    assert decisions["2026-04"].action is Action.KEEP
    assert decisions["2026-05"].action is Action.RETRAIN
    assert "the sum of points lost beyond 1 a window is " in decisions["2026-05"].reason
    why = fresh.ask("why", "2026-05")
    assert why.code == 0
    assert why.value["because"][0]["replay"] == "equal"
    assert [len(row.payload["evidence"]["track"]) for row in fresh.rows("inputs") if "evidence" in row.payload] == [
        0,
        1,
        2,
        3,
    ]
    assert f"otherwise: {decisions['2026-05'].counterfactual[:40]}" in why.err


def test_no_champion_is_a_negative_answer(fresh: World) -> None:
    """A floor that no model reaches: nothing is promoted, and the same rows are not tried again."""
    answer = fresh.ask("loop", "gate.rules.floor.threshold=0.999", "loop.until=2026-03")
    assert answer.code == 3
    assert answer.value["champion"] == ""
    assert answer.value["verdicts"] == {"offline fail": 1}


def test_a_founding_attempt_that_failed_is_repeated_on_new_evidence_alone(fresh: World) -> None:
    """Far below its floor: one sweep, then the loop waits and says why; all of it is made again from the ledger."""
    assert fresh.ask("loop", "gate.rules.floor.threshold=0.9999", "loop.until=2026-06").code == 3
    cycles = fresh.cycles()
    decisions = {window: cycle.decision for window, cycle in cycles.items() if cycle.decision}
    actions = [decision.action for decision in decisions.values()]
    assert actions == [Action.RETUNE, *[Action.KEEP] * 4]
    assert len(fresh.rows("candidate")) == 1
    why = {window: decision.reason for window, decision in decisions.items()}
    assert "the attempt of 2026-02 failed: floor:" in why["2026-03"]
    assert why["2026-03"].endswith("no labelled window has come since, and the same rows would say the same")
    assert "; 3 labelled windows since, another one passes with 0." in why["2026-06"]
    assert [row.payload["evidence"]["holdout_rows"] for row in fresh.rows("inputs") if "failed" in row.payload.get(
        "evidence", {}) and row.payload["evidence"]["failed"]] == [600] * 4  # fmt: skip
    with fresh.ledger() as ledger:
        assert {replay(ledger, row).state for row in ledger.rows("decision")} == {Replayed.EQUAL}


def test_until_must_be_a_window_of_the_loop(grown: World, line: Callable[[], str]) -> None:
    assert grown.run("loop", "loop.until=2026-01") == 2
    assert line() == "loop.until: '2026-01' is a founding window: the loop cannot stop there - 2026-02 to 2026-08 may"
    assert grown.run("loop", "loop.until=2031-01") == 2
    assert line().startswith("loop.until: there is no window '2031-01'")


def test_whole_numbers_in_one_window_and_fractions_in_another(tmp_path: Path, new: World) -> None:
    """A column of 1.0, 2.0 that somebody's tool stored as integers."""
    for index, window in enumerate(WINDOWS[:6]):
        table = pq.read_table(new.folder / "windows" / f"{window}.parquet")
        if index % 2:
            at = table.column_names.index("noise")
            table = table.set_column(at, "noise", table["noise"].cast("int64", safe=False))
        write_parquet(table, tmp_path / "windows" / f"{window}.parquet")
        labels = pq.read_table(new.folder / "labels" / f"{window}.parquet")
        write_parquet(labels, tmp_path / "labels" / f"{window}.parquet")
    write(tmp_path / "conf" / "data" / "world.yaml", DATA.format(folder=tmp_path))
    write(tmp_path / "conf" / "experiment" / "world.yaml", (new.folder / "conf/experiment/world.yaml").read_text())
    world = World(tmp_path, tmp_path / "run")
    answer = world.ask("loop", "loop.founding_windows=3", "loop.until=2026-05")
    assert answer.code == 0, answer.err


def test_the_answer_is_valid_json_without_nan(young: World) -> None:
    with young.ledger() as ledger:
        payloads = [row.payload for row in ledger.rows()]
    assert json.loads(json.dumps(payloads, allow_nan=False)) == payloads
    assert young.cycles()[YOUNG].monitor is not None


def test_a_model_made_in_the_middle_of_a_change_is_followed_by_another(grown: World) -> None:
    """Two attempts are measured by then, so the plan decides: the champion was trained on a window of each regime."""
    assert grown.run("loop", "decide.planned=true", f"loop.until={LAST}") == 0
    decision = grown.cycles()[LAST].decision
    assert decision is not None
    assert decision.action is not Action.KEEP
    assert "the world has changed since with" in decision.reason
    with grown.ledger() as ledger:
        (row,) = [row for row in ledger.rows("decision") if row.window == LAST]
        inputs = ledger.find(f"{row.id}:inputs")
        assert inputs is not None
        told = inputs.payload["evidence"]
        assert replay(ledger, row).state is Replayed.EQUAL
    assert (told["training"], [seen["age"] for seen in told["past"]][:2]) == (2, [1, 2])
