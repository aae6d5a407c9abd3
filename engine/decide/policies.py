"""Policies: evidence in, decision out. Guards come first, in one order, for every policy that may act."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from engine.decide import cara, founding, recalibrate, watchers
from engine.decide.conf import DecideConf
from engine.decide.costs import probability_of_paying
from engine.decide.evidence import Attempt, Evidence
from engine.decide.expected import expected
from engine.decide.forecast import upf
from engine.decide.scope import cost_now, how
from engine.decide.worth import cost_aware, counterfactual, options
from engine.records import Action, Decision, Option, digest, to_plain

Policy = Callable[[Evidence, DecideConf], tuple[bool, str]]

# Fields that ledgers of release 0.1.0 do not have: at their default they are no part of an id, which stays as it was.
LATER = {
    Evidence: (
        "track",
        "wanted",
        "asked",
        "asked_why",
        "calibration",
        "past",
        "training",
        "decayed",
        "decayed_at",
        "failed",
        "fresh",
        "holdout_rows",
    ),
    DecideConf: (
        "patience",
        "hysteresis",
        "learned",
        "recalibrate",
        "incurable",
        "drift_share",
        "points",
        "cusum_slack",
        "cusum_limit",
        "cara_threshold",
        "cara_cumulative",
        "cara_period",
        "quantile",
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """What a policy came to, before anything is worded or priced for people."""

    action: Action
    reason: str
    wanted: int = 0  # windows in a row in which it wanted to act and its patience held it


def decide(evidence: Evidence, conf: DecideConf) -> Decision:
    """KEEP, RECALIBRATE, RETRAIN or RETUNE, with what it is worth. The same evidence and config give the same decision
    and id.
    """
    choice = choose(evidence, conf)
    known = recalibrate.trained(evidence)
    offered = options(evidence, conf)
    brought = expected(known, conf)
    cost, brings = cost_now(known, conf), brought.gain
    if choice.action is Action.RECALIBRATE:
        cost, brings = next((o.cost, o.gain) for o in offered if o.action is choice.action)
    return Decision(
        id=digest("decision", _told(evidence), _told(conf)),
        window=evidence.window,
        policy=conf.policy,
        action=choice.action,
        reason=choice.reason,
        waiting=brought.waiting,
        acting=cost,
        probability=probability_of_paying(brings, cost),
        currency=conf.currency,
        options=offered,
        counterfactual=counterfactual(known, conf, cost, brings, acts=choice.action is not Action.KEEP),
        wanted=choice.wanted,
    )


def choose(evidence: Evidence, conf: DecideConf) -> Choice:
    """The action and why: a guard's word, else that of who asked, else that of the policy, held by its patience."""
    held = _guard(evidence, conf)
    if held:
        return Choice(action=Action.KEEP, reason=held + (f"; {evidence.asked} was asked for" if evidence.asked else ""))
    if not evidence.model and (waiting := founding.waits(evidence, conf)):
        return Choice(action=Action.KEEP, reason=waiting)
    known = recalibrate.trained(evidence)
    if evidence.asked and evidence.model:
        action, why = how(known, conf)
        return Choice(action=action, reason=why)
    acts, reason = POLICIES[conf.policy](known, conf) if evidence.model else (True, "there is no champion")
    cheaper = _cheaper(evidence, conf, acts=acts)
    if cheaper is not None:
        acts, reason = True, f"{reason}; {recalibrate.sentence(cheaper, conf)}"
    if not acts:
        return Choice(action=Action.KEEP, reason=reason)
    wanted = evidence.wanted + 1
    if evidence.model and wanted < conf.patience:
        patience = f"wanted in {wanted} windows in a row, the patience is {conf.patience}"
        return Choice(action=Action.KEEP, reason=f"{reason}; {patience}", wanted=wanted)
    if cheaper is not None:
        return Choice(action=cheaper.action, reason=reason)
    action, why = how(known, conf)
    return Choice(action=action, reason=f"{reason}; {why}")


def _cheaper(evidence: Evidence, conf: DecideConf, *, acts: bool) -> Option | None:
    """The recalibration, where `cost_aware` weighs it and would rather have it than what it `acts` for."""
    if not conf.recalibrate or conf.policy != "cost_aware" or not evidence.model:
        return None
    action = how(recalibrate.trained(evidence), conf)[0]
    other = next(o for o in options(evidence, conf) if o.action is action)
    return recalibrate.better(evidence, conf, other, acts=acts)


def _told(value: Any) -> dict[str, Any]:
    """A record as its id sees it."""
    plain: dict[str, Any] = to_plain(value)
    for field in dataclasses.fields(value):
        if field.name in LATER[type(value)] and getattr(value, field.name) == field.default:
            del plain[field.name]
    if plain.get("planned") is False:  # as releases without this field decided; its default is another
        del plain["planned"]
        plain.pop("incurable", None)  # only plans ask for it
    for seen in (*plain.get("track", ()), *plain.get("past", ())):
        if not seen["age"]:
            del seen["age"]
    for attempt in plain.get("attempts", ()):
        if attempt["lost"] is None:
            del attempt["lost"]
        if not attempt["recalibrated"]:
            del attempt["recalibrated"]
    return plain


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


POLICIES: Mapping[str, Policy] = {
    "calendar": watchers.calendar,
    "cara_cumulative": cara.cumulative,
    "cara_periodic": cara.periodic,
    "cara_threshold": cara.threshold,
    "cost_aware": cost_aware,
    "cusum": watchers.cusum,
    "drift": watchers.drift,
    "never": watchers.never,
    "performance": watchers.performance,
    "upf": upf,
}
