"""Every metric that a rule may name: of the data, of the model, of the pipeline."""

from __future__ import annotations

import difflib
import math

from engine.errors import ConfigError
from engine.records import Cycle, DriftOutcome, Outcome, measured

METRICS = measured.NAMES | frozenset(
    {
        "data.rows",
        "data.blocked",
        "data.violations",
        "drift.columns",
        "drift.share",
        "drift.undecidable",
        "risk.alarm",
        "risk.expected_alarm",
        "decay.alarm",
        "decay.points",
        "decay.cost",
        "decide.waiting",
        "gate.rejected",
        "pipeline.seconds",
        "pipeline.failed_trials",
    }
)
FAMILIES = ("model.", "pipeline.seconds.", *measured.FAMILIES)
"""Names that go on with a metric of evaluate (and .low or .high), or with a stage of the stopwatch."""
NEAR = 5  # names that a refusal proposes


def check_metric(name: str, where: str) -> None:
    """ConfigError naming `where`, with the names that are near, where there is no such metric."""
    if name in METRICS or any(name.startswith(family) and name != family for family in FAMILIES):
        return
    near = difflib.get_close_matches(name, [*METRICS, *FAMILIES], NEAR)
    cure = f"did you mean {' or '.join(near)}?" if near else f"choose one of {' '.join(sorted(METRICS))}"
    raise ConfigError(where, f"{name!r} is unknown", f"{cure}, or {' '.join(f'{family}<...>' for family in FAMILIES)}")


def metrics_of(cycle: Cycle) -> dict[str, float]:
    """Every metric a rule may name.

    model.<metric>, .low, .high    the champion on the newest labelled window, where there is one
    drift.columns, .undecidable    columns of the baseline report that moved, that could not be judged
    drift.share                    those that moved of those that could be judged; NaN where none could
    data.rows, .blocked            rows of the window; checks that forbid it, or labels that came for an earlier one
    data.violations                checks of any severity that are not OK
    gate.rejected                  1 when a gate did not open, 0 when all did or wait; absent where none was asked
    risk.alarm                     1 where the model's risk is too high, 0 where not shown; NaN: undecidable;
                                   none until labels of a window since its hold-out are in
    risk.expected_alarm            the same of losses expected without labels
    decay.alarm                    1 where the primary metric no longer holds its reference, as risk.alarm
    decay.points, .cost            points below it where a drop is most likely; what they lose in a window
    decide.waiting                 expected loss of keeping the champion, in the currency of the config
    pipeline.seconds, .<stage>     wall time of the cycle, of one stage; pipeline.failed_trials of the sweep
    data.*, pipeline.*             all numbers of engine/records/measured.py, where the cycle recorded them
    """
    reports = (cycle.validation, *cycle.labels)
    metrics = {
        "data.rows": float(cycle.n_rows),
        "data.blocked": float(sum(len(report.blocked) for report in reports)),
        "data.violations": float(sum(c.outcome.value != "ok" for report in reports for c in report.checks)),
        "pipeline.seconds": sum(cycle.timings.values()),
    }
    if cycle.verdicts:
        metrics["gate.rejected"] = float(any(v.outcome is not Outcome.PASS and not v.waiting for v in cycle.verdicts))
    metrics |= {f"pipeline.seconds.{stage}": seconds for stage, seconds in cycle.timings.items()}
    if cycle.candidate is not None:
        metrics["pipeline.failed_trials"] = float(sum(t.state.value == "failed" for t in cycle.candidate.trials))
    if cycle.decision is not None:
        metrics["decide.waiting"] = cycle.decision.waiting.mean
    if cycle.monitor is not None:
        columns = cycle.monitor.baseline.columns
        drifted = sum(c.outcome is DriftOutcome.DRIFT for c in columns)
        undecidable = sum(c.outcome is DriftOutcome.UNDECIDABLE for c in columns)
        metrics["drift.columns"] = float(drifted)
        metrics["drift.share"] = drifted / (len(columns) - undecidable) if len(columns) > undecidable else math.nan
        metrics["drift.undecidable"] = float(undecidable)
        if cycle.monitor.risk is not None and cycle.monitor.risk.windows:  # before its first labels nothing is amiss
            metrics["risk.alarm"] = cycle.monitor.risk.outcome.number
        if cycle.monitor.expected_risk is not None:
            metrics["risk.expected_alarm"] = cycle.monitor.expected_risk.outcome.number
        if cycle.monitor.decay is not None and cycle.monitor.decay.windows:
            metrics["decay.alarm"] = cycle.monitor.decay.outcome.number
            metrics["decay.points"] = cycle.monitor.decay.drop.value
            metrics["decay.cost"] = cycle.monitor.decay.cost
        for estimate in cycle.monitor.performance.metrics if cycle.monitor.performance else ():
            metrics[f"model.{estimate.name}"] = estimate.value
            metrics[f"model.{estimate.name}.low"] = estimate.low
            metrics[f"model.{estimate.name}.high"] = estimate.high
    return metrics | (cycle.pipeline.numbers() if cycle.pipeline else {})
