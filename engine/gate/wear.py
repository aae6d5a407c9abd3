"""Hold-out wear: rows that have decided before flatter whoever was chosen by them.

`gate.wear` says what a further use of the same rows is worth:

    refuse   each use counts in full, up to gate.max_holdout_uses; then the rows are worn out and the gate stays shut
    spend    alpha is divided by gate.max_holdout_uses, so that all uses together err no more often than one would;
             intervals are widened to that, from the first use on; after the last one the rows are worn out
    ladder   no limit: on rows that have decided before, a challenger must also exceed the best that was ever measured
             on them by more than a step, the standard error of its difference (the parameter-free Ladder of Blum and
             Hardt 2015, whose step is the standard deviation of the difference in loss over sqrt n)

The Ladder is a practical bound on adaptive overfitting and no error rate; `spend` is one. All evaluations of the ledger
count, offline and shadow, as far as they share rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from engine.gate.conf import RuleConf
from engine.gate.spending import NORMAL
from engine.gate.verdict import judge, together, worn
from engine.gate.widen import SHUTS, relocated, sound, unable, widened, widens
from engine.records import Estimate, EvaluationReport, Outcome, RuleResult, Verdict, Wear, standard_error


def judge_worn(
    report: EvaluationReport,
    rules: Mapping[str, RuleConf],
    *,
    gate: str,
    greater_is_better: Mapping[str, bool],
    power: float = 0.8,
    wear: Wear,
) -> Verdict:
    """The verdict on rows with a past.

    Args:
        report, rules, gate, greater_is_better, power: as for `judge`.
        wear: how often these rows have decided before, and what another use of them is worth.
    """
    verdict = judge(report, rules, gate=gate, greater_is_better=greater_is_better, power=power)
    results = list(verdict.rules)
    if wear.way == "spend":
        results = [_spent(result, wear.limit) for result in results]
    fresh = max((_fresh_rows(result, power) for result in results), default=0)
    if wear.way == "ladder" and wear.uses > 0:
        results += _ladder(report, rules, greater_is_better, wear)
    if wear.way != "ladder" and wear.uses >= wear.limit:
        results.append(_refused(wear, fresh))
    outcome, reason = together(results, verdict.first)
    told = replace(wear, rotate_in=_rotate_in(wear), fresh_rows=fresh)
    uses = math.ceil(wear.uses)
    return replace(verdict, outcome=outcome, reason=reason, rules=tuple(results), holdout_uses=uses, wear=told)


def _spent(result: RuleResult, limit: int) -> RuleResult:
    """A result at alpha / limit; one that is undecidable stays what it is, one that cannot be widened opens nothing."""
    estimate = result.estimate
    if estimate is None or not sound(estimate) or estimate.low == estimate.high or result.kind == SHUTS or limit == 1:
        return result
    if not widens(result):
        return unable(result, "cannot be widened to a part of alpha")
    alpha = (1.0 - estimate.confidence_level) / 2.0
    factor = NORMAL.inv_cdf(alpha / limit) / NORMAL.inv_cdf(alpha)
    wide = widened(estimate, factor, f"{estimate.method}; alpha / {limit}")
    return relocated(result, replace(wide, confidence_level=1.0 - 2.0 * alpha / limit))


def _ladder(
    report: EvaluationReport, rules: Mapping[str, RuleConf], greater_is_better: Mapping[str, bool], wear: Wear
) -> list[RuleResult]:
    """One result for each rule on the difference to the champion: the best ever seen takes the champion's place."""
    results = []
    for name, rule in rules.items():
        metric = rule.metric
        if rule.kind not in ("superiority", "noninferiority") or rule.by or not report.champion:
            continue
        sign = 1.0 if greater_is_better.get(metric, True) else -1.0
        mine, champion, difference = (
            next((e for e in found if e.name == metric), None)
            for found in (report.metrics, report.champion_metrics, report.differences)
        )
        if mine is None or champion is None or difference is None or not sound(difference):
            why = f"{metric} cannot be held against the best seen on these rows"
            results.append(_rung(name, metric, Outcome.FAIL, difference, math.nan, why))
            continue
        known = wear.best.get(metric, champion.value)
        best = max(sign * champion.value, sign * known) if math.isfinite(known) else math.nan
        step = standard_error(difference)
        needed = (rule.margin if rule.kind == "superiority" else -rule.margin) + step
        gain = sign * mine.value - best
        said = f"{metric} is {gain:+.4f} beside the best of {wear.uses:.3g} earlier uses, {needed:+.4f} are needed"
        passed = math.isfinite(gain) and gain > needed  # written so that NaN fails
        outcome = Outcome.PASS if passed else Outcome.FAIL
        results.append(_rung(name, metric, outcome, difference, sign * needed, f"{said} (step {step:.4f})"))
    return results


def _rung(
    name: str, metric: str, outcome: Outcome, difference: Estimate | None, bound: float, reason: str
) -> RuleResult:
    return RuleResult(
        rule=f"ladder of {name}", outcome=outcome, metric=metric, estimate=difference, bound=bound, reason=reason
    )


def _refused(wear: Wear, fresh: int) -> RuleResult:
    found = worn(math.ceil(wear.uses), wear.limit)
    return replace(found, reason=f"{found.reason}, about {fresh:,} of them") if fresh else found


def _rotate_in(wear: Wear) -> int:
    """Windows until these rows are worn out, at the rate of use since the first one; 0: they are. -1: never."""
    if wear.way == "ladder":
        return -1
    left = wear.limit - wear.uses - 1  # this use counts, too
    return max(0, math.floor(left * wear.windows / (wear.uses + 1)))


def _fresh_rows(result: RuleResult, power: float) -> int:
    """Rows at which a challenger that equals the champion passes this rule with that power; 0 where no margin is
    stated. n ((z_alpha + z_power) se / margin)^2.
    """
    estimate = result.estimate
    if result.kind != "noninferiority" or result.bound == 0 or estimate is None or not sound(estimate):
        return 0
    alpha = (1.0 - estimate.confidence_level) / 2.0
    needed = (NORMAL.inv_cdf(1.0 - alpha) + NORMAL.inv_cdf(power)) * standard_error(estimate) / result.bound
    return math.ceil(estimate.n * needed * needed)
