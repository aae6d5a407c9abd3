"""Drift of columns between two windows, at one stated false-alarm rate a window.

Numbers and predictions: exact two-sample Kolmogorov-Smirnov. Categories: homogeneity of their counts, which holds for
any number of categories of any rarity (kernels/drift/categorical.py), total variation distance as its effect; an unseen
category counts as a category. Missing values: the exact test of two
rates on their share, a column of its own. All p-values of a report are corrected together, and an alarm needs
significance and an effect above its floor: with 10 million rows everything is significant, with 50 rows every effect
is large.

The rate holds where rows are independent. Rows that come in clusters (flights of one day share its weather) move
together, and windows differ by more than their rows can tell: there the floors do the work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from engine.monitor import columns as arrays
from engine.monitor.conf import MonitorConf
from engine.records import ColumnDrift, DriftOutcome, DriftReport
from kernels.drift import DriftRow, Profile, Reason
from kernels.drift.categorical import aligned, homogeneity, variation
from kernels.pvalues import adjust, two_rates

BACKEND = "cpu"
"""Windows are Arrow tables in host memory; asked for by name, so that the report cannot name another."""
MISSING = " is missing"
"""Behind the name of a column: the share of its missing values."""
Sizes = tuple[int, int]
"""Of the reference and of the live window."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What live windows are held against: rows, and predictions on rows that the model was not trained on.

    Columns are sorted and counted once, when the first live window is compared.
    """

    name: str
    table: pa.Table
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    predictions: np.ndarray | None = None  # (N',) or (N', C)

    @cached_property
    def numbers(self) -> tuple[Profile, dict[str, str]]:
        """The sorted numeric columns, and why others are none."""
        good, refused = arrays.numbers(self.table, self.numeric)
        return Profile.fit(good, backend=BACKEND), refused

    @cached_property
    def categories(self) -> dict[str, tuple[arrays.Counts, int] | str]:
        """Counts of each categorical column, or why there are none."""
        return {name: arrays.categories(self.table, name) for name in self.categorical}

    @cached_property
    def scores(self) -> Profile:
        """The sorted predictions, one column a class."""
        predictions = self.predictions
        assert predictions is not None  # only asked for where there are some
        names = ["prediction"] if predictions.ndim == 1 else [f"prediction[{k}]" for k in range(predictions.shape[1])]
        return Profile.fit(predictions, names=names, backend=BACKEND)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One column before the p-values are corrected."""

    column: str
    kind: str
    statistic: str
    effect: float
    floor: float
    pvalue: float
    n: Sizes  # values that were compared
    missing: Sizes  # rows without a value
    rows: Sizes
    reason: str = ""  # why it cannot be compared at all

    def missing_share(self, side: int) -> float:
        """Of the reference (0) or the live window (1); NaN where that has no row."""
        return self.missing[side] / self.rows[side] if self.rows[side] else math.nan


def compare(
    reference: Reference,
    live: pa.Table,
    name: str,
    conf: MonitorConf,
    predictions: np.ndarray | None = None,
    further: Sequence[Finding] = (),
) -> DriftReport:
    """Every column of `live`, and the model's predictions on it where both sides have them; judged together with what
    else was found out (labels.py, joint.py).

    A column that is absent, empty or of another kind is UNDECIDABLE, and the others are still judged.
    """
    found = [*_numeric(reference, live, conf), *_categorical(reference, live, conf)]
    if reference.predictions is not None and predictions is not None:
        found += _rank_findings(reference.scores, predictions, "prediction", conf)
    return report(reference.name, name, [*found, *further], conf)


def report(reference: str, live: str, findings: Sequence[Finding], conf: MonitorConf) -> DriftReport:
    """Findings judged together, the missing values of each column among them."""
    found = [*findings, *(_missing(f, conf) for f in findings if any(f.missing))]
    reasons = [_undecidable(f, conf) for f in found]
    # a column that cannot be judged is no test: its NaN does not count in the correction
    pvalues = [math.nan if reason else f.pvalue for f, reason in zip(found, reasons, strict=True)]
    adjusted = adjust(np.array(pvalues, dtype=np.float64), conf.method).tolist()
    return DriftReport(
        reference=reference,
        live=live,
        alpha=conf.alpha,
        method=conf.method,
        backend=BACKEND,
        columns=tuple(_judge(*each, conf) for each in zip(found, reasons, adjusted, strict=True)),
    )


def _numeric(reference: Reference, live: pa.Table, conf: MonitorConf) -> list[Finding]:
    profile, refused = reference.numbers
    good, refused_live = arrays.numbers(live, profile.names)
    reasons = {name: f"the reference {why}" for name, why in refused.items()}
    reasons |= {name: f"the live window {why}" for name, why in refused_live.items()}
    rows = _rank_findings(profile, good, "numeric", conf)
    found = {f.column: f for f in rows} | {
        name: incomparable(name, "numeric", "ks_2samp", conf.numeric_floor, why) for name, why in reasons.items()
    }
    return [found[name] for name in reference.numeric]


def _rank_findings(profile: Profile, live: object, kind: str, conf: MonitorConf) -> list[Finding]:
    """Kolmogorov-Smirnov of every column of a profile."""
    return [rank_finding(row, kind, conf) for row in profile.compare(live, ("ks",), backend=BACKEND)]


def rank_finding(row: DriftRow, kind: str, conf: MonitorConf) -> Finding:
    """Of one numeric column: the row of its Kolmogorov-Smirnov test."""
    return Finding(
        column=row.column,
        kind=kind,
        statistic="ks_2samp",
        effect=math.nan if row.value is None else row.value,
        floor=conf.numeric_floor,
        pvalue=math.nan if row.pvalue is None else row.pvalue,
        n=(row.n_reference, row.n_live),
        missing=(row.missing_reference, row.missing_live),
        rows=(row.n_reference + row.missing_reference, row.n_live + row.missing_live),
        reason="its numbers cannot be compared exactly: they are integers on one side and fractions on the other"
        if row.reason is Reason.NOT_COMPARABLE
        else "",
    )


def categorical_finding(distance: DriftRow, test: DriftRow, conf: MonitorConf) -> Finding:
    """Of one categorical column: the total variation distance, and the row that has the p-value."""
    n, missing = (distance.n_reference, distance.n_live), (distance.missing_reference, distance.missing_live)
    return Finding(
        column=distance.column,
        kind="categorical",
        statistic="total_variation_distance",
        effect=math.nan if distance.value is None else distance.value,
        floor=conf.categorical_floor,
        pvalue=math.nan if test.pvalue is None else test.pvalue,
        n=n,
        missing=missing,
        rows=(n[0] + missing[0], n[1] + missing[1]),
    )


def _categorical(reference: Reference, live: pa.Table, conf: MonitorConf) -> list[Finding]:
    findings = []
    for name, old in reference.categories.items():
        new = arrays.categories(live, name)
        kind, statistic = "categorical", "total_variation_distance"
        if isinstance(old, str) or isinstance(new, str):
            why = f"the reference {old}" if isinstance(old, str) else f"the live window {new}"
            findings.append(incomparable(name, kind, statistic, conf.categorical_floor, why))
            continue
        p, q = aligned(old[0], new[0])
        effect, pvalue = float(variation(p, q, total=True)[0]), float(homogeneity(p, q)[0])
        n, missing = (sum(old[0].values()), sum(new[0].values())), (old[1], new[1])
        findings.append(
            Finding(
                column=name,
                kind=kind,
                statistic=statistic,
                effect=effect,
                floor=conf.categorical_floor,
                pvalue=pvalue,
                n=n,
                missing=missing,
                rows=(n[0] + missing[0], n[1] + missing[1]),
            )
        )
    return findings


def incomparable(column: str, kind: str, statistic: str, floor: float, reason: str) -> Finding:
    """Of a column that cannot be compared: it will be UNDECIDABLE, and hides no other."""
    return Finding(
        column=column,
        kind=kind,
        statistic=statistic,
        effect=math.nan,
        floor=floor,
        pvalue=math.nan,
        n=(0, 0),
        missing=(0, 0),
        rows=(0, 0),
        reason=reason,
    )


def _missing(finding: Finding, conf: MonitorConf) -> Finding:
    """The share of missing values of a column that misses some on either side."""
    return Finding(
        column=f"{finding.column}{MISSING}",
        kind="missing",
        statistic="difference of shares",
        effect=abs(finding.missing_share(1) - finding.missing_share(0)),
        floor=conf.missing_floor,
        pvalue=two_rates(finding.missing[0], finding.rows[0], finding.missing[1], finding.rows[1]),
        n=finding.rows,
        missing=finding.missing,
        rows=finding.rows,
    )


def _undecidable(finding: Finding, conf: MonitorConf) -> str:
    """Why this column cannot be judged; empty where it can."""
    if finding.reason:
        return finding.reason
    if min(finding.n) < conf.min_rows:
        side = "reference" if finding.n[0] < finding.n[1] else "live window"
        return f"{min(finding.n)} values in the {side}, {conf.min_rows} are needed"
    if not (math.isfinite(finding.pvalue) and math.isfinite(finding.effect)):
        return "the statistic is undefined on these values"
    return ""


def _judge(finding: Finding, reason: str, adjusted: float, conf: MonitorConf) -> ColumnDrift:
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
        missing_reference=finding.missing_share(0),
        missing_live=finding.missing_share(1),
        outcome=outcome,
        reason=reason,
    )
