"""The three families of metrics as things that can be estimated, resampled and differentiated.

Shapes: N rows, S segments (slices), R replicates, J cells, B bins, K columns. A problem holds one model or
two on the same rows; every method returns one array a model. Rows and orders stay on their device; statistics
by segment and replicate are small and come to the host (one synchronisation a call).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from kernels.dispatch import load
from kernels.measures import moments
from kernels.primitives import POISSON
from kernels.resample.inputs import host


@dataclass(frozen=True, slots=True)
class Draw:
    """Which weights to draw: replicates start to stop of a seed, keyed by ids (N,)."""

    ids: Any
    seed: int
    start: int
    stop: int
    kind: int = POISSON


@dataclass(frozen=True, slots=True)
class Segments:
    """Rows by slice: codes (N,) int64 in [0, count) or -1 for none; codes None means all rows are segment
    0."""

    codes: Any
    count: int


class Problem(Protocol):
    """What every family can do."""

    def estimate(self, segments: Segments) -> list[Any]:
        """The metric of each segment, (S,) float64 a model."""

    def replicates(self, segments: Segments, draw: Draw) -> list[Any]:
        """The metric under each replicate's weights, (S, R) float64 a model."""

    def influence(self) -> list[Any]:
        """N times the change of the metric per unit of weight on each row, (N,) float64 a model, on the
        host."""

    def take(self, rows: Any) -> Problem:
        """The same problem on some rows (an index array)."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Metrics of counts. Joint cells hold the true class and each model's predicted class.

    matrix_of[m] (J,) is the place in model m's flat confusion matrix (C * C) of each joint cell.
    """

    codes: Any  # int64 (N,): joint cell of each row
    matrix_of: list[Any]
    classes: int
    score: Callable[[Any], Any]  # (..., C, C) -> (...)
    backend: str

    def counts(self, segments: Segments) -> Any:
        """Rows by segment and joint cell: int64 (S, J) on the host. # synchronises"""
        cells = int(self.matrix_of[0].shape[0])
        codes = self.codes
        if segments.codes is not None:
            kept = segments.codes >= 0
            codes = (segments.codes * cells + codes)[kept]
        counted = load("scores", self.backend).cell_counts(codes, segments.count * cells)
        return host(counted).reshape(segments.count, cells)

    def values(self, counts: Any) -> list[Any]:
        """The metric of each model for joint counts (..., J)."""
        return [self.score(self.matrix(counts, m)) for m in range(len(self.matrix_of))]

    def matrix(self, counts: Any, model: int) -> Any:
        """Joint counts (..., J) as the confusion matrix (..., C, C) of one model."""
        flat = np.zeros((*counts.shape[:-1], self.classes * self.classes), counts.dtype)
        order = np.argsort(self.matrix_of[model], kind="stable")
        places = self.matrix_of[model][order]
        first = np.flatnonzero(np.append(True, places[1:] != places[:-1]))
        flat[..., places[first]] = np.add.reduceat(counts[..., order], first, axis=-1)
        return flat.reshape(*counts.shape[:-1], self.classes, self.classes)

    def estimate(self, segments: Segments) -> list[Any]:
        return self.values(self.counts(segments))

    def replicates(self, segments: Segments, draw: Draw) -> list[Any]:
        """By row weights, as every other family: used with clusters, or on request."""
        cells = int(self.matrix_of[0].shape[0])
        nothing = np.zeros_like(draw.ids, shape=(self.codes.shape[0], 0), dtype=np.int64)
        out = binned_sums(nothing, self.codes, cells, segments, draw, self.backend)
        return self.values(np.moveaxis(out[:, :, 0, :], 1, 2))

    def influence(self) -> list[Any]:
        counts = self.counts(Segments(None, 1))[0].astype(np.float64)
        n = counts.sum()
        present = np.flatnonzero(counts > 0)
        without = counts - np.eye(counts.shape[0])[present]
        codes = host(self.codes)
        result = []
        for whole, less in zip(self.values(counts), self.values(without), strict=True):
            by_cell = np.zeros(counts.shape[0])
            by_cell[present] = (n - 1.0) * (whole - less)
            result.append(by_cell[codes])
        return result

    def take(self, rows: Any) -> Cells:
        return replace(self, codes=self.codes[rows])


@dataclass(frozen=True, slots=True)
class Columns:
    """One model's columns (N, K) float64, the bin of each row, and the metric of sums (..., B, K), (...,
    B)."""

    values: Any
    bins: Any
    n_bins: int
    score: Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Sums:
    """Metrics of sums over rows."""

    models: list[Columns]
    backend: str

    def estimate(self, segments: Segments) -> list[Any]:
        result = []
        for model in self.models:
            codes, count = _keys(model.bins, model.n_bins, segments, model.values)
            kept = codes >= 0
            sums = [
                host(np.bincount(codes[kept], weights=model.values[kept, k], minlength=count))
                for k in range(model.values.shape[1])
            ]
            weight = host(np.bincount(codes[kept], minlength=count)).astype(np.float64)
            shape = (segments.count, model.n_bins)
            result.append(model.score(np.stack(sums, axis=-1).reshape(*shape, -1), weight.reshape(shape)))
        return result

    def replicates(self, segments: Segments, draw: Draw) -> list[Any]:
        result = []
        for fixed, scale, model in zip(*self.fixed_point(), self.models, strict=True):
            out = binned_sums(fixed, model.bins, model.n_bins, segments, draw, self.backend)
            result.append(score_fixed(model, out, scale))
        return result

    def fixed_point(self) -> tuple[list[Any], list[Any]]:
        """Columns as integers (N, K), one scale a column, so that weighted sums are exact in any order.

        The scale is the largest power of two at which no sum can leave 63 bits: the rounding is below
        2^-36 of the column's largest value for a million rows. NaN or infinite columns get scale NaN.
        """
        fixed, scales = [], []
        for model in self.models:
            rows = max(int(model.values.shape[0]), 1)
            room = 62 - 3 - (rows - 1).bit_length()  # a weight is at most 8
            largest = host(np.abs(model.values).max(axis=0)) if model.values.shape[0] else np.zeros(1)
            usable = np.isfinite(largest)
            exponent = room - np.frexp(np.where(usable, largest, 1.0))[1]
            exponent = np.where(usable & (largest > 0), np.clip(exponent, -1000, 1000), 0)
            scale = np.ldexp(1.0, exponent)
            whole = np.where(np.asarray(usable, like=model.values), model.values, 0.0)
            fixed.append(np.rint(whole * np.asarray(scale, like=model.values)).astype(np.int64))
            scales.append(np.where(usable, scale, np.nan))
        return fixed, scales

    def influence(self) -> list[Any]:
        return [_leave_one_out(model) for model in self.models]

    def take(self, rows: Any) -> Sums:
        return Sums(
            [
                replace(m, values=m.values[rows], bins=None if m.bins is None else m.bins[rows])
                for m in self.models
            ],
            self.backend,
        )


def score_fixed(model: Columns, out: Any, scale: Any) -> Any:
    """The metric (S, R) of integer sums (S, B, K + 1, R), whose last column is the weight."""
    sums = np.moveaxis(out[:, :, :-1, :], (1, 2, 3), (2, 3, 1)) / scale
    return model.score(sums, np.moveaxis(out[:, :, -1, :], 1, 2).astype(np.float64))


def binned_sums(
    values: Any, bins: Any, n_bins: int, segments: Segments, draw: Draw, backend: str, flips: Any = None
) -> Any:
    """Weighted integer sums by segment and bin: values (N, K) int64 -> host int64 (S, B, K + 1, R)."""
    ids = draw.ids
    count = segments.count * n_bins
    if bins is None and segments.codes is None:
        offsets = np.asarray([0, values.shape[0]], like=values)
    else:
        codes, _ = _keys(bins, n_bins, segments, values)
        order = np.argsort(codes, kind="stable")
        inside = codes >= 0
        skipped = int((~inside).sum())  # synchronises
        order = order[skipped:]
        values, ids = values[order], ids[order]
        offsets = np.zeros_like(codes, shape=(count + 1,), dtype=np.int64)
        offsets[1:] = np.cumsum(np.bincount(codes[inside], minlength=count))
    out = load("resample", backend).sums(
        ids, values, offsets, start=draw.start, stop=draw.stop, seed=draw.seed, kind=draw.kind, flips=flips
    )
    return host(out).reshape(segments.count, n_bins, values.shape[1] + 1, draw.stop - draw.start)


def _keys(bins: Any, n_bins: int, segments: Segments, values: Any) -> tuple[Any, int]:
    """Segment and bin of each row as one code, -1 for rows in no segment, and the number of codes."""
    bins = np.zeros_like(values, shape=(values.shape[0],), dtype=np.int64) if bins is None else bins
    if segments.codes is None:
        return bins, n_bins
    return np.where(segments.codes >= 0, segments.codes * n_bins + bins, -1), segments.count * n_bins


def _leave_one_out(model: Columns, chunk: int = 4096) -> Any:
    """(n - 1) (metric of all rows - metric without the row), exact, a chunk of rows at a time."""
    values = host(model.values)
    rows, columns = values.shape
    bins = np.zeros(rows, np.int64) if model.bins is None else host(model.bins)
    sums = np.stack(
        [np.bincount(bins, weights=values[:, k], minlength=model.n_bins) for k in range(columns)], axis=-1
    )
    weight = np.bincount(bins, minlength=model.n_bins).astype(np.float64)
    whole = model.score(sums, weight)
    out = np.empty(rows)
    for first in range(0, rows, chunk):
        part = slice(first, min(first + chunk, rows))
        size = part.stop - first
        less = np.broadcast_to(sums, (size, *sums.shape)).copy()
        less_weight = np.broadcast_to(weight, (size, *weight.shape)).copy()
        index = np.arange(size)
        less[index, bins[part]] -= values[part]
        less_weight[index, bins[part]] -= 1.0
        out[part] = (rows - 1.0) * (whole - model.score(less, less_weight))
    return out


@dataclass(frozen=True, slots=True)
class Ranked:
    """One model: for each one-against-rest part, labels (N,) uint8 and scores (N,) of a working dtype."""

    parts: list[tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Ranks:
    """Metrics of the order of scores: AUROC, or average precision."""

    models: list[Ranked]
    precision: bool
    weighted: bool  # parts count by their positives instead of equally
    backend: str

    def estimate(self, segments: Segments) -> list[Any]:
        ordering = load("ordering", self.backend)
        result = []
        for model in self.models:
            values, shares = [], []
            for labels, scores in model.parts:
                sums = ordering.ranking_sums(self._ordered(ordering, scores, segments), labels)
                pairs, tp, fp, precision = (host(x) for x in sums)
                shares.append(tp.astype(np.float64))
                values.append(
                    moments.mean(precision, tp) if self.precision else moments.ranking(pairs, tp, fp)
                )
            result.append(self.combine(values, shares))
        return result

    def replicates(self, segments: Segments, draw: Draw) -> list[Any]:
        ordering = load("ordering", self.backend)
        result = []
        for model in self.models:
            values, shares = [], []
            for labels, scores in model.parts:
                ordered = self._ordered(ordering, scores, segments)
                value, share = self.walk(
                    ordered, ordering.flags(ordered, labels), draw.ids[ordered.rows], draw
                )
                values.append(value)
                shares.append(share)
            result.append(self.combine(values, shares))
        return result

    def walk(self, ordered: Any, flags: Any, ids: Any, draw: Draw, flips: Any = None) -> tuple[Any, Any]:
        """The metric of one part under each replicate, and its positive weight, (S, R) on the host."""
        resample = load("resample", self.backend)
        where: dict[str, Any] = {
            "start": draw.start, "stop": draw.stop, "seed": draw.seed, "kind": draw.kind, "flips": flips,
        }  # fmt: skip
        if self.precision:
            # Terms are at most scale x weight, and weights at most 8: their sum stays below 2^62.
            scale = 2.0 ** (62 - 3 - max(int(ids.shape[0]) - 1, 1).bit_length())
            total, tp, _ = host(resample.average_precision(ids, flags, ordered.offsets, scale=scale, **where))
            return moments.mean(total / scale, tp), tp.astype(np.float64)
        pairs, tp, fp = host(resample.auroc(ids, flags, ordered.offsets, **where))
        return moments.ranking(pairs, tp, fp), tp.astype(np.float64)

    def influence(self) -> list[Any]:
        return [self._combined_influence(model) for model in self.models]

    def take(self, rows: Any) -> Ranks:
        return replace(self, models=[Ranked([(y[rows], s[rows]) for y, s in m.parts]) for m in self.models])

    def _ordered(self, ordering: Any, scores: Any, segments: Segments) -> Any:
        ordered = ordering.order(scores)
        return ordered if segments.codes is None else ordering.split(ordered, segments.codes, segments.count)

    def combine(self, values: list[Any], shares: list[Any]) -> Any:
        if len(values) == 1:
            return values[0]
        stacked = np.stack(values)
        if not self.weighted:
            return stacked.mean(axis=0)
        share = np.stack(shares)
        return moments.mean((stacked * share).sum(axis=0), share.sum(axis=0))

    def _combined_influence(self, model: Ranked) -> Any:
        ordering = load("ordering", self.backend)
        parts = []
        for labels, scores in model.parts:
            ordered = ordering.order(scores)
            if self.precision:
                parts.append(_precision_influence(host(ordered.rows), host(ordered.groups), host(labels)))
            else:
                parts.append(_auroc_influence(host(ordering.placements(ordered, labels)), host(labels)))
        if len(parts) == 1 or not self.weighted:
            return np.mean([influence for _, influence in parts], axis=0)
        values = np.array([value for value, _ in parts])
        positive = np.stack([host(labels) for labels, _ in model.parts]).astype(np.float64)
        share = positive.mean(axis=1) / positive.mean(axis=1).sum()
        weighted = sum(s * influence for s, (_, influence) in zip(share, parts, strict=True))
        moved = ((values - share @ values)[:, None] * positive).sum(axis=0) / positive.mean(axis=1).sum()
        return weighted + moved


def _auroc_influence(placements: Any, labels: Any) -> tuple[float, Any]:
    """AUROC and its influence: each row's placement against the mean, over the share of its class."""
    positive = labels.astype(bool)
    n, p = labels.shape[0], int(positive.sum())
    if p == 0 or p == n:
        return np.nan, np.full(n, np.nan)
    auc = placements[positive].sum() / (2.0 * p * (n - p))
    size = np.where(positive, 2.0 * (n - p), 2.0 * p)
    return auc, (placements / size - auc) * n / np.where(positive, p, n - p)


def _precision_influence(rows: Any, groups: Any, labels: Any) -> tuple[float, Any]:
    """Average precision and its influence, from its derivative by the weight of each row.

    With T and F the weights of positives and negatives down to a tie group's end, and d its positives, AP =
    sum d T / (T + F) / P. A row moves its own term (if positive) and T or F of every group from its own on.
    """
    n = labels.shape[0]
    count = int(groups[-1]) + 1 if n else 0
    label = labels[rows].astype(np.float64)
    d = np.bincount(groups, weights=label, minlength=count)
    tp, both = np.cumsum(d), np.cumsum(np.bincount(groups, minlength=count))
    positives = tp[-1] if count else 0.0
    if positives == 0:
        return np.nan, np.full(n, np.nan)
    ap = float((d * tp / both).sum() / positives)
    by_tp = np.cumsum((d * (both - tp) / both**2)[::-1])[::-1]
    by_fp = np.cumsum((-d * tp / both**2)[::-1])[::-1]
    up = (tp / both + by_tp) / positives - ap / positives
    out = np.empty(n)
    out[rows] = n * np.where(label > 0, up[groups], by_fp[groups] / positives)
    return ap, out
