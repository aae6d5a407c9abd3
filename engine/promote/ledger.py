"""The ledger: an append-only, hash-chained record of every decision, and one compare-and-swap head a stage.

One chain a loop; several loops may share a database. Every write is one transaction that first locks the end
of the chain, so that writers of one loop take turns: what they read stays true until they commit. Everything
is idempotent by an id that the caller makes from its inputs: to recover from anything, run the same command
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from engine.errors import ConflictError, InputError, LedgerError
from engine.promote import chain, stages
from engine.promote.chain import Head, Row, Tip
from engine.promote.database import Database
from engine.promote.names import check_key, check_name
from engine.promote.tables import chains, heads, rows
from engine.records import Outcome, Route, Stage, StageChange, canonical, from_plain, to_plain

STAGE = "stage"
VERDICT = "verdict"
DISPLACED = ":displaced"  # end of the id of the row about the model whose place was taken


def utc_now() -> datetime:
    """The clock, where the caller brings none."""
    return datetime.now(UTC)


class Ledger:
    """The record of one loop. Many threads and processes may use it; on PostgreSQL many machines, too."""

    def __init__(self, database: Database, loop: str, now: Callable[[], datetime]) -> None:
        self._database, self.loop, self._now = database, loop, now

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

    # ---- write
    # ----------------------------------------------------------------------------------------------------

    def append(
        self, kind: str, id: str, payload: Mapping[str, Any], *, window: str = "", model: str = ""
    ) -> Row:
        """Append one row; a second one of the same id writes nothing and returns the first.

        `window` and `model` are what rows are found by; where they are not given, they are taken from the
        payload.

        Raises:
            InputError: an id, kind, window or model that is no key; stage changes, which go through `change`.
            LedgerError: the id belongs to a row of another kind.
        """
        if kind == STAGE:
            raise InputError("ledger:kind", "a stage changes by change() alone", "call Ledger.change")
        check_name(kind, "ledger:kind")
        check_key(id, "ledger:id")
        plain = to_plain(payload)
        window = check_key(window or str(plain.get("window", "")), "ledger:window", empty=True)
        model = check_key(model or str(plain.get("model", "")), "ledger:model", empty=True)

        def body(connection: sa.Connection) -> Row:
            tip = self._lock(connection)
            first = self._first(connection, id, kind)
            if first:
                return first
            return self._append(connection, tip, kind=kind, id=id, window=window, model=model, payload=plain)

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
        return self.move(
            change, expected_generation=expected_generation, displaced=displaced, rehearse=rehearse
        )[0]

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
        `<change.id>:displaced`. A change forward on the route EVIDENCE names the verdict that allows it (the
        newest of the model, where the caller names none); a verdict other than PASS never lets a model
        forward.

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
            InputError: a transition or evidence that is not allowed.
        """
        check_key(change.id, "stage:id")
        check_name(change.model, "stage:model")
        check_key(change.window, "stage:window", empty=True)
        check_key(change.actor, "stage:actor")
        stages.check_transition(change)

        def body(connection: sa.Connection) -> tuple[StageChange, ...]:
            tip = self._lock(connection)
            if self._first(connection, change.id, STAGE):
                return self._move_of(connection, change.id)
            self._check_current(connection, change, expected_generation)
            done = self._carry_out(connection, tip, self._with_evidence(connection, change), displaced)
            if rehearse:
                raise _Rehearsed(done)
            return done

        try:
            return self._database.write(body)
        except _Rehearsed as rehearsed:
            return rehearsed.changes

    # ---- read
    # -----------------------------------------------------------------------------------------------------

    def head(self, stage: Stage) -> Head | None:
        """Who holds that stage; None: nobody."""
        with self._database.read() as connection:
            found = self._heads(connection).get(stage)
        return found if found and found.model else None

    def generation(self, stage: Stage) -> int:
        """How often the holder of that stage has changed; also counts while nobody holds it. From 0."""
        with self._database.read() as connection:
            found = self._heads(connection).get(stage)
        return found.generation if found else 0

    def stage_of(self, model: str) -> Stage | None:
        """Where that model is; None: never seen."""
        with self._database.read() as connection:
            return self._stage_of(connection, model)

    def rows(self, kind: str | None = None) -> list[Row]:
        """All rows (of that kind), oldest first."""
        with self._database.read() as connection:
            return list(self._read(connection, *([rows.c.kind == kind] if kind else [])))

    def find(self, id: str) -> Row | None:
        """The row of that id."""
        with self._database.read() as connection:
            return next(self._read(connection, rows.c.id == id), None)

    def move_of(self, id: str) -> tuple[StageChange, ...]:
        """The changes that `move` recorded under that id; none where it did not."""
        with self._database.read() as connection:
            return self._move_of(connection, id)

    def changes(self) -> list[StageChange]:
        """All stage changes, oldest first."""
        return [from_plain(StageChange, row.payload) for row in self.rows(STAGE)]

    def live(self, at: datetime) -> Row | None:
        """The stage row of the model that was in production then (without a zone: UTC); None: none was."""
        moment = _text(at)
        left: set[str] = set()
        with self._database.read() as connection:
            newest_first = self._read(connection, rows.c.kind == STAGE, rows.c.at <= moment, descending=True)
            for row in newest_first:
                if row.payload["target"] == Stage.PRODUCTION.value:
                    return None if row.model in left else row
                if row.payload["source"] == Stage.PRODUCTION.value:
                    left.add(row.model)
        return None

    def tip(self) -> Tip:
        """The end of the chain: note it elsewhere, and nobody can rewrite history unseen."""
        with self._database.read() as connection:
            return self._tip(connection)

    def verify(self) -> int:
        """Prove the chain and the heads; the number of rows. LedgerError names the first that is broken."""
        with self._database.read() as connection:
            state = stages.Fold()
            count = 0
            for row in chain.check_chain(self._read(connection), self.loop, self._tip(connection)):
                count += 1
                if row.kind == STAGE:
                    self._prove(row, state)
            self._prove_heads(connection, state)
        return count

    # ---- inside a transaction
    # -------------------------------------------------------------------------------------

    def _lock(self, connection: sa.Connection) -> Tip:
        """Lock the end of the chain until the transaction ends, and read it."""
        mine = sa.select(chains.c.seq, chains.c.hash, chains.c.at).where(chains.c.loop == self.loop)
        found = connection.execute(mine.with_for_update()).first()
        if found is None:
            connection.execute(
                sa.text(
                    "INSERT INTO tidegate_chain (loop, seq, hash, at) VALUES (:loop, 0, :hash, '')"
                    " ON CONFLICT DO NOTHING"  # another first writer was faster
                ),
                {"loop": self.loop, "hash": chain.GENESIS},
            )
            found = connection.execute(mine.with_for_update()).one()
        return Tip(seq=found.seq, hash=found.hash, at=found.at)

    def _tip(self, connection: sa.Connection) -> Tip:
        found = connection.execute(sa.select(chains).where(chains.c.loop == self.loop)).first()
        return Tip(seq=found.seq, hash=found.hash, at=found.at) if found else Tip()

    def _append(
        self,
        connection: sa.Connection,
        tip: Tip,
        *,
        kind: str,
        id: str,
        window: str,
        model: str,
        payload: dict[str, Any],
    ) -> Row:
        at = max(_text(self._now()), tip.at)  # a clock that is set back does not turn history round
        row = chain.link(tip, self.loop, id=id, kind=kind, window=window, model=model, at=at, payload=payload)
        values = {**vars(row), "loop": self.loop, "payload": canonical(payload)}
        connection.execute(rows.insert().values(values))
        end = {"seq": row.seq, "hash": row.hash, "at": row.at}
        connection.execute(chains.update().where(chains.c.loop == self.loop).values(end))
        return row

    def _first(self, connection: sa.Connection, id: str, kind: str) -> Row | None:
        first = next(self._read(connection, rows.c.id == id), None)
        if first and first.kind != kind:
            raise LedgerError(
                f"ledger {self.loop}: id {id} is taken by a {first.kind}, it cannot name a {kind}"
            )
        return first

    def _read(
        self, connection: sa.Connection, *conditions: sa.ColumnElement[bool], descending: bool = False
    ) -> Iterator[Row]:
        order = rows.c.seq.desc() if descending else rows.c.seq
        query = sa.select(rows).where(rows.c.loop == self.loop, *conditions).order_by(order)
        for found in connection.execute(query):
            values = dict(found._mapping)
            del values["loop"]
            try:
                values["payload"] = chain.read_payload(values["payload"])
            except (ValueError, TypeError) as error:
                raise LedgerError(
                    f"ledger {self.loop}: row {found.seq} ({found.kind} {found.id}) is broken: {error}"
                ) from error
            yield Row(**values)

    def _heads(self, connection: sa.Connection) -> dict[Stage, Head]:
        found = connection.execute(sa.select(heads).where(heads.c.loop == self.loop)).all()
        held = (
            Head(stage=Stage(h.stage), model=h.model, generation=h.generation, since=h.since) for h in found
        )
        return {head.stage: head for head in held}

    def _stage_of(self, connection: sa.Connection, model: str) -> Stage | None:
        last = next(
            self._read(connection, rows.c.kind == STAGE, rows.c.model == model, descending=True), None
        )
        return Stage(last.payload["target"]) if last else None

    def _check_current(
        self, connection: sa.Connection, change: StageChange, expected_generation: int | None
    ) -> None:
        """ConflictError, saying who was faster, where the world is not as the caller believes."""
        actual = self._stage_of(connection, change.model)
        if actual is not change.source:
            place = actual.value if actual else "in no stage"
            raise ConflictError(f"{self._mover(connection, change)}: {change.model} is {place} now")
        guarded = change.target if change.target in stages.HEADS else change.source
        if expected_generation is None or guarded not in stages.HEADS:
            return
        head = self._heads(connection).get(guarded)
        if (head.generation if head else 0) != expected_generation:
            winner = self._holder(connection, guarded) if head else f"nobody has held {guarded.value} yet"
            raise ConflictError(f"{winner}; expected generation {expected_generation}")

    def _mover(self, connection: sa.Connection, change: StageChange) -> str:
        """Who moved the model of `change` last, or who took its place."""
        mine = (rows.c.kind == STAGE, rows.c.model == change.model)
        last = next(self._read(connection, *mine, descending=True), None)
        if last is None:
            return f"nobody put {change.model} into {change.source.value if change.source else 'a stage'}"
        moved = from_plain(StageChange, last.payload)
        if moved.target not in stages.HEADS and moved.source in stages.HEADS:
            return self._holder(connection, moved.source)
        return f"lost to generation {moved.generation} by {moved.actor}: model {moved.model}"

    def _holder(self, connection: sa.Connection, stage: Stage) -> str:
        """Who made the head of `stage` what it is."""
        mine = sa.and_(heads.c.loop == self.loop, heads.c.stage == stage.value)
        head = connection.execute(sa.select(heads).where(mine)).one()
        row = next(self._read(connection, rows.c.seq == head.seq))
        return f"lost to generation {head.generation} by {row.payload['actor']}: model {row.model}"

    def _with_evidence(self, connection: sa.Connection, change: StageChange) -> StageChange:
        """The change with the verdict that allows it; refused where that verdict does not."""
        returns = change.source in stages.ASIDE and change.target is Stage.CANDIDATE
        forward = change.target in stages.FORWARD or returns
        if change.route is not Route.EVIDENCE or not (forward or change.evidence):
            return change
        where = f"stage:{change.model}"
        conditions = [rows.c.id == change.evidence] if change.evidence else [rows.c.model == change.model]
        verdict = next(self._read(connection, rows.c.kind == VERDICT, *conditions, descending=True), None)
        if verdict is None and (change.evidence or returns):
            named = (
                f"verdict {change.evidence} is not recorded"
                if change.evidence
                else "there is no verdict on it"
            )
            raise InputError(where, named, "append the verdict first")
        if verdict is None:
            return change
        if verdict.model != change.model:
            raise InputError(
                where, f"verdict {verdict.id} is about {verdict.model}", "name a verdict on this model"
            )
        outcome = verdict.payload.get("outcome")
        if forward and outcome != Outcome.PASS.value:
            raise InputError(
                where, f"verdict {verdict.id} says {outcome}", "only a PASS lets a model forward"
            )
        if returns and verdict.seq < self._last_change(connection, change.model):
            raise InputError(
                where, f"verdict {verdict.id} is older than its exclusion", "judge it on new evidence"
            )
        return replace(change, evidence=verdict.id)

    def _last_change(self, connection: sa.Connection, model: str) -> int:
        last = sa.select(sa.func.max(rows.c.seq)).where(
            rows.c.loop == self.loop, rows.c.kind == STAGE, rows.c.model == model
        )
        return int(connection.execute(last).scalar() or 0)

    def _carry_out(
        self, connection: sa.Connection, tip: Tip, change: StageChange, displaced: Stage
    ) -> tuple[StageChange, ...]:
        """The rows of a change, then the heads they lead to."""
        held = self._heads(connection)
        target = held.get(change.target)
        generation = 0
        if change.target in stages.HEADS:
            generation = (target.generation if target else 0) + 1
        done = replace(change, generation=generation)
        sequence = [done]
        if target and target.model:
            sequence.append(
                StageChange(
                    id=change.id + DISPLACED,
                    model=target.model,
                    source=change.target,
                    target=displaced,
                    reason=f"{change.model} took its place: {change.reason}",
                    window=change.window,
                    decision=change.decision,
                    actor=change.actor,
                    route=change.route,
                )
            )
        made = self._append_changes(connection, tip, sequence)
        if change.source in stages.HEADS:
            source = held[change.source]
            self._swap(
                connection, source, replace(source, model="", generation=source.generation + 1), made[0]
            )
        if change.target in stages.HEADS:
            new = Head(stage=change.target, model=change.model, generation=generation, since=made[0].at)
            self._swap(connection, target, new, made[0])
        return tuple(sequence)

    def _move_of(self, connection: sa.Connection, id: str) -> tuple[StageChange, ...]:
        both = (rows.c.kind == STAGE, rows.c.id.in_([id, id + DISPLACED]))
        return tuple(from_plain(StageChange, row.payload) for row in self._read(connection, *both))

    def _append_changes(
        self, connection: sa.Connection, tip: Tip, changes: Sequence[StageChange]
    ) -> list[Row]:
        made = []
        for change in changes:
            stages.check_transition(change)
            payload = to_plain(change)
            row = self._append(
                connection,
                tip,
                kind=STAGE,
                id=change.id,
                window=change.window,
                model=change.model,
                payload=payload,
            )
            tip = Tip(seq=row.seq, hash=row.hash, at=row.at)
            made.append(row)
        return made

    def _swap(self, connection: sa.Connection, old: Head | None, new: Head, row: Row) -> None:
        """Compare-and-swap of one head by its generation: a second guard behind the lock."""
        values = {"model": new.model, "generation": new.generation, "seq": row.seq, "since": row.at}
        mine = sa.and_(heads.c.loop == self.loop, heads.c.stage == new.stage.value)
        if old is None:
            connection.execute(heads.insert().values(loop=self.loop, stage=new.stage.value, **values))
            return
        swapped = connection.execute(
            heads.update().where(mine, heads.c.generation == old.generation).values(values)
        )
        if swapped.rowcount != 1:
            raise ConflictError(f"lost generation {old.generation} of {new.stage.value} while it was held")

    # ---- proofs
    # ---------------------------------------------------------------------------------------------------

    def _prove(self, row: Row, state: stages.Fold) -> None:
        try:
            change = from_plain(StageChange, row.payload)
            stages.check_transition(change)
            state.add(change)
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError(
                f"ledger {self.loop}: row {row.seq} (stage {row.id}) is broken: {error}"
            ) from error

    def _prove_heads(self, connection: sa.Connection, state: stages.Fold) -> None:
        found = self._heads(connection)
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


def _text(moment: datetime) -> str:
    """A moment as rows carry it."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds")
