"""How far an attempt goes: the same hyperparameters from a warm start (RETRAIN), or a full sweep (RETUNE)."""

from __future__ import annotations

import math

from engine.decide.conf import DecideConf
from engine.decide.costs import acting
from engine.decide.evidence import Evidence
from engine.records import Action, Money


def how(evidence: Evidence, conf: DecideConf) -> tuple[Action, str]:
    """Keep the hyperparameters while they are young and have not just failed."""
    if not evidence.model:
        return Action.RETUNE, "and none to start from"
    if evidence.asked:
        return Action(evidence.asked), f"asked for by {evidence.asked_why}"
    age = math.inf if evidence.tuned_at is None else evidence.index - evidence.tuned_at
    if evidence.attempts and evidence.attempts[-1].passed is False and not evidence.attempts[-1].retuned:
        return Action.RETUNE, "the same hyperparameters failed their gate the last time"
    if age >= conf.retune_after:
        since = "were never searched here" if math.isinf(age) else f"are {age} windows old"
        return Action.RETUNE, f"the hyperparameters {since}"
    return Action.RETRAIN, f"the hyperparameters are {age} windows old and are kept"


def cost_now(evidence: Evidence, conf: DecideConf) -> Money:
    """Of the attempt that would be made now."""
    return acting(evidence, conf, retune=how(evidence, conf)[0] is Action.RETUNE)
