"""One rule of a gate on a report: which number it is about, and what it must clear."""

from __future__ import annotations

from collections.abc import Mapping

from engine.gate.conf import RuleConf
from engine.gate.interval import locate
from engine.records import Estimate, EvaluationReport, Outcome, RuleResult


def apply(
    name: str, rule: RuleConf, report: EvaluationReport, greater_is_better: Mapping[str, bool]
) -> list[RuleResult]:
    """The results of one rule: one, or one for each slice."""
    if rule.metric not in greater_is_better:
        return [_missing(name, rule, f"{rule.metric} is no metric with a known direction")]
    sign = 1.0 if greater_is_better[rule.metric] else -1.0
    if rule.kind == "floor":
        return [_compare(name, rule, _find(report.metrics, rule.metric), sign)]
    if rule.slice is None:
        return [_compare(name, rule, _find(report.differences, rule.metric), sign)]
    slices = [s for s in report.slices if s.column == rule.slice]
    if not slices:
        return [_missing(name, rule, f"no slice of {rule.slice} was evaluated")]
    return [_compare(f"{name}[{s.level}]", rule, s.difference, sign) for s in slices]


def _find(estimates: tuple[Estimate, ...], name: str) -> Estimate | None:
    return next((e for e in estimates if e.name == name), None)


def _bound(rule: RuleConf, sign: float) -> float:
    """What the interval must clear, in the metric's own direction; `sign` is -1 where small is good."""
    if rule.kind == "floor":
        return float(rule.threshold or 0.0)
    return sign * (rule.margin if rule.kind == "superiority" else -rule.margin) + 0.0  # no -0.0


def _missing(name: str, rule: RuleConf, reason: str) -> RuleResult:
    bound = rule.margin if rule.threshold is None else rule.threshold
    return RuleResult(rule=name, outcome=Outcome.FAIL, metric=rule.metric, estimate=None, bound=bound, reason=reason)


def _compare(name: str, rule: RuleConf, estimate: Estimate | None, sign: float) -> RuleResult:
    """Where the interval lies against the bound; `sign` -1 turns a metric that should be small around."""
    if estimate is None:
        return _missing(name, rule, f"{rule.metric} was not evaluated")
    if estimate.name != rule.metric:
        why = f"this slice was judged by {estimate.name}, not by {rule.metric}"
        return _missing(name, rule, why)
    outcome, reason, rows = locate(rule, estimate, _bound(rule, sign), sign)
    return RuleResult(
        rule=name,
        outcome=outcome,
        metric=rule.metric,
        estimate=estimate,
        bound=_bound(rule, sign),
        reason=reason,
        rows_needed=rows,
    )
