"""A cycle in which every stage ran, and whatever a test wants otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engine.records import (
    Action,
    ActionItem,
    Candidate,
    Check,
    CheckOutcome,
    ColumnDrift,
    Cycle,
    Decay,
    Decision,
    DriftOutcome,
    DriftReport,
    Epoch,
    Estimate,
    EvaluationReport,
    ExpectedRisk,
    Flow,
    Gain,
    Measure,
    Money,
    MonitorReport,
    Outcome,
    Performance,
    PipelineMetrics,
    Risk,
    RiskOutcome,
    Route,
    RuleResult,
    Severity,
    SliceEstimate,
    Stage,
    StageChange,
    Trial,
    TrialState,
    ValidationReport,
    Verdict,
)
from engine.records.measured import LASTING, OF_DATA, OF_WINDOW


def estimate(value: float = 0.75, name: str = "roc_auc_score", **more: Any) -> Estimate:
    known: dict[str, Any] = {"low": value - 0.01, "high": value + 0.01, "n": 900, "confidence_level": 0.95}
    return Estimate(name=name, value=value, **(known | {"method": "DeLong"} | more))


def drift(column: str, outcome: DriftOutcome, effect: float = 0.3, floor: float = 0.1) -> ColumnDrift:
    return ColumnDrift(
        column=column,
        kind="numeric",
        statistic="ks_2samp",
        effect=effect,
        floor=floor,
        pvalue=0.001,
        adjusted_pvalue=0.002,
        n_reference=1000,
        n_live=500,
        missing_reference=0.0,
        missing_live=0.1,
        outcome=outcome,
    )


def risk(outcome: RiskOutcome = RiskOutcome.NO_ALARM, **more: Any) -> Risk:
    known: dict[str, Any] = {
        "loss": "brier", "unit": "row", "scale": 1.0, "source_window": "w0", "tolerance": 0.01, "delta": 0.05,
        "source": estimate(0.15, "brier"), "risk": estimate(0.16, "brier"), "reason": "", "windows": ("w1",),
    }  # fmt: skip
    return Risk(outcome=outcome, **(known | more))


def expected_risk(outcome: RiskOutcome = RiskOutcome.NO_ALARM, **more: Any) -> ExpectedRisk:
    values: dict[str, Any] = {
        "model": "m1", "window": "w2", "loss": "brier", "bound": 0.17, "delta": 0.05, "outcome": outcome,
        "reason": "", "risk": estimate(0.155, "brier"), "newest": 0.158, "error": 0.004, "windows": ("w2",),
    }  # fmt: skip
    return ExpectedRisk(**(values | more))


def decay(outcome: RiskOutcome = RiskOutcome.NO_ALARM, **more: Any) -> Decay:
    values: dict[str, Any] = {
        "metric": "roc_auc_score", "greater_is_better": True, "source": estimate(0.76), "source_window": "w0",
        "point": 0.01, "tolerance": 1.0, "between": 1.0, "delta": 0.05, "outcome": outcome, "reason": "",
        "drop": estimate(3.0, low=1.5, high=4.5, n=1), "newest": estimate(0.73), "reference": 0.76, "began": "w1",
        "windows": ("w1",), "detectable": 6.0, "point_value": 100.0, "currency": "EUR",
    }  # fmt: skip
    return Decay(**(values | more))


def measured(**more: Any) -> Cycle:
    """A cycle of which every number is known."""
    found = cycle(pipeline=pipeline(**more))
    assert found.monitor is not None
    return replace(found, monitor=replace(found.monitor, expected_risk=expected_risk(), decay=decay()))


def drift_report(*outcomes: DriftOutcome) -> DriftReport:
    columns = tuple(drift(f"x{k}", outcome) for k, outcome in enumerate(outcomes))
    return DriftReport(reference="w1", live="w2", alpha=0.01, method="bh", backend="cpu", columns=columns)


def check(outcome: CheckOutcome, severity: Severity = Severity.WARN) -> Check:
    return Check(
        name="range",
        column="x0",
        severity=severity,
        outcome=outcome,
        observed="3",
        expected="<= 2",
        reason="out of range",
    )


def verdict(outcome: Outcome = Outcome.PASS, gate: str = "offline") -> Verdict:
    rule = RuleResult(
        rule="better",
        outcome=outcome,
        metric="roc_auc_score",
        estimate=estimate(0.01),
        bound=0.0,
        reason="so",
        rows_needed=7,
    )
    return Verdict(
        gate=gate, model="m2", champion="m1", window="w2", outcome=outcome, reason="so", rules=(rule,), holdout_uses=1
    )


def trial(state: TrialState) -> Trial:
    return Trial(
        id=state.value,
        params={"train.lr": 0.01, "model.width": 64, "model.norm": None},
        state=state,
        reason="",
        curve=(Epoch(epoch=1, train_loss=0.6, value=0.7, seconds=1.5),),
        best_epoch=1,
        value=0.7,
        seconds=1.5,
    )


def measure(name: str, value: float, unit: str = "windows", **more: Any) -> Measure:
    """From the rows 3 and 5, within 1 of the value."""
    known: dict[str, Any] = {"low": value - 1, "high": value + 1, "n": 2, "method": "median"}
    return Measure(estimate=estimate(value, name, **(known | more)), unit=unit, rows=(3, 5), n_rows=2)


def pipeline(**more: Any) -> PipelineMetrics:
    """A window in which every number is known: each is another one."""
    known: dict[str, Any] = {
        "window": "w2",
        "currency": "EUR",
        "flows": {"read": Flow(rows=1000, bytes=8e6, seconds=2.0)},
        "gain": Gain(window="w1", model="m1", replaced="m0", points=estimate(2.0, "gain_points", low=1.0, high=3.0)),
        "lasting": tuple(measure(name, 10.0 + k) for k, name in enumerate(LASTING) if name != "gain_points"),
        "training_cost": 1.0,
        "review_cost": 300.0,
        "running_cost": 0.5,
    }
    names = [*OF_DATA, *OF_WINDOW]
    known |= {name: 100.0 + k for k, name in enumerate(names) if name not in (*known, "cost")}
    return PipelineMetrics(**(known | more))


def cycle(**more: Any) -> Cycle:
    """Window w2: two columns of four moved and one is undecidable, a challenger failed its gate, one trial raised."""
    moved, still, unknown = DriftOutcome.DRIFT, DriftOutcome.NO_DRIFT, DriftOutcome.UNDECIDABLE
    performance = Performance(
        model="m1", window="w1", n_rows=900, metrics=(estimate(), estimate(0.4, "log_loss", low=0.39, high=0.42))
    )
    known: dict[str, Any] = {
        "id": "c2",
        "loop": "flights",
        "window": "w2",
        "index": 2,
        "founding": False,
        "n_rows": 1000,
        "champion": "m1",
        "champion_after": "m1",
        "validation": ValidationReport(
            window="w2",
            fingerprint="f",
            n_rows=1000,
            checks=(
                check(CheckOutcome.OK, Severity.BLOCK),
                check(CheckOutcome.VIOLATED),
                check(CheckOutcome.UNDECIDABLE, Severity.BLOCK),
            ),
        ),
        "monitor": MonitorReport(
            window="w2",
            model="m1",
            baseline=drift_report(moved, still, moved, unknown, still),
            consecutive=drift_report(still),
            performance=performance,
            risk=risk(),
        ),
        "decision": Decision(
            id="d",
            window="w2",
            policy="cost_aware",
            action=Action.RETUNE,
            reason="it pays",
            waiting=Money(mean=410, std=120),
            acting=Money(mean=95, std=5),
            probability=0.9,
            currency="EUR",
        ),
        "candidate": Candidate(
            model="m2",
            decision="d",
            metric="roc_auc_score",
            value=0.74,
            params={"train.lr": 0.01},
            trials=(trial(TrialState.FINISHED), trial(TrialState.FAILED)),
            training_windows=("w0",),
            holdout_window="w1",
            n_rows=2000,
            seconds=60.0,
            cost=0.03,
        ),
        "evaluation": EvaluationReport(
            model="m2",
            champion="m1",
            window="w1",
            fingerprint="f1",
            n_rows=900,
            metrics=(estimate(0.74),),
            champion_metrics=(estimate(0.75),),
            differences=(estimate(-0.01),),
            slices=(SliceEstimate(column="x", level="a", estimate=estimate(), difference=None),),
        ),
        "verdicts": (verdict(), verdict(Outcome.INCONCLUSIVE, "shadow")),
        "changes": (
            StageChange(
                id="s", model="m2", source=None, target=Stage.CANDIDATE, reason="made", window="w2", route=Route.MANUAL
            ),
        ),
        "actions": (
            ActionItem(
                id="a",
                rule="r",
                metric="drift.share",
                value=0.5,
                threshold=0.4,
                severity="detected",
                owner="data",
                action="log",
                window="w2",
                message="so",
            ),
        ),
        "timings": {"read": 1.0, "train": 30.0},
    }
    return Cycle(**(known | more))
