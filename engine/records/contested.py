"""Policies side by side, as `tidegate backtest` shows them: what each came to, and is the cheapest seen to be so."""

from __future__ import annotations

import math

from engine.records.estimates import record

ORACLE = "oracle"


@record
class Line:
    """What one policy came to. Amounts in the currency of the config; of several pasts each number is their mean."""

    policy: str
    parameters: str  # as tuned; empty: it has none, or they are those of the config
    cost: float
    regret: float
    lost: float  # by models worse than the best that could have served
    spent: float  # on attempts
    attempts: float
    promoted: float
    degraded: float  # windows
    windows: int
    below: tuple[float, ...]  # points below the best model, window by window
    acted: tuple[int, ...]  # places in time of its attempts
    passed: tuple[bool, ...] = ()  # which of them reached production
    costs: tuple[float, ...] = ()  # window by window, their sum is `cost`; of several pasts past by past, their mean is


@record
class Margin:
    """What a policy cost more than the cheapest one, with the bounds of an interval; NaN where none can be told."""

    policy: str
    more: float
    low: float
    high: float

    @property
    def told_apart(self) -> bool:
        """Is it more than noise. A bound that is not finite tells nothing apart."""
        return self.low > 0

    @property
    def undecidable(self) -> bool:
        """Is there no interval."""
        return not (math.isfinite(self.low) and math.isfinite(self.high))


@record
class Contested:
    """Policies on one past, or on several of one kind."""

    past: str  # what was played over, in words
    names: tuple[str, ...]  # the windows that were played, in the order of time
    first: int  # place in time of the first of them
    tuned_on: tuple[str, ...]  # the windows on which parameters were chosen; empty: they are those of the config
    unit: str  # what the intervals are over: "windows" or "pasts"
    units: int
    freedom: int  # degrees of freedom of the intervals; 0: there are too few windows for any
    confidence_level: float  # of all margins together
    currency: str
    lines: tuple[Line, ...]  # the oracle, then the cheapest first
    margins: tuple[Margin, ...]  # of each policy but the cheapest
    pictured: tuple[Line, ...]  # as `lines`, of one past
    left_out: tuple[str, ...] = ()  # windows that were not fit for use
    remarks: tuple[str, ...] = ()  # what these figures do not hold

    @property
    def oracle(self) -> Line:
        """The best that any policy could have done."""
        return self.lines[0]

    @property
    def cheapest(self) -> Line:
        """The cheapest policy."""
        return self.lines[1]

    def margin(self, policy: str) -> Margin | None:
        """Of a policy; None of the cheapest, and of one that was not played."""
        return next((margin for margin in self.margins if margin.policy == policy), None)
