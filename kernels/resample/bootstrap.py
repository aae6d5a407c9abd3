"""The bootstrap of any metric: one model or the paired difference of two, overall and by slice.

Shapes: N rows, S slices, R replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from zlib import crc32

import numpy as np

from kernels.arrays import Array, check_option
from kernels.errors import OptionError
from kernels.measures.table import MetricOptions, metric_name
from kernels.resample import calibration
from kernels.resample.build import build, build_cells
from kernels.resample.cells import CalibrationCells, Cells, cell_replicates
from kernels.resample.inputs import Paired, check_resamples, distinct, host, paired
from kernels.resample.intervals import acceleration, bca, check_level, percentile, spread_of
from kernels.resample.problems import Draw, Problem, Segments
from kernels.resample.records import BootstrapResult, ModelInterval, SliceIntervals
from kernels.resample.sums import Calibration

METHODS = ("auto", "percentile", "bca")
RESAMPLING = ("auto", "rows", "cells")
TILE = 2048
"""Replicates drawn at a time."""
HELD = 1 << 22
"""Replicates of slices held at a time, as float64; more slices are taken in batches."""


def bootstrap(
    metric: str | Callable[..., Any], y_true: Array, y_score: Array, other: Array | None = None,
    slices: Array | Mapping[str, Array] | None = None, cluster: Array | None = None, n_resamples: int = 2000,
    confidence_level: float = 0.95, seed: int = 0, row_ids: Array | None = None,
    method: str = "auto", *, options: MetricOptions | None = None, min_rows: int = 30,
    resampling: str = "auto", each: bool = False, nan_policy: str = "raise", backend: str | None = None,
) -> BootstrapResult:  # fmt: skip
    """A metric with its bootstrap interval; with `other`, the paired difference metric(other) -
    metric(y_score).

    metric is a name in kernels.measures.table or a function of kernels.metrics. y_true (N,), y_score and
    other (N,) or (N, C), as the metric takes them; metrics of labels also take probabilities (N,), cut at
    options.threshold, or (N, C). slices is an integer code (N,) or several by name; every slice gets n,
    estimate and interval, and those under min_rows keep their estimate but get no interval.

    Rows are resampled by Poisson(1) weights (Chamandy et al. 2012) that are a function of (seed, row_ids[i],
    replicate) alone: by default the id is the position. The same row has the same weight for both models, in
    every slice, metric, backend, chunk and thread count, so that differences are paired. cluster (N,)
    integers gives all rows of a cluster one weight. Metrics of counts (accuracy, F1, ...) are resampled by
    cell instead, multinomially, which is the ordinary bootstrap at a cost that does not grow with rows; so is
    a calibration error of many rows without slices (see cells). resampling="rows" forces row weights, "cells"
    refuses others.

    method "auto" is "percentile"; "bca" (Efron 1987) takes the exact leave-one-out acceleration (for average
    precision the infinitesimal jackknife). A replicate without one of the classes leaves the metric
    undefined; such replicates are left out and counted, and above a tenth the bounds are NaN. standard_error
    is the standard deviation of the replicates. each gives, beside the difference, the interval of either model
    by itself from the same replicates (percentiles; for the calibration error, inversion): equal to that of a
    call with that model alone where rows are resampled. Below some 50 rows no bootstrap covers as stated.

    The calibration error is biased upwards, its replicates twice: percentiles would miss the truth, at perfect
    calibration always. Its method is "inversion" (see calibration) and no other; the interval is about the
    true error and need not hold the biased estimate. In simulations 95 % intervals cover 94 to 96 % where most
    gaps are clear, 94 to 97.5 % where they are mild (percentiles: 80 %), and 97 to 99.5 % where the data do not
    exclude perfect calibration: there low is 0 and `note` says that the interval is one-sided. A difference of
    two models of which one may be perfectly calibrated gets bounds wider than the level says, and a `note`.

    Cost: ranks one sort a model, then about 0.4 ns a row and replicate; sums 0.5 ns; cells none. Memory: O(N)
    and 8 bytes a slice and replicate, in batches; nothing of rows x replicates. On CUDA the replicates come
    to the host once (synchronises). nan_policy "raise" (default) or "omit" (of both models). Errors:
    OptionError, ShapeError, DTypeError, DeviceError, MissingValueError, BackendUnavailable.
    """
    name = metric_name(metric)
    check_option(method, "method", METHODS)
    check_option(resampling, "resampling", RESAMPLING)
    check_level(confidence_level)
    check_resamples(n_resamples, seed)
    rows = paired(
        y_true, y_score, other, slices=slices, cluster=cluster, row_ids=row_ids, nan_policy=nan_policy,
        backend=backend,
    )  # fmt: skip
    if name == "expected_calibration_error":
        if method != "auto":
            raise OptionError(f"method: {method!r} does not cover for {name}, whose replicates are biased - use 'auto'")
        method = "inversion"
    options = options or MetricOptions()
    problem = (None if resampling == "rows" else build_cells(name, rows, options)) or build(name, rows, options)
    method = "percentile" if method == "auto" else method
    n = int(rows.y_true.shape[0])
    by_cell = resampling != "rows" and not rows.clustered and isinstance(problem, Cells | CalibrationCells)
    if resampling == "cells" and not by_cell:
        raise OptionError(f"resampling: {name} on these arguments is not made of counts - use 'auto' or 'rows'")
    task = _Task(problem, rows, n_resamples, confidence_level, seed, method, by_cell)
    task.each = each and len(rows.scores) == 2
    whole = task.intervals(Segments(None, 1), [(0, 0)])
    tables = {
        column: task.slice_table(codes, min_rows, 1 + crc32(column.encode())) for column, codes in rows.slices.items()
    }
    estimates, estimate, low, high, error, undefined, perfect, models = whole
    note = (calibration.ONE_SIDED if len(rows.scores) == 1 else calibration.BONFERRONI) if perfect[0] else ""
    return BootstrapResult(
        metric=name, estimate=float(estimate[0]), low=float(low[0]), high=float(high[0]),
        standard_error=float(error[0]), n=n, missing=rows.missing, undefined=int(undefined[0]),
        estimates=tuple(float(e[0]) for e in estimates), confidence_level=confidence_level,
        n_resamples=n_resamples, method=method, resampling="cells" if by_cell else "rows", seed=seed,
        backend=rows.backend, note=note, slices=tables,
        models=tuple(_alone(low_of, high_of, sided, confidence_level) for low_of, high_of, sided in models),
    )  # fmt: skip


class _Task:
    """One bootstrap: the problem and how to draw; intervals by segments."""

    def __init__(
        self,
        problem: Problem | CalibrationCells,
        rows: Paired,
        n_resamples: int,
        level: float,
        seed: int,
        method: str,
        by_cell: bool,
    ) -> None:
        self.problem = problem
        self.rows = rows
        self.n_resamples = n_resamples
        self.level = level
        self.seed = seed
        self.method = method
        self.by_cell = by_cell
        self.each = False  # of two models, also by itself

    def intervals(self, segments: Segments, keys: list[tuple[int, int]]) -> tuple[Any, ...]:
        """Estimates by model; estimate, low, high, standard error, undefined, one-sided (S,) of their difference; and
        (low, high, one-sided) (S,) of each model, where that is asked for.
        """
        estimates = self.problem.estimate(segments)
        estimate = _difference(estimates)
        if isinstance(self.problem, Calibration | CalibrationCells):
            gaps = self._gaps(segments)
            alone = [calibration.intervals([one], self.level) for one in gaps] if self.each else []
            models = [(found[0], found[1], found[4]) for found in alone]
            return estimates, estimate, *calibration.intervals(gaps, self.level), models
        by_model = self._replicates(segments, keys)
        two_sided = np.zeros(segments.count, bool)
        models = [(*percentile(one, self.level), two_sided) for one in by_model] if self.each else []
        replicates = _difference(by_model)
        error, undefined = spread_of(replicates)
        if self.method == "bca":
            low, high = bca(replicates, estimate, self._accelerations(segments), self.level)
        else:
            low, high = percentile(replicates, self.level)
        return estimates, estimate, low, high, error, undefined, two_sided, models

    def slice_table(self, codes: Any, min_rows: int, column: int) -> SliceIntervals:
        """All slices of one column; those with enough rows are resampled, in batches."""
        values, index, n = distinct(codes, self.rows.xp)
        total = values.shape[0]
        enough = n >= max(min_rows, 1)
        by_model = self.problem.estimate(Segments(index, total))
        estimate = _difference(by_model)
        alone = [(np.full(total, np.nan), np.full(total, np.nan)) for _ in by_model] if self.each else []
        low, high, error = (np.full(total, np.nan) for _ in range(3))
        undefined, perfect = np.zeros(total, np.int64), np.zeros(total, bool)
        chosen = np.flatnonzero(enough)
        batch = max(1, HELD // (self.n_resamples * self._width()))
        for first in range(0, chosen.shape[0], batch):
            some = chosen[first : first + batch]
            place = np.full(total, -1, np.int64)
            place[some] = np.arange(some.shape[0])
            part = Segments(np.asarray(place, like=index)[index], some.shape[0])
            keys = [(column, int(value)) for value in values[some]]
            found = self.intervals(part, keys)
            low[some], high[some], error[some], undefined[some], perfect[some] = found[2:7]
            for bounds, own in zip(alone, found[7], strict=True):
                bounds[0][some], bounds[1][some] = own[:2]
        return SliceIntervals(
            values=values, n=n, enough=enough, estimate=estimate, low=low, high=high, standard_error=error,
            undefined=undefined, perfect=perfect, estimates=tuple(by_model), models=tuple(alone),
        )  # fmt: skip

    def _width(self) -> int:
        """Numbers held a slice and replicate."""
        return 1 if not isinstance(self.problem, Calibration) else self.problem.models[0].n_bins

    def _replicates(self, segments: Segments, keys: list[tuple[int, int]]) -> list[Any]:
        assert not isinstance(self.problem, CalibrationCells)  # its interval needs no replicates of the metric
        if self.by_cell:
            return cell_replicates(self.problem, segments, self.n_resamples, self.seed, keys)
        parts = [self.problem.replicates(segments, draw) for draw in self._draws()]
        return [np.concatenate(model, axis=1) for model in zip(*parts, strict=True)]

    def _draws(self) -> list[Draw]:
        ids, end = self.rows.ids, self.n_resamples
        return [Draw(ids, self.seed, start, min(start + TILE, end)) for start in range(0, end, TILE)]

    def _gaps(self, segments: Segments) -> list[calibration.Gaps]:
        if isinstance(self.problem, CalibrationCells):
            return self.problem.gaps(self.n_resamples, self.seed)
        assert isinstance(self.problem, Calibration)
        return self.problem.gaps(segments, self._draws())

    def _accelerations(self, segments: Segments) -> Any:
        """BCa's acceleration (S,), from influences by row, or summed by cluster."""
        if segments.codes is None:
            members = [np.arange(int(self.rows.y_true.shape[0]))]
        else:
            codes = host(segments.codes)
            order = np.argsort(codes, kind="stable")
            border = np.searchsorted(codes[order], np.arange(segments.count + 1))
            members = [order[border[s] : border[s + 1]] for s in range(segments.count)]
        return np.array([self._acceleration(part) for part in members])

    def _acceleration(self, members: Any) -> float:
        assert not isinstance(self.problem, CalibrationCells)
        index = np.asarray(members, like=self.rows.y_true)
        influence = _difference(self.problem.take(index).influence())
        if self.rows.clustered:
            _, cluster = np.unique(host(self.rows.ids[index]), return_inverse=True)
            influence = np.bincount(cluster.reshape(-1), weights=influence)
        return acceleration(influence)


def _alone(low: Any, high: Any, one_sided: Any, level: float) -> ModelInterval:
    note = calibration.ONE_SIDED if one_sided[0] else ""
    return ModelInterval(low=float(low[0]), high=float(high[0]), confidence_level=level, note=note)


def _difference(models: list[Any]) -> Any:
    return models[0] if len(models) == 1 else models[1] - models[0]
