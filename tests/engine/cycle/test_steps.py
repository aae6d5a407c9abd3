"""What every step of a cycle rests on: a record counts once, and labels have their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engine.cycle.loop import Loop
from engine.cycle.past import Past
from engine.errors import DataError
from engine.records import Candidate, Decision, Verdict
from tests.engine.world import WINDOWS, YOUNG, World


def test_the_record_that_the_ledger_holds_counts(grown: World) -> None:
    """Two processes in one cycle: the slower one goes on with what the faster one wrote."""
    cycle = grown.cycles()[YOUNG]
    assert cycle.decision is not None
    with grown.opened() as (confs, ports):
        steps = Loop(confs, ports).steps
        first = replace(cycle.decision, id="d", reason="first")
        second = replace(first, reason="second")
        assert steps.record("draft", "d", first, cycle) == first
        assert steps.record("draft", "d", second, cycle) == first
        assert steps.recorded(Decision, "d") == first
        assert steps.once(Decision, "draft", ("x",), cycle, "", lambda: second) == second
        assert steps.once(Decision, "draft", ("x",), cycle, "", lambda: first) == second
        assert steps.record("decision", "other", first, cycle) == cycle.decision, "a window has one decision"


def test_a_verdict_counts_once(grown: World) -> None:
    """Somebody edits the gate between a kill and the next start: the verdict that is recorded stands."""
    cycle = grown.cycles()["2026-02"]
    with grown.opened() as (confs, ports):
        steps = Loop(confs, ports).steps
        lenient = cycle.verdicts[0]
        strict = replace(lenient, outcome=type(lenient.outcome).FAIL, reason="another gate")
        again, verdict = steps.verdict(replace(cycle, verdicts=()), strict)
        assert verdict == lenient
        assert again.verdicts == (lenient,)
        assert isinstance(verdict, Verdict)


@pytest.mark.parametrize(
    ("lag", "founding", "expected"),
    [
        (0, 2, [1, 1, 2, 3, 4]),  # of the windows 0, 1, 2, 3, 4; the founding ones have labels when the loop starts
        (1, 2, [1, 1, 1, 2, 3]),
        (2, 2, [1, 1, 1, 1, 2]),
        (1, 3, [2, 2, 2, 2, 3]),
    ],
)
def test_when_labels_are_in(young: World, lag: int, founding: int, expected: list[int]) -> None:
    with young.opened(f"data.label_lag={lag}", f"loop.founding_windows={founding}") as (confs, ports):
        steps = Loop(confs, ports).steps
        assert [steps.mature(index) for index in range(5)] == expected


def test_a_window_whose_file_is_gone(young: World) -> None:
    with young.opened() as (confs, ports):
        steps = Loop(confs, ports).steps
        assert steps.at("2026-01") == 0
        with pytest.raises(DataError, match="there is no window '2025-12' any more - put its file back"):
            steps.at("2025-12")


def test_windows_are_read_once_and_dropped_in_the_end(young: World) -> None:
    with young.opened("train.windows=1") as (confs, ports):
        steps = Loop(confs, ports).steps
        assert steps.read("2026-01", labelled=True) is steps.read("2026-01", labelled=True)
        assert steps.read("2026-01", labelled=False).table.num_columns == 6
        kept = steps.read("2026-01", labelled=True)
        steps.forget(6)
        assert steps.read("2026-01", labelled=True) is kept
        steps.forget(7)
        assert steps.read("2026-01", labelled=True) is not kept


def test_rows_of_a_retrain(young: World) -> None:
    """The newest labelled window is held out; the ones before it are trained on, as many as train.windows."""
    with young.opened() as (confs, ports):
        steps = Loop(confs, ports).steps
        rows = steps.training_rows(Past(ports.ledger, ""), 4)
        assert ([w.name for w in rows.windows], rows.holdout.name) == (["2026-03", "2026-04"], "2026-05")
        with pytest.raises(DataError, match="1 labelled windows are fit for use, 2 are needed"):
            steps.training_rows(Past(ports.ledger, ""), 0)


def test_a_candidate_survives_its_json(young: World) -> None:
    """What once() hands on is what it would read back."""
    cycle = young.cycles()["2026-02"]
    assert isinstance(cycle.candidate, Candidate)
    with young.opened() as (confs, ports):
        steps = Loop(confs, ports).steps
        found = [steps.recorded(Candidate, row.id) for row in ports.ledger.rows("candidate")]
    assert found == [cycle.candidate]


# ---- validate ------------------------------------------------------------------------------------------------------


def expected_rows(world: World, *more: str, blocked: Sequence[str] = ()) -> str:
    """The band of rows that the last window but one is held against."""
    with world.opened(*more) as (confs, ports):
        steps = Loop(confs, ports).steps
        name = steps.names[-2]
        past = Past(ports.ledger, name)
        if blocked:
            past.__dict__["blocked"] = frozenset(blocked)
        report = steps.validate(steps.read(name, labelled=False), past)
        return next(check.expected for check in report.checks if check.name == "rows")


def test_windows_are_held_against_the_declared_schema(young: World, tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    assert young.ask("validate", "--infer", f"validate.schema={path}").code == 0
    assert expected_rows(young) == "60 to 1200"
    path.write_text(path.read_text().replace("rows: 600", "rows: 600\nmost: 777"))
    assert expected_rows(young, f"validate.schema={path}") == "60 to 777"


def test_history_is_of_usable_windows_before(young: World) -> None:
    """Three equal windows give a band; where all but two were blocked, those are too few."""
    narrow = expected_rows(young, "validate.history=3")
    low, high = (int(n) for n in narrow.split(" to "))
    assert 60 < low < 600 < high < 1200
    assert expected_rows(young, "validate.history=3", blocked=[WINDOWS[0], WINDOWS[-3]]) == narrow
    assert expected_rows(young, "validate.history=3", blocked=WINDOWS[2:-2]) == "60 to 1200"
    assert expected_rows(young, "validate.history=2") == "60 to 1200"


def test_a_founding_window_that_the_declared_schema_blocks_founds_no_loop(fresh: World, tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    words = ("validate.severity.rows=block", f"validate.schema={path}")
    assert fresh.ask("validate", "--infer", f"validate.schema={path}").code == 0
    path.write_text(path.read_text().replace("rows: 600", "rows: 600\nfewest: 601"))
    answer = fresh.ask("loop", *words)
    assert answer.code == 2
    assert "rows: 600 rows, expected 601 to 1200 - mend the window, or lower validate.severity.rows" in answer.err
    assert not (fresh.out / "ledger.db").exists()
