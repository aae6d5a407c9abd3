"""What acting is expected to bring: from the plan (plan.py); of the first attempts, and in ledgers of earlier releases,
over a fixed horizon, from costs.py or from learning.py.
"""

from __future__ import annotations

import math

from engine.decide import costs, learning, plan
from engine.decide.conf import DecideConf
from engine.decide.evidence import Evidence
from engine.records import Money


def points_to_win(evidence: Evidence, conf: DecideConf) -> Money:
    """Points that a retrain would bring back, whether it passes its gate or not; NaN if undecidable."""
    if plan.plans(evidence, conf):
        return plan.outlook(evidence, conf).points
    return learning.predicted(evidence, conf) if conf.learned else costs.points_to_win(evidence, conf)


def waiting(evidence: Evidence, conf: DecideConf) -> Money:
    """Expected loss of keeping the champion for a window. A gain is no loss: the mean is never below 0."""
    if plan.plans(evidence, conf):
        return at_least_nothing(plan.outlook(evidence, conf).saved)
    points, scale = points_to_win(evidence, conf), conf.point_value * conf.horizon
    mean = points.mean if math.isnan(points.mean) else max(0.0, points.mean)
    return Money(mean=mean * scale, std=points.std * scale)


def chance_to_pass(evidence: Evidence, conf: DecideConf) -> Money:
    """Probability that a challenger made now passes its gate."""
    if plan.plans(evidence, conf):
        return plan.outlook(evidence, conf).chance
    return learning.passing(evidence, conf).chance if conf.learned else costs.chance_to_pass(evidence)


def gain(evidence: Evidence, conf: DecideConf) -> Money:
    """What acting brings back, its chance to fail included."""
    if plan.plans(evidence, conf):
        return plan.outlook(evidence, conf).gained
    if not conf.learned:
        return costs.product(costs.chance_to_pass(evidence), waiting(evidence, conf))
    points, scale = learning.passing(evidence, conf).points, conf.point_value * conf.horizon
    return Money(mean=points.mean * scale, std=points.std * scale)


def at_least_nothing(money: Money) -> Money:
    """Its mean is never below 0; NaN stays."""
    return money if math.isnan(money.mean) else Money(mean=max(0.0, money.mean), std=money.std)
