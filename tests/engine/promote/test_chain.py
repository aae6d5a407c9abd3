"""Tampering: whatever is changed, removed, added or re-ordered, `verify` names the first broken row."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from engine.errors import InputError, LedgerError
from engine.promote.chain import GENESIS, Row, Tip, check_chain, link, read_payload
from engine.promote.database import Database
from engine.promote.ledger import Ledger
from engine.records import canonical
from tests.engine.promote.conftest import bring


def build(length: int) -> tuple[list[Row], Tip]:
    """A chain of so many rows, and its end."""
    rows: list[Row] = []
    tip = Tip()
    for i in range(length):
        payload = {"window": f"2026-{i:02d}", "value": i / 7, "text": "\u20ac and more", "none": None}
        at = f"2026-01-01T00:{i // 60:02d}:{i % 60:02d}.000000+00:00"
        row = link(tip, "flights", id=f"id{i}", kind="decision", window="w", model="m", at=at, payload=payload)
        rows.append(row)
        tip = Tip(seq=row.seq, hash=row.hash, at=row.at)
    return rows, tip


def broken(rows: list[Row], tip: Tip) -> str:
    """What is said of a chain that must not hold."""
    with pytest.raises(LedgerError, match=r"^ledger flights: row \d+ .*is broken: ") as caught:
        list(check_chain(rows, "flights", tip))
    return str(caught.value)


def test_a_chain_holds() -> None:
    rows, tip = build(5)
    assert list(check_chain(rows, "flights", tip)) == rows
    assert rows[0].previous == GENESIS
    assert list(check_chain([], "flights", Tip())) == []


def test_a_chain_belongs_to_its_loop() -> None:
    rows, tip = build(2)
    with pytest.raises(LedgerError, match=r"row 1 .* its content does not have its hash"):
        list(check_chain(rows, "other", tip))


def test_each_kind_of_tampering_is_named() -> None:
    rows, tip = build(6)
    assert "row 4 (decision id3) is broken: it follows row 2" in broken(rows[:2] + rows[3:], tip)
    assert "row 3 (decision id2) is broken: it follows row 1" in broken([rows[0], rows[2], rows[1], *rows[3:]], tip)
    assert "row 5 is broken: the chain ends at 4, not 6" in broken(rows[:4], tip)
    assert "row 7 is broken: the chain ends at 6, not 7" in broken(rows, replace(tip, seq=7))
    assert "row 1 (decision id0) is broken: it does not name" in broken([replace(rows[0], previous="x")], tip)
    other, _ = build(7)
    assert "the chain ends at 7, not 6" in broken(other, tip)


def test_rows_that_are_linked_well_must_still_make_sense() -> None:
    rows, tip = build(2)
    taken = link(tip, "flights", id="id0", kind="k", window="", model="", at=tip.at, payload={})
    assert "its id is taken" in broken([*rows, taken], Tip(seq=3, hash=taken.hash))
    earlier = link(tip, "flights", id="id9", kind="k", window="", model="", at="2025", payload={})
    assert "it is older than the row before" in broken([*rows, earlier], Tip(seq=3, hash=earlier.hash))


def flips(row: Row) -> Iterator[Row]:
    """The row with each byte of each of its fields changed, one at a time."""
    for field in fields(row):
        value = getattr(row, field.name)
        text = canonical(value) if field.name == "payload" else str(value)
        for i, character in enumerate(text):
            for mask in (1, 4):
                changed = text[:i] + chr(ord(character) ^ mask) + text[i + 1 :]
                try:
                    if field.name == "payload":
                        yield replace(row, payload=read_payload(changed))
                    elif field.name == "seq":
                        yield replace(row, seq=int(changed))
                    else:
                        yield replace(row, **{field.name: changed})
                except ValueError:
                    continue  # refused even earlier: it is no canonical JSON, no number


@pytest.mark.parametrize("length", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_every_byte_counts(length: int, record_property: Callable[[str, object], None]) -> None:
    rows, tip = build(length)
    tried = 0
    for i in range(length):
        before = rows[i - 1] if i else None
        for changed in flips(rows[i]):
            # A flip in row i shows at row i: checking starts right there, with the end that row i - 1 left.
            start = Tip(seq=before.seq, hash=before.hash, at=before.at) if before else Tip()
            again = link(
                start,
                "flights",
                **{k: v for k, v in vars(changed).items() if k not in ("seq", "previous", "hash")},
            )
            assert again != changed, changed
            tried += 1
        sample = list(flips(rows[i]))[:: max(1, 40 * length // 4)]
        for changed in sample:
            broken([*rows[:i], changed, *rows[i + 1 :]], tip)
    assert tried > 400 * length
    record_property("tamper: bytes of ledger rows", f"{tried} of {tried} flips in {length} rows seen")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "1",
        '{"a": 1}',
        '{"b":1,"a":2}',
        '{"a":NaN}',
        '{"a":1}\n',
        '{"a":1,"a":1}',
        '{"a":1.0e0}',
        "{",
    ],
)
def test_a_payload_has_one_text_only(text: str) -> None:
    with pytest.raises(ValueError, match=r"canonical|Expecting"):
        read_payload(text)


# ---- in a database -----------------------------------------------------------------------------------------


@pytest.fixture
def tampered(url: str) -> Iterator[Callable[[str], str]]:
    """A ledger of a champion and a successor; tells what `verify` says after a statement by a superuser."""
    with Ledger.open(url, "flights") as ledger:
        bring(ledger, "a")
        bring(ledger, "b")
        ledger.append("decision", "d", {"value": 0.5, "text": "why"})
        assert ledger.verify() == 12
    database = Database(url)
    with database.engine.begin() as connection:
        if database.sqlite:
            connection.execute(sa.text("DROP TRIGGER tidegate_row_UPDATE"))
            connection.execute(sa.text("DROP TRIGGER tidegate_row_DELETE"))
        else:
            connection.execute(sa.text("ALTER TABLE tidegate_row DISABLE TRIGGER ALL"))

    def verify(statement: str) -> str:
        with database.engine.begin() as connection:
            assert connection.execute(sa.text(statement)).rowcount > 0
        with Ledger.open(url, "flights") as ledger, pytest.raises(LedgerError) as caught:
            ledger.verify()
        return str(caught.value)

    yield verify
    database.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "UPDATE tidegate_row SET payload = replace(payload, '0.5', '0.6') WHERE id = 'd'",
            "row 12 (decision d)",
        ),
        (
            "UPDATE tidegate_row SET payload = '{' WHERE seq = 4",
            "row 4 (stage a:preproduction) is broken: Expecting",
        ),
        (
            "UPDATE tidegate_row SET payload = ' ' || payload WHERE seq = 3",
            "row 3 (stage a:staging) is broken: pay",
        ),
        (
            "UPDATE tidegate_row SET kind = 'note' WHERE seq = 6",
            "row 6 (note b:candidate) is broken: its content",
        ),
        (
            "UPDATE tidegate_row SET at = '2020' WHERE seq = 5",
            "row 5 (stage a:production) is broken: its content",
        ),
        ("UPDATE tidegate_row SET window = 'x' WHERE seq = 12", "row 12"),
        ("UPDATE tidegate_row SET model = 'b' WHERE seq = 1", "row 1"),
        ("UPDATE tidegate_row SET hash = previous WHERE seq = 8", "row 8"),
        ("DELETE FROM tidegate_row WHERE seq = 9", "row 10 (stage b:production) is broken: it follows row 8"),
        ("DELETE FROM tidegate_row WHERE seq = 12", "row 12 is broken: the chain ends at 11, not 12"),
        ("DELETE FROM tidegate_row", "row 1 is broken: the chain ends at 0, not 12"),
        ("DELETE FROM tidegate_chain", "row 13 is broken: the chain ends at 12, not 0"),
        ("UPDATE tidegate_chain SET seq = 13", "row 13 is broken: the chain ends at 12, not 13"),
        (
            "UPDATE tidegate_head SET model = 'a' WHERE stage = 'production'",
            "the head of production says a in gen",
        ),
        (
            "UPDATE tidegate_head SET generation = 9 WHERE stage = 'staging'",
            "in generation 9, the rows say nobody",
        ),
        ("DELETE FROM tidegate_head", "the head of staging says nobody in generation 0"),
    ],
)
def test_tampering_in_the_database_is_named(tampered: Callable[[str], str], statement: str, said: str) -> None:
    line = tampered(statement.replace("window =", '"window" ='))
    assert line.startswith("ledger flights: ")
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize("samples", [150, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_byte_flipped_anywhere_in_the_file_is_seen_or_means_nothing(
    tmp_path: Path, samples: int, record_property: Callable[[str, object], None]
) -> None:
    path = tmp_path / "ledger.db"
    url = f"sqlite:///{path}"
    with Ledger.open(url, "flights") as ledger:
        for name in "abcd":
            bring(ledger, name)
        for i in range(20):
            ledger.append("decision", f"d{i}", {"value": i / 3})
        rows = ledger.rows()
    whole = path.read_bytes()
    chance = random.Random(11)
    lines: list[str] = []
    for _ in range(samples):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        try:
            with Ledger.open(url, "flights") as ledger:
                ledger.verify()
                assert ledger.rows() == rows, "what is not seen must mean nothing"
                assert all(ledger.find(row.id) == row for row in rows)
        except (LedgerError, InputError) as error:
            lines.append(str(error))
    assert len(lines) > samples // 4
    assert not [line for line in lines if "\n" in line]
    record_property("tamper: bytes of the ledger file", f"{len(lines)} of {samples} seen, 0 of the rest change a row")
