"""What a cycle, a sweep and a trial look like to a reviewer: flat numbers, flat facts and small tables. Pure.

Undecidable numbers (NaN) are left out of the numbers and named in the facts under `undecidable`, because a
chart would draw them as zero or drop them in silence. In tables they are None.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.records import (
    Cycle,
    Decay,
    DriftOutcome,
    DriftReport,
    Epoch,
    Estimate,
    MonitorReport,
    Sweep,
    Trial,
    TrialState,
)
from engine.records.fields import said

BEST_VALUE = "best_value"  # of the search metric; the metric's own name is its newest value


@dataclass(frozen=True)
class Table:
    """Rows under column names; a cell is text, a number, or None where the number is undecidable."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]


@dataclass(frozen=True)
class Description:
    """One run: what it is (`config`), its numbers, its facts in words, its tables."""

    config: dict[str, Any]
    numbers: dict[str, float]
    facts: dict[str, str]
    tables: dict[str, Table]


def describe_cycle(cycle: Cycle, config: Mapping[str, Any]) -> Description:
    """All of a cycle. `config` is the config of the loop, already without secrets."""
    numbers = dict(_numbers(cycle))
    undecidable = sorted(name for name, value in numbers.items() if not math.isfinite(value))
    facts = _facts(cycle)
    if undecidable:
        facts["undecidable"] = ", ".join(undecidable)
    return Description(
        config={
            **config,
            "cycle": {
                "id": cycle.id,
                "loop": cycle.loop,
                "window": cycle.window,
                "index": cycle.index,
                "founding": cycle.founding,
            },
        },
        numbers={name: value for name, value in numbers.items() if math.isfinite(value)},
        facts=facts,
        tables={name: table for name, table in _tables(cycle).items() if table.rows},
    )


def describe_trial(sweep: Sweep, trial: Trial) -> Description:
    """One trial: its point and what that was composed to, how it ended, and how good it was at its best."""
    facts = {"state": trial.state.value, "reason": trial.reason}
    numbers = {"best_epoch": float(trial.best_epoch), "epochs": float(len(trial.curve)), "seconds": trial.seconds}
    if math.isfinite(trial.value):
        numbers[BEST_VALUE] = trial.value
    else:
        facts["undecidable"] = BEST_VALUE
    return Description(
        config=trial_config(sweep, trial.id, trial.params, trial.config),
        numbers=numbers,
        facts=facts,
        tables={"schedule": _schedule(trial)} if trial.schedule else {},
    )


def _schedule(trial: Trial) -> Table:
    """Which hyperparameters its weights were trained with, a stretch a row."""
    names = sorted({name for stretch in trial.schedule for name in stretch.params})
    rows = ((s.after, s.trial, *(_scalar(s.params.get(name)) for name in names)) for s in trial.schedule)
    return Table(("after epoch", "trial", *names), tuple(rows))


def trial_config(sweep: Sweep, trial: str, params: Mapping[str, Any], composed: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a trial from the others, by key; and under `composed` the whole train and model config."""
    return {**params, "trial": trial, "sweep": _of_sweep(sweep), "composed": dict(composed)}


def steps_of(curve: Iterable[Epoch], metric: str) -> tuple[tuple[int, dict[str, float]], ...]:
    """A curve as (epoch, numbers), undecidable numbers left out."""

    def numbers(epoch: Epoch) -> dict[str, float]:
        named = {"train_loss": epoch.train_loss, metric: epoch.value, "epoch_seconds": epoch.seconds}
        return {name: value for name, value in named.items() if math.isfinite(value)}

    return tuple((epoch.epoch, numbers(epoch)) for epoch in curve)


def describe_sweep(sweep: Sweep, trials: Sequence[Trial]) -> Description:
    """A sweep as a whole: how many trials ended how, the best of them, and a table of all."""
    counted = Counter(trial.state for trial in trials)
    numbers = {f"trials/{state.value}": float(counted[state]) for state in TrialState}
    numbers |= {"trials": float(len(trials)), "seconds": sum(trial.seconds for trial in trials)}
    facts = {"model": sweep.model}
    winner = best_of(sweep, trials)
    if winner is not None:
        numbers[BEST_VALUE] = winner.value
        facts["best_trial"] = winner.id
    names = sorted({name for trial in trials for name in trial.params})
    table = Table(
        ("trial", "state", BEST_VALUE, "best_epoch", "epochs", "seconds", *names, "reason"),
        tuple(
            (t.id, t.state.value, _cell(t.value), t.best_epoch, len(t.curve), _cell(t.seconds),
             *(_scalar(t.params.get(name)) for name in names), t.reason)
            for t in trials
        ),
    )  # fmt: skip
    return Description(
        config={**sweep.config, "sweep": _of_sweep(sweep)},
        numbers=numbers,
        facts={name: text for name, text in facts.items() if text},
        tables={"trials": table} if trials else {},
    )


def best_of(sweep: Sweep, trials: Iterable[Trial]) -> Trial | None:
    """The finished trial with the best finite value; None where there is none."""
    sign = 1.0 if sweep.mode == "max" else -1.0
    usable = [t for t in trials if t.state is TrialState.FINISHED and math.isfinite(t.value)]
    return max(usable, key=lambda t: sign * t.value, default=None)


def _of_sweep(sweep: Sweep) -> dict[str, str]:
    names = ("id", "loop", "window", "policy", "action", "decision", "metric", "mode")
    return {name: str(getattr(sweep, name)) for name in names}


def _scalar(value: Any) -> str | float | int | None:
    """A parameter as one cell."""
    if isinstance(value, float):
        return _cell(value)
    return value if isinstance(value, str | int) or value is None else str(value)


def _numbers(cycle: Cycle) -> Iterable[tuple[str, float]]:
    yield "rows", float(cycle.n_rows)
    yield "validation/blocked", float(sum(len(report.blocked) for report in (cycle.validation, *cycle.labels)))
    if cycle.monitor is not None:
        yield from _drift_numbers("drift/baseline", cycle.monitor.baseline)
        if cycle.monitor.consecutive is not None:
            yield from _drift_numbers("drift/consecutive", cycle.monitor.consecutive)
        if cycle.monitor.performance is not None:
            yield from _intervals("performance", cycle.monitor.performance.metrics)
        yield from _risk_numbers(cycle.monitor)
        yield from _decay_numbers(cycle.monitor.decay)
    if cycle.decision is not None:
        for side, money in (("waiting", cycle.decision.waiting), ("acting", cycle.decision.acting)):
            yield f"decision/{side}/mean", money.mean
            yield f"decision/{side}/std", money.std
        yield "decision/probability", cycle.decision.probability
    if cycle.candidate is not None:
        yield "train/seconds", cycle.candidate.seconds
        yield "train/cost", cycle.candidate.cost
        yield "train/trials", float(len(cycle.candidate.trials))
    for name, report in (("evaluation", cycle.evaluation), ("shadow", cycle.shadow)):
        if report is not None:
            yield from _intervals(f"{name}/challenger", report.metrics)
            yield from _intervals(f"{name}/champion", report.champion_metrics)
            yield from _intervals(f"{name}/difference", report.differences)
    for stage, seconds in cycle.timings.items():
        yield f"seconds/{stage}", seconds
    for name, value in (cycle.pipeline.numbers() if cycle.pipeline else {}).items():
        yield f"pipeline/{name.partition('.')[2].replace('.', '/')}", value


def _drift_numbers(prefix: str, report: DriftReport) -> Iterable[tuple[str, float]]:
    yield f"{prefix}/columns", float(len(report.columns))
    yield f"{prefix}/drifted", float(len(report.drifted))
    lost = [c for c in report.columns if c.outcome is DriftOutcome.UNDECIDABLE]
    yield f"{prefix}/undecidable", float(len(lost))


def _risk_numbers(monitor: MonitorReport) -> Iterable[tuple[str, float]]:
    """By labels under `risk`, without them under `expected_risk`: two readings, never one."""
    for prefix, found in (("risk", monitor.risk), ("expected_risk", monitor.expected_risk)):
        if found is not None:
            yield f"{prefix}/bound", found.bound
            yield f"{prefix}/newest", found.newest
            yield f"{prefix}/evidence", found.evidence
            yield f"{prefix}/alarm", found.outcome.number
            yield f"{prefix}/mean", found.risk.value
            if not found.moved:  # else they hold nothing
                yield f"{prefix}/mean/low", found.risk.low
                yield f"{prefix}/mean/high", found.risk.high


def _decay_numbers(decay: Decay | None) -> Iterable[tuple[str, float]]:
    """Of the primary metric against its reference, in points."""
    if decay is not None:
        yield "decay/alarm", decay.outcome.number
        yield "decay/points", decay.drop.value
        yield "decay/points/low", decay.drop.low
        yield "decay/points/high", decay.drop.high
        yield "decay/detectable", decay.detectable
        yield "decay/evidence", decay.evidence


def _intervals(prefix: str, estimates: Iterable[Estimate]) -> Iterable[tuple[str, float]]:
    for estimate in estimates:
        yield f"{prefix}/{estimate.name}", estimate.value
        yield f"{prefix}/{estimate.name}/low", estimate.low
        yield f"{prefix}/{estimate.name}/high", estimate.high


def _facts(cycle: Cycle) -> dict[str, str]:
    facts = {"champion": cycle.champion, "champion_after": cycle.champion_after}
    if cycle.decision is not None:
        facts |= {"decision/action": cycle.decision.action.value, "decision/reason": cycle.decision.reason}
        facts |= {"decision/policy": cycle.decision.policy, "decision/currency": cycle.decision.currency}
    if cycle.monitor is not None:
        for name, found in (("risk", cycle.monitor.risk), ("expected_risk", cycle.monitor.expected_risk)):
            if found is not None:
                facts |= {name: found.outcome.value, f"{name}/reason": found.reason, f"{name}/since": found.since}
        if (decay := cycle.monitor.decay) is not None:
            facts |= {"decay": decay.outcome.value, "decay/reason": decay.reason, "decay/since": decay.since}
    if cycle.evaluation is not None and cycle.evaluation.classes:
        facts["classes"] = said(cycle.evaluation.classes)
    if cycle.candidate is not None:
        facts["train/model"] = cycle.candidate.model
        facts["train/recalibrated_on"] = cycle.candidate.recalibrated_on
    for verdict in cycle.verdicts:
        facts[f"gate/{verdict.gate}"] = verdict.outcome.value
        facts[f"gate/{verdict.gate}/reason"] = verdict.reason
    return {name: text for name, text in facts.items() if text}


def _tables(cycle: Cycle) -> dict[str, Table]:
    monitor = cycle.monitor
    reports = [] if monitor is None else [r for r in (monitor.baseline, monitor.consecutive) if r is not None]
    slices = [] if cycle.evaluation is None else cycle.evaluation.slices
    trials = () if cycle.candidate is None else cycle.candidate.trials
    return {
        "checks": Table(
            ("check", "column", "severity", "outcome", "observed", "expected", "reason"),
            tuple(
                (c.name, c.column, c.severity.value, c.outcome.value, c.observed, c.expected, c.reason)
                for report in (cycle.validation, *cycle.labels)
                for c in report.checks
            ),
        ),
        "drift": Table(
            ("reference", "column", "kind", "statistic", "effect", "floor", "adjusted_pvalue",
             "n_reference", "n_live", "missing_live", "outcome", "reason"),
            tuple(
                (r.reference, c.column, c.kind, c.statistic, _cell(c.effect), _cell(c.floor),
                 _cell(c.adjusted_pvalue), c.n_reference, c.n_live, _cell(c.missing_live), c.outcome.value,
                 c.reason)
                for r in reports
                for c in r.columns
            ),
        ),
        "gates": Table(
            ("gate", "verdict", "rule", "outcome", "metric", "estimate", "low", "high", "n", "bound",
             "rows_needed", "reason"),
            tuple(
                (v.gate, v.outcome.value, r.rule, r.outcome.value, r.metric, *_estimate_cells(r.estimate),
                 _cell(r.bound), r.rows_needed, r.reason)
                for v in cycle.verdicts
                for r in v.rules
            ),
        ),
        "slices": Table(
            ("column", "level", "estimate", "low", "high", "n", "difference", "difference_low",
             "difference_high", "reason"),
            tuple(
                (s.column, s.level, *_estimate_cells(s.estimate), *_estimate_cells(s.difference)[:3],
                 s.estimate.reason)
                for s in slices
            ),
        ),
        "trials": Table(
            ("trial", "state", "value", "best_epoch", "seconds", "reason"),
            tuple(
                (t.id, t.state.value, _cell(t.value), t.best_epoch, _cell(t.seconds), t.reason)
                for t in trials
            ),
        ),
        "stages": Table(
            ("model", "from", "to", "generation", "actor", "reason"),
            tuple(
                (c.model, c.source.value if c.source else "", c.target.value, c.generation, c.actor, c.reason)
                for c in cycle.changes
            ),
        ),
        "actions": Table(
            ("rule", "metric", "value", "threshold", "severity", "owner", "action", "message"),
            tuple(
                (a.rule, a.metric, _cell(a.value), _cell(a.threshold), a.severity, a.owner, a.action,
                 a.message)
                for a in cycle.actions
            ),
        ),
    }  # fmt: skip


def _estimate_cells(estimate: Estimate | None) -> tuple[float | int | None, ...]:
    if estimate is None:
        return (None, None, None, None)
    return (_cell(estimate.value), _cell(estimate.low), _cell(estimate.high), estimate.n)


def _cell(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
