"""The policy `cost_aware`, and what every choice is worth: expected loss of waiting against expected cost of acting."""

from __future__ import annotations

import math

from engine.decide import decayed, recalibrate
from engine.decide.conf import DecideConf
from engine.decide.costs import acting, points_lost, probability_of_paying
from engine.decide.evidence import Evidence
from engine.decide.expected import Expected, expected
from engine.decide.scope import cost_now
from engine.records import Action, Money, Option

NOTHING = Money(mean=0.0, std=0.0)
SAID = 0.5  # from which probability on it is said that a loss stays


def cost_aware(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    """Act when the probability that it pays reaches `confidence`; once it wanted to, `hysteresis` lowers that bar."""
    known, cost = expected(evidence, conf), cost_now(evidence, conf)
    points, loss, planned = known.points, known.waiting, known.changed is not None
    needed = (points.mean, points.std, *((known.gain.mean,) if planned else ()))
    if not all(map(math.isfinite, needed)):
        return False, f"what waiting costs is undecidable: {_unknown(evidence)}"
    probability = probability_of_paying(known.gain, cost)
    since = f", the world has changed since with {known.changed:.2f}" if planned else ""
    if known.stays >= SAID and points_lost(evidence, conf).mean > 0:
        since += f"; that training does not bring back what was lost, with {known.stays:.2f}"
    since += decayed.sentence(evidence)
    sentence = (
        f"a retrain would win {points.mean:+.1f} +- {points.std:.1f} points "
        f"({points_lost(evidence, conf).mean:+.1f} lost, {evidence.age} windows old{since}); "
        f"{'a window of ' if planned else ''}waiting costs {loss.mean:.0f} +- {loss.std:.0f} {conf.currency}, "
        f"acting {cost.mean:.0f} and passes with {known.chance.mean:.2f}: it pays with {probability:.2f}"
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
    known = expected(evidence, conf)
    kinds = (Action.RETRAIN, Action.RETUNE) if evidence.model else (Action.RETUNE,)
    kept = Option(action=Action.KEEP, cost=known.waiting, gain=NOTHING, probability=math.nan)
    made = [] if mapped is None else [mapped]
    for action in kinds:
        cost = acting(evidence, conf, retune=action is Action.RETUNE)
        paying = probability_of_paying(known.gain, cost)
        made.append(Option(action=action, cost=cost, gain=known.gain, probability=paying))
    return (kept, *made) if evidence.model else tuple(made)


def counterfactual(evidence: Evidence, conf: DecideConf, cost: Money, gained: Money, *, acts: bool) -> str:
    """What the choice that was not made is expected to come to, for who has to answer for it; `cost` and `gained` are
    of the attempt that is made, or would be.
    """
    if not evidence.model:
        return "without an attempt there would be no model at all" if acts else ""
    known, brings = expected(evidence, conf), gained.mean
    loss = known.waiting.mean
    if not all(map(math.isfinite, (loss, brings, cost.mean))):
        return "what the other choice would have come to is undecidable"
    money = conf.currency
    over = f"over {conf.horizon:g} windows" if known.changed is None else "by a window of waiting"
    if acts:
        net = f"the attempt costs {cost.mean:.0f} and brings back {brings:.0f} on average, failed gates included"
        return f"kept, the model is expected to lose {loss:.0f} {money} {over}; {net}"
    spent = f"an attempt now would cost {cost.mean:.0f} {money} and bring back {brings:.0f} on average {over}"
    return f"{spent}; {_break_even(known, conf, cost)}"


def _break_even(known: Expected, conf: DecideConf, cost: Money) -> str:
    """From how many points to win on an attempt pays on average."""
    points, paid = known.points.mean, known.gain.mean
    if known.changed is None and conf.point_value * conf.horizon == 0:
        return "no number of points would make it pay"
    # planned, learned: the chance to pass rises with the points, and no proportion tells it
    if known.changed is not None or conf.learned or paid <= 0:
        return f"{points:.1f} points to win are expected"
    return f"it pays from {cost.mean / paid * points:.1f} points to win on, and {points:.1f} are expected"
