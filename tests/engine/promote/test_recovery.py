"""Kill -9 anywhere: the same command again leads to the same ledger, heads and artifacts, hash for hash."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.promote import servers


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: a killed process loses nothing that it handed to the kernel."""
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="tg-", dir=memory if memory.is_dir() else None))
    yield made
    shutil.rmtree(made)


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
def test_kill_at_every_write_point_on_sqlite(folder: Path, every: int, doubles: int) -> None:
    result = crash(folder, f"sqlite:///{folder}/{{}}/ledger.db", every, doubles)
    assert result["wrong"] == []
    assert result["points"] > 50
    assert result["killed"] >= result["cases"], "each case kills once, some of them twice"


@pytest.mark.parametrize(
    ("every", "doubles"),
    [pytest.param(17, 2, id="small"), pytest.param(1, 50, id="full", marks=pytest.mark.slow)],
)
def test_kill_at_every_write_point_on_postgresql(
    folder: Path, postgresql: servers.Server, every: int, doubles: int
) -> None:
    databases = [postgresql.database() for _ in range(2 + 200 // every + doubles)]
    names = folder / "databases.json"
    names.write_text(json.dumps(databases))
    result = crash(folder, f"@{names}", every, doubles)
    assert result["wrong"] == []
    assert result["killed"] >= result["cases"]
