"""What every test may rely on, and the table of what the proofs have shown."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.composing import composed_once
from tests.memory import in_memory

ROOT = Path(__file__).parent
LONGEST = ROOT / "longest.txt"  # test files that take more than a few seconds, the longest first

# Every run tries the same examples, however slow the machine is.
settings.register_profile(
    "tidegate", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tidegate")

if place := in_memory():  # the root of every tmp_path
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", place)


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_heard() -> Iterator[None]:
    """A shell starts what runs in the background deaf to Ctrl-C; some tests press it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def composing() -> Iterator[None]:
    """Two thirds of a short command are Hydra's, and mostly the same for all of them."""
    with composed_once():
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, the longest before all: in the end no process is left alone with one of them."""
    places = {ROOT / name: place for place, name in enumerate(LONGEST.read_text().splitlines())}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """What was imported to find the tests stays: nobody need look through it for garbage, again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """What draws from a generator of the whole process draws the same in every test, alone or after any other."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


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
