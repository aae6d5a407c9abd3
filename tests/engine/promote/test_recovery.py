"""Kill -9 anywhere: the same command again leads to the same ledger, heads and artifacts, hash for hash."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine.promote import servers


def crash(folder: Path, url: str, every: int, doubles: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.promote.crash", str(folder), url, str(every), str(doubles)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    result: dict[str, Any] = json.loads(done.stdout)
    print({name: result[name] for name in ("points", "cases", "killed")})
    return result


@pytest.mark.parametrize(
    ("every", "doubles"),
    [pytest.param(9, 6, id="small"), pytest.param(1, 200, id="full", marks=pytest.mark.slow)],
)
def test_kill_at_every_write_point_on_sqlite(tmp_path: Path, every: int, doubles: int) -> None:
    result = crash(tmp_path, f"sqlite:///{tmp_path}/{{}}/ledger.db", every, doubles)
    assert result["wrong"] == []
    assert result["points"] > 50
    assert result["killed"] >= result["cases"], "each case kills once, some of them twice"


@pytest.mark.parametrize(
    ("every", "doubles"),
    [pytest.param(17, 2, id="small"), pytest.param(1, 50, id="full", marks=pytest.mark.slow)],
)
def test_kill_at_every_write_point_on_postgresql(
    tmp_path: Path, postgresql: servers.Server, every: int, doubles: int
) -> None:
    databases = [postgresql.database() for _ in range(2 + 200 // every + doubles)]
    names = tmp_path / "databases.json"
    names.write_text(json.dumps(databases))
    result = crash(tmp_path, f"@{names}", every, doubles)
    assert result["wrong"] == []
    assert result["killed"] >= result["cases"]
