"""One rule of a gate on a report: which numbers it is about, and what they must clear."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from engine.gate.conf import COLD, RELATIVE, RuleConf
from engine.gate.interval import Bound, locate
from engine.records import Answer, AskedSlice, Estimate, EvaluationReport, Outcome, RuleResult


def apply(
    name: str, rule: RuleConf, report: EvaluationReport, greater_is_better: Mapping[str, bool], power: float
) -> list[RuleResult]:
    """The results of one rule: one, or one for each slice or answer."""
    if rule.kind == "answers":
        return _answers(name, rule, report.answers)
    if rule.kind in COLD:
        found = _find(report.infra, rule.metric)
        return [_compare(name, rule, found, -1.0, power, f"{rule.metric} was not measured")]
    if rule.kind == "worst_slice":
        return _worst(name, rule, report)
    if rule.kind == "fairness":
        return [_fairness(name, rule, report, power)]
    if rule.metric not in greater_is_better:
        return [_missing(name, rule, f"{rule.metric} is no metric with a known direction")]
    sign = 1.0 if greater_is_better[rule.metric] else -1.0
    if rule.kind == "robustness":
        return [_robustness(name, rule, report, sign, power)]
    if rule.by:
        return _slices(name, rule, report, sign, power)
    numbers = report.differences if rule.kind in RELATIVE else report.metrics
    return [_compare(name, rule, _find(numbers, rule.metric), sign, power)]


def _slices(name: str, rule: RuleConf, report: EvaluationReport, sign: float, power: float) -> list[RuleResult]:
    """One result a level; FAIL where the levels were not evaluated, or one that must be there has no row."""
    column = AskedSlice(columns=rule.by, metric=rule.metric, pool=rule.pool).name
    slices = [s for s in report.guarded if s.column == column and s.estimate.name == rule.metric]
    slices = slices or [s for s in report.slices if s.column == column]
    if not slices:
        return [_missing(name, rule, f"no slice of {column} was evaluated")]
    alone = rule.kind not in RELATIVE
    gone = [level for level in rule.levels if level not in {s.level for s in slices}]
    return [
        *(_compare(f"{name}[{s.level}]", rule, s.estimate if alone else s.difference, sign, power) for s in slices),
        *(_missing(f"{name}[{level}]", rule, f"no row of {column} is {level}") for level in gone),
    ]


def _fairness(name: str, rule: RuleConf, report: EvaluationReport, power: float) -> RuleResult:
    gap = next((g for g in report.fairness if g.column == rule.by[0] and g.estimate.name == rule.metric), None)
    nothing = f"{rule.metric} between the groups of {rule.by[0]} was not evaluated"
    return _compare(name, rule, gap.estimate if gap else None, -1.0, power, nothing)


def _robustness(name: str, rule: RuleConf, report: EvaluationReport, sign: float, power: float) -> RuleResult:
    wanted = rule.perturbed.name
    found = next((p for p in report.robustness if p.perturbation == wanted and p.difference.name == rule.metric), None)
    nothing = f"{rule.metric} under {wanted} was not evaluated"
    return _compare(name, rule, found.difference if found else None, sign, power, nothing)


def _worst(name: str, rule: RuleConf, report: EvaluationReport) -> list[RuleResult]:
    """FAIL for a slice that is surely worse than the champion by more than the margin, INCONCLUSIVE for one that may
    be. That none was found opens nothing: `together` wants another rule to have held.
    """
    if not report.searched:
        return [_missing(name, rule, "no slices were looked for")]
    none = RuleResult(
        rule=name,
        outcome=Outcome.PASS,
        metric=rule.metric,
        estimate=None,
        bound=rule.margin,
        reason=f"of {report.searched:,} slices none is seen to be worse than the champion's by more than the margin",
        kind=rule.kind,
    )
    bad = []
    for found in report.found:
        lost = found.mean
        if found.by != "regression" or lost.high <= rule.margin:  # NaN is bad
            continue
        outcome = Outcome.FAIL if lost.low > rule.margin else Outcome.INCONCLUSIVE
        shown = f"{lost.value:+.4f} [{lost.low:+.4f}, {lost.high:+.4f}]"
        said = f"loss {shown} beside the champion's, where {found.slice}"
        level = f"{name}[{found.slice}]"
        bad.append(replace(none, rule=level, outcome=outcome, estimate=lost, reason=said, better=-1))
    return bad or [none]


def _answers(name: str, rule: RuleConf, answers: tuple[Answer, ...]) -> list[RuleResult]:
    """One result a request; FAIL where nothing was asked."""
    if not answers:
        return [_missing(name, rule, "the artifact was asked nothing")]
    return [
        RuleResult(
            rule=f"{name}[{answer.request}]",
            outcome=Outcome.PASS if answer.fine else Outcome.FAIL,
            metric="",
            estimate=None,
            bound=math.nan,
            reason=answer.reason,
            kind=rule.kind,
        )
        for answer in answers
    ]


def _find(estimates: tuple[Estimate, ...], name: str) -> Estimate | None:
    return next((e for e in estimates if e.name == name), None)


def _bound(rule: RuleConf, sign: float) -> float:
    """What the interval must clear, in the metric's own direction; `sign` is -1 where small is good."""
    if rule.threshold is not None:
        return float(rule.threshold)
    return sign * (rule.margin if rule.kind == "superiority" else -rule.margin) + 0.0  # no -0.0


def _missing(name: str, rule: RuleConf, reason: str) -> RuleResult:
    bound = rule.margin if rule.threshold is None else rule.threshold
    return RuleResult(
        rule=name, outcome=Outcome.FAIL, metric=rule.metric, estimate=None, bound=bound, reason=reason, kind=rule.kind
    )


def _compare(
    name: str, rule: RuleConf, estimate: Estimate | None, sign: float, power: float, nothing: str = ""
) -> RuleResult:
    """Where the interval lies against the bound; `sign` -1 turns a metric that should be small around."""
    if estimate is None:
        return _missing(name, rule, nothing or f"{rule.metric} was not evaluated")
    if estimate.name != rule.metric:
        return _missing(name, rule, f"this slice was judged by {estimate.name}, not by {rule.metric}")
    bound = Bound(kind=rule.kind, what=rule.metric, value=_bound(rule, sign), sign=sign)
    found = locate(estimate, bound, power)
    return RuleResult(
        rule=name,
        outcome=found.outcome,
        metric=rule.metric,
        estimate=estimate,
        bound=bound.value,
        reason=found.reason,
        rows_needed=found.rows_needed,
        kind=rule.kind,
        better=int(sign),
        power=power,
        detectable=found.detectable,
    )
