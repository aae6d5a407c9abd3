"""Stage 7, gate: EvaluationReport -> Verdict. Pure, and closed unless the evidence opens it.

A rule compares the bound of an interval, never a bare estimate:

    floor            the metric itself is at least as good as `threshold`
    superiority      challenger minus champion, paired on the same rows, is better than 0 by more than `margin`
    noninferiority   the same difference is not worse than `margin`; with `slice`, on every level of that column

PASS when the whole interval lies on the good side of the bound, FAIL when it lies on the other, INCONCLUSIVE between,
with the rows that would decide where that can be told. A gate passes only if every rule does: all must hold, so none
needs a smaller alpha (intersection-union; Berger 1982). Missing metrics, slices, baselines and rules FAIL. An interval
at confidence level c gives each rule a one-sided error rate of (1 - c) / 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.errors import ConfigError
from engine.records import Estimate, EvaluationReport, Outcome, RuleResult, Verdict

KINDS = ("floor", "superiority", "noninferiority")


@dataclass(kw_only=True, slots=True)
class RuleConf:
    """One rule."""

    kind: str
    """floor, superiority or noninferiority."""
    metric: str
    """A metric that evaluate computes."""
    threshold: float | None = None
    """floor: the value that must be reached."""
    margin: float = 0.0
    """superiority: how much better at least; noninferiority: how much worse at most. Not negative."""
    slice: str | None = None
    """noninferiority: judge every level of this column on the primary metric."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError("gate.rules:kind", f"{self.kind!r} is unknown", f"choose one of {', '.join(KINDS)}")
        if self.kind == "floor" and self.threshold is None:
            raise ConfigError("gate.rules:threshold", f"the floor of {self.metric} has none", "set threshold")
        if self.margin < 0 or not math.isfinite(self.margin):
            raise ConfigError("gate.rules:margin", f"{self.margin} is not a margin", "choose 0 or more")
        if self.slice is not None and self.kind != "noninferiority":
            raise ConfigError("gate.rules:slice", f"{self.kind} has no slices", "use kind: noninferiority")


@dataclass(kw_only=True, slots=True)
class GateConf:
    """What a challenger must show."""

    rules: dict[str, RuleConf] = field(default_factory=dict)
    """Offline, on the hold-out rows. The first model of all is judged by its floors alone."""
    shadow: dict[str, RuleConf] = field(default_factory=dict)
    """In shadow, on the next labelled window."""
    max_holdout_uses: int = 5
    """How often the same rows may decide before they are worn out."""


def judge(
    report: EvaluationReport,
    rules: Mapping[str, RuleConf],
    *,
    gate: str,
    greater_is_better: Mapping[str, bool],
    holdout_uses: int = 0,
    max_holdout_uses: int = 5,
) -> Verdict:
    """The verdict of `rules` on a report. `greater_is_better` says which way each metric points."""
    first = not report.champion
    results: list[RuleResult] = []
    for name, rule in rules.items():
        if first and rule.kind != "floor":
            continue
        results += _apply(name, rule, report, greater_is_better)
    if holdout_uses >= max_holdout_uses:
        results.append(_worn(holdout_uses, max_holdout_uses))
    outcome, reason = _together(results, first)
    return Verdict(
        gate=gate,
        model=report.model,
        champion=report.champion,
        window=report.window,
        outcome=outcome,
        reason=reason,
        rules=tuple(results),
        first=first,
        holdout_uses=holdout_uses,
    )


def _together(results: list[RuleResult], first: bool) -> tuple[Outcome, str]:
    if not results:
        what = "no floor is set, and a first model is judged by floors alone" if first else "the gate has no rule"
        return Outcome.FAIL, what
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        held = [r for r in results if r.outcome is outcome]
        if held:
            more = f" (and {len(held) - 1} more)" if len(held) > 1 else ""
            return outcome, f"{held[0].rule}: {held[0].reason}{more}"
    return Outcome.PASS, f"all {len(results)} rules hold" + (", floors alone: there was no champion" if first else "")


def _worn(uses: int, limit: int) -> RuleResult:
    reason = f"these rows have decided {uses} times already, {limit} is the limit: use fresh rows"
    return RuleResult(rule="hold-out", outcome=Outcome.FAIL, metric="", estimate=None, bound=limit, reason=reason)


def _apply(
    name: str, rule: RuleConf, report: EvaluationReport, greater_is_better: Mapping[str, bool]
) -> list[RuleResult]:
    if rule.metric not in greater_is_better:
        return [_missing(name, rule, f"{rule.metric} is no metric with a known direction")]
    sign = 1.0 if greater_is_better[rule.metric] else -1.0
    if rule.kind == "floor":
        found = _find(report.metrics, rule.metric)
        return [_compare(name, rule, found, float(rule.threshold or 0.0), sign)]
    bound = sign * (rule.margin if rule.kind == "superiority" else -rule.margin)
    if rule.slice is None:
        return [_compare(name, rule, _find(report.differences, rule.metric), bound, sign)]
    slices = [s for s in report.slices if s.column == rule.slice]
    if not slices:
        return [_missing(name, rule, f"no slice of {rule.slice} was evaluated")]
    return [_compare(f"{name}[{s.level}]", rule, s.difference, bound, sign) for s in slices]


def _find(estimates: tuple[Estimate, ...], name: str) -> Estimate | None:
    return next((e for e in estimates if e.name == name), None)


def _missing(name: str, rule: RuleConf, reason: str) -> RuleResult:
    bound = rule.margin if rule.threshold is None else rule.threshold
    return RuleResult(rule=name, outcome=Outcome.FAIL, metric=rule.metric, estimate=None, bound=bound, reason=reason)


def _compare(name: str, rule: RuleConf, estimate: Estimate | None, bound: float, sign: float) -> RuleResult:
    """Where the interval lies against the bound; `sign` -1 turns a metric that should be small around."""
    if estimate is None:
        return _missing(name, rule, f"{rule.metric} was not evaluated")
    interval = f"{estimate.value:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"
    if rule.kind == "floor":
        interval = f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"
    worst, best = sorted((sign * estimate.low, sign * estimate.high))
    rows = 0
    if not all(map(math.isfinite, (estimate.value, worst, best))):
        # too few rows may be cured by more; anything else undecidable fails
        outcome = Outcome.INCONCLUSIVE if estimate.reason.startswith("too few rows") else Outcome.FAIL
        reason = f"{rule.metric} is undecidable ({estimate.reason or 'not finite'})"
    elif worst > sign * bound or (worst == sign * bound and rule.kind == "floor"):
        outcome, reason = Outcome.PASS, f"{rule.metric} {interval} clears {bound:+.4f}"
    elif best < sign * bound:
        outcome, reason = Outcome.FAIL, f"{rule.metric} {interval} misses {bound:+.4f}"
    else:
        rows = _rows_needed(estimate, worst, sign * bound, sign)
        need = f"; about {rows:,} rows would decide" if rows else ""
        outcome, reason = Outcome.INCONCLUSIVE, f"{rule.metric} {interval} straddles {bound:+.4f}{need}"
    return RuleResult(
        rule=name,
        outcome=outcome,
        metric=rule.metric,
        estimate=estimate,
        bound=bound,
        reason=reason,
        rows_needed=rows,
    )


def _rows_needed(estimate: Estimate, worst: float, bound: float, sign: float) -> int:
    """Rows at which the same estimate would clear the bound: the half width shrinks as 1/sqrt(n). 0: never, by that."""
    gap = sign * estimate.value - bound
    half = sign * estimate.value - worst
    if gap <= 0 or half <= 0:
        return 0
    return math.ceil(estimate.n * (half / gap) ** 2)
