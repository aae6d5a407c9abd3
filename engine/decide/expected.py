"""What acting is expected to bring: as `decide.learned` says, from costs.py or from learning.py."""

from __future__ import annotations

import math

from engine.decide import costs, learning
from engine.decide.conf import DecideConf
from engine.decide.evidence import Evidence
from engine.records import Money


def points_to_win(evidence: Evidence, conf: DecideConf) -> Money:
    """Points that a retrain would bring back, whether it passes its gate or not; NaN if undecidable."""
    return learning.predicted(evidence, conf) if conf.learned else costs.points_to_win(evidence, conf)


def waiting(evidence: Evidence, conf: DecideConf) -> Money:
    """Expected loss of keeping the champion over the horizon. A gain is no loss: the mean is never below 0."""
    points, scale = points_to_win(evidence, conf), conf.point_value * conf.horizon
    mean = points.mean if math.isnan(points.mean) else max(0.0, points.mean)
    return Money(mean=mean * scale, std=points.std * scale)


def chance_to_pass(evidence: Evidence, conf: DecideConf) -> Money:
    """Probability that a challenger made now passes its gate."""
    return learning.passing(evidence, conf).chance if conf.learned else costs.chance_to_pass(evidence)


def gain(evidence: Evidence, conf: DecideConf) -> Money:
    """What acting brings back, its chance to fail included."""
    if not conf.learned:
        return costs.product(costs.chance_to_pass(evidence), waiting(evidence, conf))
    points, scale = learning.passing(evidence, conf).points, conf.point_value * conf.horizon
    return Money(mean=points.mean * scale, std=points.std * scale)
