"""The row that a window takes on the terminal: which columns fit, and what each says. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.text import Text

from engine.records import Cycle, Outcome
from engine.report import words
from engine.report.tables import STYLES, styled

GAP = "  "

Cell = list[Text]  # what could be shown, the longest first; the first that fits is


@dataclass(frozen=True)
class Column:
    """A column of the row of a window, between `narrow` and `width` wide; the least important go first."""

    title: str
    width: int
    narrow: int
    importance: int
    right: bool = False


COLUMNS = (
    Column("window", 10, 8, 9),
    Column("rows", 9, 7, 2, right=True),
    Column("checks", 9, 7, 3),
    Column("drift", 24, 12, 6),
    Column("", 24, 20, 8),  # titled with the name of the primary metric
    Column("measured", 10, 8, 1),
    Column("decision", 36, 16, 7),
    Column("gate", 24, 16, 8),
    Column("stage", 34, 19, 4),
    Column("time", 10, 7, 5, right=True),
)


def cells(cycle: Cycle, primary: str) -> dict[str, Cell]:
    """What a window says in each column, by title; the primary metric has no title of its own."""
    standing = words.standing(cycle, primary)
    return {
        "window": [styled(cycle.window, "bold")],
        "rows": [Text(f"{cycle.n_rows:,}")],
        "checks": _checks(cycle),
        "drift": _drift(cycle),
        "": [Text(words.interval(standing[0])) if standing else styled(words.unmeasured(cycle.champion_after), "dim")],
        "measured": [styled(standing[1] if standing else words.NONE, "dim")],
        "decision": _decision(cycle),
        "gate": _gate(cycle),
        "stage": _stage(cycle),
        "time": [Text(words.duration(sum(cycle.timings.values())))],
    }


def fit(columns: Sequence[Column], width: int) -> tuple[tuple[Column, int], ...]:
    """The columns that fit, with their widths: the least important left out, then the rest grown in turn."""
    kept = list(columns)
    while len(kept) > 1 and _total([(c, c.narrow) for c in kept]) > width:
        kept.remove(min(kept, key=lambda column: column.importance))
    spare = width - _total([(c, c.narrow) for c in kept])
    widths = {}
    for column in sorted(kept, key=lambda c: -c.importance):
        grown = max(0, min(spare, column.width - column.narrow))
        widths[column.title] = column.narrow + grown
        spare -= grown
    return tuple((column, widths[column.title]) for column in kept)


def _total(chosen: Sequence[tuple[Column, int]]) -> int:
    return sum(width for _, width in chosen) + len(GAP) * (len(chosen) - 1)


def set_width(cell: Text, width: int, *, right: bool) -> Text:
    """The cell, exactly `width` wide; what is cut ends in two dots."""
    if cell.cell_len > width:
        cell = cell.copy()
        cell.truncate(width - 2)
        cell.append("..")
    padding = " " * (width - cell.cell_len)
    return Text.assemble(padding, cell) if right else Text.assemble(cell, padding)


def that_fits(cell: Cell, width: int) -> Text:
    return next((text for text in cell if text.cell_len <= width), cell[-1])


def _checks(cycle: Cycle) -> Cell:
    said = words.checks(cycle.validation)
    return [styled(said, STYLES[said.split()[-1]])]


def _drift(cycle: Cycle) -> Cell:
    if cycle.monitor is None:
        return [styled(words.NONE, "dim")]
    report = cycle.monitor.baseline
    return [styled(words.drift(report), STYLES["drift"] if report.drifted else "")]


def _decision(cycle: Cycle) -> Cell:
    """The action, what waiting costs, what acting costs."""
    if cycle.founding:
        return [styled("founding", "cyan")]
    if cycle.decision is None:
        return [styled(words.NONE, "dim")]
    decision = cycle.decision
    action = styled(decision.action.value)
    waiting, acting = decision.waiting, decision.acting
    means = (replace(amount, std=math.nan) for amount in (waiting, acting))
    sums = (
        f" {words.money(waiting)} | {words.money(acting)} {words.clean(decision.currency)}",
        " " + " | ".join(words.money(amount).replace(words.UNDECIDABLE, "?") for amount in means),
    )
    return [*(Text.assemble(action, text) for text in sums), action]


def _gate(cycle: Cycle) -> Cell:
    """The verdict that matters: the worst one, or all where all passed."""
    worst = words.worst(cycle.verdicts)
    if worst is None:
        return [styled(words.NONE, "dim")]
    last = [v for v in cycle.verdicts if v.outcome is worst][-1]
    short = [Text.assemble(f"{words.clean(last.gate)} ", styled(worst.value)), styled(worst.value)]
    if worst is Outcome.PASS and len(cycle.verdicts) > 1:
        names = ", ".join(words.clean(v.gate) for v in cycle.verdicts)
        return [Text.assemble(f"{names} ", styled(worst.value)), *short]
    return short


def _stage(cycle: Cycle) -> Cell:
    said = words.moves(cycle)
    if not cycle.changes:
        return [styled(said, "dim")]
    first = said.split(", ")[0]
    return [styled(said, ""), styled(first, ""), styled(first.split()[-1], "")]
