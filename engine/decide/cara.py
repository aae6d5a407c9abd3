"""The three rules of CARA: retrain when a stale model costs more than a retrain is worth.

Mahadevan and Mathioudakis, Cost-Effective Retraining of Machine Learning Models, Knowledge-Based Systems 2024,
arXiv:2310.04216: a threshold on the staleness cost of a window, one on its sum since the last retrain, and a period;
each parameter is chosen on the past. They estimate the staleness cost from how like the queries are to rows that the
model gets wrong. Here labels come in, so it is the realised one: points lost since the champion was gated x the value
of a point. A retrain that brought nothing begins the sum anew, too.
"""

from __future__ import annotations

import math

from engine.decide.conf import DecideConf
from engine.decide.costs import points_lost
from engine.decide.evidence import Evidence
from engine.decide.watchers import UNDECIDABLE, losses


def threshold(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    """Act when the newest labelled window cost at least `cara_threshold`."""
    cost = _cost(points_lost(evidence, conf).mean, conf)
    if not math.isfinite(cost):
        return False, UNDECIDABLE
    said = f"the stale model costs {cost:.0f} {conf.currency} a window"
    return cost >= conf.cara_threshold, f"{said}, the limit is {conf.cara_threshold:g}"


def cumulative(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    """Act when the windows since the last attempt cost at least `cara_cumulative` together.

    A window whose loss is undecidable adds nothing; where it is the newest one, nothing is done.
    """
    costs = [_cost(lost.mean, conf) for lost in losses(evidence, conf)]
    if not costs or not math.isfinite(costs[-1]):
        return False, UNDECIDABLE
    total = sum(cost for cost in costs if math.isfinite(cost))
    said = f"the stale model has cost {total:.0f} {conf.currency} since the last attempt"
    return total >= conf.cara_cumulative, f"{said}, the limit is {conf.cara_cumulative:g}"


def periodic(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    """Act on a fixed beat: unlike the calendar it does not wait longer after an attempt out of turn."""
    past = evidence.index % conf.cara_period
    return past == 0, f"{past} windows past the beat of {conf.cara_period}"


def _cost(lost: float, conf: DecideConf) -> float:
    """Of a window; a gain is no cost. NaN stays NaN."""
    return lost if math.isnan(lost) else max(0.0, lost) * conf.point_value
