"""Metrics of the order of scores: AUROC and average precision.

Shapes: N rows, S segments, R replicates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernels.dispatch import load
from kernels.measures import moments
from kernels.resample.inputs import host
from kernels.resample.problems import Draw, Segments


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
                values.append(moments.mean(precision, tp) if self.precision else moments.ranking(pairs, tp, fp))
            result.append(self.combine(values, shares))
        return result

    def replicates(self, segments: Segments, draw: Draw) -> list[Any]:
        ordering = load("ordering", self.backend)
        result = []
        for model in self.models:
            values, shares = [], []
            for labels, scores in model.parts:
                ordered = self._ordered(ordering, scores, segments)
                value, share = self.walk(ordered, ordering.flags(ordered, labels), draw.ids[ordered.rows], draw)
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
