"""Policies: evidence in, decision out. Guards come first, in one order, for every policy that may act."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from engine.decide.costs import (
    Attempt,
    DecideConf,
    Evidence,
    acting,
    chance_to_pass,
    gain,
    points_lost,
    points_to_win,
    probability_of_paying,
    waiting,
)
from engine.records import Action, Decision, Money, digest

Policy = Callable[[Evidence, DecideConf], tuple[bool, str]]


def decide(evidence: Evidence, conf: DecideConf) -> Decision:
    """KEEP, RETRAIN or RETUNE, with what it is worth. The same evidence and config give the same decision and id."""
    held = _guard(evidence, conf)
    if held:
        act, reason = False, held
    elif not evidence.model:
        act, reason = True, "there is no champion"
    else:
        act, reason = POLICIES[conf.policy](evidence, conf)
    cost = _cost(evidence, conf)
    action, why = _how(evidence, conf) if act else (Action.KEEP, "")
    return Decision(
        id=digest("decision", evidence, conf),
        window=evidence.window,
        policy=conf.policy,
        action=action,
        reason=f"{reason}; {why}" if why else reason,
        waiting=waiting(evidence, conf),
        acting=cost,
        probability=probability_of_paying(gain(evidence, conf), cost),
        currency=conf.currency,
    )


def _guard(evidence: Evidence, conf: DecideConf) -> str:
    """Why no policy may act now; empty where it may."""
    if evidence.pending:
        return f"challenger {evidence.pending[:12]} is still in shadow"
    if evidence.frozen:
        return f"promotions are frozen: {evidence.frozen}"
    if evidence.attempts:
        since = evidence.index - evidence.attempts[-1].index
        if since < conf.min_spacing:
            return f"the last attempt was {since} windows ago, the spacing is {conf.min_spacing}"
        failed = _failed_in_a_row(evidence.attempts)
        if failed >= conf.breaker and since <= conf.breaker_windows:
            return f"{failed} gates failed in a row: no attempt for {conf.breaker_windows} windows"
    return ""


def _failed_in_a_row(attempts: tuple[Attempt, ...]) -> int:
    count = 0
    for attempt in reversed(attempts):
        if attempt.passed is not False:
            break
        count += 1
    return count


def _how(evidence: Evidence, conf: DecideConf) -> tuple[Action, str]:
    """Keep the hyperparameters while they are young and have not just failed."""
    if not evidence.model:
        return Action.RETUNE, "and none to start from"
    age = math.inf if evidence.tuned_at is None else evidence.index - evidence.tuned_at
    if evidence.attempts and evidence.attempts[-1].passed is False and not evidence.attempts[-1].retuned:
        return Action.RETUNE, "the same hyperparameters failed their gate the last time"
    if age >= conf.retune_after:
        since = "were never searched here" if math.isinf(age) else f"are {age} windows old"
        return Action.RETUNE, f"the hyperparameters {since}"
    return Action.RETRAIN, f"the hyperparameters are {age} windows old and are kept"


def _cost(evidence: Evidence, conf: DecideConf) -> Money:
    """Of the attempt that would be made now."""
    return acting(evidence, conf, retune=_how(evidence, conf)[0] is Action.RETUNE)


def _cost_aware(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    points = points_to_win(evidence, conf)
    if not (math.isfinite(points.mean) and math.isfinite(points.std)):
        return False, f"what waiting costs is undecidable: {_unknown(evidence)}"
    loss, cost = waiting(evidence, conf), _cost(evidence, conf)
    probability = probability_of_paying(gain(evidence, conf), cost)
    sentence = (
        f"a retrain would win {points.mean:+.1f} +- {points.std:.1f} points "
        f"({points_lost(evidence, conf).mean:+.1f} lost, {evidence.age} windows old); "
        f"waiting costs {loss.mean:.0f} +- {loss.std:.0f} {conf.currency}, "
        f"acting {cost.mean:.0f} and passes with {chance_to_pass(evidence).mean:.2f}: it pays with {probability:.2f}"
    )
    return probability >= conf.confidence, sentence


def _unknown(evidence: Evidence) -> str:
    """Which number a cost is missing."""
    sides = (("the champion's own hold-out", evidence.baseline), ("realised performance", evidence.realised))
    for name, estimate in sides:
        if estimate is None:
            return f"there is no estimate of {name} yet"
        if not all(map(math.isfinite, (estimate.value, estimate.low, estimate.high))):
            return f"{name} is undefined ({estimate.reason or 'not finite'})"
    return "the amounts are not finite"


def _calendar(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    begun = [a.index for a in evidence.attempts[-1:]]
    begun += [] if evidence.tuned_at is None else [evidence.tuned_at]
    if not begun:
        return True, "nothing was ever trained here"
    since = evidence.index - max(begun)
    return since >= conf.calendar, f"{since} windows since the last training, the calendar says {conf.calendar}"


def _never(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    return False, "the policy is never to act"


POLICIES: Mapping[str, Policy] = {"calendar": _calendar, "cost_aware": _cost_aware, "never": _never}
