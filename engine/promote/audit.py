"""Is all that was recorded still true: the chain, the heads, the evidence behind each promotion, the models' bytes."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import ArtifactError, LedgerError
from engine.promote.chain import Row
from engine.promote.entries import STAGE, VERDICT
from engine.promote.ledger import Ledger
from engine.promote.stages import FORWARD
from engine.promote.store import Store
from engine.records import Outcome, Route, StageChange, from_plain


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was proved, and what could not be: one line a fault, none where all is well."""

    rows: int
    artifacts: int
    tip: str  # hash of the last row: compare it with a copy that you keep elsewhere
    faults: tuple[str, ...]


def audit(ledger: Ledger, store: Store) -> Audit:
    """Prove everything, and do not stop at the first fault: one damaged model must not hide another."""
    faults: list[str] = []
    try:
        rows = ledger.verify()
    except LedgerError as error:
        return Audit(rows=0, artifacts=0, tip="", faults=(str(error),))
    entries = ledger.rows()
    faults += _unproved(entries)
    models = sorted({row.model for row in entries if row.kind == STAGE})
    for model in models:
        try:
            store.verify(model)
        except ArtifactError as error:
            faults.append(str(error))
    return Audit(rows=rows, artifacts=len(models), tip=ledger.tip().hash, faults=tuple(faults))


def _unproved(entries: list[Row]) -> list[str]:
    """Changes forward whose evidence is not an earlier PASS on the same model."""
    faults = []
    verdicts: dict[str, Row] = {}
    for row in entries:
        if row.kind == VERDICT:
            verdicts[row.id] = row
        if row.kind != STAGE:
            continue
        change = from_plain(StageChange, row.payload)
        if change.route is not Route.EVIDENCE or change.target not in FORWARD:
            continue
        verdict = verdicts.get(change.evidence)
        if verdict is None or verdict.model != change.model or verdict.payload["outcome"] != Outcome.PASS.value:
            what = f"row {row.seq}: {change.model} went to {change.target.value} without a verdict that allows it"
            faults.append(what)
    return faults
