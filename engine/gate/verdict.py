"""From a report and rules to a verdict: every rule must hold."""

from __future__ import annotations

from collections.abc import Mapping

from engine.gate.conf import RELATIVE, RuleConf
from engine.gate.rules import apply
from engine.records import Candidate, EvaluationReport, Outcome, RuleResult, Verdict


def judge(
    report: EvaluationReport,
    rules: Mapping[str, RuleConf],
    *,
    gate: str,
    greater_is_better: Mapping[str, bool],
    holdout_uses: int = 0,
    max_holdout_uses: int = 5,
    power: float = 0.8,
) -> Verdict:
    """The verdict of `rules` on a report.

    Args:
        report: the challenger, and its paired differences to the champion where there is one.
        rules: by name; all must hold.
        gate: which gate this is: "offline", "shadow" or "cold".
        greater_is_better: which way each metric points; a metric that is not in it FAILs.
        holdout_uses, max_holdout_uses: how often these rows have decided before, and how often they may.
        power: the probability to pass that rows needed and detectable values are planned for.
    """
    first = not report.champion and gate != "cold"
    results: list[RuleResult] = []
    for name, rule in rules.items():
        if first and rule.kind in RELATIVE:
            continue
        results += apply(name, rule, report, greater_is_better, power)
    if holdout_uses >= max_holdout_uses:
        results.append(worn(holdout_uses, max_holdout_uses))
    outcome, reason = together(results, first)
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
    """The verdict where no trial of a sweep gave a model, or no map was found to recalibrate one."""
    reasons = sorted({t.reason for t in candidate.trials if t.reason}) or ["no reason was recorded"]
    told = "no map was found" if candidate.recalibrated_on else f"no trial of {len(candidate.trials)} finished"
    why = f"{told}: {reasons[0]}"
    return Verdict(gate="offline", model="", champion=champion, window=window, outcome=Outcome.FAIL, reason=why)


def together(results: list[RuleResult], first: bool) -> tuple[Outcome, str]:
    """Outcome and reason of all results: the worst one's."""
    if not results:
        what = "no floor is set, and a first model is judged by floors alone" if first else "the gate has no rule"
        return Outcome.FAIL, what
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        such = [r for r in results if r.outcome is outcome]
        if such:
            more = f" (and {len(such) - 1} more)" if len(such) > 1 else ""
            return outcome, f"{such[0].rule}: {such[0].reason}{more}"
    if all(r.kind == "worst_slice" for r in results):
        return Outcome.FAIL, "no rule says what the challenger must show: worst_slice alone opens no gate"
    held = f"all {len(results)} rules hold" if len(results) > 1 else "its one rule holds"
    absolute = "floors" if all(r.kind == "floor" for r in results) else "absolute rules"
    return Outcome.PASS, held + (f", {absolute} alone: there was no champion" if first else "")


def worn(uses: int, limit: int) -> RuleResult:
    """The result that shuts the gate where its rows have decided too often."""
    reason = f"these rows have decided {uses} times already, {limit} is the limit: use fresh rows"
    return RuleResult(rule="hold-out", outcome=Outcome.FAIL, metric="", estimate=None, bound=limit, reason=reason)
