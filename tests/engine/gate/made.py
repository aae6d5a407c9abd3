"""One good report and one rule of every kind that holds on it; and rows that give such a report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from engine.evaluate.conf import EvaluateConf
from engine.evaluate.report import evaluate
from engine.evaluate.robustness import Elsewhere
from engine.gate import RuleConf, asked, judge
from engine.records import (
    Answer,
    Estimate,
    EvaluationReport,
    GroupGap,
    Perturbed,
    RuleResult,
    SliceEstimate,
    Task,
    Verdict,
)
from engine.scoring.intervals import Rows

AUC, LOSS, ECE = "roc_auc_score", "log_loss", "expected_calibration_error"
DIRECTIONS = {AUC: True, LOSS: False, ECE: False, "accuracy_score": True}

OFFLINE = {
    "floor": RuleConf(kind="floor", metric=AUC, threshold=0.6),
    "floor of loss": RuleConf(kind="floor", metric=LOSS, threshold=0.8),
    "floor by slice": RuleConf(kind="floor", metric=AUC, threshold=0.55, slice="shop"),
    "superiority": RuleConf(kind="superiority", metric=AUC),
    "noninferiority": RuleConf(kind="noninferiority", metric=LOSS, margin=0.05),
    "noninferiority by slice": RuleConf(kind="noninferiority", metric=AUC, margin=0.05, slice="shop"),
    "another metric by slice": RuleConf(kind="noninferiority", metric=LOSS, margin=0.1, slice="shop"),
    "crossing": RuleConf(kind="noninferiority", metric=LOSS, margin=0.2, slice=["shop", "day"], pool=True),
    "calibration": RuleConf(kind="calibration", threshold=0.15),
    "demographic parity": RuleConf(
        kind="fairness", metric="demographic_parity_difference", slice="shop", threshold=0.2
    ),
    "equalized odds": RuleConf(kind="fairness", metric="equalized_odds_difference", slice="shop", threshold=0.3),
    "calibration of groups": RuleConf(kind="fairness", metric="calibration_within_groups", slice="shop", threshold=0.2),
    "noise": RuleConf(kind="robustness", metric=AUC, perturbation="noise", scale=0.1, margin=0.1),
    "missing column": RuleConf(kind="robustness", metric=AUC, perturbation="missing", columns=["age"], margin=0.1),
    "shifted window": RuleConf(kind="robustness", metric=AUC, perturbation="shifted", shift=-1, margin=0.2),
}
COLD = {
    "single call": RuleConf(kind="latency", threshold=20.0),
    "batch": RuleConf(kind="latency", metric="batch_p99_ms", threshold=80.0),
    "memory": RuleConf(kind="memory", threshold=900.0),
    "size": RuleConf(kind="size", threshold=5.0),
    "answers": RuleConf(kind="answers"),
}
RULES = OFFLINE | COLD
RELATIVE = ("superiority", "noninferiority", "noninferiority by slice", "another metric by slice", "crossing")
CONF = EvaluateConf(n_resamples=200, metrics=[AUC, LOSS, ECE], min_slice_rows=300)


def judged(report: EvaluationReport, name: str, **more: Any) -> Verdict:
    """The verdict of one rule; the cold kinds in the cold gate."""
    told: dict[str, Any] = {"gate": "cold" if name in COLD else "offline", "greater_is_better": DIRECTIONS}
    return judge(report, {name: RULES[name]}, **(told | more))


def one(report: EvaluationReport, name: str, **more: Any) -> RuleResult:
    """The only result of a rule."""
    (result,) = judged(report, name, **more).rules
    return result


def number(value: float, half: float, name: str = AUC, **more: Any) -> Estimate:
    """An estimate with a symmetric interval."""
    known: dict[str, Any] = {"n": 1000, "confidence_level": 0.95, "method": "made"}
    return Estimate(name=name, value=value, low=value - half, high=value + half, **(known | more))


def rows_of(n: int = 3000, seed: int = 0) -> dict[str, Any]:
    """A challenger that is better than its champion on rows of two shops and two kinds of day."""
    rng = np.random.default_rng(seed)
    target = (rng.random(n) < 0.5).astype(float)
    logit = 1.6 * (target - 0.5) + rng.normal(0.0, 1.0, n)
    good = 1 / (1 + np.exp(-1.6 * logit))
    poor = 1 / (1 + np.exp(-(0.5 * logit + 0.5 * rng.normal(0.0, 1.0, n))))
    before = rng.permutation(n)
    return {
        "task": Task.BINARY,
        "target": target,
        "rows": np.arange(n, dtype=np.int64),
        "cluster": None,
        "prediction": good,
        "champion_prediction": poor,
        "slices": {
            "shop": np.where(rng.random(n) < 0.5, "north", "south"),
            "day": np.where(rng.random(n) < 0.5, "work", "feast"),
        },
        "predictions": {
            OFFLINE["noise"].perturbed.name: np.clip(good + rng.normal(0, 0.02, n), 0.001, 0.999),
            OFFLINE["missing column"].perturbed.name: np.clip(good + rng.normal(0, 0.01, n), 0.001, 0.999),
            OFFLINE["shifted window"].perturbed.name: Elsewhere(
                Rows(task=Task.BINARY, target=target[before], ids=np.arange(n) + n, cluster=None), good[before]
            ),
        },
    }


def evaluated(rows: dict[str, Any], conf: EvaluateConf = CONF, **more: Any) -> EvaluationReport:
    """The report on rows, with everything that OFFLINE asks for."""
    told: dict[str, Any] = {
        "model": "challenger",
        "champion": "" if rows["champion_prediction"] is None else "champion",
        "window": "May",
        "fingerprint": "rows",
        "conf": conf,
        "asked": asked(OFFLINE.values(), conf.primary),
    }
    return evaluate(**(told | rows | more))


def good_report() -> EvaluationReport:
    """Made numbers on which every rule of RULES holds."""
    gaps = ("demographic_parity_difference", "equalized_odds_difference", "calibration_within_groups")
    near = number(0.7, 0.02)
    return EvaluationReport(
        model="challenger",
        champion="champion",
        window="May",
        fingerprint="rows",
        n_rows=1000,
        metrics=(near, number(0.6, 0.02, LOSS), number(0.05, 0.02, ECE)),
        differences=(number(0.03, 0.01), number(-0.01, 0.01, LOSS)),
        slices=(SliceEstimate(column="shop", level="north", estimate=near, difference=number(0.0, 0.02)),),
        guarded=(
            SliceEstimate(
                column="shop", level="north", estimate=number(0.6, 0.02, LOSS), difference=number(0.0, 0.02, LOSS)
            ),
            SliceEstimate(
                column="shop x day, pooled",
                level="north x work",
                estimate=number(0.6, 0.02, LOSS),
                difference=number(0.0, 0.02, LOSS),
            ),
        ),
        fairness=tuple(GroupGap(column="shop", worst="a, b", estimate=number(0.05, 0.02, name)) for name in gaps),
        robustness=tuple(
            Perturbed(perturbation=OFFLINE[name].perturbed.name, estimate=near, difference=number(-0.01, 0.01))
            for name in ("noise", "missing column", "shifted window")
        ),
        infra=(
            number(9.0, 2.0, "single_p99_ms"),
            number(40.0, 5.0, "batch_p99_ms"),
            number(500.0, 0.0, "peak_memory_mb", n=1),
            number(1.0, 0.0, "artifact_mb", n=1),
        ),
        answers=(Answer(request="0 rows", fine=True, reason="0 finite predictions"),),
    )


def every(report: EvaluationReport, change: Any) -> EvaluationReport:
    """The report with every estimate changed; `change` gives an Estimate or None."""
    return replace(
        report,
        metrics=tuple(e for one in report.metrics if (e := change(one))),
        differences=tuple(e for one in report.differences if (e := change(one))),
        slices=_sliced(report.slices, change),
        guarded=_sliced(report.guarded, change),
        fairness=tuple(replace(g, estimate=e) for g in report.fairness if (e := change(g.estimate))),
        robustness=tuple(replace(p, difference=e) for p in report.robustness if (e := change(p.difference))),
        infra=tuple(e for one in report.infra if (e := change(one))),
    )


def _sliced(slices: tuple[SliceEstimate, ...], change: Any) -> tuple[SliceEstimate, ...]:
    return tuple(
        replace(s, estimate=e, difference=None if s.difference is None else change(s.difference))
        for s in slices
        if (e := change(s.estimate))
    )
