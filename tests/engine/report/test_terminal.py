from __future__ import annotations

import dataclasses
import io
import math
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.records import CheckOutcome, Cycle, Event, Look, Outcome, Severity, TrialState
from engine.records.measured import PipelineMetrics
from engine.report.board import Board
from engine.report.row import COLUMNS, GAP, fit
from engine.report.sweep import live
from engine.report.tables import plain
from engine.report.terminal import Console, make_console
from tests.engine.report.fixtures import PRIMARY, WINDOWS, year
from tests.engine.report.sweeps import make_candidate, make_epoch, make_sweep, make_trial

CYCLES = year()


def told(width: int | None = None, cycles: tuple[Cycle, ...] = CYCLES, *, quiet: bool = False) -> list[str]:
    stream = io.StringIO()
    console = Console(PRIMARY, quiet=quiet, stream=stream, width=width)
    console.header("flights", len(cycles), "runs/flights")
    for cycle in cycles:
        console.cycle(cycle)
    return stream.getvalue().splitlines()


def test_one_row_a_window_aligned_with_its_title() -> None:
    lines = told()
    titles, rows = lines[1], [line for line in lines[2:] if not line.startswith(" ")]
    assert [row.split()[0] for row in rows] == list(WINDOWS)
    start = titles.index("decision")
    for row, cycle in zip(rows, CYCLES, strict=True):
        word = cycle.decision.action.value if cycle.decision else "founding"
        assert row[start:].startswith(word)
        assert row[start - len(GAP) : start] == GAP


def test_a_row_says_all_of_a_window() -> None:
    row = next(line for line in told() if line.startswith(WINDOWS[5]))
    said = (
        "25,955", "ok", "3/20 ?1 dew_point", "0.709 [0.702, 0.716]", "2013-05",
        "retrain 150 +-50 | 60 +-12 EUR", "offline fail", "cccccccc quarantined", "12.9 s",
    )  # fmt: skip
    assert [text for text in said if text not in row] == []


def test_the_founding_window_says_so_whatever_was_decided() -> None:
    founding = dataclasses.replace(CYCLES[0], decision=CYCLES[2].decision)
    assert "founding  " in told(cycles=(founding,))[2]
    assert "retune" not in told(cycles=(founding,))[2]


def test_undecidable_is_said_in_words() -> None:
    row = next(line for line in told() if line.startswith(WINDOWS[1]))
    assert "no labels yet" in row
    assert "keep undecidable | 95 +-19 EUR" in row
    assert "nan" not in "\n".join(told()).lower().replace("finance", "")


@pytest.mark.parametrize("width", [40, 80, 100, 120, 160, 210, 300])
def test_rows_fit_the_width(width: int) -> None:
    lines = told(width)
    rows = [line for line in lines[1:] if not line.startswith(" ")]
    assert max(map(len, rows)) <= width
    assert all(row.startswith(window) for row, window in zip(rows[1:], WINDOWS, strict=True))


def test_the_window_the_metric_and_the_gate_are_the_last_to_go() -> None:
    titles = {width: [column.title for column, _ in fit(COLUMNS, width)] for width in (300, 80, 50)}
    assert titles[300] == [column.title for column in COLUMNS]
    assert set(titles[80]) >= {"window", "drift", "", "decision", "gate"}
    assert titles[50] == ["window", "", "gate"]
    assert len(fit(COLUMNS, 1)) == 1


def test_a_blocked_window_and_an_action_say_why() -> None:
    check = dataclasses.replace(
        CYCLES[1].validation.checks[0], outcome=CheckOutcome.UNDECIDABLE, column="dest", reason="no column"
    )
    report = dataclasses.replace(CYCLES[1].validation, checks=(check,))
    lines = told(cycles=(dataclasses.replace(CYCLES[1], validation=report), CYCLES[7]))
    assert "1 blocked" in lines[2]
    assert lines[3] == "  blocked by schema dest: no column"
    assert lines[5] == "  suspected auroc_low: roc_auc_score fell below 0.70 -> log, ml-oncall"


def test_a_gate_that_does_not_open_says_why_under_the_row() -> None:
    for number in (5, 7):
        (verdict,) = (v for v in CYCLES[number].verdicts if v.outcome is not Outcome.PASS)
        assert f"  gate offline {verdict.outcome.value}: {verdict.reason}" in told(cycles=(CYCLES[number],))
    passed = told(cycles=(CYCLES[2],))
    assert not any(line.startswith("  gate") for line in passed)
    waits = dataclasses.replace(verdict, look=Look(number=1, most=3, spending="pocock", futility=0.05))
    waiting = told(cycles=(dataclasses.replace(CYCLES[7], verdicts=(waits,)),))
    assert not any(line.startswith("  gate") for line in waiting)


def test_a_champion_below_its_floor_is_told_of_as_long_as_it_is() -> None:
    found = [PipelineMetrics(window="w", currency="EUR", degraded_windows=lasts) for lasts in (0.0, 1.0, 2.0, math.nan)]
    lines = told(cycles=tuple(dataclasses.replace(CYCLES[1], pipeline=one) for one in found))
    assert [line for line in lines if "floor" in line] == [
        "  below the floor of its own gate for 1 window: the model in production",
        "  below the floor of its own gate for 2 windows: the model in production",
    ]


def test_a_warning_says_why_once_while_it_lasts() -> None:
    broken = dataclasses.replace(
        CYCLES[1].validation.checks[0], severity=Severity.WARN, outcome=CheckOutcome.VIOLATED, reason="2 of 4 groups"
    )
    warning = dataclasses.replace(CYCLES[1].validation, checks=(broken,))
    whole = dataclasses.replace(CYCLES[1].validation, checks=())
    cycles = [dataclasses.replace(CYCLES[1], validation=v) for v in (warning, warning, whole, warning)]
    said = [line for line in told(cycles=tuple(cycles)) if line.startswith("  ")]
    assert said == [f"  warning of {broken.name} {broken.column}: 2 of 4 groups"] * 2


def test_an_alert_that_goes_on_is_not_told_each_window() -> None:
    item = CYCLES[7].actions[0]
    events = (Event.RAISED, Event.OPEN, Event.OPEN, Event.AGAIN, Event.RESOLVED)
    cycles = [dataclasses.replace(CYCLES[7], actions=(dataclasses.replace(item, event=event),)) for event in events]
    said = [line for line in told(cycles=tuple(cycles)) if "auroc_low" in line]
    assert [line.partition(":")[0] for line in said] == [
        "  suspected auroc_low", "  suspected auroc_low (again)", "  suspected auroc_low (resolved)",
    ]  # fmt: skip


def test_trials_that_failed_say_why_under_the_row_of_their_window() -> None:
    failed = [make_trial(i, state=TrialState.FAILED, reason="ValueError: no layer (shop/net.py:7)") for i in range(2)]
    broken = dataclasses.replace(CYCLES[2], candidate=make_candidate(*failed, make_trial(2)))
    assert "  failed: trial-000, trial-001: ValueError: no layer (shop/net.py:7)" in told(cycles=(broken,))


def test_without_a_model_nobody_waits_for_labels() -> None:
    nothing = dataclasses.replace(CYCLES[1], champion="", champion_after="")
    assert "no model yet" in told(cycles=(nothing,))[2]


def test_a_log_has_no_escape_codes_even_from_the_data() -> None:
    evil = dataclasses.replace(CYCLES[1], window="2013\x1b]0;owned\x07\n[bold]x")
    text = "\n".join(told(cycles=(evil,)))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert len(text.splitlines()) == 3


def test_quiet_says_warnings_only() -> None:
    assert told(quiet=True) == []
    stream = io.StringIO()
    console = Console(quiet=True, stream=stream)
    console.note("n")
    console.timings({"reading": 1.0}, 2.0)
    with console.sweep(make_sweep(), 1) as seen:
        seen.ended(make_trial(0, state=TrialState.FAILED))
    console.show("table")
    console.warn("disk is\nfull")
    assert stream.getvalue() == "warning: disk is full\n"


def test_timings_add_up_to_the_wall_with_our_own_overhead() -> None:
    stream = io.StringIO()
    Console(stream=stream).timings({"reading": 1.0, "training": 6.0, "ray": 2.0}, 10.0)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "wall time 10.0 s"
    named = [re.match(r"  (.+?)  +(\S+ s) +(\d+ %)", line) for line in lines[1:]]
    assert [m.groups() for m in named if m] == [
        ("training", "6.00 s", "60 %"),
        ("ray", "2.00 s", "20 %"),
        ("reading", "1.00 s", "10 %"),
        ("own overhead", "1.00 s", "10 %"),
    ]


def test_timings_of_nothing() -> None:
    stream = io.StringIO()
    Console(stream=stream).timings({}, 0.0)
    assert "own overhead" in stream.getvalue()


def test_a_sweep_in_a_log_is_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("engine.report.terminal.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    with Console(stream=stream).sweep(make_sweep(), 8) as told:
        for index in range(8):
            told.begins(f"trial-{index:03d}", {"train.lr": index}, {})
            for epoch in range(1, 4):
                now[0] += 1
                told.epoch(f"trial-{index:03d}", make_epoch(epoch, 0.6 + 0.01 * index))
            failed = index in (1, 2)
            told.ended(make_trial(index, 0.6, state=TrialState.FAILED if failed else TrialState.FINISHED))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "trial-001 failed: diverged in epoch 1"  # at once, and once: the other one has the same reason
    assert lines[1].startswith("2026-05: 3 of 8 trials, 1 running, 2 failed, best 0.6300 (trial-003), 10.0 s")
    assert lines[-1].startswith("2026-05: 8 of 8 trials, 2 failed, best ")
    assert len(lines) == 4


def test_a_short_sweep_leaves_no_line_in_a_log() -> None:
    stream = io.StringIO()
    with Console(stream=stream).sweep(make_sweep(), 2) as told:
        told.ended(make_trial(0))
        told.ended(make_trial(1))
    assert stream.getvalue() == ""


def test_the_end_of_a_sweep() -> None:
    stream = io.StringIO()
    Console(stream=stream).swept(make_candidate(make_trial(0), make_trial(1, 0.8)))
    lines = stream.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["trial", "trial-001", "trial-000", "2"]


def test_what_is_told_of_a_sweep_costs_nothing(record_property: pytest.RecordProperty) -> None:
    """Microseconds an epoch: the table is drawn elsewhere, once a second, whatever its size."""
    told = Board(make_sweep(), 2000, None, time.monotonic)
    began = time.thread_time()
    for index in range(1000):
        told.begins(f"trial-{index:03d}", {"train.lr": index}, {})
        for epoch in range(1, 9):
            told.epoch(f"trial-{index:03d}", make_epoch(epoch))
        told.ended(make_trial(index))
    epoch_cost = (time.thread_time() - began) / 8000
    began = time.thread_time()
    plain(live(told, 120))
    redraw = time.thread_time() - began
    figure = f"{1e6 * epoch_cost:.0f} us an epoch, {1e3 * redraw:.0f} ms a redraw (one a second) of 1000 trials"
    record_property("the live table costs a sweep nothing", figure)
    assert epoch_cost < 1e-3
    assert redraw < 0.5


def test_everything_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console = make_console(primary=PRIMARY)
    console.header("flights", 1, Path("runs"))
    console.cycle(CYCLES[0])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert PRIMARY in captured.err


SCRIPT = """
import select, sys
from engine.report.terminal import make_console
from tests.engine.report.sweeps import make_epoch, make_sweep, make_trial
from tests.engine.report.fixtures import PRIMARY, year
console = make_console(primary=PRIMARY)
console.header("flights", 1, "runs")
with console.sweep(make_sweep(), 2) as told:
    told.begins("trial-000", {"train.lr": 0.1}, {})
    told.epoch("trial-000", make_epoch(1, 0.61))
    select.select([sys.stdin], [], [], 300)  # until the table was seen
    console.note("a line above the table")
    told.ended(make_trial(0))
console.cycle(year()[2])
"""


def test_on_a_terminal_there_are_colours_and_a_table_that_vanishes() -> None:
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "150", "NO_COLOR": ""}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stderr=child, env=environment)
    os.close(child)
    assert process.stdin is not None
    seen = b""
    while True:
        try:
            chunk = os.read(parent, 65_536)
        except OSError:  # the other end is closed: on Linux that is how a pseudo-terminal ends
            break
        if not chunk:
            break
        seen += chunk
        if b"1 running, best 0.6100" in seen and not process.stdin.closed:
            process.stdin.close()
    os.close(parent)
    assert process.wait() == 0
    text = seen.decode()
    assert "\x1b[1;36mretune" in text
    assert "2026-05: 0 of 2 trials, 1 running, best 0.6100 (trial-000)" in text
    assert re.search(r"trial-000.*running.*0\.6100.*0\.1", text)
    assert "a line above the table" in text
    last, why = text.rstrip().splitlines()[-2:]
    assert "trial" not in last
    assert "preproduction" in last
    assert "  failed: 2013-03_00003: the loss is not finite" in why
