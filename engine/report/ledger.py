"""The ledger as a person reads it: what `history`, `live`, `why` and `verify` print."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from engine.records.rows import LedgerRow
from engine.report import words
from engine.report.tables import styled, table_of

EMPTY = "The ledger is empty: no window has been run yet."


def history_table(rows: Iterable[LedgerRow]) -> RenderableType:
    """One line a row, oldest first: time, window, kind, the ids to ask `why` with, who, and what it says."""
    table = table_of(("no", "right"), "time (UTC)", "window", "kind", "id", "model", "by", "what happened")
    for row in rows:
        table.add_row(
            Text(str(row.seq), style="dim"),
            Text(time(row.at)),
            Text(words.clean(row.window) or words.NONE),
            Text(row.kind, style="dim"),
            Text(words.short(row.id), style="dim"),
            Text(words.clean(words.short(row.model))),
            by(row),
            said(row),
        )
    return table if table.row_count else Text(EMPTY)


def steps_table(rows: Sequence[LedgerRow], gates: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    """How a model came where it is, one change of stage a line, with the verdict or the person behind it.

    `gates` gives the payload of a verdict by the id of its row.
    """
    table = table_of("time (UTC)", "window", "stage", "allowed by", "reason")
    for row in rows:
        change = row.payload
        table.add_row(
            Text(time(row.at)),
            Text(words.clean(str(change["window"])) or words.NONE),
            styled(str(change["target"])),
            allowed_by(change, gates.get(str(change.get("evidence", "")))),
            Text(words.clean(words.brief(str(change["reason"])))),
        )
    return table


def allowed_by(change: Mapping[str, Any], verdict: Mapping[str, Any] | None) -> Text:
    """The verdict or the person that let a model change its stage."""
    route = change.get("route", "evidence")
    if route != "evidence":
        how = "by hand" if route == "manual" else "rollback"
        return Text(f"{words.clean(str(change['actor']))} ({how})", style="yellow")
    if verdict is None:
        return Text("the loop", style="dim")
    return Text.assemble(f"{verdict['gate']} gate ", styled(str(verdict["outcome"])))


def faults_table(faults: Sequence[str]) -> RenderableType:
    """What could not be proved, one fault a line."""
    table = table_of(("no", "right"), "fault")
    for number, fault in enumerate(faults, 1):
        table.add_row(str(number), Text(words.clean(fault), style="bold red"))
    return table


def time(at: str) -> str:
    """`2026-01-02 03:04:05` of what a row carries."""
    return at[:19].replace("T", " ")


def by(row: LedgerRow) -> Text:
    """Who did it; in colour where it was no gate."""
    actor = str(row.payload.get("actor", "") or row.payload.get("owner", "") or row.payload.get("by", "") or "loop")
    route = row.payload.get("route", "evidence")
    mark = {"manual": " (by hand)", "rollback": " (rollback)"}.get(str(route), "")
    return Text(words.clean(actor) + mark, style="yellow" if mark else "dim" if actor == "loop" else "")


def said(row: LedgerRow) -> Text:
    """What a row says, in a few words."""
    first, rest = _said(row.kind, row.payload)
    line = Text()
    for number, word in enumerate(first):
        line.append_text(Text(" -> ", style="dim") if number else Text()).append_text(styled(word))
    return line.append(words.clean(words.brief(f": {rest}" if first and rest else rest)))


def _said(kind: str, said: Mapping[str, Any]) -> tuple[Sequence[str], str]:
    """The words that count, and the rest."""
    reason = str(said.get("reason", ""))
    if kind == "stage":
        return (str(said.get("source") or "new"), str(said.get("target"))), reason
    if kind == "verdict":
        return (str(said.get("outcome")),), f"{said.get('gate')} gate: {reason}"
    if kind == "decision":
        return (str(said.get("action")),), reason
    if kind == "action":
        return (str(said.get("severity")),), f"{said.get('rule')}: {said.get('action')}, {said.get('message', '')}"
    if kind == "arrival":
        return (str(said.get("state")),), reason
    if kind == "acted":
        return (str(said.get("state")),), f"{said.get('action')} for {said.get('rule')}: {reason}"
    if kind in ("acknowledged", "undone"):
        return (kind,), f"{words.short(str(said.get('of')))}: {said.get('note')}"
    if kind == "request":
        return (str(said.get("action")) or "taken back",), reason
    if kind == "quarantine":
        return ("quarantined" if said.get("out") else "let in",), reason
    if kind == "freeze":
        return ("frozen" if said.get("frozen") else "thawed",), reason
    if kind == "candidate":
        value = said.get("value")
        shown = words.UNDECIDABLE if value is None else words.number(float(value), 4)
        return (), f"{len(said.get('trials', ()))} trials, best {said.get('metric')} {shown}"
    if kind in ("evaluation", "shadow"):
        return (), f"on {said.get('window')}, {said.get('n_rows', 0):,} rows"
    if kind == "cold":
        bad = sum(not answer["fine"] for answer in said.get("answers", ()))
        return (), f"a fresh process answered {len(said.get('answers', ()))} requests, {bad} of them not as it should"
    if kind == "validation":
        found = [c for c in said.get("checks", ()) if c["outcome"] != "ok"]
        stops = any(c["severity"] == "block" for c in found)
        told = "; ".join(f"{c['name']} {c['column']}".strip() + f": {c['observed'] or c['reason']}" for c in found)
        return ("blocked" if stops else "usable",), told or f"{len(said.get('checks', ()))} checks hold"
    if kind == "pipeline":
        known = [said.get(f"{name}_cost") for name in ("training", "review", "running")]
        cost = sum(math.nan if value is None else float(value) for value in known)
        return (
            (),
            f"cost {words.amount(cost, str(said.get('currency', '')))}, {len(said.get('lasting', ()))} numbers so far",
        )
    if kind == "cycle":
        return (), f"{said.get('n_rows', 0):,} rows, in production: {words.short(said.get('champion_after') or '')}"
    return (), ""
