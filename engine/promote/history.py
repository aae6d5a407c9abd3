"""The rows of a loop as far as a process has read them; what is large stays in the ledger until it is asked for.

A loop asks for all rows at each window, and a watch lives for months. Held whole, each window would cost it 0.3 MiB for
good, nine tenths of it in the record of its cycle, of which little is asked again. So a payload above `LARGE`
characters is let go and read again when somebody looks into it; those read last are held, up to `HELD` characters in
all. What is asked of all rows at each window is noted (`noted`), or a long ledger would be read again each time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from engine.errors import LedgerError
from engine.promote.chain import Row

T = TypeVar("T")

LARGE = 2_000
HELD = 4 * 2**20

Sized = tuple[Row, int]
"""A row, and the characters of its payload."""


class Deferred(Mapping[str, Any]):
    """A payload that lies in the ledger."""

    __slots__ = ("_history", "_seq")

    def __init__(self, history: History, seq: int) -> None:
        self._history, self._seq = history, seq

    def __getitem__(self, key: str) -> Any:
        return self._history.payload(self._seq)[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._history.payload(self._seq))

    def __len__(self) -> int:
        return len(self._history.payload(self._seq))


class History:
    """Of one loop. For many threads. `read` gives one row anew by its seq, whole."""

    def __init__(self, loop: str, read: Callable[[int], Sized]) -> None:
        self.loop, self._read = loop, read
        self.rows: list[Row] = []  # by seq, from 1 without gaps
        self._held: OrderedDict[int, tuple[Mapping[str, Any], int]] = OrderedDict()
        self._notes: dict[tuple[Callable[[Row], Any], int], Any] = {}
        self._size = 0
        self._lock = threading.Lock()

    @property
    def seq(self) -> int:
        """Of the newest row that was read."""
        return self.rows[-1].seq if self.rows else 0

    def add(self, new: Iterator[Sized]) -> list[Row]:
        """All rows, these behind those that were read before; LedgerError where they do not follow them."""
        with self._lock:
            for row, size in new:
                if row.seq <= self.seq:  # another thread was faster
                    continue
                if self.rows and row.previous != self.rows[-1].hash:
                    what = f"row {row.seq} does not follow the one that was read before"
                    raise LedgerError(f"ledger {self.loop}: {what}")
                if size > LARGE:
                    self._hold(row.seq, row.payload, size)
                    row = replace(row, payload=Deferred(self, row.seq))
                self.rows.append(row)
            return list(self.rows)

    def noted(self, row: Row, make: Callable[[Row], T]) -> T:
        """What `make`, a function of a module, says of a row: asked once, and held as long as this history. It must be
        small. Two threads may ask at once; both are told the same.
        """
        key = make, row.seq
        if key not in self._notes:
            self._notes[key] = make(row)
        note: T = self._notes[key]
        return note

    def payload(self, seq: int) -> Mapping[str, Any]:
        """Of a row that was read before; LedgerError where it is another one now."""
        with self._lock:
            if seq in self._held:
                self._held.move_to_end(seq)
                return self._held[seq][0]
        row, size = self._read(seq)  # without the lock: whoever adds rows holds a connection while he waits for it
        with self._lock:
            if row.hash != self.rows[seq - 1].hash:
                raise LedgerError(f"ledger {self.loop}: row {seq} is not the one that was read before")
            self._hold(seq, row.payload, size)
        return row.payload

    def _hold(self, seq: int, payload: Mapping[str, Any], size: int) -> None:
        """The newest is held whatever its size."""
        if seq in self._held:  # another thread was faster
            return
        self._held[seq] = payload, size
        self._size += size
        while self._size > HELD and len(self._held) > 1:
            _, (_, gone) = self._held.popitem(last=False)
            self._size -= gone
