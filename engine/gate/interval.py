"""Where one interval lies against a bound; what it could have found, and how many rows would decide.

Planning takes the estimate for normal with the half width h = z_alpha * se of the interval at hand, and se for
shrinking with 1 / sqrt(n):

    detectable    bound + (z_alpha + z_power) * se, the smallest true value that passes with that power at this width
    rows needed   n * ((z_alpha + z_power) / z_alpha * h / gap)^2, at which a true value as far from the bound as the
                  estimate (the gap) passes with that power; power 0.5 is "the same estimate would just clear it"
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from engine.gate.conf import DIFFERENCES
from engine.records import Estimate, Outcome

MIN_ROWS = 30
"""On 2 rows a bootstrap interval can be a single point, and clear any bound."""
WHOLE = ("memory", "size")
"""Kinds whose number is measured whole, not estimated from a sample."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What an interval must clear."""

    kind: str  # of the rule
    what: str  # the metric, in the sentence
    value: float
    sign: float  # 1: more is better, -1: less is

    @property
    def mark(self) -> str:
        """How numbers are written: differences show their sign."""
        return "+" if self.kind in DIFFERENCES else ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The answer on one interval."""

    outcome: Outcome
    reason: str
    rows_needed: int = 0
    detectable: float | None = None


def locate(estimate: Estimate, bound: Bound, power: float) -> Found:
    """PASS where the whole interval is on the good side of the bound, FAIL on the other, INCONCLUSIVE between."""
    what, mark = bound.what, bound.mark
    ends = (estimate.low, estimate.value, estimate.high)
    if not all(map(math.isfinite, ends)):
        outcome = Outcome.INCONCLUSIVE if estimate.reason.startswith("too few") else Outcome.FAIL
        return Found(outcome=outcome, reason=f"{what} is undecidable ({estimate.reason or 'not finite'})")
    if estimate.low > estimate.high:
        return Found(outcome=Outcome.FAIL, reason=f"{what} is undecidable (its interval ends before it begins)")
    if not 0.5 <= estimate.confidence_level < 1:
        return Found(outcome=Outcome.FAIL, reason=f"{what} is undecidable (its interval has no confidence level)")
    if bound.kind == "calibration":  # its interval is about the true error, which the estimate exceeds by its bias
        ends = (estimate.low, estimate.high, estimate.high)
    worst, best = min(bound.sign * end for end in ends), max(bound.sign * end for end in ends)  # a biased one may leave
    shown = f"{estimate.value:{mark}.4f} [{estimate.low:{mark}.4f}, {estimate.high:{mark}.4f}]"
    least = 1 if bound.kind in WHOLE else MIN_ROWS
    if estimate.n < least:
        reason = f"{what} {shown} rests on {estimate.n} rows, {least} are needed"
        return Found(outcome=Outcome.INCONCLUSIVE, reason=reason, rows_needed=least)
    goal = bound.sign * bound.value
    stretch = _stretch(estimate.confidence_level, power)
    detectable = _detectable(estimate, bound, worst, stretch)
    if worst > goal or (worst == goal and bound.kind not in DIFFERENCES):
        return Found(
            outcome=Outcome.PASS, reason=f"{what} {shown} clears {bound.value:{mark}.4f}", detectable=detectable
        )
    if best < goal:
        return Found(
            outcome=Outcome.FAIL, reason=f"{what} {shown} misses {bound.value:{mark}.4f}", detectable=detectable
        )
    rows = 0 if bound.kind in WHOLE else rows_needed(estimate, worst, goal, bound.sign, power)
    sure = f" with probability {power:g}" if power > 0.5 else ""
    need = f"; about {rows:,} rows would decide{sure}" if rows else ""
    reason = f"{what} {shown} straddles {bound.value:{mark}.4f}{need}"
    return Found(outcome=Outcome.INCONCLUSIVE, reason=reason, rows_needed=rows, detectable=detectable)


def rows_needed(estimate: Estimate, worst: float, goal: float, sign: float, power: float) -> int:
    """Rows at which a true value equal to this estimate passes with probability `power`. 0: never, by that.

    A planning figure, not a promise: the truth is not the estimate. `worst` and `goal` have the sign of the metric.
    """
    gap = sign * estimate.value - goal
    half = (sign * estimate.value - worst) * _stretch(estimate.confidence_level, power)
    if gap <= 0 or half <= 0:
        return 0
    rows = estimate.n * (half / gap) * (half / gap)
    return math.floor(rows) + 1 if math.isfinite(rows) else 0


def _stretch(level: float, power: float) -> float:
    """(z_alpha + z_power) / z_alpha of an interval at `level`; 1 at power 0.5."""
    normal = NormalDist()
    return 1.0 + normal.inv_cdf(power) / normal.inv_cdf((1.0 + level) / 2.0)


def _detectable(estimate: Estimate, bound: Bound, worst: float, stretch: float) -> float | None:
    """The smallest true value that would have passed; None where the interval has no width to tell it from."""
    half = bound.sign * estimate.value - worst
    if bound.kind in WHOLE or half <= 0:
        return None
    return bound.value + bound.sign * stretch * half
