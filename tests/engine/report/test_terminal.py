from __future__ import annotations

import dataclasses
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.records import CheckOutcome, Cycle
from engine.report.row import COLUMNS, GAP, fit
from engine.report.terminal import Console, make_console
from tests.engine.report.fixtures import PRIMARY, WINDOWS, year

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
    with console.progress("p", 1) as work:
        work.advance()
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


def test_progress_in_a_log_is_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 3))
    monkeypatch.setattr("engine.report.terminal.time.monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    with Console(stream=stream).progress("training", 8) as work:
        for trial in range(8):
            work.advance(note=f"trial {trial}")
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("training: 4/8 after 12.0 s, trial 3")
    assert lines[-1].startswith("training: 8/8")
    assert len(lines) == 2


def test_short_work_leaves_no_line_in_a_log() -> None:
    stream = io.StringIO()
    with Console(stream=stream).progress("reading", 3) as work:
        work.advance(3)
    assert stream.getvalue() == ""


def test_everything_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console = make_console(primary=PRIMARY)
    console.header("flights", 1, Path("runs"))
    console.cycle(CYCLES[0])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert PRIMARY in captured.err


SCRIPT = """
from engine.report.terminal import make_console
from tests.engine.report.fixtures import PRIMARY, year
console = make_console(primary=PRIMARY)
console.header("flights", 1, "runs")
with console.progress("outer", 2) as outer, console.progress("inner", 2) as inner:
    inner.advance(2, "half")
    console.note("a line above the bars")
    outer.advance()
console.cycle(year()[2])
"""


def test_on_a_terminal_there_are_colours_and_bars_that_vanish() -> None:
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "150", "NO_COLOR": ""}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stderr=child, env=environment)
    os.close(child)
    seen = b""
    while True:
        try:
            chunk = os.read(parent, 65_536)
        except OSError:  # the other end is closed: on Linux that is how a pseudo-terminal ends
            break
        if not chunk:
            break
        seen += chunk
    os.close(parent)
    assert process.wait() == 0
    text = seen.decode()
    assert "\x1b[1;36mretune" in text
    assert "outer" in text
    assert "inner" in text
    assert "a line above the bars" in text
    last = text.rstrip().splitlines()[-1]
    assert "outer" not in last
    assert "preproduction" in last
