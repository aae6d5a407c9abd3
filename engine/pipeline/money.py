"""What the pipeline costs, and what retraining brings: in the currency of decide, from the ledger's rows.

    cost of a window  = trials + review of a challenger + everything else that the window took, by its wall time
    return            = sum over labelled windows that promoted models served of their gain in points x value of a point
                        - what all attempts after the founding have cost, those that failed included

The gain is paired by row with the model that was replaced, so a hard or an easy window favours neither. What an earlier
promotion would still bring after the next one is not counted: the return is understated rather than overstated. Windows
that were served and whose labels are not in count nothing yet, and their number is said. Gains of different windows are
independent, their rows being others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from engine.pipeline.moments import Moment, replaced
from engine.pipeline.numbers import NAN, counted, mean, measure
from engine.records import Estimate, from_plain, standard_error
from engine.records.measured import Measure
from engine.records.rows import LedgerRow

TRAINING = "train"  # the lap of the stopwatch whose hours are those of the trials


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What is paid, and what a point is worth."""

    hour: float  # of compute
    review: float  # of one challenger
    point: float  # value of a point in one window
    currency: str


@dataclass(frozen=True)
class Costs:
    """Of one window."""

    training: float
    review: float
    running: float

    @property
    def attempt(self) -> float:
        """What training and judging a challenger has cost; 0 where there was none."""
        return self.training + self.review

    @property
    def all(self) -> float:
        """All of it."""
        return self.attempt + self.running


def costs(cycle: Mapping[str, Any], prices: Prices) -> Costs:
    """As the cycle's own record says, whatever prices are now; of a cycle without one, by the present prices."""
    known = cycle.get("pipeline")
    if known:
        return Costs(*(_number(known[f"{name}_cost"]) for name in ("training", "review", "running")))
    candidate = cycle.get("candidate") or {}
    rest = sum(seconds for lap, seconds in cycle.get("timings", {}).items() if lap != TRAINING)
    return Costs(
        training=_number(candidate.get("cost", 0.0)),
        review=prices.review if candidate.get("model") else 0.0,
        running=rest / 3600 * prices.hour,
    )


def money(told: Sequence[Moment], rows: Sequence[LedgerRow], prices: Prices, level: float) -> list[Measure]:
    """Spent, a window's cost, a promotion's cost, and the return."""
    spent = [(m, costs(m.cycle, prices)) for m in told]
    every = [c.all for _, c in spent]
    seqs = [m.seq for m in told]
    found = [measure(counted("spent", sum(every), len(every), level), prices.currency, seqs)] if told else []
    if told:
        found.append(measure(mean("cost_per_window", every, level), prices.currency, seqs))
    attempts = [(m, c) for m, c in spent if not m.founding and m.cycle.get("candidate")]
    paid = sum(c.attempt for _, c in attempts)
    promotions = sum(m.promoted is not None for m in told)
    if promotions:
        each = counted("cost_per_promotion", paid / promotions, promotions, level)
        found.append(measure(each, prices.currency, [m.trained.seq for m, _ in attempts if m.trained]))
    if attempts:
        found.append(_returned(told, rows, prices, level, paid))
    return found


def _returned(told: Sequence[Moment], rows: Sequence[LedgerRow], prices: Prices, level: float, paid: float) -> Measure:
    """The return on retraining; NaN where promoted models have served, and no label of it is in."""
    before = replaced(rows)
    served = [m for m in told if m.champion in before]
    gains = {(gain["window"], gain["model"]): from_plain(Estimate, gain["points"]) for gain in _gains(told)}
    known = [
        (m, gain)
        for m in served
        if (gain := gains.get((m.window, m.champion))) is not None and math.isfinite(gain.value)
    ]
    open_ = len(served) - len(known)
    left = f", {open_} that were served not in yet" if open_ else ""
    method = f"paired gains of {len(known)} labelled windows{left}"
    worth, half = NAN, NAN
    if known or not before:
        worth = sum(gain.value for _, gain in known) * prices.point - paid
        spread = math.hypot(*(standard_error(gain) for _, gain in known))
        half = NormalDist().inv_cdf(0.5 + level / 2) * spread * prices.point
    found = Estimate(
        name="return_on_retraining",
        value=worth,
        low=worth - half,
        high=worth + half,
        n=len(known),
        confidence_level=level,
        method=method,
        reason="" if math.isfinite(worth) else "no label is in of the windows that promoted models served",
    )
    return measure(found, prices.currency, [m.seq for m in told])


def _gains(told: Sequence[Moment]) -> list[Mapping[str, Any]]:
    """What each cycle has recorded of a gain."""
    return [gain for m in told if (gain := (m.cycle.get("pipeline") or {}).get("gain"))]


def _number(value: float | None) -> float:
    return NAN if value is None else float(value)
