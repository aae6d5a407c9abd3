"""Programs that kill a sweep at its write points, and the tests that start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PARTS = 4  # of a proof at full size that kills everywhere: each within some minutes


def kills(every: int, doubles: int, all_doubles: int) -> Any:
    """For a test that kills a sweep at its write points: some of them; all of them, in parts (slow)."""
    cases = [pytest.param(every, doubles, 0, 1, id="some")]
    for part in range(PARTS):
        cases.append(pytest.param(1, all_doubles, part, PARTS, id=f"{part + 1}-of-{PARTS}", marks=pytest.mark.slow))
    return pytest.mark.parametrize(("every", "doubles", "part", "parts"), cases)


def killed_everywhere(program: str, work: Path, *sizes: int) -> dict[str, Any]:
    """What a program says that kills a sweep at its write points: nothing was wrong."""
    command = [sys.executable, "-m", program, str(work), *map(str, sizes)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # the program forks, and a fork has none of the threads of a pool
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["points"] > 50
    assert found["killed"] >= found["cases"]
    return found
