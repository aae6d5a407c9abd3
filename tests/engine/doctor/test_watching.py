"""Does a watch live: told by the sign that it leaves."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.doctor.finding import State
from engine.doctor.watching import AGAIN, SIGN, watch
from engine.verbs.watch import SIGN as WRITTEN


def sign(folder: Path, age: float, **more: Any) -> None:
    at = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = {"state": "waiting", "error": "", "waiting": "", "at": at, "next": 60, "pid": 7, "host": "sea"}
    (folder / SIGN).write_text(json.dumps(told | more))


def test_nobody_ever_watched(tmp_path: Path) -> None:
    assert list(watch(tmp_path)) == []
    assert SIGN == WRITTEN


@pytest.mark.parametrize(
    ("age", "more", "state", "found", "cure"),
    [
        (30, {}, State.GOOD, "process 7 on sea, waiting, last sign of life 3", ""),
        (30, {"waiting": "2026-05 waits for 2026-04"}, State.GOOD, "2026-05 waits for 2026-04", ""),
        (900, {}, State.BAD, "last sign of life 9", "start it again: the same command goes on where it stopped"),
        (9000, {"state": "deciding on 2026-05"}, State.GOOD, "deciding on 2026-05", ""),
        (
            22000,
            {"state": "deciding on 2026-05"},
            State.WARN,
            "deciding on 2026-05, last sign of life 2200",
            f"see whether that process still works, or end it; {AGAIN}",
        ),
        (9000, {"state": "ended"}, State.GOOD, "ended 90", ""),
        (30, {"error": "s3://b: cannot be listed - set data.path"}, State.BAD, "cannot be listed", "set data.path"),
    ],
)
def test_findings(tmp_path: Path, age: float, more: dict[str, str], state: State, found: str, cure: str) -> None:
    sign(tmp_path, age, **more)
    (finding,) = watch(tmp_path)
    assert (finding.state, finding.cure) == (state, cure)
    assert found in finding.found


def test_a_process_of_this_machine_that_is_gone(tmp_path: Path) -> None:
    """It was killed: that is known at once, whatever it was about."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    sign(tmp_path, 5, state="deciding on 2026-05", host=socket.gethostname(), pid=process.pid)
    (finding,) = watch(tmp_path)
    assert (finding.state, finding.cure) == (State.BAD, AGAIN)
    assert finding.found.endswith(", and that process is gone")
    for pid in (os.getpid(), 1):
        sign(tmp_path, 5, state="deciding on 2026-05", host=socket.gethostname(), pid=pid)
        assert [f.state for f in watch(tmp_path)] == [State.GOOD]
    sign(tmp_path, 5, host=socket.gethostname(), pid=10**30)
    assert [f.state for f in watch(tmp_path)] == [State.BAD]


def test_a_sign_that_is_broken_is_said(tmp_path: Path) -> None:
    (tmp_path / SIGN).write_text("{")
    (finding,) = watch(tmp_path)
    assert finding.state is State.WARN
