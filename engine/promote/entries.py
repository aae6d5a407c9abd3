"""The rows and heads of one loop, as one transaction sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from engine.errors import ConflictError, LedgerError
from engine.promote import chain
from engine.promote.chain import Head, Row, Tip
from engine.promote.tables import chains, heads, rows
from engine.records import Stage, canonical

STAGE = "stage"  # kind of the rows that move models
VERDICT = "verdict"
DECISION = "decision"  # kind of which a window has one row
INPUTS = "inputs"  # kind of the rows that say what a decision or verdict was made from
VALIDATION = "validation"  # kind of the rows on windows that were held against a clock or a log, or have strange labels
PIPELINE = "pipeline"  # kind of the row on how well the pipeline ran in a window
OPENED = "opened"  # kind of the row that begins a window: what is before it is all that its cycle looks at


def inputs_id(id: str) -> str:
    """The id of the row that says what the row `id` was made from."""
    return f"{id}:{INPUTS}"


class Entries:
    """Reads and writes inside one transaction, which `Database.read` or `Database.write` opened.

    Before it writes it must `lock`.
    """

    def __init__(self, connection: sa.Connection, loop: str, now: Callable[[], datetime]) -> None:
        self._connection, self.loop, self._now = connection, loop, now
        self._end: Tip | None = None  # of the chain, once it is locked

    # ---- rows ----------------------------------------------------------------------------------------------

    def lock(self) -> None:
        """Lock the end of the chain until the transaction ends: writers of one loop take turns."""
        self._end = self._tip(lock=True)
        if self._end is None:
            self._connection.execute(
                sa.text(
                    "INSERT INTO tidegate_chain (loop, seq, hash, at) VALUES (:loop, 0, :hash, '')"
                    " ON CONFLICT DO NOTHING"  # another first writer was faster
                ),
                {"loop": self.loop, "hash": chain.GENESIS},
            )
            self._end = self._tip(lock=True)

    def tip(self) -> Tip:
        """The end of the chain."""
        return self._tip() or Tip()

    def append(self, *, kind: str, id: str, window: str, model: str, payload: dict[str, Any]) -> Row:
        """Add one row at the end of the locked chain."""
        if self._end is None:
            raise AssertionError("append without lock")
        at = max(text(self._now()), self._end.at)  # a clock that is set back does not turn history round
        row = chain.link(self._end, self.loop, id=id, kind=kind, window=window, model=model, at=at, payload=payload)
        values = {**vars(row), "loop": self.loop, "payload": canonical(payload)}
        self._connection.execute(rows.insert().values(values))
        self._end = Tip(seq=row.seq, hash=row.hash, at=row.at)
        self._connection.execute(chains.update().where(chains.c.loop == self.loop).values(vars(self._end)))
        return row

    def read(self, *conditions: sa.ColumnElement[bool], descending: bool = False) -> Iterator[Row]:
        """The rows that meet all conditions, by seq. LedgerError where a payload cannot be read."""
        return (row for row, _ in self.sized(*conditions, descending=descending))

    def sized(self, *conditions: sa.ColumnElement[bool], descending: bool = False) -> Iterator[tuple[Row, int]]:
        """The same, each with the characters of its payload."""
        order = rows.c.seq.desc() if descending else rows.c.seq
        query = sa.select(rows).where(rows.c.loop == self.loop, *conditions).order_by(order)
        for found in self._connection.execute(query):
            values = dict(found._mapping)
            del values["loop"]
            try:
                if not all(isinstance(values[name], str) for name in ("id", "kind", "window", "model", "at")):
                    raise TypeError("a column is no text")
                size = len(values["payload"])
                values["payload"] = chain.read_payload(values["payload"])
            except (ValueError, TypeError) as error:
                raise LedgerError(
                    f"ledger {self.loop}: row {found.seq} ({found.kind} {found.id}) is broken: {error}"
                ) from error
            yield Row(**values), size

    def newest(self, *conditions: sa.ColumnElement[bool]) -> Row | None:
        """The last of the rows that meet all conditions."""
        return next(self.read(*conditions, descending=True), None)

    def find(self, id: str) -> Row | None:
        """The row of that id."""
        return next(self.read(rows.c.id == id), None)

    def first(self, id: str, kind: str) -> Row | None:
        """The row of that id, where it was written before. LedgerError where it is of another kind."""
        found = self.find(id)
        if found and found.kind != kind:
            what = f"id {id} is taken by a {found.kind}, it cannot name a {kind}"
            raise LedgerError(f"ledger {self.loop}: {what} - use another id")
        return found

    # ---- stages --------------------------------------------------------------------------------------------

    def last_change(self, model: str) -> Row | None:
        """The row that moved a model last."""
        return self.newest(rows.c.kind == STAGE, rows.c.model == model)

    def stage_of(self, model: str) -> Stage | None:
        """Where a model is; None: never seen."""
        last = self.last_change(model)
        return Stage(last.payload["target"]) if last else None

    def heads(self) -> dict[Stage, Head]:
        """The heads that were ever held; `model` is empty where nobody holds one now."""
        query = sa.select(heads.c.stage, heads.c.model, heads.c.generation, heads.c.since, heads.c.seq)
        found = self._connection.execute(query.where(heads.c.loop == self.loop))
        try:
            return {Stage(h.stage): Head(**{**h._mapping, "stage": Stage(h.stage)}) for h in found}
        except ValueError as error:
            raise LedgerError(f"ledger {self.loop}: a head is broken: {error}") from error

    def swap(self, old: Head | None, new: Head) -> None:
        """Compare-and-swap of one head by its generation: a second guard behind the lock."""
        values = {"model": new.model, "generation": new.generation, "seq": new.seq, "since": new.since}
        if old is None:
            self._connection.execute(heads.insert().values(loop=self.loop, stage=new.stage.value, **values))
            return
        mine = (heads.c.loop == self.loop, heads.c.stage == new.stage.value)
        swapped = self._connection.execute(
            heads.update().where(*mine, heads.c.generation == old.generation).values(values)
        )
        if swapped.rowcount != 1:
            raise ConflictError(f"lost generation {old.generation} of {new.stage.value} while it was locked")

    def _tip(self, *, lock: bool = False) -> Tip | None:
        query = sa.select(chains.c.seq, chains.c.hash, chains.c.at).where(chains.c.loop == self.loop)
        found = self._connection.execute(query.with_for_update() if lock else query).first()
        return Tip(seq=found.seq, hash=found.hash, at=found.at) if found else None


def text(moment: datetime) -> str:
    """A moment as rows carry it; one without a zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds")
