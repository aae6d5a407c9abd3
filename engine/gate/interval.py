"""Where one interval lies against a bound, and how many rows would decide."""

from __future__ import annotations

import math

from engine.gate.conf import RuleConf
from engine.records import Estimate, Outcome

MIN_ROWS = 30
"""On 2 rows a bootstrap interval can be a single point, and clear any bound."""


def locate(rule: RuleConf, estimate: Estimate, bound: float, sign: float) -> tuple[Outcome, str, int]:
    """Outcome, reason and rows needed of one interval."""
    ends = (estimate.low, estimate.value, estimate.high)
    if not all(map(math.isfinite, ends)):
        outcome = Outcome.INCONCLUSIVE if estimate.reason.startswith("too few") else Outcome.FAIL
        return outcome, f"{rule.metric} is undecidable ({estimate.reason or 'not finite'})", 0
    if estimate.low > estimate.high:
        return Outcome.FAIL, f"{rule.metric} is undecidable (its interval ends before it begins)", 0
    if not 0.5 <= estimate.confidence_level < 1:
        return Outcome.FAIL, f"{rule.metric} is undecidable (its interval has no confidence level)", 0
    worst, best = min(sign * end for end in ends), max(sign * end for end in ends)  # a biased one may leave its value
    mark = "" if rule.kind == "floor" else "+"
    shown = f"{estimate.value:{mark}.4f} [{estimate.low:{mark}.4f}, {estimate.high:{mark}.4f}]"
    if estimate.n < MIN_ROWS:
        return (
            Outcome.INCONCLUSIVE,
            f"{rule.metric} {shown} rests on {estimate.n} rows, {MIN_ROWS} are needed",
            MIN_ROWS,
        )
    if worst > sign * bound or (worst == sign * bound and rule.kind == "floor"):
        return Outcome.PASS, f"{rule.metric} {shown} clears {bound:{mark}.4f}", 0
    if best < sign * bound:
        return Outcome.FAIL, f"{rule.metric} {shown} misses {bound:{mark}.4f}", 0
    rows = rows_needed(estimate, worst, sign * bound, sign)
    need = f"; about {rows:,} rows would decide" if rows else ""
    return Outcome.INCONCLUSIVE, f"{rule.metric} {shown} straddles {bound:{mark}.4f}{need}", rows


def rows_needed(estimate: Estimate, worst: float, bound: float, sign: float) -> int:
    """Rows at which the same estimate would clear the bound: the half width shrinks as 1/sqrt(n). 0: never, by that.

    A planning figure, not a promise: with that many rows the estimate has moved, too, and clears in about half of all
    cases.
    """
    gap = sign * estimate.value - bound
    half = sign * estimate.value - worst
    if gap <= 0 or half <= 0:
        return 0
    rows = estimate.n * (half / gap) * (half / gap)
    return math.floor(rows) + 1 if math.isfinite(rows) else 0
