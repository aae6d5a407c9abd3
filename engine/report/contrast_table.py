"""What `tidegate drift` prints: every column, most harmful first; what moved in words; the promise below."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from engine.records import ColumnDrift, DriftOutcome
from engine.records.contrast import Contrast
from engine.report import contrast_words as said
from engine.report import words
from engine.report.tables import styled, table_of

QUIET = 20
"""Columns without drift that are listed; more are counted."""


def contrast_table(found: Contrast) -> RenderableType:
    """Columns that moved, those that cannot be judged, then the others; guesses and columns left out; the promise."""
    report = found.drift
    numbers = [(name, "right") for name in ("effect", "adjusted p", "missing")]
    table = table_of("column", "kind", "outcome", *numbers, "what happened")
    unknown = [c for c in report.columns if c.outcome is DriftOutcome.UNDECIDABLE]
    still = sorted((c for c in report.columns if c.outcome is DriftOutcome.NO_DRIFT), key=lambda c: c.rank)
    for column in (*report.drifted, *unknown, *still[:QUIET]):
        table.add_row(*_cells(column, found))
    lines = [Text(said.headline(report), style="bold yellow" if report.drifted else "bold")]
    if len(still) > QUIET:
        lines.append(Text(f"{len(still) - QUIET} more columns without drift, each with a smaller effect", style="dim"))
    lines += [Text(line) for line in said.performance(found.performance)]
    lines += [Text(line, style="dim") for line in (*said.aside(found), said.contract(report))]
    return Group(table, *lines)


def _cells(column: ColumnDrift, found: Contrast) -> Sequence[Text]:
    happened = said.happened(column, found.portrait(column.column))
    harm = said.harm(column, found.drift.metric) if column.outcome is DriftOutcome.DRIFT else ""
    return (
        Text(words.clean(column.column)),
        Text(column.kind),
        styled(column.outcome.value),
        Text(said.effect(column)),
        Text(words.pvalue(column.adjusted_pvalue)),
        Text(said.missing(column)),
        Text("; ".join(part for part in (happened, harm) if part)),
    )
