"""The policy `cost_aware`, and what every choice is worth: expected loss of waiting against expected cost of acting."""

from __future__ import annotations

import math

from engine.decide import plan, recalibrate
from engine.decide.conf import DecideConf
from engine.decide.costs import acting, points_lost, probability_of_paying
from engine.decide.evidence import Evidence
from engine.decide.expected import at_least_nothing, chance_to_pass, gain, points_to_win, waiting
from engine.decide.scope import cost_now
from engine.records import Action, Money, Option

NOTHING = Money(mean=0.0, std=0.0)


def cost_aware(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    """Act when the probability that it pays reaches `confidence`; once it wanted to, `hysteresis` lowers that bar."""
    if plan.plans(evidence, conf):
        return _planned(evidence, conf)
    points = points_to_win(evidence, conf)
    if not (math.isfinite(points.mean) and math.isfinite(points.std)):
        return False, f"what waiting costs is undecidable: {_unknown(evidence)}"
    loss, cost = waiting(evidence, conf), cost_now(evidence, conf)
    probability = probability_of_paying(gain(evidence, conf), cost)
    passes = chance_to_pass(evidence, conf).mean
    sentence = (
        f"a retrain would win {points.mean:+.1f} +- {points.std:.1f} points "
        f"({points_lost(evidence, conf).mean:+.1f} lost, {evidence.age} windows old); "
        f"waiting costs {loss.mean:.0f} +- {loss.std:.0f} {conf.currency}, "
        f"acting {cost.mean:.0f} and passes with {passes:.2f}: it pays with {probability:.2f}"
    )
    bar = conf.confidence - conf.hysteresis if evidence.wanted else conf.confidence
    return probability >= bar, sentence


def _planned(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    """Over a plan: what one window of waiting loses against what an attempt costs."""
    told = plan.outlook(evidence, conf)
    if not (math.isfinite(told.points.mean) and math.isfinite(told.gained.mean)):
        return False, f"what waiting costs is undecidable: {_unknown(evidence)}"
    loss, cost = at_least_nothing(told.saved), cost_now(evidence, conf)
    probability = probability_of_paying(told.gained, cost)
    points = told.points
    sentence = (
        f"a retrain would win {points.mean:+.1f} +- {points.std:.1f} points "
        f"({points_lost(evidence, conf).mean:+.1f} lost, {evidence.age} windows old, "
        f"the world has changed since with {told.changed:.2f}); "
        f"a window of waiting costs {loss.mean:.0f} +- {loss.std:.0f} {conf.currency}, "
        f"acting {cost.mean:.0f} and passes with {told.chance.mean:.2f}: it pays with {probability:.2f}"
    )
    bar = conf.confidence - conf.hysteresis if evidence.wanted else conf.confidence
    return probability >= bar, sentence


def _unknown(evidence: Evidence) -> str:
    """Which number a cost is missing."""
    sides = (("the champion's own hold-out", evidence.baseline), ("realised performance", evidence.realised))
    for name, estimate in sides:
        if estimate is None:
            return f"there is no estimate of {name} yet"
        if not all(map(math.isfinite, (estimate.value, estimate.low, estimate.high))):
            return f"{name} is undefined ({estimate.reason or 'not finite'})"
    return "the amounts are not finite"


def options(evidence: Evidence, conf: DecideConf) -> tuple[Option, ...]:
    """Cost and gain of everything that could be done now. Both kinds of training are taken to win the same points."""
    mapped = recalibrate.option(evidence, conf)
    evidence = recalibrate.trained(evidence)
    brings = gain(evidence, conf)
    kinds = (Action.RETRAIN, Action.RETUNE) if evidence.model else (Action.RETUNE,)
    kept = Option(action=Action.KEEP, cost=waiting(evidence, conf), gain=NOTHING, probability=math.nan)
    made = [] if mapped is None else [mapped]
    for action in kinds:
        cost = acting(evidence, conf, retune=action is Action.RETUNE)
        made.append(Option(action=action, cost=cost, gain=brings, probability=probability_of_paying(brings, cost)))
    return (kept, *made) if evidence.model else tuple(made)


def counterfactual(evidence: Evidence, conf: DecideConf, cost: Money, gained: Money, *, acts: bool) -> str:
    """What the choice that was not made is expected to come to, for who has to answer for it; `cost` and `gained` are
    of the attempt that is made, or would be.
    """
    if not evidence.model:
        return "without an attempt there would be no model at all" if acts else ""
    loss, brings = waiting(evidence, conf).mean, gained.mean
    if not all(map(math.isfinite, (loss, brings, cost.mean))):
        return "what the other choice would have come to is undecidable"
    money, planned = conf.currency, plan.plans(evidence, conf)
    over = "by a window of waiting" if planned else f"over {conf.horizon:g} windows"
    if acts:
        net = f"the attempt costs {cost.mean:.0f} and brings back {brings:.0f} on average, failed gates included"
        return f"kept, the model is expected to lose {loss:.0f} {money} {over}; {net}"
    spent = f"an attempt now would cost {cost.mean:.0f} {money} and bring back {brings:.0f} on average {over}"
    return f"{spent}; {_break_even(evidence, conf, cost)}"


def _break_even(evidence: Evidence, conf: DecideConf, cost: Money) -> str:
    """From how many points to win on an attempt pays on average."""
    if plan.plans(evidence, conf):
        return f"{points_to_win(evidence, conf).mean:.1f} points to win are expected"
    if conf.point_value * conf.horizon == 0:
        return "no number of points would make it pay"
    expected, paid = points_to_win(evidence, conf).mean, gain(evidence, conf).mean
    if conf.learned or paid <= 0:  # learned: the chance to pass rises with the points, and no proportion tells it
        return f"{expected:.1f} points to win are expected"
    return f"it pays from {cost.mean / paid * expected:.1f} points to win on, and {expected:.1f} are expected"
