"""What a profile keeps of each reference column, and how a column is fitted.

Shapes: N reference rows, B bins, C categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernels import dispatch
from kernels.arrays import stream_of
from kernels.drift import window
from kernels.drift.binned import counts_of_sorted, given_edges, quantile_edges

MAX_CATEGORIES = 1000
"""More frequent categories than this keep a count of their own; the rest is pooled with what is unseen."""


@dataclass(frozen=True, slots=True, eq=False)
class NumericColumn:
    """One sorted column and its bins."""

    name: str
    values: Any
    """(n,) ascending, working dtype, no NaN"""
    missing: int
    edges: Any
    """(B - 1,) ascending host array of the dtype of `values`"""
    counts: Any
    """(B,) int64"""
    sigma: float
    """Interquartile range / 1.349, or the standard deviation where that is 0: the unit of
    wasserstein_normed."""
    cells: list[Any] = field(default_factory=list, repr=False)
    """What the rank primitive fits for unsorted live columns: filled when first needed, never stored."""

    @property
    def n(self) -> int:
        return int(self.values.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class CategoricalColumn:
    """Counts of one column of categories."""

    name: str
    categories: tuple[Any, ...]
    """C strings, numbers or booleans, most frequent first"""
    counts: Any
    """(C + 1,) int64; the last entry holds the categories beyond MAX_CATEGORIES"""
    missing: int

    @property
    def n(self) -> int:
        return int(self.counts.sum())


Column = NumericColumn | CategoricalColumn


def fit_numeric(sources: dict[str, Any], bins: int | Sequence[Any], backend: str | None) -> list[NumericColumn]:
    if not sources:
        return []
    raw, nulls = zip(*(window.numeric_values(column, name) for name, column in sources.items()), strict=True)
    module = dispatch.implementation("rank", *raw, backend=backend).module
    with stream_of(next(iter(sources.values()))):
        ordered = module.sort_columns(list(raw))
        if isinstance(bins, int | np.integer):
            edges = quantile_edges(ordered, int(bins))
        else:
            edges = [given_edges(bins, len(raw), str(v.dtype))[f] for f, v in enumerate(raw)]
        counts = counts_of_sorted(ordered, edges)
    return [
        NumericColumn(
            name,
            ordered.values[f][: int(ordered.n[f])],
            int(ordered.missing[f]) + nulls[f],
            edges[f],
            counts.counts[f],
            _sigma(ordered.values[f], int(ordered.n[f])),
        )
        for f, name in enumerate(sources)
    ]


def _sigma(ordered: Any, n: int) -> float:
    if n == 0:
        return float("nan")
    ends = ordered[np.array([(n - 1) // 4, (3 * (n - 1) + 3) // 4])]
    low, high = (v.item() for v in (ends if isinstance(ends, np.ndarray) else ends.get()))
    spread = float(high - low) / 1.349
    if np.isfinite(spread) and spread > 0:
        return spread
    kept = ordered[:n].astype(np.float64)
    kept = kept[(kept > -np.inf) & (kept < np.inf)]
    with np.errstate(over="ignore", invalid="ignore"):
        return float((kept - kept[0]).std()) if kept.shape[0] else float("nan")


def fit_categorical(name: str, raw: Any) -> CategoricalColumn:
    counted, missing = window.count_values(raw, name)
    ranked = sorted(counted.items(), key=lambda item: (-item[1], str(item[0])))
    kept, rest = ranked[:MAX_CATEGORIES], ranked[MAX_CATEGORIES:]
    counts = np.array([rows for _, rows in kept] + [sum(rows for _, rows in rest)], dtype=np.int64)
    return CategoricalColumn(name, tuple(category for category, _ in kept), counts, missing)
