"""What a process holds of a ledger that it has read: rows, and of large payloads those that were asked for last."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import LedgerError
from engine.promote import history
from engine.promote.history import Deferred
from engine.promote.ledger import Ledger
from engine.records import canonical


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "flights") as opened:
        yield opened


def large(number: int, size: int = 3000) -> dict[str, Any]:
    return {"n": number, "deep": {"text": "x" * size, "list": [number, None, 0.5]}}


def test_large_payloads_are_the_same_and_lie_in_the_ledger(ledger: Ledger) -> None:
    for number in range(6):
        ledger.append("cycle", f"c{number}", large(number) if number % 2 else {"n": number})
    seen = ledger.history()
    assert [isinstance(row.payload, Deferred) for row in seen] == [False, True] * 3
    assert seen == ledger.rows()
    assert [row.payload["n"] for row in seen] == list(range(6))
    assert all(
        canonical(mine.payload) == canonical(whole.payload) for mine, whole in zip(seen, ledger.rows(), strict=True)
    )
    assert (len(seen[1].payload), "n" in seen[1].payload, seen[1].payload.get("m")) == (2, True, None)


def test_what_is_held_is_bounded_and_the_newest(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "HELD", 10_000)
    for number in range(20):
        ledger.append("cycle", f"c{number}", large(number))
    seen = ledger.history()
    held = ledger._history._held
    assert list(held) == [18, 19, 20]
    assert seen[4].payload["n"] == 4
    assert list(held) == [19, 20, 5]
    assert ledger._history._size == sum(size for _, size in held.values()) <= 10_000
    monkeypatch.setattr(history, "HELD", 10)
    assert seen[7].payload["deep"]["list"] == [7, None, 0.5]
    assert list(held) == [8]  # one is held whatever its size


def test_a_row_that_became_another_one_is_noticed(ledger: Ledger) -> None:
    ledger.append("cycle", "c0", large(0))
    ledger.append("cycle", "c1", large(1))
    seen = ledger.history()
    kept = ledger._history
    kept._held.clear()
    kept.rows[0] = seen[1]  # as if the file had been exchanged
    with pytest.raises(LedgerError, match="ledger flights: row 1 is not the one that was read before"):
        seen[0].payload["n"]
    with pytest.raises(LedgerError, match="ledger flights: row 9 is gone"):
        kept.payload(9)


def test_many_threads_read_it(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "HELD", 7000)
    for number in range(30):
        ledger.append("cycle", f"c{number}", large(number))
    found: list[list[int]] = []

    def read() -> None:
        found.append([row.payload["n"] for row in ledger.history()])

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [list(range(30))] * 8
