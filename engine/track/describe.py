"""What a cycle and a trial look like to a reviewer: flat numbers, flat facts and small tables. Pure.

Undecidable numbers (NaN) are left out of the numbers and named in the facts under `undecidable`, because a
chart would draw them as zero or drop them in silence. In tables they are None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.records import Candidate, Cycle, DriftOutcome, DriftReport, Estimate, Trial


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


def describe_trial(candidate: Candidate, trial: Trial, cycle: Cycle) -> Description:
    """One trial of the sweep that led to `candidate`; table `curve`: epoch, train_loss, metric, seconds."""
    facts = {"state": trial.state.value, "reason": trial.reason, "decision": candidate.decision}
    numbers = {"best_epoch": float(trial.best_epoch), "seconds": trial.seconds}
    if math.isfinite(trial.value):
        numbers[candidate.metric] = trial.value
    else:
        facts["undecidable"] = candidate.metric
    curve = Table(
        ("epoch", "train_loss", candidate.metric, "seconds"),
        tuple((e.epoch, _cell(e.train_loss), _cell(e.value), _cell(e.seconds)) for e in trial.curve),
    )
    where = {"id": cycle.id, "loop": cycle.loop, "window": cycle.window, "index": cycle.index}
    return Description(
        config={**trial.params, "trial": trial.id, "cycle": where},
        numbers=numbers,
        facts={name: text for name, text in facts.items() if text},
        tables={"curve": curve},
    )


def _numbers(cycle: Cycle) -> Iterable[tuple[str, float]]:
    yield "rows", float(cycle.n_rows)
    yield "validation/blocked", float(len(cycle.validation.blocked))
    if cycle.monitor is not None:
        yield from _drift_numbers("drift/baseline", cycle.monitor.baseline)
        if cycle.monitor.consecutive is not None:
            yield from _drift_numbers("drift/consecutive", cycle.monitor.consecutive)
        if cycle.monitor.performance is not None:
            yield from _intervals("performance", cycle.monitor.performance.metrics)
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


def _drift_numbers(prefix: str, report: DriftReport) -> Iterable[tuple[str, float]]:
    yield f"{prefix}/columns", float(len(report.columns))
    yield f"{prefix}/drifted", float(len(report.drifted))
    lost = [c for c in report.columns if c.outcome is DriftOutcome.UNDECIDABLE]
    yield f"{prefix}/undecidable", float(len(lost))


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
    if cycle.candidate is not None:
        facts["train/model"] = cycle.candidate.model
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
                for c in cycle.validation.checks
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
