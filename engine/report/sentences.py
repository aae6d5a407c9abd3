"""A rule of a gate in one sentence that a manager reads, and as the values behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from engine.records import Outcome, RuleResult
from engine.report import words

METRICS = {
    "roc_auc_score": "ranking quality (AUROC)",
    "average_precision_score": "average precision",
    "log_loss": "log loss",
    "brier_score_loss": "the Brier score",
    "expected_calibration_error": "the calibration error",
    "accuracy_score": "accuracy",
    "balanced_accuracy_score": "balanced accuracy",
    "precision_score": "precision",
    "recall_score": "recall",
    "f1_score": "the F1 score",
    "matthews_corrcoef": "the Matthews correlation",
    "mean_absolute_error": "the mean absolute error",
    "mean_squared_error": "the mean squared error",
    "root_mean_squared_error": "the root mean squared error",
    "mean_pinball_loss": "the pinball loss",
    "r2_score": "explained variance (R2)",
}
CLAIMS = {
    "demographic_parity_difference": "the shares of positive predictions of any two groups differ by at most {bound}",
    "equalized_odds_difference": "the rates of hits and of false alarms of any two groups differ by at most {bound}",
    "calibration_within_groups": "predicted probabilities are off by at most {bound} in every group",
    "expected_calibration_error": "predicted probabilities are off by at most {bound} on average",
    "single_p99_ms": "99 of 100 calls with one row are answered within {bound} ms",
    "batch_p99_ms": "99 of 100 calls with a batch are answered within {bound} ms",
    "peak_memory_mb": "the model runs in at most {bound} MB of memory",
    "artifact_mb": "the model takes at most {bound} MB to store",
}


def sentence(result: RuleResult) -> str:
    """Whether what the rule asks for is so, what was measured, and what would be needed to know."""
    claim = _claim(result)
    if result.outcome is Outcome.PASS:
        return _ended(f"Yes, {claim}", _measured(result))
    if result.outcome is Outcome.FAIL:
        known = result.estimate is not None and math.isfinite(result.estimate.low)
        start = (
            f"No, it is not so that {claim}" if known or result.kind == "answers" else f"It is not shown that {claim}"
        )
        return _ended(start, _measured(result) if known else result.reason)
    needed = f"; about {words.about(result.rows_needed)} rows would tell" if result.rows_needed else ""
    sure = f" with {words.percent(result.power)} certainty" if needed and result.power > 0.5 else ""
    return _ended(f"It is not known yet whether {claim}", (_measured(result) or result.reason) + needed + sure)


def sentences(results: Sequence[RuleResult]) -> list[str]:
    """A sentence on each; requests to the artifact that went as they should share one, the last."""
    fine = [r for r in results if r.kind == "answers" and r.outcome is Outcome.PASS]
    if len(fine) < 2:
        return [sentence(result) for result in results]
    others = [sentence(result) for result in results if result not in fine]
    return [*others, f"Yes, the artifact deals with {words.many(len(fine), 'request')} as it should."]


def explained(result: RuleResult) -> dict[str, Any]:
    """The values behind a rule, for --json."""
    estimate = result.estimate
    return {
        "rule": result.rule,
        "kind": result.kind,
        "metric": result.metric,
        "outcome": result.outcome.value,
        "estimate": estimate.value if estimate else None,
        "low": estimate.low if estimate else None,
        "high": estimate.high if estimate else None,
        "confidence_level": estimate.confidence_level if estimate else None,
        "n": estimate.n if estimate else None,
        "bound": result.bound,
        "power": result.power,
        "detectable": result.detectable,
        "rows_needed": result.rows_needed,
        "sentence": sentence(result),
    }


def _claim(result: RuleResult) -> str:
    name, _, level = result.rule.partition("[")
    where = f" for {level.removesuffix(']')}" if level else ""
    bound, metric = words.threshold(abs(result.bound)), METRICS.get(result.metric, result.metric.replace("_", " "))
    if result.kind == "answers":
        return f"the artifact deals with the request {level.removesuffix(']')!r} as it should"
    if result.kind in ("calibration", "fairness", "latency", "memory", "size"):
        return CLAIMS[result.metric].format(bound=bound) + where
    if result.kind == "floor":
        side = "at most" if result.better < 0 else "at least"
        return f"{metric} of the new model is {side} {words.threshold(result.bound)}{where}"
    if result.kind == "superiority":
        more = f" by more than {bound}" if result.bound else ""
        return f"the new model is better than the champion in {metric}{more}{where}"
    if result.kind == "noninferiority":
        return f"the new model is at most {bound} worse than the champion in {metric}{where}"
    if result.kind == "worst_slice":
        found = f"where {level.removesuffix(']')}" if level else "in any part of the rows"
        return f"{found} the new model's loss exceeds the champion's by at most {bound}"
    if result.kind == "robustness":
        return f"the new model is at most {bound} worse in {metric} under the test {name!r}"
    return f"the rule {result.rule!r} holds"  # of an earlier release, which did not record the kind


def _measured(result: RuleResult) -> str:
    """`0.71, most likely 0.70 to 0.72, on 9,000 rows`; empty where there is no number."""
    estimate = result.estimate
    if estimate is None or not math.isfinite(estimate.value):
        return ""
    mark = "+" if result.kind in ("superiority", "noninferiority", "robustness") else ""
    numbers = [f"{end:{mark}.4g}" for end in (estimate.value, estimate.low, estimate.high)]
    if result.kind in ("memory", "size"):
        return f"it is {numbers[0]}"
    counted = "calls" if result.kind == "latency" else "rows"
    sure = words.percent(estimate.confidence_level)
    return f"measured {numbers[0]}, {sure} sure of {numbers[1]} to {numbers[2]}, on {estimate.n:,} {counted}"


def _ended(start: str, rest: str) -> str:
    return words.clean(f"{start}: {rest}." if rest else f"{start}.")
