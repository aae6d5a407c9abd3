"""Reports and verdicts as tables of rich: what `validate`, `doctor` and `why` print; contrast_table.py has
that of `drift`."""

from __future__ import annotations

import enum
import io
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.records import Check, RuleResult, ValidationReport, Verdict
from engine.report import words

STYLES = {
    "pass": "green", "ok": "green", "no drift": "green", "production": "bold green", "keep": "dim",
    "good": "green", "bad": "bold red",
    "fail": "bold red", "violated": "bold red", "drift": "yellow", "blocked": "bold red", "block": "red",
    "inconclusive": "magenta", "undecidable": "magenta", "warn": "yellow", "info": "dim",
    "open": "bold yellow", "acknowledged": "yellow", "resolved": "green", "refused": "bold red", "limited": "yellow",
    "quarantined": "red", "retired": "dim", "recalibrate": "blue",
    "retrain": "cyan", "retune": "bold cyan",
}  # fmt: skip
"""The colour of a word; the word itself is always there, so that nothing is said by colour alone."""

FREE = ("reason", "what happened", "why", "fault")
"""Columns of free text: they alone may break into lines."""


class Finding(Protocol):
    """What the doctor says of one thing."""

    @property
    def what(self) -> str:
        """It was looked at."""

    @property
    def state(self) -> enum.Enum:
        """good, warn or bad."""

    @property
    def found(self) -> str:
        """How it is."""

    @property
    def cure(self) -> str:
        """What to do; empty where it is good."""


def styled(word: str, style: str | None = None) -> Text:
    """A word in the colour of its meaning."""
    return Text(words.clean(word), style=STYLES.get(word, "") if style is None else style)


def doctor_table(findings: Sequence[Finding]) -> RenderableType:
    """What was looked at, one line each, with its cure below it; then how many are good."""
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        state = finding.state.value
        found = Text(words.clean(finding.found))
        if finding.cure:
            found.append(f"\n-> {words.clean(finding.cure)}", style="bold")
        table.add_row(styled(state), Text(words.clean(finding.what)), found)
    count = Counter(finding.state.value for finding in findings)
    total = ", ".join(f"{count[state]} {state}" for state in ("good", "warn", "bad") if count[state])
    return Group(table, Text(total, style="dim"))


def validation_table(report: ValidationReport) -> RenderableType:
    """Every check that does not hold, blocking ones first, and how many hold."""
    open_checks = [c for c in report.checks if c.outcome.value != "ok"]
    order = {"block": 0, "warn": 1, "info": 2}
    summary = Text(
        f"{words.clean(report.window)}: {words.checks(report)}; {report.n_rows:,} rows, "
        f"{len(report.checks) - len(open_checks)} of {len(report.checks)} checks hold"
        + (f"; schema {words.short(report.schema)}" if report.schema else "")
    )
    if not open_checks:
        return summary
    table = table_of("check", "column", "severity", "outcome", "observed", "expected", "reason")
    for check in sorted(open_checks, key=lambda c: order[c.severity.value]):
        table.add_row(*_check_cells(check))
    return Group(table, summary)


def verdict_table(verdict: Verdict) -> RenderableType:
    """The rules of a gate with their intervals, and its sentence."""
    worn = words.worn(verdict)
    table = table_of("rule", "metric", "estimate", ("bound", "right"), "outcome", ("rows needed", "right"), "reason")
    for result in verdict.rules:
        table.add_row(*_rule_cells(result))
    against = f" against {words.short(verdict.champion)}" if verdict.champion else ""
    against = " by absolute floors alone" if verdict.first else against
    line = Text.assemble(
        f"gate {verdict.gate}: ",
        styled(verdict.outcome.value),
        f" for {words.short(verdict.model)}{against} on {words.clean(verdict.window)} (these rows had {worn}): ",
        words.clean(verdict.reason),
    )
    return Group(table, line) if verdict.rules else line


def plain(renderable: RenderableType, width: int = 160) -> str:
    """Anything of rich as text without colour, and without spaces at the ends of lines."""
    buffer = io.StringIO()
    Console(file=buffer, width=width, color_system=None, force_terminal=False).print(renderable)
    return "\n".join(line.rstrip() for line in buffer.getvalue().rstrip().splitlines())


def table_of(*columns: str | tuple[str, str]) -> Table:
    """An empty table; (name, "right") aligns a column. The last ones, of free text, take the width that is left."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        name, side = (column, "left") if isinstance(column, str) else column
        free = name in FREE
        table.add_column(
            name,
            justify="right" if side == "right" else "left",
            no_wrap=not free,
            overflow="fold" if free else "ellipsis",
        )
    return table


def _check_cells(check: Check) -> Sequence[Text]:
    said = (check.observed, check.expected, check.reason)
    return (
        Text(words.clean(check.name)),
        Text(words.clean(check.column) or words.NONE),
        styled(check.severity.value),
        styled(check.outcome.value),
        *(Text(words.clean(text)) for text in said),
    )


def _rule_cells(result: RuleResult) -> Sequence[Text]:
    return (
        Text(words.clean(result.rule)),
        Text(words.clean(result.metric)),
        Text(words.compared(result)),
        Text(words.bound(result)),
        styled(result.outcome.value),
        Text(words.about(result.rows_needed)),
        Text(words.clean(result.reason)),
    )
