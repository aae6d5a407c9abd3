"""What each window of a ledger says of the pipeline: a few facts a cycle, read from its row as it is.

Rows are not revived as records: a year of cycles takes longer than a window, and little of them is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.promote.chain import Row
from engine.promote.entries import DECISION, OPENED, STAGE, VERDICT
from engine.records import Action, DriftOutcome, Event, Route, Stage
from engine.records.items import ITEM
from engine.records.rows import LedgerRow

ACTING = (Action.RECALIBRATE.value, Action.RETRAIN.value, Action.RETUNE.value)
SIGNS = ("drift.", "risk.", "decay.", "model.")  # metrics whose alerts tell that the model's world has changed
ASKED = {
    DECISION: ("action",),
    ITEM: ("event", "metric", "value"),
    STAGE: ("target", "route"),
    VERDICT: ("first", "outcome", "look"),
}
"""Kind -> the fields that numbers which span windows look at (lasting.py). A cycle has `facts`, other kinds none."""
ALARMING = {event.value for event in Event if event.alarms}


@dataclass(frozen=True)
class Sign:
    """Something that happened in a window: when, and the row that says so."""

    at: str
    seq: int


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One window."""

    window: str
    index: int
    founding: bool
    champion: str  # in production when it began: the model that served it
    opened: Sign | None  # None: before a window was opened by a row
    drifted: bool | None  # None: nothing was compared, or no column could be judged
    standing: float  # the primary metric of the champion on the newest labelled window; NaN: not known
    labelled: str  # that window; empty: none
    detected: Sign | None  # the first alert on the model's world, or decision to act
    promoted: Sign | None  # a model that reached production by its gates
    rolled_back: Sign | None
    trained: Sign | None  # the candidate's row
    cycle: Mapping[str, Any]  # of the payload what is asked: `facts`
    seq: int = 0  # of the cycle's row; 0: it has none yet


def moments(rows: Sequence[LedgerRow], now: Mapping[str, Any], primary: str) -> list[Moment]:
    """Every finished cycle, oldest first, and the one at hand (`now`: its payload, not yet in the ledger)."""
    told: dict[str, list[LedgerRow]] = {}
    for row in rows:
        told.setdefault(row.window, []).append(row)
    cycles = [(row.payload, row.seq) for row in rows if row.kind == "cycle" and row.window != now["window"]]
    return [_moment(payload, seq, told.get(payload["window"], ()), primary) for payload, seq in (*cycles, (now, 0))]


def gist(row: Row) -> Row:
    """The row with so much of its payload as `lasting` looks at, in the same places: a loop asks for it once a row, and
    not the ledger for all of it at each window.
    """
    if isinstance(row.payload, dict):  # it is held anyway, for it is small
        return row
    if row.kind == "cycle":
        return replace(row, payload=facts(row.payload))
    return replace(row, payload={name: row.payload[name] for name in ASKED.get(row.kind, ()) if name in row.payload})


def facts(cycle: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a cycle's payload that moments and money (money.py) look at, in the same places."""
    found = {name: cycle[name] for name in ("window", "index", "founding", "champion")}
    monitor, candidate, spent = cycle.get("monitor"), cycle.get("candidate"), cycle.get("pipeline")
    if monitor:
        outcomes = {column["outcome"] for column in (monitor.get("baseline") or {}).get("columns", ())}
        told = monitor.get("performance")
        values = [{name: one[name] for name in ("name", "value")} for one in told["metrics"]] if told else []
        performance = {"window": told["window"], "metrics": values} if told else None
        columns = [{"outcome": outcome} for outcome in sorted(outcomes)]
        found["monitor"] = {"baseline": {"columns": columns}, "performance": performance}
    if candidate:
        states = [{"state": trial["state"]} for trial in candidate["trials"]]
        found["candidate"] = {"trials": states, **{name: candidate[name] for name in ("model", "cost")}}
    if spent:
        costs = ("training_cost", "review_cost", "running_cost")
        found["pipeline"] = {**{name: spent[name] for name in costs}, "gain": spent.get("gain")}
    else:
        found["timings"] = cycle.get("timings", {})
    return found


def _moment(cycle: Mapping[str, Any], seq: int, rows: Sequence[LedgerRow], primary: str) -> Moment:
    monitor = cycle.get("monitor") or {}
    performance = monitor.get("performance") or {}
    value = next((e["value"] for e in performance.get("metrics", ()) if e["name"] == primary), None)
    return Moment(
        window=cycle["window"],
        index=cycle["index"],
        founding=cycle["founding"],
        champion=cycle["champion"],
        opened=_first(row for row in rows if row.kind == OPENED),
        drifted=_drifted(monitor),
        standing=math.nan if value is None else float(value),
        labelled=performance.get("window", ""),
        detected=None if cycle["founding"] else _first(row for row in rows if _detects(row)),
        promoted=None if cycle["founding"] else _first(row for row in rows if arrives(row, Route.EVIDENCE)),
        rolled_back=_first(row for row in rows if arrives(row, Route.ROLLBACK)),
        trained=_first(row for row in rows if row.kind == "candidate"),
        cycle=cycle,
        seq=seq,
    )


def _first(rows: Iterable[LedgerRow]) -> Sign | None:
    return next((Sign(row.at, row.seq) for row in rows), None)


def _drifted(monitor: Mapping[str, Any]) -> bool | None:
    """Did any column move; None where none could be judged."""
    outcomes = {column["outcome"] for column in (monitor.get("baseline") or {}).get("columns", ())}
    if DriftOutcome.DRIFT.value in outcomes:
        return True
    return False if DriftOutcome.NO_DRIFT.value in outcomes else None


def _detects(row: LedgerRow) -> bool:
    """An alert on the model's world whose metric could be computed, or a decision to act."""
    if row.kind == ITEM and row.payload.get("event", Event.RAISED.value) in ALARMING:
        return str(row.payload.get("metric", "")).startswith(SIGNS) and row.payload.get("value") is not None
    return row.kind == DECISION and row.payload["action"] in ACTING


def arrives(row: LedgerRow, *routes: Route) -> bool:
    """Did a model come into production by one of these routes."""
    if row.kind != STAGE or row.payload["target"] != Stage.PRODUCTION.value:
        return False
    return row.payload.get("route", Route.EVIDENCE.value) in {route.value for route in routes}


def replaced(rows: Iterable[LedgerRow]) -> dict[str, str]:
    """Each model that came into production by evidence or by hand -> the one that it replaced, the last time it did.

    A model without one before it (the first of all) is not in it, nor does a rollback change anything: who comes back
    is no new model.
    """
    found: dict[str, str] = {}
    holder = ""
    for row in rows:
        if row.kind != STAGE:
            continue
        if row.payload["target"] == Stage.PRODUCTION.value:
            if holder and holder != row.model and not arrives(row, Route.ROLLBACK):
                found[row.model] = holder
            holder = row.model
        elif row.model == holder:  # it was taken out, and nobody took its place
            holder = ""
    return found
