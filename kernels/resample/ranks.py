"""Metrics of the order of scores: AUROC and average precision.

Shapes: N rows, S segments, R replicates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from kernels.dispatch import load
from kernels.measures import moments
from kernels.resample.inputs import host
from kernels.resample.problems import Draw, Segments


class Part(NamedTuple):
    """Labels (N,) uint8, scores (N,) of a working dtype, and which rows take part: bool (N,), or None for all."""

    labels: Any
    scores: Any
    member: Any = None

    def rows(self) -> Any:
        """The rows that take part, as an index. # synchronises"""
        return slice(None) if self.member is None else np.nonzero(self.member)[0]


@dataclass(frozen=True, slots=True)
class Ranked:
    """One model: two classes are one part; many are one against the rest each, or both ways against each other."""

    parts: list[Part]


@dataclass(frozen=True, slots=True)
class Ranks:
    """Metrics of the order of scores: AUROC, or average precision."""

    models: list[Ranked]
    precision: bool
    weighted: bool  # parts count by their positives, or pairs of classes by their rows, instead of equally
    backend: str

    def estimate(self, segments: Segments) -> list[Any]:
        ordering = load("ordering", self.backend)
        result = []
        for model in self.models:
            values, shares = [], []
            for part in model.parts:
                ordered, labels, _ = self._ordered(ordering, part, segments)
                pairs, tp, fp, precision = (host(x) for x in ordering.ranking_sums(ordered, labels))
                shares.append((tp if part.member is None else tp + fp).astype(np.float64))
                values.append(moments.mean(precision, tp) if self.precision else moments.ranking(pairs, tp, fp))
            result.append(self.combine(values, shares))
        return result

    def replicates(self, segments: Segments, draw: Draw) -> list[Any]:
        ordering = load("ordering", self.backend)
        result = []
        for model in self.models:
            values, shares = [], []
            for part in model.parts:
                ordered, labels, rows = self._ordered(ordering, part, segments)
                ids, flags = draw.ids[rows][ordered.rows], ordering.flags(ordered, labels)
                value, share = self.walk(ordered, flags, ids, draw, pair=part.member is not None)
                values.append(value)
                shares.append(share)
            result.append(self.combine(values, shares))
        return result

    def walk(
        self, ordered: Any, flags: Any, ids: Any, draw: Draw, flips: Any = None, *, pair: bool = False
    ) -> tuple[Any, Any]:
        """The metric of one part under each replicate, and the weight that it counts by, (S, R) on the host."""
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
        return moments.ranking(pairs, tp, fp), (tp + fp if pair else tp).astype(np.float64)

    def influence(self) -> list[Any]:
        return [self._combined_influence(model) for model in self.models]

    def take(self, rows: Any) -> Ranks:
        return replace(
            self,
            models=[Ranked([Part(*(None if x is None else x[rows] for x in p)) for p in m.parts]) for m in self.models],
        )

    def _ordered(self, ordering: Any, part: Part, segments: Segments) -> tuple[Any, Any, Any]:
        """The order of the part's rows within each segment, their labels, and which rows they are."""
        rows = part.rows()
        ordered = ordering.order(part.scores[rows])
        if segments.codes is not None:
            ordered = ordering.split(ordered, segments.codes[rows], segments.count)
        return ordered, part.labels[rows], rows

    def combine(self, values: list[Any], shares: list[Any]) -> Any:
        if len(values) == 1:
            return values[0]
        stacked = np.stack(values)
        if not self.weighted:
            return stacked.mean(axis=0)
        share = np.stack(shares)
        counted = np.where(share > 0, stacked * share, 0.0)  # as in the metric: a class without rows has no say
        return moments.mean(counted.sum(axis=0), share.sum(axis=0))

    def _combined_influence(self, model: Ranked) -> Any:
        ordering = load("ordering", self.backend)
        values, influences, counted = [], [], []
        for part in model.parts:
            ordered, labels, rows = self._ordered(ordering, part, Segments(None, 1))
            if self.precision:
                value, own = _precision_influence(host(ordered.rows), host(ordered.groups), host(labels))
            else:
                value, own = _auroc_influence(host(ordering.placements(ordered, labels)), host(labels))
            n = int(part.labels.shape[0])
            influence = np.zeros(n)
            influence[rows if isinstance(rows, slice) else host(rows)] = own * (n / max(own.shape[0], 1))
            values.append(value)
            influences.append(influence)
            counted.append(host(part.labels if part.member is None else part.member).astype(np.float64))
        if len(values) == 1 or not self.weighted:
            return np.mean(influences, axis=0)
        weight = np.stack(counted)
        total = weight.mean(axis=1).sum()
        share = weight.mean(axis=1) / total
        moved = ((np.array(values) - share @ np.array(values))[:, None] * weight).sum(axis=0) / total
        return share @ np.stack(influences) + moved


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
