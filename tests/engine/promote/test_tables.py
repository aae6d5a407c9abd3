"""Every schema that was released stays openable; the migrations still make it, letter for letter."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.promote import tables
from engine.promote.database import Database
from engine.promote.ledger import Ledger
from engine.records import Stage
from tests.engine.promote.conftest import bring

SCHEMAS = Path(__file__).parent / "schemas"  # <version>.sql: the dump of a ledger of that release
RELEASED = {  # rows, last hash
    1: (21, "3558a37d5c6852e0382218d58cc4eb10b7b9da8f0b1796598fa77e89a3c0533e"),
    2: (24, "2b9555c2a7961dba0e6d293ff975f65ff482afdd0f4bf11627dd6c61472ae183"),
}


def load(version: int, path: Path) -> str:
    """A ledger of that release; its URL."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((SCHEMAS / f"{version}.sql").read_text())
    return f"sqlite:///{path}"


def structure(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


def test_there_is_a_ledger_of_every_release() -> None:
    assert sorted(RELEASED) == list(range(1, len(tables.MIGRATIONS) + 1))


@pytest.mark.parametrize("version", RELEASED)
def test_a_ledger_of_every_release_opens_holds_and_goes_on(version: int, tmp_path: Path) -> None:
    url = load(version, tmp_path / "ledger.db")
    rows, last = RELEASED[version]
    with Ledger.open(url, "crash") as ledger:
        assert ledger.verify() == rows
        assert ledger.tip().hash == last
        champion = ledger.head(Stage.PRODUCTION)
        assert champion is not None
        live = ledger.live(datetime(2026, 1, 2, tzinfo=UTC))
        assert live is not None
        assert live.model == champion.model
        bring(ledger, "new")
        assert ledger.stage_of(champion.model) is Stage.RETIRED
        assert ledger.verify() == rows + 6


@pytest.mark.parametrize("version", RELEASED)
def test_a_released_migration_is_never_edited(version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(version, tmp_path / "released.db")
    monkeypatch.setattr(tables, "MIGRATIONS", tables.MIGRATIONS[:version])
    Database(f"sqlite:///{tmp_path}/made.db").close()
    assert structure(tmp_path / "made.db") == structure(tmp_path / "released.db")
