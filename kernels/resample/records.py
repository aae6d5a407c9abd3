"""What resampling hands back: frozen records of Python numbers, and arrays over slices on the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided interval; NaN bounds where it is undefined."""

    low: float
    high: float
    confidence_level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInterval(Interval):
    """Of one model of a pair; `note` as in BootstrapResult."""

    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceIntervals:
    """One slicing column. Arrays have one entry a slice, in the order of `values`; NaN where undefined."""

    values: Any
    """The distinct codes of the column, ascending."""
    n: Any
    """Rows of each slice, int64."""
    enough: Any
    """bool: n >= min_rows. Slices that are too small keep their estimate; their interval is NaN."""
    estimate: Any
    """The metric, or the paired difference when a second model was given."""
    low: Any
    high: Any
    standard_error: Any
    undefined: Any
    """Replicates in which the metric was undefined, int64; see BootstrapResult.undefined."""
    perfect: Any
    """bool: the metric is the calibration error and 0 is not excluded; see BootstrapResult.note."""
    estimates: tuple[Any, ...] = ()
    """By model."""
    models: tuple[tuple[Any, Any], ...] = ()
    """(low, high) by model, where each was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BootstrapResult:
    """An estimate with its bootstrap interval; with two models all of it is about metric(other) -
    metric(y_score)."""

    metric: str
    estimate: float
    low: float
    high: float
    standard_error: float
    n: int
    """Rows used."""
    missing: int
    """Rows left out for a NaN under nan_policy="omit"."""
    undefined: int
    """Replicates in which the metric was undefined (a class without rows); above a tenth, the bounds are
    NaN."""
    estimates: tuple[float, ...]
    """The metric of y_score, and of other when it was given."""
    confidence_level: float
    n_resamples: int
    method: str
    """"percentile", "bca", or "inversion" for the calibration error."""
    resampling: str
    """"rows" (Poisson weights by row or cluster) or "cells" (multinomial counts)."""
    seed: int
    backend: str
    note: str = ""
    """What a reader of the interval must know: that it is one-sided, or wider than its level; else empty."""
    slices: dict[str, SliceIntervals] = field(default_factory=dict)
    models: tuple[ModelInterval, ...] = ()
    """Of y_score and of other by themselves, where each was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DelongSlices:
    """One slicing column. Arrays have one entry a slice, in the order of `values`; NaN where undefined."""

    values: Any
    """The distinct codes of the column, ascending."""
    n: Any
    """Rows of each slice, int64; so are positives and negatives."""
    positives: Any
    negatives: Any
    enough: Any
    """bool: n >= min_rows. Slices that are too small keep their estimate alone."""
    estimate: Any
    """AUROC of score_a, or of score_b minus that of score_a."""
    low: Any
    high: Any
    standard_error: Any
    z: Any
    pvalue: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DelongResult:
    """AUROC of one model, or the paired difference of two, with its variance by DeLong, DeLong and
    Clarke-Pearson."""

    estimate: float
    """AUROC of score_a, or AUROC of score_b minus that of score_a."""
    low: float
    high: float
    standard_error: float
    z: float
    """Difference over standard error; NaN for one model."""
    pvalue: float
    """Two-sided, that both models have one AUROC; NaN for one model."""
    estimates: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    """Covariance matrix of the estimates."""
    n: int
    positives: int
    negatives: int
    confidence_level: float
    backend: str
    slices: dict[str, DelongSlices] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PermutationResult:
    """A paired permutation test of metric(other) - metric(y_score) against no difference."""

    metric: str
    estimate: float
    pvalue: float
    """(1 + hits) / (1 + n_resamples), never 0."""
    alternative: str
    estimates: tuple[float, ...]
    n: int
    n_resamples: int
    seed: int
    backend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class McnemarResult:
    """McNemar's paired test of two classifiers' accuracy."""

    only_a: int
    """Rows that model a alone has right."""
    only_b: int
    estimate: float
    """Accuracy of b minus accuracy of a."""
    low: float
    high: float
    standard_error: float
    pvalue: float
    method: str
    n: int
    confidence_level: float
