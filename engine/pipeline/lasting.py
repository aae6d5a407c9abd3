"""Every number that spans windows: a pure function of the ledger's rows and the cycle at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.pipeline.delays import Floor, degraded, delays, drift_open
from engine.pipeline.moments import Moment, arrives, moments
from engine.pipeline.money import Prices, money
from engine.pipeline.numbers import measure, share
from engine.records import Outcome, Route, TrialState
from engine.records.measured import Measure
from engine.records.rows import LedgerRow


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the numbers are measured by."""

    primary: str
    floor: Floor | None  # of the offline gate on the primary metric; None: it asks for none
    prices: Prices
    level: float  # confidence


@dataclass(frozen=True)
class Lasting:
    """The measures, and how long the present troubles have lasted."""

    measures: tuple[Measure, ...]
    drift_open_windows: float
    degraded_windows: float


def lasting(rows: Sequence[LedgerRow], now: Mapping[str, Any], terms: Terms) -> Lasting:
    """After a cycle.

    Args:
        rows: all rows of the loop, oldest first; those of the cycle at hand that are there already included.
        now: payload of the cycle at hand, its own costs and gain in it.
        terms: what counts.
    """
    told = moments(rows, now, terms.primary)
    found = [
        *_gates(rows, terms.level),
        *_trials(told, terms.level),
        *delays(told, terms.floor, terms.level),
        *money(told, rows, terms.prices, terms.level),
    ]
    return Lasting(tuple(found), drift_open(told), degraded(told, terms.floor))


def _gates(rows: Sequence[LedgerRow], level: float) -> list[Measure]:
    """Challengers that reached production of those on which the gates have decided; the first model of all is none, and
    neither is one that waits.
    """
    arrived = {row.model for row in rows if arrives(row, Route.EVIDENCE)}
    decided: dict[str, tuple[bool, list[int]]] = {}
    firsts = {row.model for row in rows if row.kind == "verdict" and row.payload.get("first")}
    for row in rows:
        if row.kind != "verdict" or row.model in firsts:
            continue
        refused = row.payload["outcome"] != Outcome.PASS.value and not _waits(row.payload)
        key = row.model or row.window  # a sweep without a usable trial has no model, and was refused
        was, seqs = decided.get(key, (False, []))
        decided[key] = was or refused, [*seqs, row.seq]
    ended = {key: seqs for key, (refused, seqs) in decided.items() if refused or key in arrived}
    if not ended:
        return []
    passed = sum(key in arrived and not decided[key][0] for key in ended)
    found = share("gate_pass_rate", passed, len(ended), level)
    return [measure(found, "share", [seq for seqs in ended.values() for seq in seqs])]


def _waits(verdict: Mapping[str, Any]) -> bool:
    """As Verdict.waiting: undecided, and another look to come."""
    look = verdict.get("look")
    return verdict["outcome"] == Outcome.INCONCLUSIVE.value and look is not None and look["number"] < look["most"]


def _trials(told: Sequence[Moment], level: float) -> list[Measure]:
    swept = [(m, m.cycle["candidate"]["trials"]) for m in told if m.cycle.get("candidate")]
    states = [trial["state"] for _, trials in swept for trial in trials]
    if not states:
        return []
    failed = sum(state == TrialState.FAILED.value for state in states)
    return [
        measure(
            share("failed_trials_rate", failed, len(states), level),
            "share",
            [m.trained.seq for m, _ in swept if m.trained],
        )
    ]
