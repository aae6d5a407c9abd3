"""Ledgers that are none, are damaged, were altered, or cannot be reached."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from engine.promote.ledger import Ledger
from tests.engine.bad.corpus import Case, wrong
from tests.engine.promote.conftest import bring

Record = Callable[[str, object], None]
CUTS = 16


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A ledger of two champions and some decisions."""
    with Ledger.open(f"sqlite:///{tmp_path}/whole.db", "flights") as ledger:
        for name in ("a", "b"):
            bring(ledger, name)
        for i in range(20):
            ledger.append("decision", f"d{i}", {"value": i / 3, "reason": "because " * 20})
    return tmp_path / "whole.db"


def proved(path: Path) -> None:
    """What `tidegate verify` and `history` do first."""
    with Ledger.open(f"sqlite:///{path}", "flights") as ledger:
        ledger.verify()
        ledger.rows()


def files(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """What a file named ledger.db may hold."""
    chance = random.Random(5)
    for k in range(1, CUTS):
        yield f"cut at {k}/{CUTS}", whole[: len(whole) * k // CUTS]
        start = len(whole) * k // CUTS
        yield f"zeros at {k}/{CUTS}", whole[:start] + bytes(4096) + whole[start + 4096 :]
    yield "a byte short", whole[:-1]
    yield "text", b"this is a text file, and not a short one " * 50
    yield "noise", chance.randbytes(9000)
    yield "zeros", bytes(8192)
    yield "a header alone", whole[:100]
    yield "HTML", b"<!DOCTYPE html><html></html>" * 40


STATEMENTS = [
    "UPDATE tidegate_schema SET version = 99",
    "UPDATE tidegate_schema SET version = -1",
    "DELETE FROM tidegate_schema",
    "DROP TABLE tidegate_row",
    "DROP TABLE tidegate_chain",
    "DROP TABLE tidegate_head",
    "ALTER TABLE tidegate_row DROP COLUMN previous",
    "ALTER TABLE tidegate_row RENAME COLUMN payload TO content",
    "UPDATE tidegate_row SET payload = 'x' WHERE seq = 3",
    "UPDATE tidegate_row SET payload = X'ff00ff' WHERE seq = 3",
    "UPDATE tidegate_row SET payload = 7 WHERE seq = 3",
    "UPDATE tidegate_row SET payload = '[]' WHERE seq = 3",
    "UPDATE tidegate_row SET payload = '{}' WHERE seq = 3",
    "UPDATE tidegate_row SET payload = printf('%.*c', 50000, '[') WHERE seq = 3",
    "UPDATE tidegate_row SET seq = 10000000000 WHERE seq = 3",
    "UPDATE tidegate_row SET seq = -seq",
    "UPDATE tidegate_row SET at = 'yesterday' WHERE seq = 5",
    "UPDATE tidegate_row SET id = 7 WHERE seq = 5",
    "UPDATE tidegate_row SET kind = X'00' WHERE seq = 5",
    "UPDATE tidegate_row SET hash = ''",
    "UPDATE tidegate_row SET loop = 'other' WHERE seq = 5",
    "DELETE FROM tidegate_row WHERE seq = 5",
    "DELETE FROM tidegate_row",
    "UPDATE tidegate_chain SET seq = 'x'",
    "UPDATE tidegate_chain SET hash = 7",
    "DELETE FROM tidegate_chain",
    "UPDATE tidegate_head SET stage = 'throne' WHERE stage = 'production'",
    "UPDATE tidegate_head SET generation = 'x'",
    "UPDATE tidegate_head SET model = 'nobody' WHERE stage = 'production'",
    "DELETE FROM tidegate_head",
    "DROP TABLE tidegate_schema; CREATE TABLE tidegate_schema (other TEXT)",
]
TRIGGERS = "DROP TRIGGER tidegate_row_UPDATE; DROP TRIGGER tidegate_row_DELETE"


def test_ledgers(whole: Path, tmp_path: Path, record_property: Record) -> None:
    cases = []
    for name, data in files(whole.read_bytes()):
        (path := tmp_path / f"{len(cases)}.db").write_bytes(data)
        cases.append(Case(name, partial(proved, path)))
    for statement in STATEMENTS:
        path = tmp_path / f"{len(cases)}.db"
        shutil.copy(whole, path)
        with sqlite3.connect(path) as connection:
            connection.executescript(f"{TRIGGERS}; {statement}")
        connection.close()
        cases.append(Case(statement, partial(proved, path)))
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.executescript("CREATE TABLE tidegate_row (a); CREATE TABLE people (name TEXT)")
    foreign.close()
    cases.append(Case("another program's", partial(proved, tmp_path / "foreign.db")))
    (tmp_path / "folder.db").mkdir()
    cases.append(Case("a folder", partial(proved, tmp_path / "folder.db")))
    cases.append(Case("below a file", partial(proved, whole / "ledger.db")))
    count, faults = wrong(cases)
    assert not faults, "\n".join(faults)
    record_property("bad input: ledgers", f"{count} of {count} one line")


URLS = [
    "",
    "ledger.db",
    "sqlite://",
    "sqlite:///",
    "sqlite:///:memory:",
    "sqlite:///file:x?mode=memory&uri=true",
    "sqlite:///a\0b",
    "sqlite:///\ud800",
    "sqlite:////proc/nowhere/ledger.db",
    "sqlite:////dev/null",
    "sqlite:////" + "x" * 300,
    "sqlite:///" + "x/" * 3000,
    "sqlite+aiosqlite:///x.db",
    "sqlite://host/x.db",
    "mysql://host/db",
    "postgresql://host/db",
    "postgresql+psycopg2://host/db",
    "postgresql+psycopg://127.0.0.1:1/db",
    "postgresql+psycopg://me:hunter2@127.0.0.1:1/db",
    "postgresql+psycopg://127.0.0.1:99999/db",
    "postgresql+psycopg://127.0.0.1:x/db",
    "postgresql+psycopg://127.0.0.1:1/db?unknown=1",
    "postgresql+psycopg://[::1",
    "postgresql+psycopg:///db?host=/nowhere",
    "http://host/db",
    "oracle://x",
    "://",
    "s3://bucket/ledger.db",
]
LOOPS = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "x" * 129,
    "con",
    "\ud800",
    "a b",
    "é",
    "%2e%2e",
    "-" * 200,
]


def test_addresses_of_ledgers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Record) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("engine.promote.database.PATIENCE", 0.2)  # seconds that a server is waited for
    cases = [Case(f"{url[:60]!r}", partial(Ledger.open, url, "flights")) for url in URLS]
    cases += [Case(f"loop {name[:20]!r}", partial(Ledger.open, f"sqlite:///{tmp_path}/x.db", name)) for name in LOOPS]
    count, faults = wrong(cases, tmp_path)
    assert not faults, "\n".join(faults)
    record_property("bad input: addresses of ledgers", f"{count} of {count} one line")
