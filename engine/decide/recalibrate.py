"""RECALIBRATE beside the attempts that train: what a map behind the champion's network costs and brings.

    gain = chance to pass x points that a map won on rows it was not fitted on x value of a point x horizon
           (`decide.learned`: the chance follows from those points, as for attempts that train)
    cost = review, and the compute of earlier ones

It is chosen where it pays, and more of it is left than of the attempt that would be made instead. Points are measured
(`Evidence.calibration`), and nothing of them is taken from the config; what a map cannot move, it cannot win.
"""

from __future__ import annotations

import math
from dataclasses import replace

from engine.decide import costs, learning, plan
from engine.decide.conf import DecideConf
from engine.decide.evidence import Evidence
from engine.records import Action, Money, Option, standard_error

STILL = Money(mean=0.0, std=0.0)


def trained(evidence: Evidence) -> Evidence:
    """The evidence without earlier recalibrations: they tell nothing of what a training costs, wins or ages."""
    return replace(evidence, attempts=tuple(a for a in evidence.attempts if not a.recalibrated))


def option(evidence: Evidence, conf: DecideConf) -> Option | None:
    """What recalibrating costs and brings; None where it is not weighed."""
    found = evidence.calibration
    if not (conf.recalibrate and evidence.model and found is not None):
        return None
    own = replace(evidence, attempts=tuple(a for a in evidence.attempts if a.recalibrated))
    points = Money(mean=costs.sign_of(evidence) * found.value / conf.point, std=standard_error(found) / conf.point)
    gain, cost = _gain(points, own, evidence, conf), _cost(own, conf)
    why = found.reason or (found.method if points == STILL else _measured(points))
    paying = costs.probability_of_paying(gain, cost)
    return Option(action=Action.RECALIBRATE, cost=cost, gain=gain, probability=paying, why=why)


def better(evidence: Evidence, conf: DecideConf, other: Option, *, acts: bool) -> Option | None:
    """The recalibration where it pays, and leaves more on average than the attempt `other` where that one `acts`."""
    found = option(evidence, conf)
    bar = conf.confidence - conf.hysteresis if evidence.wanted else conf.confidence
    if found is None or not found.probability >= bar:
        return None
    return found if not acts or _net(found) >= _net(other) else None


def sentence(found: Option, conf: DecideConf) -> str:
    """Why it is chosen."""
    sums = f"{found.gain.mean:.0f} for {found.cost.mean:.0f} {conf.currency}"
    return f"{found.why}; the network is kept and its scores are mapped: {sums}, it pays with {found.probability:.2f}"


def _measured(points: Money) -> str:
    return f"a map of the champion's scores won {points.mean:+.1f} +- {points.std:.1f} points on rows it had not seen"


def _gain(points: Money, own: Evidence, evidence: Evidence, conf: DecideConf) -> Money:
    """What it brings back, its chance to fail included: as its points tell, or, of earlier releases, as earlier ones
    passed.
    """
    if points == STILL:
        return STILL
    if conf.learned or plan.plans(trained(evidence), conf):
        brings = learning.passed(points, points.std).points
        scale = _scale(points, evidence, conf)
        return Money(mean=brings.mean * scale, std=brings.std * scale)
    scale = conf.point_value * conf.horizon
    mean = points.mean if math.isnan(points.mean) else max(0.0, points.mean)
    return costs.product(costs.chance_to_pass(own), Money(mean=mean * scale, std=points.std * scale))


def _scale(points: Money, evidence: Evidence, conf: DecideConf) -> float:
    """What a point is worth: until the plan would have trained anew, or over the horizon where nothing is planned."""
    known = trained(evidence)
    decidable = math.isfinite(points.mean) and math.isfinite(costs.points_lost(known, conf).mean)
    if plan.plans(known, conf) and decidable and points.mean > 0:
        return plan.worth_of(points.mean, known, conf) / points.mean
    return conf.point_value * conf.horizon


def _cost(own: Evidence, conf: DecideConf) -> Money:
    """The review, and what earlier recalibrations computed; without one, nothing: a map has two numbers."""
    hours = [a.hours for a in own.attempts]
    mean = sum(hours) / len(hours) if hours else 0.0
    return Money(mean=mean * conf.hour_price + conf.review_cost, std=0.0)


def _net(found: Option) -> float:
    return found.gain.mean - found.cost.mean
