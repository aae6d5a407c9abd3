"""What `tidegate backtest` prints: the sentence, every policy with its cost, and what the intervals are."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from engine.records.contested import Contested
from engine.report import contest_words as said
from engine.report import words
from engine.report.tables import table_of


def contest_table(found: Contested) -> RenderableType:
    """The oracle, then the cheapest first."""
    table = table_of(*((name, "right") if name in said.NUMERIC else name for name in said.columns(found)))
    for line in found.lines:
        table.add_row(*(Text(words.clean(cell)) for cell in said.cells(line, found)))
    last = [Text(line, style="dim") for line in (*said.aside(found), said.promise(found))]
    return Group(Text(said.headline(found), style="bold"), Text(said.verdict(found)), table, *last)
