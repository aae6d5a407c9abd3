"""The HTML page of a loop, made from its ledger alone: written beside the ledger, and told to the tracker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine import doctor
from engine.config.schema import Config
from engine.errors import ConfigError
from engine.promote.ledger import Ledger
from engine.records import Cycle
from engine.records.fields import said
from engine.report.html import render
from engine.scoring.scores import GREATER_IS_BETTER
from engine.system import durable
from engine.validate.history import blocking, cost

SHOWN = 400
"""Windows of which a watch writes the page anew after each: to tell of all would take memory that grows with them."""


def report_page(config: Config, ledger: Ledger, cycles: Sequence[Cycle]) -> str:
    """The page as it stands now. ConfigError where the config names a primary metric that does not exist."""
    if config.evaluate.primary not in GREATER_IS_BETTER:
        cure = f"choose one of {', '.join(GREATER_IS_BETTER)}"
        raise ConfigError("evaluate.primary", f"there is no metric {config.evaluate.primary!r}", cure)
    rows = ledger.history()
    every = sum(row.kind == "cycle" for row in rows)
    what = f"This page tells of the newest {len(cycles)} windows of {every}; `tidegate report` tells of all."
    left = [what] if len(cycles) < every else []
    return render(
        cycles,
        title=config.loop.name,
        primary=config.evaluate.primary,
        config=config.plain(),
        greater_is_better=GREATER_IS_BETTER[config.evaluate.primary],
        ledger_rows=rows,
        versions=doctor.versions(),
        remarks=[cost(blocking([cycle.validation for cycle in cycles])), *_classes(cycles), *left] if cycles else [],
    )


def _classes(cycles: Sequence[Cycle]) -> list[str]:
    """What the label's words are to the models, where it is words."""
    told = [c.evaluation.classes for c in cycles if c.evaluation is not None and c.evaluation.classes]
    return [f"of the label, {said(told[-1])}"] if told else []


def write_report(config: Config, ledger: Ledger, cycles: Sequence[Cycle]) -> Path:
    """Render <out>/report.html."""
    page = config.folder / "report.html"
    durable.write_text(page, report_page(config, ledger, cycles))
    return page.absolute()
