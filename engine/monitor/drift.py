"""Drift of columns between two windows, at one stated false-alarm rate a window.

Numbers: exact two-sample Kolmogorov-Smirnov. Categories: chi-square test, total variation distance as its effect; an
unseen category counts as a category. Missing values: two-proportion z-test on their share, a column of its own. All
p-values of a report are corrected together, and an alarm needs significance and an effect above its floor: with 10
million rows everything is significant, with 50 rows every effect is large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pyarrow as pa

from engine.monitor import columns as arrays
from engine.monitor.conf import MonitorConf
from engine.records import ColumnDrift, DriftOutcome, DriftReport
from kernels.drift import chi2_contingency, ks_2samp, total_variation_distance
from kernels.pvalues import adjust


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What live windows are held against: rows, and predictions on rows that the model was not trained on."""

    name: str
    table: pa.Table
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    predictions: np.ndarray | None = None  # (N',) or (N', C)


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """One column before the p-values are corrected."""

    column: str
    kind: str
    statistic: str
    effect: float
    floor: float
    pvalue: float
    n: tuple[int, int]  # values on either side
    missing: tuple[float, float]  # shares


def compare(
    reference: Reference, live: pa.Table, name: str, conf: MonitorConf, predictions: np.ndarray | None = None
) -> DriftReport:
    """Every column of `live`, and the model's predictions on it where both sides have them.

    Raises DataError from the reader if a column is missing; a column without values is UNDECIDABLE.
    """
    found, backend = _numeric(reference, live, conf)
    found += _categorical(reference, live, conf)
    found += _missing(reference, live, conf)
    if reference.predictions is not None and predictions is not None:
        found += _predictions(reference.predictions, predictions, conf)
    decidable = [f for f in found if not _undecidable(f, conf)]
    adjusted = dict(
        zip(
            (id(f) for f in decidable),
            adjust(np.array([f.pvalue for f in decidable]), conf.method),
            strict=True,
        )
    )
    return DriftReport(
        reference=reference.name,
        live=name,
        alpha=conf.alpha,
        method=conf.method,
        backend=backend,
        columns=tuple(_judge(f, float(adjusted.get(id(f), math.nan)), conf) for f in found),
    )


def _numeric(reference: Reference, live: pa.Table, conf: MonitorConf) -> tuple[list[_Finding], str]:
    names = reference.numeric
    if not names:
        return [], "cpu"
    result = ks_2samp(arrays.numbers(reference.table, names), arrays.numbers(live, names))
    findings = [
        _Finding(
            column=name,
            kind="numeric",
            statistic="ks_2samp",
            effect=float(result.statistic[j]),
            floor=conf.numeric_floor,
            pvalue=float(result.pvalue[j]),
            n=(int(result.n_reference[j]), int(result.n_live[j])),
            missing=_shares(reference.table, live, name),
        )
        for j, name in enumerate(names)
    ]
    return findings, result.backend


def _categorical(reference: Reference, live: pa.Table, conf: MonitorConf) -> list[_Finding]:
    findings = []
    for name in reference.categorical:
        known = arrays.vocabulary(reference.table.column(name))
        old, new = (arrays.codes(t.column(name), known) for t in (reference.table, live))
        old, new = old[old >= 0], new[new >= 0]
        test = chi2_contingency(old, new)
        findings.append(
            _Finding(
                column=name,
                kind="categorical",
                statistic="total_variation_distance",
                effect=float(total_variation_distance(old, new)),
                floor=conf.categorical_floor,
                pvalue=_constant_agrees(old, new, float(test.pvalue)),
                n=(len(old), len(new)),
                missing=_shares(reference.table, live, name),
            )
        )
    return findings


def _constant_agrees(old: np.ndarray, new: np.ndarray, pvalue: float) -> float:
    """One category on both sides is no drift for certain, where the chi-square test has no degree of freedom."""
    both = np.union1d(old, new)
    return 1.0 if math.isnan(pvalue) and len(old) and len(new) and len(both) == 1 else pvalue


def _missing(reference: Reference, live: pa.Table, conf: MonitorConf) -> list[_Finding]:
    """Columns that miss values on either side."""
    findings = []
    n, m = reference.table.num_rows, live.num_rows
    for name in (*reference.numeric, *reference.categorical):
        old, new = _shares(reference.table, live, name)
        if old or new:
            findings.append(
                _Finding(
                    column=f"{name} is missing",
                    kind="missing",
                    statistic="difference of shares",
                    effect=abs(new - old),
                    floor=conf.missing_floor,
                    pvalue=_two_proportions(old, n, new, m),
                    n=(n, m),
                    missing=(old, new),
                )
            )
    return findings


def _two_proportions(a: float, n: int, b: float, m: int) -> float:
    """Two-sided p-value of the pooled z-test."""
    pooled = (a * n + b * m) / (n + m)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return 1.0 if spread == 0 else 2 * NormalDist().cdf(-abs(a - b) / spread)


def _predictions(old: np.ndarray, new: np.ndarray, conf: MonitorConf) -> list[_Finding]:
    """The distribution of what the model says; of each class's probability in multiclass."""
    result = ks_2samp(old, new)
    names = ["prediction"] if old.ndim == 1 else [f"prediction[{k}]" for k in range(old.shape[1])]
    effects, pvalues = np.atleast_1d(result.statistic), np.atleast_1d(result.pvalue)
    return [
        _Finding(
            column=name,
            kind="prediction",
            statistic="ks_2samp",
            effect=float(effects[j]),
            floor=conf.numeric_floor,
            pvalue=float(pvalues[j]),
            n=(len(old), len(new)),
            missing=(0.0, 0.0),
        )
        for j, name in enumerate(names)
    ]


def _shares(old: pa.Table, new: pa.Table, name: str) -> tuple[float, float]:
    return arrays.missing(old, name) / old.num_rows, arrays.missing(new, name) / new.num_rows


def _undecidable(finding: _Finding, conf: MonitorConf) -> str:
    """Why this column cannot be judged; empty where it can."""
    if min(finding.n) < conf.min_rows:
        side = "reference" if finding.n[0] < finding.n[1] else "live window"
        return f"{min(finding.n)} values in the {side}, {conf.min_rows} are needed"
    if not (math.isfinite(finding.pvalue) and math.isfinite(finding.effect)):
        return "the statistic is undefined on these values"
    return ""


def _judge(finding: _Finding, adjusted: float, conf: MonitorConf) -> ColumnDrift:
    reason = _undecidable(finding, conf)
    if reason:
        outcome = DriftOutcome.UNDECIDABLE
    elif adjusted <= conf.alpha and finding.effect > finding.floor:
        outcome = DriftOutcome.DRIFT
    else:
        outcome = DriftOutcome.NO_DRIFT
    return ColumnDrift(
        column=finding.column,
        kind=finding.kind,
        statistic=finding.statistic,
        effect=finding.effect,
        floor=finding.floor,
        pvalue=finding.pvalue,
        adjusted_pvalue=adjusted,
        n_reference=finding.n[0],
        n_live=finding.n[1],
        missing_reference=finding.missing[0],
        missing_live=finding.missing[1],
        outcome=outcome,
        reason=reason,
    )
