"""A result of the gate under another critical value: its interval is widened and laid against its bound again."""

from __future__ import annotations

import math
from dataclasses import replace

from engine.gate.conf import INVERTED, WIDENED
from engine.gate.interval import MIN_ROWS, Bound, locate
from engine.records import Estimate, Outcome, RuleResult

SHUTS = "worst_slice"
"""A kind that opens nothing, and so needs no alpha."""


def sound(estimate: Estimate) -> bool:
    """Is this an interval that can decide at all."""
    ends = (estimate.low, estimate.value, estimate.high)
    finite = all(map(math.isfinite, ends)) and estimate.low <= estimate.high
    return finite and estimate.n >= MIN_ROWS and 0.5 < estimate.confidence_level < 1


def widens(result: RuleResult) -> bool:
    """May the interval of this result be stretched about its value."""
    estimate = result.estimate
    known = result.kind in WIDENED and result.metric != INVERTED
    return known and estimate is not None and estimate.low <= estimate.value <= estimate.high


def widened(estimate: Estimate, factor: float, method: str) -> Estimate:
    """The interval, each half of it times `factor`."""
    low = estimate.value - (estimate.value - estimate.low) * factor
    high = estimate.value + (estimate.high - estimate.value) * factor
    return replace(estimate, low=low, high=high, method=method)


def relocated(result: RuleResult, estimate: Estimate) -> RuleResult:
    """The result with another interval, which is laid against the same bound."""
    bound = Bound(kind=result.kind, what=result.metric, value=result.bound, sign=float(result.better))
    found = locate(estimate, bound, result.power)
    return replace(
        result,
        outcome=found.outcome,
        estimate=estimate,
        reason=found.reason,
        rows_needed=found.rows_needed,
        detectable=found.detectable,
    )


def unable(result: RuleResult, why: str) -> RuleResult:
    """INCONCLUSIVE: its interval is of a kind that cannot be stretched."""
    method = result.estimate.method if result.estimate else ""
    reason = f"the interval of {result.metric} ({method}) {why}"
    return replace(result, outcome=Outcome.INCONCLUSIVE, reason=reason, rows_needed=0, detectable=None)
