"""Stage 7, gate: EvaluationReport -> Verdict. Pure, and closed unless the evidence opens it.

A rule compares the bound of an interval, never a bare estimate:

    floor            the metric itself is at least as good as `threshold`
    superiority      challenger minus champion, paired on the same rows, is better than 0 by more than `margin`
    noninferiority   the same difference is not worse than `margin`; with `slice`, on every level of that column

PASS when the whole interval lies on the good side of the bound, FAIL when it lies on the other, INCONCLUSIVE between,
with the rows that would decide where that can be told. A gate passes only if every rule does: all must hold, so none
needs a smaller alpha (intersection-union; Berger 1982). Missing metrics, slices, baselines and rules FAIL, and so does
an undecidable estimate, but for one with too few rows or clusters, which is INCONCLUSIVE: more may cure it. An
interval at confidence level c gives each rule a one-sided error rate of (1 - c) / 2; below MIN_ROWS rows no interval
keeps that, so none passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.errors import ConfigError
from engine.records import Candidate, Estimate, EvaluationReport, Outcome, RuleResult, Verdict

KINDS = ("floor", "superiority", "noninferiority")
MIN_ROWS = 30
"""On 2 rows a bootstrap interval can be a single point, and clear any bound."""


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
    """noninferiority: judge every level of this column; `metric` must be the primary one, for slices know no other."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError("gate.rules:kind", f"{self.kind!r} is unknown", f"choose one of {', '.join(KINDS)}")
        if self.kind == "floor" and self.threshold is None:
            raise ConfigError("gate.rules:threshold", f"the floor of {self.metric} has none", "set threshold")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ConfigError("gate.rules:threshold", f"{self.threshold} is no value", "choose a finite number")
        if self.kind != "floor" and self.threshold is not None:
            raise ConfigError("gate.rules:threshold", f"{self.kind} has none", "set margin, or use kind: floor")
        if self.kind == "floor" and self.margin != 0:
            raise ConfigError("gate.rules:margin", "a floor has none", "move its threshold")
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

    def __post_init__(self) -> None:
        if self.max_holdout_uses < 1:
            cure = "choose 1 or more"
            raise ConfigError("gate.max_holdout_uses", f"{self.max_holdout_uses} lets no rows decide", cure)


def judge(
    report: EvaluationReport,
    rules: Mapping[str, RuleConf],
    *,
    gate: str,
    greater_is_better: Mapping[str, bool],
    holdout_uses: int = 0,
    max_holdout_uses: int = 5,
) -> Verdict:
    """The verdict of `rules` on a report.

    Args:
        report: the challenger, and its paired differences to the champion where there is one.
        rules: by name; all must hold.
        gate: which gate this is: "offline" or "shadow".
        greater_is_better: which way each metric points; a metric that is not in it FAILs.
        holdout_uses, max_holdout_uses: how often these rows have decided before, and how often they may.
    """
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


def untrained(candidate: Candidate, *, champion: str, window: str) -> Verdict:
    """The verdict where no trial of a sweep gave a model."""
    reasons = sorted({t.reason for t in candidate.trials if t.reason}) or ["no reason was recorded"]
    why = f"no trial of {len(candidate.trials)} finished: {reasons[0]}"
    return Verdict(gate="offline", model="", champion=champion, window=window, outcome=Outcome.FAIL, reason=why)


def _together(results: list[RuleResult], first: bool) -> tuple[Outcome, str]:
    if not results:
        what = "no floor is set, and a first model is judged by floors alone" if first else "the gate has no rule"
        return Outcome.FAIL, what
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        such = [r for r in results if r.outcome is outcome]
        if such:
            more = f" (and {len(such) - 1} more)" if len(such) > 1 else ""
            return outcome, f"{such[0].rule}: {such[0].reason}{more}"
    held = f"all {len(results)} rules hold" if len(results) > 1 else "its one rule holds"
    return Outcome.PASS, held + (", floors alone: there was no champion" if first else "")


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
    outcome, reason, rows = _locate(rule, estimate, _bound(rule, sign), sign)
    return RuleResult(
        rule=name,
        outcome=outcome,
        metric=rule.metric,
        estimate=estimate,
        bound=_bound(rule, sign),
        reason=reason,
        rows_needed=rows,
    )


def _locate(rule: RuleConf, estimate: Estimate, bound: float, sign: float) -> tuple[Outcome, str, int]:
    """Outcome, reason and rows needed of one interval."""
    ends = (estimate.low, estimate.value, estimate.high)
    if not all(map(math.isfinite, ends)):
        outcome = Outcome.INCONCLUSIVE if estimate.reason.startswith("too few") else Outcome.FAIL
        return outcome, f"{rule.metric} is undecidable ({estimate.reason or 'not finite'})", 0
    if estimate.low > estimate.high:
        return Outcome.FAIL, f"{rule.metric} is undecidable (its interval ends before it begins)", 0
    if not 0.5 <= estimate.confidence_level < 1:
        return Outcome.FAIL, f"{rule.metric} is undecidable (its interval has no confidence level)", 0
    worst, best = min(sign * end for end in ends), max(sign * end for end in ends)  # a biased one may leave its value
    mark = "" if rule.kind == "floor" else "+"
    shown = f"{estimate.value:{mark}.4f} [{estimate.low:{mark}.4f}, {estimate.high:{mark}.4f}]"
    if estimate.n < MIN_ROWS:
        return (
            Outcome.INCONCLUSIVE,
            f"{rule.metric} {shown} rests on {estimate.n} rows, {MIN_ROWS} are needed",
            MIN_ROWS,
        )
    if worst > sign * bound or (worst == sign * bound and rule.kind == "floor"):
        return Outcome.PASS, f"{rule.metric} {shown} clears {bound:{mark}.4f}", 0
    if best < sign * bound:
        return Outcome.FAIL, f"{rule.metric} {shown} misses {bound:{mark}.4f}", 0
    rows = _rows_needed(estimate, worst, sign * bound, sign)
    need = f"; about {rows:,} rows would decide" if rows else ""
    return Outcome.INCONCLUSIVE, f"{rule.metric} {shown} straddles {bound:{mark}.4f}{need}", rows


def _rows_needed(estimate: Estimate, worst: float, bound: float, sign: float) -> int:
    """Rows at which the same estimate would clear the bound: the half width shrinks as 1/sqrt(n). 0: never, by that.

    A planning figure, not a promise: with that many rows the estimate has moved, too, and clears in about half of all
    cases.
    """
    gap = sign * estimate.value - bound
    half = sign * estimate.value - worst
    if gap <= 0 or half <= 0:
        return 0
    rows = estimate.n * (half / gap) * (half / gap)
    return math.floor(rows) + 1 if math.isfinite(rows) else 0
