"""The way back, and the way by hand. Both need the ledger and the store alone: no tracker, no network."""

from __future__ import annotations

from engine.errors import InputError
from engine.promote.entries import STAGE
from engine.promote.ledger import Ledger
from engine.promote.store import Store
from engine.records import Route, Stage, StageChange, digest

QUARANTINE = Stage.QUARANTINED  # where a model goes that had to be rolled back


def rollback(
    ledger: Ledger,
    store: Store,
    *,
    reason: str,
    actor: str,
    window: str = "",
    to: str = "",
    id: str = "",
    rehearse: bool = False,
) -> tuple[StageChange, ...]:
    """Put the champion before back into production, and the present one into quarantine.

    The model to go back to is proved byte by byte first. Quarantined models are never gone back to.

    Args:
        reason: why; required.
        actor: who, or what rule.
        window: the window in which it was decided.
        to: the model to go back to; empty: the newest that was in production before and is not quarantined.
        id: idempotency key, for callers that may call twice; empty: made from the head, so that a second call
            goes one champion further back.
        rehearse: do everything but keep it.

    Returns:
        The changes: the model that came back, then the one that left.

    Raises:
        InputError: nothing is in production, or there is no earlier champion.
        ArtifactError: the model to go back to is damaged; nothing was written.
        ConflictError: somebody else changed production meanwhile; says who.
    """
    if id and ledger.find(id):
        return ledger.move_of(id)
    head = ledger.head(Stage.PRODUCTION)
    if head is None:
        raise InputError("production", "no model is in production", "promote one first")
    model = to or _champion_before(ledger, head.model)
    store.verify(model)
    id = id or digest("rollback", ledger.loop, head.generation, head.model, model)
    change = _change(ledger, model, id, Route.ROLLBACK, reason=reason, actor=actor, window=window)
    return ledger.move(change, expected_generation=head.generation, displaced=QUARANTINE, rehearse=rehearse)


def fall_back(
    ledger: Ledger, store: Store, *, reason: str, actor: str, window: str = "", to: str = "", id: str
) -> tuple[StageChange, ...]:
    """Put another model into production, and retire the present one, which may come back the same way.

    It is a person's word (MANUAL), given beforehand: so it may name a model that no gate has let so far.

    Args:
        actor: whose word it is.
        to: staging or preproduction, for the model that is there; or the beginning of the id of a model; empty: the
            champion before.
        id: idempotency key.

    Returns, raises: as `rollback`.
    """
    if ledger.find(id):
        return ledger.move_of(id)
    head = ledger.head(Stage.PRODUCTION)
    if head is None:
        raise InputError("production", "no model is in production", "promote one first")
    model = _named(ledger, to) if to else _champion_before(ledger, head.model)
    if model == head.model:
        raise InputError("production", f"{model[:12]} is there already", "nothing to do")
    store.verify(model)
    change = _change(ledger, model, id, Route.MANUAL, reason=reason, actor=actor, window=window)
    return ledger.move(change, expected_generation=head.generation, displaced=Stage.RETIRED)


def _named(ledger: Ledger, to: str) -> str:
    """The model of a stage, or the one whose id begins so."""
    stage = {s.value: s for s in (Stage.STAGING, Stage.PREPRODUCTION)}.get(to)
    if stage is None:
        return find_model(ledger, to)
    head = ledger.head(stage)
    if head is None:
        raise InputError(stage.value, "there is no model", "name another fallback")
    return head.model


def _change(ledger: Ledger, model: str, id: str, route: Route, *, reason: str, actor: str, window: str) -> StageChange:
    return StageChange(
        id=id,
        model=model,
        source=ledger.stage_of(model),
        target=Stage.PRODUCTION,
        reason=reason,
        window=window,
        actor=actor,
        route=route,
    )


def promote(
    ledger: Ledger,
    store: Store | None = None,
    *,
    model: str,
    target: Stage,
    reason: str,
    actor: str,
    window: str = "",
    rehearse: bool = False,
) -> tuple[StageChange, ...]:
    """Move a model to a stage by a person's word; the row says MANUAL, who, and why.

    Args:
        store: where given, the model is proved byte by byte before it may go forward.
        model: its id, or the beginning of it.

    Returns:
        The change, then that of the model it displaced, where it did.

    Raises:
        InputError: an unknown model, a missing name or reason, a transition that even a person may not make.
    """
    model = find_model(ledger, model)
    history = [row for row in ledger.rows(STAGE) if row.model == model]
    source = Stage(history[-1].payload["target"])
    if source is target:
        raise InputError(f"stage:{model}", f"it is in {target.value} already", "nothing to do")
    if store is not None and target not in (Stage.QUARANTINED, Stage.RETIRED):
        store.verify(model)
    generation = ledger.generation(target)
    change = StageChange(
        id=digest("manual", ledger.loop, model, history[-1].seq, target),
        model=model,
        source=source,
        target=target,
        reason=reason,
        window=window,
        actor=actor,
        route=Route.MANUAL,
    )
    guard = generation if generation else None
    return ledger.move(change, expected_generation=guard, rehearse=rehearse)


def find_model(ledger: Ledger, beginning: str, store: Store | None = None) -> str:
    """The one model of the ledger whose id begins so; with a store also the one there, such as a sweep by hand leaves,
    where the ledger has none. InputError where there is none, or more than one.
    """
    models = {row.model for row in ledger.rows(STAGE)}
    if beginning in models:
        return beginning
    found = sorted(model for model in models if beginning and model.startswith(beginning))
    if not found and beginning and store is not None:
        found = [model for model in store.list() if model.startswith(beginning)]
    if not found:
        raise InputError("model", f"{beginning[:80]!r} is unknown", "see `tidegate history` for what there is")
    if len(found) > 1:
        raise InputError("model", f"{beginning!r} could be any of {len(found)} models", "give more digits")
    return found[0]


def _champion_before(ledger: Ledger, champion: str) -> str:
    """The model that was in production before, newest first, and was not quarantined since."""
    for change in reversed(ledger.changes()):
        if (
            change.target is Stage.PRODUCTION
            and change.model != champion
            and ledger.stage_of(change.model) is Stage.RETIRED
        ):
            return change.model
    raise InputError(
        "production",
        "there is no earlier champion to go back to",
        "retrain, or promote another model by hand",
    )
