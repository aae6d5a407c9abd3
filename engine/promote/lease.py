"""A lease on a loop: one process runs it at a time, so that no work is done twice.

The lease is no lock that others trust: it saves work, and the ids of rows keep the story one (ledger.py). Its holder
shows a sign of life, a counter, every quarter of the lease. Who waits watches that counter by a clock of their own: if
it stands still for the whole lease, or if the holder was a process of this machine that is gone, they take the lease
over in the next generation. Clocks of two machines are never compared. A holder that only slept (a paused machine, a
full disk) finds its generation passed: each write of the ledger checks it in its own transaction, and is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from engine.errors import LeaseError, TidegateError
from engine.promote.database import Database
from engine.promote.entries import Entries, text
from engine.promote.tables import leases
from engine.records.plain import canonical

NOBODY = ""  # holder of a lease that was given back


@dataclass(frozen=True)
class Holder:
    """A process, so that it is not taken for a later one of the same number."""

    host: str
    pid: int
    machine: str  # this boot of this machine and its table of processes; empty where that cannot be told
    started: str  # in clock ticks since that boot

    @classmethod
    def this(cls) -> Holder:
        """The process that asks."""
        return cls(host=socket.gethostname(), pid=os.getpid(), machine=machine(), started=_started(os.getpid()))

    def gone(self) -> bool:
        """Is it certain that this process is no more: only where it ran on this machine."""
        here = bool(self.machine and self.started) and self.machine == machine()
        return here and _started(self.pid) != self.started


@dataclass(frozen=True)
class Sign:
    """What the row of a lease says."""

    generation: int
    holder: str
    beat: int
    seconds: float
    since: str
    seen: str

    def free(self) -> bool:
        """May anybody have it now: given back, of a process that is gone, or our own."""
        if self.holder == NOBODY:
            return True
        holder = Holder(**json.loads(self.holder))
        return holder.gone() or holder == Holder.this()

    def __str__(self) -> str:
        if self.holder == NOBODY:
            return f"nobody, in generation {self.generation}"
        holder = Holder(**json.loads(self.holder))
        since, seen = (moment[:19].replace("T", " ") for moment in (self.since, self.seen))
        return f"process {holder.pid} on {holder.host} since {since} UTC, last sign of life {seen} UTC"


class Lease:
    """The lease of one process on one loop."""

    def __init__(self, database: Database, loop: str, seconds: float, now: Callable[[], datetime]) -> None:
        self._database, self._loop, self._seconds, self._now = database, loop, seconds, now
        self._me = canonical(vars(Holder.this()))
        self._over = threading.Event()
        self.generation = 0  # 0: not held

    @contextlib.contextmanager
    def held(self, wait: float | None, say: Callable[[str], None]) -> Iterator[Lease]:
        """Hold it for the time of the block.

        Args:
            wait: seconds to wait for the present holder; None: as long as it takes.
            say: told once, in one line, that and for whom this process waits.

        Raises:
            LeaseError: somebody else still holds it after `wait`.
        """
        self.generation = self._acquire(wait, say)
        beating = threading.Thread(target=self._beat, name="lease", daemon=True)
        beating.start()
        try:
            yield self
        finally:
            self._over.set()
            beating.join()
            with contextlib.suppress(TidegateError):  # it runs out by itself
                self._database.write(self._give_back, lasting=False)

    def check(self, connection: sa.Connection) -> None:
        """Inside a write, once the chain is locked: LeaseError where another process has taken over."""
        sign = self._sign(connection)
        if sign is None or sign.generation != self.generation:
            raise LeaseError(f"loop {self._loop}: it is run by {sign} now, and this late write is refused")

    # ---- take ----------------------------------------------------------------------------------------------

    def _acquire(self, wait: float | None, say: Callable[[str], None]) -> int:
        began = still = time.monotonic()
        seen, told = None, NOBODY
        while True:
            with self._database.read() as connection:
                sign = self._sign(connection)
            now = time.monotonic()
            if sign != seen:
                seen, still = sign, now
            if sign is None or sign.free() or now - still > sign.seconds:
                generation = self._database.write(lambda c, sign=sign: self._take(c, sign))  # type: ignore[misc]
                if generation:
                    return int(generation)
                continue
            if wait is not None and now - began >= wait:
                raise LeaseError(f"loop {self._loop} is run by {sign}: end it, or wait for it (loop.wait=)")
            if sign.holder != told:
                told = sign.holder
                say(f"loop {self._loop} is run by {sign}: waiting until it ends")
            time.sleep(min(1.0, self._seconds / 10))

    def _take(self, connection: sa.Connection, seen: Sign | None) -> int:
        """The next generation, where the lease is still what was seen; 0 where somebody was faster.

        It waits for the end of a write that is under way, so that no write of the holder before comes after it.
        """
        Entries(connection, self._loop, self._now).lock()
        if self._sign(connection) != seen:
            return 0
        at = text(self._now())
        generation = 1 if seen is None else seen.generation + 1
        values = {"generation": generation, "holder": self._me, "beat": 0, "seconds": self._seconds}
        row = {**values, "since": at, "seen": at}
        if seen is None:
            connection.execute(leases.insert().values(loop=self._loop, **row))
        else:
            connection.execute(leases.update().where(leases.c.loop == self._loop).values(row))
        return generation

    # ---- keep ----------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        while not self._over.wait(self._seconds / 4):
            try:
                mine = self._database.write(self._show_life, lasting=False)
            except TidegateError:  # the loop's own next write tells what is wrong with the database
                continue
            if not mine:
                return

    def _show_life(self, connection: sa.Connection) -> bool:
        values = {"beat": leases.c.beat + 1, "seen": text(self._now())}
        return connection.execute(leases.update().where(*self._mine()).values(values)).rowcount == 1

    def _give_back(self, connection: sa.Connection) -> None:
        connection.execute(leases.update().where(*self._mine()).values(holder=NOBODY))

    def _mine(self) -> tuple[sa.ColumnElement[bool], ...]:
        return leases.c.loop == self._loop, leases.c.generation == self.generation

    def _sign(self, connection: sa.Connection) -> Sign | None:
        columns = [leases.c[name] for name in Sign.__dataclass_fields__]
        found = connection.execute(sa.select(*columns).where(leases.c.loop == self._loop)).first()
        return None if found is None else Sign(**found._mapping)


@cache
def machine() -> str:
    """This boot of this machine and the table that its process numbers are of; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process of this machine began; empty where there is none, or only its remains."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError, ValueError):
        return ""
    return "" if state in "ZX" else fields[18]
