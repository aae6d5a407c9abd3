"""What every test may rely on, and the table of what the proofs have shown."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.memory import in_memory

if place := in_memory():  # the root of every tmp_path
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", place)


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_heard() -> Iterator[None]:
    """A shell starts what runs in the background deaf to Ctrl-C; some tests press it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for every `record_property(promise, figure)`: promise, figure, test. Nothing where none was recorded."""
    shown = [
        (promise, str(figure) if outcome == "passed" else f"{figure} - BROKEN", report.nodeid)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
        for promise, figure in report.user_properties
    ]
    if not shown:
        return
    terminalreporter.section("what was proved")
    wide = [max(len(row[column]) for row in shown) for column in range(2)]
    for promise, figure, test in sorted(shown):
        terminalreporter.line(f"{promise:<{wide[0]}}  {figure:<{wide[1]}}  {test.removeprefix('tests/')}")
