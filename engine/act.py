"""Stage 9, act: rules over metrics of the model and of the pipeline -> action items, each carried out once.

A rule names a metric, a comparison and a threshold; when it holds in `windows` windows in a row, of those that measured
the metric, its action is taken:

    log        told to the owner, in the ledger, on the terminal and in the report
    freeze     and no model is promoted until somebody thaws it (`tidegate promote thaw=true`)
    rollback   and production goes back to the champion before

`metrics_of` says which metrics there are. A metric that is NaN is itself an item, and so is one of the model that was
not computed though performance was: an alarm that cannot be raised must not look like silence. A metric of a stage that
did not run in this window says nothing. Such items are told and do nothing else, for nothing is known.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from engine.errors import ConfigError
from engine.records import ActionItem, Cycle, DriftOutcome, Outcome, RiskOutcome, digest
from engine.redact import redact_text

ACTIONS = ("log", "freeze", "rollback")
SEVERITIES = ("suspected", "detected")
METRICS = frozenset(
    {
        "data.rows",
        "data.blocked",
        "data.violations",
        "drift.columns",
        "drift.share",
        "drift.undecidable",
        "risk.alarm",
        "decide.waiting",
        "gate.rejected",
        "pipeline.seconds",
        "pipeline.failed_trials",
    }
)
FAMILIES = ("model.", "pipeline.seconds.")
"""Names that go on with a metric of evaluate (and .low or .high), or with a stage of the stopwatch."""
RISK = {RiskOutcome.ALARM: 1.0, RiskOutcome.NO_ALARM: 0.0, RiskOutcome.UNDECIDABLE: math.nan}
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(kw_only=True, slots=True)
class RuleConf:
    """One rule."""

    metric: str
    """A name of metrics_of, such as model.roc_auc_score.low or pipeline.seconds."""
    when: str = ">"
    """Comparison of the metric with the threshold: > >= < <=."""
    threshold: float
    """In the metric's own unit."""
    windows: int = 1
    """In how many windows in a row it must hold; windows that did not measure the metric do not count."""
    severity: str = "suspected"
    """suspected or detected."""
    owner: str = "unassigned"
    """Who is told."""
    action: str = "log"
    """log, freeze or rollback."""
    runbook: str = ""
    """What the owner should do, in words or as a link."""

    def __post_init__(self) -> None:
        for name, allowed in (("when", tuple(COMPARISONS)), ("severity", SEVERITIES), ("action", ACTIONS)):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"act.rules:{name}", f"{value!r} is unknown", f"choose one of {' '.join(allowed)}")
        if self.metric not in METRICS and not any(self.metric.startswith(f) and self.metric != f for f in FAMILIES):
            cure = f"choose one of {' '.join(sorted(METRICS))}, model.<metric> or pipeline.seconds.<stage>"
            raise ConfigError("act.rules:metric", f"{self.metric!r} is unknown", cure)
        if not math.isfinite(self.threshold):
            raise ConfigError("act.rules:threshold", f"{self.threshold} is no value", "choose a finite number")
        # both are recorded and shown to everybody
        self.owner, self.runbook = redact_text(self.owner), redact_text(self.runbook)
        if self.windows < 1:
            raise ConfigError("act.rules:windows", f"{self.windows} is below 1", "choose 1 or more")


@dataclass(kw_only=True, slots=True)
class ActConf:
    """The rules, by name."""

    rules: dict[str, RuleConf] = field(default_factory=dict)
    """Checked at the end of every cycle, in this order."""


def metrics_of(cycle: Cycle) -> dict[str, float]:
    """Every metric a rule may name.

    model.<metric>, .low, .high    the champion on the newest labelled window, where there is one
    drift.columns, .undecidable    columns of the baseline report that moved, that could not be judged
    drift.share                    those that moved of those that could be judged; NaN where none could
    data.rows, .blocked            rows of the window; checks that forbid it
    data.violations                checks of any severity that are not OK
    gate.rejected                  1 when a gate did not open, 0 when all did or wait; absent where none was asked
    risk.alarm                     1 where the model's risk is too high, 0 where not shown; NaN: undecidable
    decide.waiting                 expected loss of keeping the champion, in the currency of the config
    pipeline.seconds, .<stage>     wall time of the cycle, of one stage; pipeline.failed_trials of the sweep
    """
    metrics = {
        "data.rows": float(cycle.n_rows),
        "data.blocked": float(len(cycle.validation.blocked)),
        "data.violations": float(sum(c.outcome.value != "ok" for c in cycle.validation.checks)),
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
        if cycle.monitor.risk is not None:
            metrics["risk.alarm"] = RISK[cycle.monitor.risk.outcome]
        for estimate in cycle.monitor.performance.metrics if cycle.monitor.performance else ():
            metrics[f"model.{estimate.name}"] = estimate.value
            metrics[f"model.{estimate.name}.low"] = estimate.low
            metrics[f"model.{estimate.name}.high"] = estimate.high
    return metrics


def act(history: Sequence[Mapping[str, float]], cycle: Cycle, conf: ActConf) -> tuple[ActionItem, ...]:
    """The items of this cycle. `history` holds metrics_of the cycles before, oldest first."""
    now = metrics_of(cycle)
    performed = any(metric.startswith("model.") for metric in now)
    items = []
    for name, rule in conf.rules.items():
        value = now.get(rule.metric)
        if value is None:  # of a stage that did not run in this cycle, or misspelt
            if performed and rule.metric.startswith("model."):
                items.append(_item(name, rule, cycle, math.nan, f"{rule.metric} is not computed: see evaluate.metrics"))
        elif math.isnan(value):
            items.append(_item(name, rule, cycle, value, f"{rule.metric} cannot be computed"))
        elif _holds(rule, [*history, now]):
            lasted = f" for {rule.windows} windows" if rule.windows > 1 else ""
            said = f"{rule.metric} = {value:.4g} {rule.when} {rule.threshold:.4g}{lasted}"
            items.append(_item(name, rule, cycle, value, said + (f"; {rule.runbook}" if rule.runbook else "")))
    return tuple(items)


def _holds(rule: RuleConf, metrics: Sequence[Mapping[str, float]]) -> bool:
    newest = [m[rule.metric] for m in metrics if rule.metric in m][-rule.windows :]
    compare = COMPARISONS[rule.when]
    return len(newest) == rule.windows and all(compare(value, rule.threshold) for value in newest)


def _item(name: str, rule: RuleConf, cycle: Cycle, value: float, message: str) -> ActionItem:
    undecidable = math.isnan(value)
    return ActionItem(
        id=digest("action", cycle.loop, cycle.window, name),
        rule=name,
        metric=rule.metric,
        value=value,
        threshold=rule.threshold,
        severity="suspected" if undecidable else rule.severity,
        owner=rule.owner,
        action="log" if undecidable else rule.action,
        window=cycle.window,
        message=message,
    )
