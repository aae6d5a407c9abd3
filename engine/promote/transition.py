"""One stage change inside one transaction: who was faster, what allows it, its rows, its heads."""

from __future__ import annotations

from dataclasses import replace

from engine.errors import InputError, OvertakenError
from engine.promote import stages
from engine.promote.chain import Head, Row
from engine.promote.entries import STAGE, VERDICT, Entries
from engine.promote.tables import rows
from engine.records import Outcome, Route, Stage, StageChange, from_plain, to_plain

DISPLACED = ":displaced"  # end of the id of the row about the model whose place was taken


def move_of(entries: Entries, id: str) -> tuple[StageChange, ...]:
    """The changes that were recorded under that id: the change, and that of the model it displaced."""
    found = entries.read(rows.c.kind == STAGE, rows.c.id.in_([id, id + DISPLACED]))
    return tuple(from_plain(StageChange, row.payload) for row in found)


def move(
    entries: Entries, change: StageChange, expected_generation: int | None, displaced: Stage
) -> tuple[StageChange, ...]:
    """Check a change against what is, and carry it out."""
    _check_current(entries, change, expected_generation)
    return _carry_out(entries, _with_evidence(entries, change), displaced)


# ---- who was faster ----------------------------------------------------------------------------------------


def _check_current(entries: Entries, change: StageChange, expected_generation: int | None) -> None:
    """OvertakenError, saying who was faster, where the world is not as the caller believes."""
    actual = entries.stage_of(change.model)
    if actual is not change.source:
        place = actual.value if actual else "in no stage"
        raise OvertakenError(f"{_mover(entries, change)}: {change.model} is {place} now")
    guarded = change.target if change.target in stages.HEADS else change.source
    if expected_generation is None or guarded not in stages.HEADS:
        return
    head = entries.heads().get(guarded)
    if (head.generation if head else 0) != expected_generation:
        winner = _holder(entries, head) if head else f"nobody has held {guarded.value} yet"
        raise OvertakenError(f"{winner}; expected generation {expected_generation}")


def _mover(entries: Entries, change: StageChange) -> str:
    """Who moved the model of `change` last, or who took its place."""
    last = entries.last_change(change.model)
    if last is None:
        return f"nobody put {change.model} into {change.source.value if change.source else 'a stage'}"
    moved = from_plain(StageChange, last.payload)
    if moved.target not in stages.HEADS and moved.source in stages.HEADS:
        return _holder(entries, entries.heads()[moved.source])
    return f"lost to generation {moved.generation} by {moved.actor}: model {moved.model}"


def _holder(entries: Entries, head: Head) -> str:
    """Who made a head what it is."""
    row = next(entries.read(rows.c.seq == head.seq))
    return f"lost to generation {head.generation} by {row.payload['actor']}: model {row.model}"


# ---- what allows it ----------------------------------------------------------------------------------------


def _with_evidence(entries: Entries, change: StageChange) -> StageChange:
    """The change with the verdict that allows it; refused where there is none, or it does not."""
    returns = change.source in stages.ASIDE and change.target is Stage.CANDIDATE
    forward = change.target in stages.FORWARD or returns
    if change.route is not Route.EVIDENCE or not (forward or change.evidence):
        return change
    where = f"stage:{change.model}"
    named = rows.c.id == change.evidence if change.evidence else rows.c.model == change.model
    verdict = entries.newest(rows.c.kind == VERDICT, named)
    if verdict is None:
        what = f"verdict {change.evidence} is not recorded" if change.evidence else "there is no verdict on it"
        raise InputError(where, what, "append the verdict first")
    if verdict.model != change.model:
        raise InputError(where, f"verdict {verdict.id} is about {verdict.model}", "name one on this model")
    outcome = verdict.payload.get("outcome")
    if forward and outcome != Outcome.PASS.value:
        raise InputError(where, f"verdict {verdict.id} says {outcome}", "only a PASS lets a model forward")
    last = entries.last_change(change.model)
    if returns and last and verdict.seq < last.seq:
        raise InputError(where, f"verdict {verdict.id} is older than its exclusion", "judge it on new evidence")
    return replace(change, evidence=verdict.id)


# ---- rows and heads ----------------------------------------------------------------------------------------


def _carry_out(entries: Entries, change: StageChange, displaced: Stage) -> tuple[StageChange, ...]:
    """The rows of a change, then the heads they lead to."""
    held = entries.heads()
    source = held.get(change.source) if change.source else None
    target = held.get(change.target)
    generation = 0
    if change.target in stages.HEADS:
        generation = (target.generation if target else 0) + 1
    change = replace(change, generation=generation)
    sequence: tuple[StageChange, ...] = (change,)
    if target and target.model:
        sequence += (_displacement(change, target.model, displaced),)
    row, *_ = [_append(entries, one) for one in sequence]
    if source:
        left = Head(stage=source.stage, model="", generation=source.generation + 1, since=row.at, seq=row.seq)
        entries.swap(source, left)
    if change.target in stages.HEADS:
        entered = Head(stage=change.target, model=change.model, generation=generation, since=row.at, seq=row.seq)
        entries.swap(target, entered)
    return sequence


def _displacement(change: StageChange, model: str, target: Stage) -> StageChange:
    """The change of the model whose place `change` takes."""
    return StageChange(
        id=change.id + DISPLACED,
        model=model,
        source=change.target,
        target=target,
        reason=f"{change.model} took its place: {change.reason}",
        window=change.window,
        decision=change.decision,
        actor=change.actor,
        route=change.route,
    )


def _append(entries: Entries, change: StageChange) -> Row:
    stages.check_transition(change)
    return entries.append(kind=STAGE, id=change.id, window=change.window, model=change.model, payload=to_plain(change))
