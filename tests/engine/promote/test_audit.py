"""The audit finds every fault, not only the first."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from engine.promote import transition
from engine.promote.audit import audit
from engine.promote.ledger import Ledger
from engine.promote.rollback import rollback
from engine.promote.store import Store
from engine.records import Stage
from tests.engine.promote.conftest import bring, judge, make, step


def proved(ledger: Ledger, store: Store, text: str) -> str:
    """A champion with a verdict."""
    model = make(store, text)
    bring(ledger, model)
    return model


def test_a_sound_ledger_is_proved_whole(ledger: Ledger, store: Store) -> None:
    for text in ("a", "b"):
        proved(ledger, store, text)
    rollback(ledger, store, reason="r", actor="anna")
    done = audit(ledger, store)
    assert (done.rows, done.artifacts, done.faults) == (13, 2, ())
    assert done.tip == ledger.tip().hash


def test_every_damaged_model_is_named(ledger: Ledger, store: Store) -> None:
    models = [proved(ledger, store, text) for text in ("a", "b", "c")]
    store.path_of(models[0]).unlink()
    store.path_of(models[2]).write_bytes(b"{}")
    faults = audit(ledger, store).faults
    assert len(faults) == 2
    assert {m for m in models if any(m in fault for fault in faults)} == {models[0], models[2]}


def test_promotions_without_a_verdict_are_named(ledger: Ledger, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a ledger of an earlier release may hold them, which let a model forward that nobody had judged."""
    model = make(store, "a")
    bring(ledger, model, Stage.CANDIDATE)
    with monkeypatch.context() as earlier:
        earlier.setattr(transition, "_with_evidence", lambda _entries, change: change)
        ledger.change(step(model, Stage.CANDIDATE, Stage.STAGING))
    (fault,) = audit(ledger, store).faults
    assert fault == f"row 2: {model} went to staging without a verdict that allows it"
    judge(ledger, model)
    ledger.change(step(model, Stage.STAGING, Stage.PREPRODUCTION))
    assert audit(ledger, store).faults == (fault,)


def test_a_broken_chain_is_the_one_fault(ledger: Ledger, store: Store) -> None:
    proved(ledger, store, "a")
    ledger._database.write(lambda connection: connection.execute(sa.text("UPDATE tidegate_chain SET hash = 'x'")))
    done = audit(ledger, store)
    assert done.artifacts == 0
    (fault,) = done.faults
    assert fault.startswith("ledger flights: row 5 is broken: it is not the one that the chain ends with")
    with pytest.raises(Exception, match="row 5 is broken"):
        ledger.verify()
