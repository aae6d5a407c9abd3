"""Numbers and outcomes as a person reads them; shared by the terminal and the HTML report. Pure.

An undecidable number (NaN) reads `undecidable`, never `nan`. Text that came from data or a config keeps no
control character: it could drive a terminal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from engine.records import (
    Check,
    CheckOutcome,
    Cycle,
    DriftOutcome,
    DriftReport,
    Estimate,
    EvaluationReport,
    Money,
    Outcome,
    RuleResult,
    Severity,
    Stage,
    ValidationReport,
    Verdict,
)
from engine.records.cycle import STRANGE

UNDECIDABLE = "undecidable"
NONE = "-"  # there is nothing to say
NO_BREAK = "\u00a0"  # a space at which no line breaks
SHORT = 8  # characters of a model id that are shown


def number(value: float, decimals: int | None = None) -> str:
    """A number with thousands separated; as many decimals as its size deserves where none are given."""
    if math.isnan(value):
        return UNDECIDABLE
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if decimals is None and 0 < abs(value) < 1e-4:
        return f"{value:.2e}"
    places = _places(value) if decimals is None else decimals
    text = f"{value:,.{places}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text


def interval(estimate: Estimate, *, extra: int = 0) -> str:
    """`0.715 [0.708, 0.722]`, with decimals fit for the width of the interval and `extra` more."""
    if math.isnan(estimate.value):
        return UNDECIDABLE
    places = _interval_places(estimate) + extra
    value = number(estimate.value, places)
    if math.isnan(estimate.low) and math.isnan(estimate.high):
        return f"{value} [{UNDECIDABLE}]"
    return f"{value} [{number(estimate.low, places)}, {number(estimate.high, places)}]"


def compared(result: RuleResult) -> str:
    """The interval that a rule compared; `missing` where it needed one and had none."""
    if result.estimate is None:
        return NONE if result.outcome is Outcome.PASS else "missing"
    return interval(result.estimate, extra=1)


def times(n: int) -> str:
    """`never`, `once`, `twice`, `3 times`."""
    return {0: "never", 1: "once", 2: "twice"}.get(n, f"{n} times")


def money(amount: Money, currency: str = "") -> str:
    """`410 +-120 EUR`: mean and standard deviation."""
    if math.isnan(amount.mean):
        return UNDECIDABLE
    size = max(abs(amount.mean), 0.0 if math.isnan(amount.std) else amount.std)
    places = 0 if size >= 10 else 2
    spread = "" if math.isnan(amount.std) else f" +-{number(amount.std, places)}"
    return f"{number(amount.mean, places)}{spread} {currency}".rstrip()


def amount(value: float, currency: str = "") -> str:
    """`126 EUR`, `0.05 EUR`, `< 0.01 EUR`."""
    if 0 < value < 0.005:
        return f"< 0.01 {currency}".rstrip()
    return money(Money(mean=value, std=math.nan), currency)


def about(n: int) -> str:
    """A count that is an estimate itself, to two digits: `76,000`; `-` where it cannot be told."""
    if n <= 0:
        return NONE
    unit = 10 ** max(0, len(str(n)) - 2)
    return f"{round(n / unit) * unit:,}"


def percent(share: float) -> str:
    """A share as `12 %`; below ten percent with one decimal."""
    if math.isnan(share):
        return UNDECIDABLE
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{number(100 * share, 0 if share >= 0.0995 or share == 0 else 1)} %"


def pvalue(value: float) -> str:
    """`0.031`, or `< 0.0001`."""
    return "< 0.0001" if value < 0.0001 else number(value, 4)


def duration(seconds: float) -> str:
    """`0.31 s`, `12.5 s`, `3 min 05 s`, `2 h 10 min`."""
    if math.isnan(seconds):
        return UNDECIDABLE
    if 0 < seconds < 0.005:
        return "< 0.01 s"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def threshold(value: float) -> str:
    """A bound as it was configured: `0.6`, `-0.005`."""
    return f"{value:,.6g}" if math.isfinite(value) else number(value)


def bound(result: RuleResult) -> str:
    """The bound of a rule; `-` where there was nothing to compare with one."""
    return NONE if result.estimate is None and math.isnan(result.bound) else threshold(result.bound)


def brief(text: str) -> str:
    """Recorded text, which stays as it is in the ledger, for people: whole ids cut to their heads, one window no
    `1 windows`.
    """
    one = re.sub(r"\b1 windows\b", "1 window", text)
    return re.sub(r"\b[0-9a-f]{64}\b", lambda found: short(found[0]), one)


def refusals(verdicts: Iterable[Verdict]) -> list[str]:
    """Why gates did not open, a line each: `gate offline fail: floor: ...`; a gate that looks again later is none."""
    shut = [v for v in verdicts if v.outcome is not Outcome.PASS and not v.waiting]
    return [f"gate {v.gate} {v.outcome.value}: {brief(v.reason)}" for v in shut]


def short(model: str) -> str:
    """The head of a model id; `-` where there is no model."""
    return model[:SHORT] if model else NONE


def clean(text: str) -> str:
    """One line without control characters (nor the ones that turn the direction of text)."""
    return "".join(c if c.isprintable() or c == NO_BREAK else " " for c in text)


def checks(report: ValidationReport) -> str:
    """`ok`, `2 warn`, `3 blocked`."""
    if report.blocked:
        return f"{len(report.blocked)} blocked"
    found = warned(report)
    return f"{len(found)} warn" if found else "ok"


def warned(report: ValidationReport) -> list[Check]:
    """The checks of severity WARN that did not hold."""
    return [c for c in report.checks if c.severity is Severity.WARN and c.outcome is not CheckOutcome.OK]


def because(check: Check) -> str:
    """Why a check did not hold: of labels of a class that nobody knows, which they are, how many, and what to do."""
    told = f"{check.observed}: {check.reason}" if check.name == STRANGE else check.reason
    return told or check.outcome.value


def strange(report: ValidationReport) -> list[str]:
    """What was found of the labels of an earlier window, and what follows from it."""
    left = f"none of its {report.n_rows:,} rows is trained or judged on"
    return [f"the labels of {report.window} are left out, {left}: {because(check)}" for check in report.checks]


def drift(report: DriftReport) -> str:
    """`3/20 ?1 temperature`: 3 of 20 columns moved, one is undecidable, and which moved most."""
    moved = report.drifted
    lost = sum(c.outcome is DriftOutcome.UNDECIDABLE for c in report.columns)
    parts = [
        f"{len(moved)}/{len(report.columns)}",
        f"?{lost}" if lost else "",
        moved[0].column if moved else "",
    ]
    return clean(" ".join(part for part in parts if part))


def metric(estimates: Iterable[Estimate], name: str) -> Estimate | None:
    """The estimate of that name, None where it was not computed."""
    return next((e for e in estimates if e.name == name), None)


def standing(cycle: Cycle, primary: str) -> tuple[Estimate, str] | None:
    """How good the model in production is: the primary metric, and the window on which it was measured.

    The champion's realised performance where labels are in; in a founding window what the first champion was
    gated on. None while nothing was measured.
    """
    performance = cycle.monitor.performance if cycle.monitor else None
    found = metric(performance.metrics, primary) if performance else None
    if performance and found:
        return found, performance.window
    report: EvaluationReport | None = cycle.evaluation
    if report and cycle.champion_after == report.model and not cycle.champion:
        found = metric(report.metrics, primary)
        return (found, report.window) if found else None
    return None


def unmeasured(model: str) -> str:
    """Why there is no figure for the model in production: there is none, or its labels have not come."""
    return "no labels yet" if model else "no model yet"


def gates(verdicts: Iterable[Verdict]) -> str:
    """`offline pass, cold pass`; `-` where no gate was asked."""
    return ", ".join(f"{v.gate} {v.outcome.value}" for v in verdicts) or NONE


def worn(verdict: Verdict) -> str:
    """How often the rows of a verdict had decided, when they will be worn out, and how many fresh ones to ask for."""
    said = f"decided {times(verdict.holdout_uses)} before" if verdict.holdout_uses else "not decided before"
    wear = verdict.wear
    if wear is None or not wear.uses:  # rows that decide once wear out nothing
        return said
    if wear.rotate_in >= 0:
        said += f", worn out in {wear.rotate_in} more windows" if wear.rotate_in else ", worn out now"
    return said + (f", {wear.fresh_rows:,} fresh rows would do" if wear.fresh_rows else "")


def worst(verdicts: Iterable[Verdict]) -> Outcome | None:
    """FAIL before INCONCLUSIVE before PASS; None where no gate was asked."""
    outcomes = {v.outcome for v in verdicts}
    order = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
    return next((outcome for outcome in order if outcome in outcomes), None)


def moves(cycle: Cycle) -> str:
    """`bbbbbbbb production, aaaaaaaa retired`: where each model that moved ended, production first."""
    ends = {change.model: change.target for change in cycle.changes}
    ordered = sorted(ends.items(), key=lambda item: item[1] is not Stage.PRODUCTION)
    return ", ".join(f"{short(model)} {stage.value}" for model, stage in ordered) or NONE


def _interval_places(estimate: Estimate) -> int:
    half = (estimate.high - estimate.low) / 2
    if not math.isfinite(half) or half <= 0:
        return _places(estimate.value)
    usual = 3 if abs(estimate.value) < 1 else 0  # what people are used to read of a score
    return min(8, max(usual, -math.floor(math.log10(half))))


def _places(value: float) -> int:
    size = abs(value)
    if size == 0 or size >= 1000:
        return 0
    return min(8, max(0, 3 - math.floor(math.log10(size)) - 1)) if size < 1 else 3 - len(str(int(size)))


def many(n: int, noun: str) -> str:
    """`1 window`, `2 windows`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
