"""The ledger: an append-only, hash-chained record of every decision, and one compare-and-swap head a stage.

One chain a loop; several loops may share a database. Every write is one transaction that first locks the end
of the chain, so that writers of one loop take turns: what they read stays true until they commit. Everything
is idempotent by an id that the caller makes from its inputs: to recover from anything, run the same command
again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from engine.errors import InputError, LedgerError
from engine.promote import chain, stages, transition
from engine.promote.chain import Head, Row, Tip
from engine.promote.database import Database
from engine.promote.entries import DECISION, INPUTS, STAGE, Entries, inputs_id, text
from engine.promote.history import History, Sized
from engine.promote.lease import Lease
from engine.promote.names import check_key, check_name
from engine.promote.tables import rows
from engine.records import Stage, StageChange, from_plain, to_plain

T = TypeVar("T")


def utc_now() -> datetime:
    """The clock, where the caller brings none."""
    return datetime.now(UTC)


class Ledger:
    """The record of one loop. Many threads and processes may use it; on PostgreSQL many machines, too."""

    def __init__(self, database: Database, loop: str, now: Callable[[], datetime]) -> None:
        self._database, self.loop, self._now = database, loop, now
        self._lease: Lease | None = None
        self._history = History(loop, self._again)

    @classmethod
    def open(cls, url: str, loop: str, *, now: Callable[[], datetime] = utc_now) -> Ledger:
        """Open the ledger of `loop`; database, folder and tables are made where they are missing.

        Args:
            url: `sqlite:///runs/flights/ledger.db`, or `postgresql+psycopg://user@host/name`.
            loop: name of the loop.
            now: the clock, in any zone; rows carry UTC.

        Raises:
            InputError: a URL, path, server or file that cannot be used.
            LedgerError: the schema is newer than this program.
        """
        check_name(loop, "loop")
        return cls(Database(url), loop, now)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()

    @contextmanager
    def leased(self, seconds: float, *, wait: float | None, say: Callable[[str], None]) -> Iterator[Lease]:
        """Run this loop alone for the time of the block: see lease.py. Writes of this ledger are fenced meanwhile.

        Args:
            seconds: without a sign of life, after which another process may take over.
            wait: seconds to wait for the process that runs it now; None: as long as it takes.
            say: told in one line for whom this process waits.

        Raises:
            LeaseError: another process still runs it after `wait`; or, of a write in the block, runs it now.
        """
        with Lease(self._database, self.loop, seconds, self._now).held(wait, say) as self._lease:
            try:
                yield self._lease
            finally:
                self._lease = None

    # ---- write ---------------------------------------------------------------------------------------------

    def append(
        self,
        kind: str,
        id: str,
        payload: Mapping[str, Any],
        *,
        window: str = "",
        model: str = "",
        inputs: Mapping[str, Any] | None = None,
    ) -> Row:
        """Append one row; a second one of the same id writes nothing and returns the first.

        So does a second decision on the same window, whatever its id: of two loops that race, or that see other
        windows arrive meanwhile, one decides.

        `window` and `model` are what rows are found by; where they are not given, they are taken from the
        payload. `inputs` is what the payload was made from: a row of its own before it, in the same transaction,
        so that it can be made again from the ledger alone.

        Raises:
            InputError: an id, kind, window or model that is no key; stage changes, which go through `change`.
            LedgerError: the id belongs to a row of another kind.
        """
        if kind == STAGE:
            raise InputError("ledger:kind", "a stage changes by change() alone", "call Ledger.change")
        check_name(kind, "ledger:kind")
        check_key(id, "ledger:id")
        plain = to_plain(payload)
        made_from = None if inputs is None else to_plain(inputs)
        if inputs is not None:
            check_key(inputs_id(id), "ledger:id")
        window = check_key(window or str(plain.get("window", "")), "ledger:window", empty=True)
        model = check_key(model or str(plain.get("model", "")), "ledger:model", empty=True)

        def body(connection: sa.Connection) -> Row:
            entries = self._locked(connection)
            first = entries.first(id, kind)
            if first is None and kind == DECISION and window:
                first = entries.newest(rows.c.kind == DECISION, rows.c.window == window)
            if first:
                return first
            if made_from is not None:
                entries.append(kind=INPUTS, id=inputs_id(id), window=window, model=model, payload=made_from)
            return entries.append(kind=kind, id=id, window=window, model=model, payload=plain)

        return self._database.write(body)

    def change(
        self,
        change: StageChange,
        *,
        expected_generation: int | None = None,
        displaced: Stage = Stage.RETIRED,
        rehearse: bool = False,
    ) -> StageChange:
        """`move`, for callers who care for their own change alone."""
        return self.move(change, expected_generation=expected_generation, displaced=displaced, rehearse=rehearse)[0]

    def move(
        self,
        change: StageChange,
        *,
        expected_generation: int | None = None,
        displaced: Stage = Stage.RETIRED,
        rehearse: bool = False,
    ) -> tuple[StageChange, ...]:
        """Move a model to another stage: heads and rows in one transaction, or nothing.

        The model that held the target goes to `displaced`, in a row of its own with the id
        `<change.id>:displaced`. A change forward on the route EVIDENCE, or back from aside, carries the recorded
        verdict that allows it: the newest of the model, where the caller names none. No verdict, or one other
        than PASS, never lets a model forward. The routes MANUAL and ROLLBACK need none: they carry a name and
        a reason.

        Args:
            change: `source` is where the caller believes the model to be. `id` makes it idempotent.
            expected_generation: of the head of the target (of the source, where the target has no head), as
                the caller saw it (`generation`); None: whatever it is.
            displaced: where the present holder of the target goes.
            rehearse: do everything, then undo it.

        Returns:
            The change as recorded, with its generation and its evidence; then that of the displaced model.

        Raises:
            ConflictError: somebody else changed it first; says who. Nothing was written.
            InputError: a transition that is not allowed, or evidence that does not allow it or is not there.
        """
        check_key(change.id + transition.DISPLACED, "stage:id")
        check_name(change.model, "stage:model")
        check_key(change.window, "stage:window", empty=True)
        check_key(change.actor, "stage:actor")
        stages.check_transition(change)

        def body(connection: sa.Connection) -> tuple[StageChange, ...]:
            entries = self._locked(connection)
            if entries.first(change.id, STAGE):
                return transition.move_of(entries, change.id)
            done = transition.move(entries, change, expected_generation, displaced)
            if rehearse:
                raise _Rehearsed(done)
            return done

        try:
            return self._database.write(body)
        except _Rehearsed as rehearsed:
            return rehearsed.changes

    # ---- read ----------------------------------------------------------------------------------------------

    def head(self, stage: Stage) -> Head | None:
        """Who holds that stage; None: nobody."""
        with self._reading() as entries:
            found = entries.heads().get(stage)
        return found if found and found.model else None

    def generation(self, stage: Stage) -> int:
        """How often the holder of that stage has changed; also counts while nobody holds it. From 0."""
        with self._reading() as entries:
            found = entries.heads().get(stage)
        return found.generation if found else 0

    def stage_of(self, model: str) -> Stage | None:
        """Where that model is; None: never seen."""
        with self._reading() as entries:
            return entries.stage_of(model)

    def rows(
        self, kind: str | None = None, window: str | None = None, *, model: str | None = None, after: int = 0
    ) -> list[Row]:
        """All rows (of that kind, of that window, of that model, behind the one of seq `after`), oldest first."""
        wanted = [rows.c.seq > after] if after else []
        wanted += [rows.c.kind == kind] if kind else []
        wanted += [] if window is None else [rows.c.window == window]
        wanted += [] if model is None else [rows.c.model == model]
        with self._reading() as entries:
            return list(entries.read(*wanted))

    def history(self) -> list[Row]:
        """All rows, oldest first. Rows never change, and a loop asks at each window: only what is new is read, and
        what is large is held no longer than it is asked for (history.py).
        """
        with self._reading() as entries:
            return self._history.add(entries.sized(rows.c.seq > self._history.seq))

    def noted(self, row: Row, make: Callable[[Row], T]) -> T:
        """What `make`, a function of a module, says of a row of `history`: asked once while this ledger is in use, so
        that a loop which asks it of all rows at each window reads those that are new. What it says must be small.
        """
        return self._history.noted(row, make)

    def _again(self, seq: int) -> Sized:
        """A row that was read before."""
        with self._reading() as entries:
            found = next(entries.sized(rows.c.seq == seq), None)
        if found is None:
            raise LedgerError(f"ledger {self.loop}: row {seq} is gone")
        return found

    def find(self, id: str) -> Row | None:
        """The row of that id."""
        with self._reading() as entries:
            return entries.find(id)

    def move_of(self, id: str) -> tuple[StageChange, ...]:
        """The changes that `move` recorded under that id; none where it did not."""
        with self._reading() as entries:
            return transition.move_of(entries, id)

    def changes(self) -> list[StageChange]:
        """All stage changes, oldest first."""
        return [from_plain(StageChange, row.payload) for row in self.rows(STAGE)]

    def live(self, at: datetime) -> Row | None:
        """The stage row of the model that was in production then (without a zone: UTC); None: none was."""
        left: set[str] = set()
        with self._reading() as entries:
            for row in entries.read(rows.c.kind == STAGE, rows.c.at <= text(at), descending=True):
                if row.payload["target"] == Stage.PRODUCTION.value:
                    return None if row.model in left else row
                if row.payload["source"] == Stage.PRODUCTION.value:
                    left.add(row.model)
        return None

    def mentions(self, pattern: re.Pattern[str]) -> set[str]:
        """All that matches a pattern in the rows of all loops of this database."""
        found: set[str] = set()
        with self._database.read() as connection:
            for model, payload in connection.execute(sa.select(rows.c.model, rows.c.payload)):
                found.update(pattern.findall(model), pattern.findall(payload))
        return found

    def tip(self) -> Tip:
        """The end of the chain: note it elsewhere, and nobody can rewrite history unseen."""
        with self._reading() as entries:
            return entries.tip()

    def ahead(self) -> float:
        """Seconds that the clock of the database's server is ahead of ours; 0 where there is no server."""
        theirs = self._database.server_time()
        return (theirs - self._now()).total_seconds() if theirs else 0.0

    def verify(self) -> int:
        """Prove the chain and the heads; the number of rows. LedgerError names the first that is broken."""
        state = stages.Fold()
        count = 0
        with self._database.read() as connection:
            self._database.check(connection)
            entries = self._entries(connection)
            for row in chain.check_chain(entries.read(), self.loop, entries.tip()):
                count += 1
                if row.kind == STAGE:
                    self._prove(row, state)
            self._prove_heads(entries.heads(), state)
        return count

    # ---- inside --------------------------------------------------------------------------------------------

    def _entries(self, connection: sa.Connection) -> Entries:
        return Entries(connection, self.loop, self._now)

    def _locked(self, connection: sa.Connection) -> Entries:
        """To write with: the end of the chain is ours, and so is the lease, where this process runs the loop alone."""
        entries = self._entries(connection)
        entries.lock()
        if self._lease:
            self._lease.check(connection)
        return entries

    @contextmanager
    def _reading(self) -> Iterator[Entries]:
        with self._database.read() as connection:
            yield self._entries(connection)

    def _prove(self, row: Row, state: stages.Fold) -> None:
        try:
            change = from_plain(StageChange, row.payload)
            stages.check_transition(change)
            state.add(change)
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"ledger {self.loop}: row {row.seq} (stage {row.id}) is broken: {error}") from error

    def _prove_heads(self, found: Mapping[Stage, Head], state: stages.Fold) -> None:
        for stage in stages.HEADS:
            head = found.get(stage)
            said = (head.model, head.generation) if head else ("", 0)
            proved = (state.models.get(stage, ""), state.generations.get(stage, 0))
            if said != proved:
                raise LedgerError(
                    f"ledger {self.loop}: the head of {stage.value} says {said[0] or 'nobody'} in generation"
                    f" {said[1]}, the rows say {proved[0] or 'nobody'} in generation {proved[1]}"
                )


class _Rehearsed(Exception):
    """Undoes a rehearsed transaction, and carries its result out of it."""

    def __init__(self, changes: tuple[StageChange, ...]) -> None:
        super().__init__()
        self.changes = changes
