"""Several looks at growing evidence: each window of the shadow adds rows, and each look has its own critical value.

The report of look k is about the rows of all windows so far, joined. Its intervals are widened from z to the critical
value of the look (repeated confidence intervals: Jennison and Turnbull 1989), so that together they miss the truth no
more often than one of them would, and then lie against the bounds as any interval does: PASS at the efficacy bound,
FAIL where all of the widened interval is on the wrong side (harm), INCONCLUSIVE between, and then the next window is
waited for. All rules must hold at the same look.

Look k of K may have spent alpha(k / K): the windows to come are taken to bring what those so far brought on average
(calendar time: Lan and DeMets 1989). How looks hang together is measured: V = (n se)^2, the variance of the sum of what
the rows contributed, grows by independent parts also where windows differ in rows, noise or clusters; where an estimate
of it does not grow, rows stand for it. Earlier critical values are those that the ledger holds, so that a plan which a
person changes between looks still spends no more than alpha.

Futility: FAIL where the predictive power of a rule is below `futility` / the number of results, of which each one could
give up: the chance to pass at the last look, all effects being equally likely beforehand (Spiegelhalter, Freedman and
Blackburn 1986). It is non-binding: no bound is lowered for it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from engine.gate.conf import RuleConf
from engine.gate.spending import NORMAL, SPENDING, critical
from engine.gate.verdict import judge, together
from engine.gate.widen import SHUTS, relocated, sound, unable, widened, widens
from engine.records import EvaluationReport, Look, Outcome, RuleResult, Verdict


class Seen(NamedTuple):
    """What an earlier look at one rule left behind."""

    information: float
    n: int
    critical: float


def judge_look(
    report: EvaluationReport,
    rules: Mapping[str, RuleConf],
    *,
    gate: str,
    greater_is_better: Mapping[str, bool],
    power: float = 0.8,
    look: Look,
    earlier: Sequence[Verdict],
) -> Verdict:
    """The verdict of one look.

    Args:
        report: about the rows of this look and of those before it, joined.
        rules, gate, greater_is_better, power: as for `judge`.
        look: which one of how many.
        earlier: the verdicts of the looks before, oldest first.
    """
    verdict = judge(report, rules, gate=gate, greater_is_better=greater_is_better, power=power)
    hopeless = look.futility / max(len(verdict.rules), 1)
    results = [_at(look, hopeless, result, _history(result.rule, earlier)) for result in verdict.rules]
    outcome, reason = together(results, verdict.first)
    said = f"look {look.number} of {look.most}: {reason}"
    return replace(verdict, outcome=outcome, reason=said, rules=tuple(results), look=look)


def _history(name: str, earlier: Sequence[Verdict]) -> list[Seen]:
    """Looks that could have crossed: one with an infinite critical value (null in the ledger) could not."""
    return [
        Seen(result.information, result.estimate.n, result.critical)
        for verdict in earlier
        for result in verdict.rules
        if result.rule == name and math.isfinite(result.critical) and result.estimate is not None
    ]


def _at(look: Look, hopeless: float, result: RuleResult, history: list[Seen]) -> RuleResult:
    """One result, its interval widened to this look; one that is undecidable stays what it is."""
    estimate = result.estimate
    if estimate is None or not sound(estimate) or estimate.low == estimate.high or result.kind == SHUTS:
        return result
    if not widens(result):
        return unable(result, "cannot be widened to a look")
    level = NORMAL.inv_cdf(0.5 + estimate.confidence_level / 2.0)
    error = (estimate.high - estimate.low) / (2.0 * level)
    information = (estimate.n * error) ** 2
    accrued = _growing([*history, Seen(information, estimate.n, math.nan)])
    spend = SPENDING[look.spending]((1.0 - estimate.confidence_level) / 2.0, look.number / look.most)
    value = critical(accrued, [seen.critical for seen in history], spend) if accrued else math.inf
    if not math.isfinite(value):
        why = "no alpha is left for this look" if accrued else "no rows came since the last look"
        return replace(result, outcome=Outcome.INCONCLUSIVE, reason=f"{result.metric}: {why}", rows_needed=0)
    wide = widened(estimate, value / level, f"{estimate.method}; critical value {value:.3f}")
    found = relocated(result, wide)
    hope = _predictive_power(result.better * (estimate.value - result.bound) / error, level, look)
    if found.outcome is Outcome.INCONCLUSIVE and hope < hopeless:
        said = f"{found.reason}: futile, the chance to pass by look {look.most} is {hope:.3f}"
        found = replace(found, outcome=Outcome.FAIL, reason=said, rows_needed=0)
    return replace(found, information=information, critical=value)


def _growing(looks: Sequence[Seen]) -> list[float]:
    """The information of the looks, by variance, else by rows; empty where neither grows."""
    for series in ([seen.information for seen in looks], [float(seen.n) for seen in looks]):
        if series[0] > 0 and all(after > 1.0001 * before for before, after in itertools.pairwise(series)):
            return series
    return []


def _predictive_power(z: float, final: float, look: Look) -> float:
    """The chance that Z at the last look exceeds `final`, given Z now and a flat prior; 1 at the last look itself."""
    fraction = look.number / look.most
    if fraction >= 1.0:
        return 1.0
    return NORMAL.cdf((z - final * math.sqrt(fraction)) / math.sqrt(1.0 - fraction))
