"""What acting is expected to bring: from the plan (plan.py); of the first attempts, and in ledgers of earlier releases,
over a fixed horizon, from costs.py or from learning.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.decide import costs, decayed, founding, learning, plan
from engine.decide.conf import DecideConf
from engine.decide.evidence import Evidence
from engine.records import Money


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Of an attempt made now; NaN where what was lost is undecidable."""

    points: Money  # that a retrain would bring back, whether it passes its gate or not
    waiting: Money  # what keeping the champion loses, for a window or over the horizon; the mean is never below 0
    chance: Money  # probability that a challenger passes its gate
    gain: Money  # what acting brings back, its chance to fail included
    changed: float | None = None  # of a plan: probability that the world has changed and the champion not learned it
    stays: float = 0.0  # of a plan: probability that what is lost or won since stays whatever is trained


def expected(evidence: Evidence, conf: DecideConf) -> Expected:
    """All of it at once: with a plan, milliseconds. A decay that is shown counts where that is more; without a
    champion, what attempts to found one have told.
    """
    if evidence.failed and not evidence.model:
        lost, brings = founding.worth(evidence, conf)
        passing = Money(mean=founding.chance(evidence), std=0.0)
        return Expected(points=plan.UNKNOWN, waiting=lost, chance=passing, gain=brings)
    found = _believed(evidence, conf)
    if not decayed.waits(evidence):
        return found
    shown = _by_averages(decayed.points(evidence, conf), evidence, conf)
    known = math.isfinite(shown.gain.mean)
    return shown if known and not found.gain.mean >= shown.gain.mean else found  # also where the plan knows nothing


def _believed(evidence: Evidence, conf: DecideConf) -> Expected:
    if plan.plans(evidence, conf):
        told = plan.outlook(evidence, conf)
        loss = _at_least_nothing(told.saved)
        return Expected(
            points=told.points,
            waiting=loss,
            chance=told.chance,
            gain=told.gained,
            changed=told.changed,
            stays=told.stays,
        )
    if conf.learned:
        scale = conf.point_value * conf.horizon
        points, passing = learning.predicted(evidence, conf), learning.passing(evidence, conf)
        loss = _times(_at_least_nothing(points), scale)
        return Expected(points=points, waiting=loss, chance=passing.chance, gain=_times(passing.points, scale))
    return _by_averages(costs.points_to_win(evidence, conf), evidence, conf)


def _by_averages(points: Money, evidence: Evidence, conf: DecideConf) -> Expected:
    """What so many points are worth, and the chance that attempts have had."""
    loss, chance = _times(_at_least_nothing(points), conf.point_value * conf.horizon), costs.chance_to_pass(evidence)
    return Expected(points=points, waiting=loss, chance=chance, gain=costs.product(chance, loss))


def _at_least_nothing(money: Money) -> Money:
    """A gain is no loss: its mean is never below 0; NaN stays."""
    return money if math.isnan(money.mean) else Money(mean=max(0.0, money.mean), std=money.std)


def _times(money: Money, scale: float) -> Money:
    return Money(mean=money.mean * scale, std=money.std * scale)
