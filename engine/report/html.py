"""One self-contained HTML page about a loop, and the frame of any page.

No network, no script; light and dark, screen and paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from engine.records import Cycle
from engine.records.rows import LedgerRow
from engine.report import alerts, decay, evidence, happened, pipeline, risk
from engine.report.markup import Markup, tag

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
CHAPTERS = (
    "summary", "performance", "decay", "risk", "windows", "drift", "decisions", "actions", "gates", "stages", "sweeps",
    "pipeline", "timings", "provenance",
)  # fmt: skip


def render(
    cycles: Sequence[Cycle],
    *,
    title: str,
    primary: str,
    config: Mapping[str, Any],
    greater_is_better: bool = True,
    ledger_rows: Sequence[LedgerRow] = (),
    versions: Mapping[str, str] | None = None,
    remarks: Sequence[str] = (),
) -> str:
    """The page. The same arguments give the same text: there is no clock in it.

    Args:
        cycles: oldest window first; may be empty. title: name of the loop, as people know it. primary: name
        of the metric that the timeline and the summary show. config: the composed config; secrets are hidden
        before it is shown. greater_is_better: which way the primary metric is better. ledger_rows: all rows
        of the ledger, oldest first: the stage history with its times and changes by hand, and the
            end of the hash chain.
        versions: packages and their versions, the commit of the code, and the like.
        remarks: sentences of other stages for the summary.
    """
    sections: dict[str, Markup | None] = {
        "summary": happened.summary(cycles, primary, remarks),
        "performance": happened.performance(cycles, primary, greater_is_better=greater_is_better),
        "decay": decay.section(cycles),
        "risk": risk.section(cycles),
        "windows": happened.windows(cycles, primary),
        "drift": happened.drift(cycles),
        "decisions": happened.decisions(cycles),
        "actions": alerts.section(cycles, ledger_rows, config),
        "gates": evidence.gates(cycles),
        "stages": evidence.stages(cycles, ledger_rows),
        "sweeps": evidence.sweeps(cycles),
        "pipeline": pipeline.section(cycles),
        "timings": evidence.timings(cycles),
        "provenance": evidence.provenance(cycles, config, versions or {}, ledger_rows),
    }
    span = f"{cycles[0].window} to {cycles[-1].window}" if cycles else "no window yet"
    return page(title, f"Tidegate report, {span}", {name: sections[name] for name in CHAPTERS})


def page(title: str, subtitle: str, sections: Mapping[str, Markup | None]) -> str:
    """A page of these sections; the name of each is its anchor, and its place in the navigation."""
    present = [name for name, section in sections.items() if section is not None]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", f"{title} - Tidegate"),
        tag("style", style_sheet()),
    )
    body = tag(
        "body",
        tag("a", "Skip to the summary", href="#summary", class_="skip"),
        tag("header", tag("h1", title), tag("p", subtitle, class_="soft")),
        tag("nav", [tag("a", name, href=f"#{name}") for name in present], aria_label="Sections"),
        tag("main", [sections[name] for name in present]),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def style_sheet() -> Markup:
    """The style sheet that is written into the page."""
    return Markup(resources.files("engine.report").joinpath("page.css").read_text(encoding="utf-8"))
