"""A config and a checkpoint are data: nothing that they name is imported, called, or written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_nothing_smuggled_in_as_data_runs(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    command = [sys.executable, "-m", "tests.engine.train.trust_probe", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["accepted"] == []
    assert found["events"] == []
    assert not found["marked"]
    assert {"compile", "exec", "open", "subprocess.Popen"} <= set(found["control"]), "the hook sees what it must"
    counts = found["counts"]
    assert counts["targets"] > 90
    assert counts["aliases"] == 200
    total = sum(counts.values())
    record_property(
        "config and checkpoints are data",
        f"0 of {total} accepted, 0 events seen ({counts['targets']} targets, {counts['aliases']} aliases,"
        f" {counts['artifacts']} artifacts, {counts['YAML tags']} YAML tags)",
    )
