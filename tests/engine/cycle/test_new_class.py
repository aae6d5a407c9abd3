"""Labels of a class that nobody knows, which came with their window or later: a finding of that window, and no end."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.cycle import outside
from engine.cycle.replay import Replayed, find, replay
from engine.data.tables import write_parquet
from engine.errors import ClassError
from engine.records import Action, Cycle, Stage
from tests.engine.world import WINDOWS, World, configure, rows_of

ROWS, STRANGE = 400, 12
BAD, NEXT, THEN = WINDOWS[3:6]  # labels of BAD are strange; with a lag of 1 they come with NEXT
NAMED = "data.positive=overdue"
WHAT = "12 rows have the label 'lost', none of the classes 'on time', 'overdue'"
CURE = "mend the labels, or found a new loop with data.task=multiclass data.classes=['on time',overdue,lost]"
CHALLENGER = ("train.max_epochs=1", "decide=calendar", "decide.calendar=1")  # one for every window
QUIET = ("train.max_epochs=1", "decide=never")


def labels_of(index: int, *, strange: bool, words: bool = True, three: bool = False) -> pa.Table:
    """Of one window, the first ones of a class of their own where they are strange."""
    _, label = rows_of(index, ROWS)
    late = label["late"].to_numpy()
    told = np.where(late == 1, "overdue", "on time").tolist() if words else late.tolist()
    if three:
        told[::4] = ["early"] * len(told[::4])
    if strange:
        told[:STRANGE] = ["lost" if words else 2] * STRANGE
    return pa.table({"row": label["row"], "late": pa.array(told)})


def deliver(world: World, name: str, *, strange: bool = False, words: bool = True, three: bool = False) -> None:
    """A window and its labels."""
    index = WINDOWS.index(name)
    write_parquet(rows_of(index, ROWS)[0], world.folder / "windows" / f"{name}.parquet")
    relabel(world, name, labels_of(index, strange=strange, words=words, three=three))


def relabel(world: World, name: str, labels: pa.Table) -> None:
    write_parquet(labels, world.folder / "labels" / f"{name}.parquet")


def make(folder: Path, bad: Sequence[str] = (BAD,), *, words: bool = True, three: bool = False) -> World:
    """Six windows; those in `bad` have strange labels."""
    world = configure(folder)
    for name in WINDOWS[:6]:
        deliver(world, name, strange=name in bad, words=words, three=three)
    return world


def left_out(cycle: Cycle) -> list[tuple[str, int, str, str, str, str]]:
    """What was found of the labels of earlier windows."""
    return [
        (report.window, report.n_rows, check.name, check.column, check.observed, check.reason)
        for report in cycle.labels
        for check in report.checks
    ]


def test_late_labels_of_a_new_class_are_a_finding_of_their_window(tmp_path: Path) -> None:
    world = make(tmp_path)
    answer = world.ask("loop", NAMED, *CHALLENGER)
    assert answer.code == 0, answer.err
    cycles = world.cycles()
    assert list(cycles) == list(WINDOWS[1:6])
    assert cycles[BAD].validation.usable  # nobody could know it then
    assert left_out(cycles[NEXT]) == [(BAD, ROWS, "classes", "late", WHAT, CURE)]
    assert [cycle.window for cycle in cycles.values() if cycle.labels] == [NEXT]
    rows = world.rows("validation")
    assert [(row.window, row.payload["checks"][0]["severity"]) for row in rows] == [(BAD, "block")]
    assert (
        f"the labels of {BAD} are left out, none of its 400 rows is trained or judged on: {WHAT}: {CURE}" in answer.err
    )
    assert "detected blocked: data.blocked = 1 > 0" in answer.err
    page = (world.out / "report.html").read_text()
    assert f"the labels of {BAD} are left out" in page  # among what a person should look at
    assert f"newest {BAD}" in page  # in the table of checks that did not hold, under the window that they are of
    with world.ledger() as ledger:
        ledger.verify()
        again = {row.kind: replay(ledger, row).state for row in find(ledger, BAD)}
        assert (again["decision"], again["validation"]) == (Replayed.EQUAL, Replayed.MEASURED)


def test_nothing_is_trained_or_judged_on_it(tmp_path: Path) -> None:
    world = make(tmp_path)
    assert world.ask("loop", NAMED, *CHALLENGER).code == 0
    cycles = world.cycles()
    now, then = cycles[NEXT], cycles[THEN]
    assert now.monitor is not None
    assert now.monitor.performance is None
    used = set[str]()
    for cycle in (now, then):
        assert cycle.candidate is not None
        used |= {cycle.candidate.holdout_window, *cycle.candidate.training_windows}
        used |= {report.window for report in (cycle.evaluation, cycle.shadow) if report is not None}
    assert used == {WINDOWS[0], WINDOWS[1], WINDOWS[2], NEXT}
    assert then.monitor is not None
    assert then.monitor.performance is not None
    assert (then.monitor.performance.window, then.monitor.performance.n_rows) == (NEXT, ROWS)
    assert then.monitor.risk is not None
    assert BAD not in then.monitor.risk.windows


def test_the_champion_stays_and_what_is_undecidable_opens_no_gate(tmp_path: Path) -> None:
    world = make(tmp_path)
    assert world.ask("loop", NAMED, f"loop.until={NEXT}").code == 0
    cycle = world.cycles()[NEXT]
    assert cycle.decision is not None
    assert cycle.decision.action is Action.KEEP
    assert not np.isfinite(cycle.decision.waiting.mean)
    assert (cycle.verdicts, cycle.changes) == ((), ())
    with world.ledger() as ledger:
        head = ledger.head(Stage.PRODUCTION)
    assert head is not None
    assert head.model == cycle.champion == cycle.champion_after == world.cycles()[WINDOWS[1]].champion_after


@pytest.mark.parametrize("severity", ["block", "warn"])
def test_labels_that_come_with_their_window_end_no_loop_either(tmp_path: Path, severity: str) -> None:
    """The window after is monitored against this one, whose labels cannot be read."""
    world = make(tmp_path)
    at_once = ("data.label_lag=0", f"validate.severity.classes={severity}")
    answer = world.ask("loop", NAMED, *CHALLENGER, *at_once)
    assert answer.code == 0, answer.err
    cycles = world.cycles()
    found = [check for check in cycles[BAD].validation.checks if check.name == "classes"]
    assert [(check.observed, check.severity.value) for check in found] == [(WHAT, severity)]
    assert f"of classes late: {WHAT}: {CURE}" in answer.err or f"by classes late: {WHAT}: {CURE}" in answer.err
    assert all(not cycle.labels for cycle in cycles.values())
    assert (cycles[BAD].decision is None) == (severity == "block")
    assert cycles[THEN].monitor is not None
    for cycle in (cycles[NEXT], cycles[THEN]):
        assert cycle.candidate is not None
        assert BAD not in (*cycle.candidate.training_windows, cycle.candidate.holdout_window)


def test_where_the_check_is_off_the_loop_stops_and_records_nothing(tmp_path: Path) -> None:
    world = make(tmp_path)
    stopped = world.ask("loop", NAMED, *QUIET, "validate.severity.classes=off")
    assert stopped.code == 2
    assert f"{BAD}.parquet:late: {WHAT} - {CURE}" in stopped.err
    assert world.rows("validation") == []
    assert world.ask("loop", NAMED, *QUIET).code == 0  # the same window, begun again
    assert left_out(world.cycles()[NEXT])


def test_codes_beyond_the_classes_are_a_finding_too(tmp_path: Path) -> None:
    world = make(tmp_path, words=False)
    assert world.ask("loop", *QUIET).code == 0
    ((window, rows, check, _, observed, reason),) = left_out(world.cycles()[NEXT])
    assert (window, rows, check) == (BAD, ROWS, "classes")
    assert observed == "12 rows have a label that is none of 0..1, such as 2"
    assert reason.startswith("store 0 and 1, or list both labels")


def test_a_fourth_class_of_three(tmp_path: Path) -> None:
    world = make(tmp_path, three=True)
    more = ("data.task=multiclass", "evaluate.metrics=[accuracy_score,log_loss,roc_auc_score]", "gate=multiclass")
    answer = world.ask("loop", *QUIET, *more, "gate.rules.floor.threshold=0.3")
    assert answer.code == 0, answer.err
    ((window, _, _, _, observed, reason),) = left_out(world.cycles()[NEXT])
    assert (window, observed) == (
        BAD,
        "12 rows have the label 'lost', none of the classes 'early', 'on time', 'overdue'",
    )
    assert reason == "mend the labels, or found a new loop with data.classes=[early,'on time',overdue,lost]"


def test_a_killed_cycle_finds_what_it_had_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a person has mended the labels meanwhile: it ends as if nothing had happened."""
    world = make(tmp_path)
    whole = outside.record_strange

    def killed(*told: object) -> None:
        whole(*told)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outside, "record_strange", killed)
        assert world.ask("loop", NAMED, *CHALLENGER).code == 130
    assert NEXT not in world.cycles()
    relabel(world, BAD, labels_of(3, strange=False))
    assert world.ask("loop", NAMED, *CHALLENGER).code == 0
    cycles = world.cycles()
    assert left_out(cycles[NEXT]) == [(BAD, ROWS, "classes", "late", WHAT, CURE)]
    assert len(world.rows("validation")) == 1
    assert cycles[THEN].candidate is not None
    assert BAD not in cycles[THEN].candidate.training_windows


@pytest.mark.parametrize("policy", [QUIET, CHALLENGER], ids=["looked at again", "trained on"])
def test_labels_that_are_written_again_with_a_new_class(tmp_path: Path, policy: tuple[str, ...]) -> None:
    """They were judged on already; what was recorded stays, and from now on the window is left out."""
    world = make(tmp_path, ())
    assert world.ask("loop", NAMED, *QUIET, f"loop.until={NEXT}").code == 0
    relabel(world, BAD, labels_of(3, strange=True))
    answer = world.ask("loop", NAMED, *policy)
    assert answer.code == 0, answer.err
    cycle = world.cycles()[THEN]
    assert [found[0] for found in left_out(cycle)] == [BAD]
    assert cycle.monitor is not None
    assert cycle.monitor.corrections == ()
    if policy == CHALLENGER:
        assert cycle.candidate is not None
        assert cycle.candidate.training_windows == (WINDOWS[1], WINDOWS[2])


def test_a_window_that_a_challenger_was_judged_on_before_is_no_part_of_the_next_look(
    paused: World, tmp_path: Path
) -> None:
    world = configure(tmp_path / "world")
    for kind in ("windows", "labels"):
        shutil.copytree(paused.folder / kind, world.folder / kind)
    shutil.copytree(paused.out, world.out)
    patient = (
        "gate.futility=0",
        "promote.shadow_windows=4",
        "gate.shadow.holds.kind=superiority",
        "gate.shadow.holds.margin=0.22",
    )
    first = world.ask("loop", *patient, f"loop.until={WINDOWS[6]}")
    assert first.code == 0, first.err
    look = world.cycles()[WINDOWS[6]]
    assert [verdict.waiting for verdict in look.verdicts] == [True], look.verdicts
    seen = pq.read_table(world.folder / "labels" / f"{THEN}.parquet")
    codes = np.where(np.arange(len(seen)) < STRANGE, 2, seen["late"].to_numpy())
    relabel(world, THEN, seen.set_column(1, "late", pa.array(codes)))
    second = world.ask("loop", *patient)
    assert second.code == 0, second.err
    cycle = world.cycles()[WINDOWS[7]]
    assert [found[0] for found in left_out(cycle)] == [THEN]
    assert look.shadow is not None
    assert cycle.shadow is not None
    assert (look.shadow.window, cycle.shadow.window) == (THEN, WINDOWS[6])
    assert cycle.shadow.n_rows == look.shadow.n_rows


def test_strange_labels_of_a_founding_window_still_stop(tmp_path: Path) -> None:
    """The schema and the first champion are made of it: there is no loop without."""
    world = make(tmp_path, ())
    named = "data.classes=['on time',overdue]"
    assert world.ask("loop", named, *QUIET, f"loop.until={NEXT}").code == 0
    relabel(world, WINDOWS[0], labels_of(0, strange=True))
    stopped = world.ask("loop", named, *QUIET)
    assert (stopped.code, f"{WINDOWS[0]}.parquet:late: {WHAT} - {CURE}" in stopped.err) == (2, True)
    assert world.rows("validation") == []


def test_a_watch_goes_on_and_says_so(tmp_path: Path) -> None:
    world = make(tmp_path)
    fast = ("watch.every=1s", "watch.settle=0s", "watch.grace=0s", "watch.idle_exit=0s")
    answer = world.ask("watch", NAMED, *QUIET, *fast)
    assert answer.code == 0, answer.err
    told = [json.loads(line) for line in answer.out.splitlines()]
    decided = {event["window"]: event for event in told if event["event"] == "decided"}
    assert list(decided) == list(WINDOWS[1:6])
    assert [name for name, event in decided.items() if "labels_left_out" in event] == [NEXT]
    assert decided[NEXT]["labels_left_out"] == [BAD]
    assert not [event for event in told if event["event"] == "error"]
    assert f"the labels of {BAD} are left out" in answer.err


def test_a_late_window_with_strange_labels_is_left_out_where_it_would_be_trained_on(tmp_path: Path) -> None:
    world = configure(tmp_path)
    fast = ("watch.every=1s", "watch.settle=0s", "watch.grace=0s", "watch.idle_exit=0s")
    for name in (*WINDOWS[:3], NEXT):
        deliver(world, name)
    assert world.ask("watch", NAMED, *QUIET, *fast).code == 0
    deliver(world, BAD, strange=True)
    late = world.ask("watch", NAMED, *QUIET, *fast)
    assert f"{BAD}: late: " in late.err
    assert "it is trained on from now on" in late.err  # its labels are not looked at before they are needed
    deliver(world, THEN)
    answer = world.ask("watch", NAMED, *CHALLENGER, *fast)
    assert answer.code == 0, answer.err
    cycle = world.cycles()[THEN]
    assert [found[0] for found in left_out(cycle)] == [BAD]
    assert cycle.candidate is not None
    assert (*cycle.candidate.training_windows, cycle.candidate.holdout_window) == (WINDOWS[1], WINDOWS[2], NEXT)


def test_a_backtest_leaves_it_out(tmp_path: Path) -> None:
    world = make(tmp_path)
    answer = world.ask("backtest", NAMED, "train.max_epochs=1", "backtest.policies=[never,calendar]")
    assert answer.code in (0, 3), answer.err  # 3: no policy beats doing nothing
    assert f"not fit for use, and left out: {BAD}" in answer.err


def test_the_error_keeps_its_window_between_processes() -> None:
    error = pickle.loads(pickle.dumps(ClassError("f:y", "what", "cure", "w1")))
    assert (str(error), error.window) == ("f:y: what - cure", "w1")
