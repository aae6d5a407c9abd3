"""What a profile keeps of each reference column, and how a column is fitted.

Shapes: N reference rows, B bins, C categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kernels import dispatch
from kernels.arrays import stream_of
from kernels.drift import window
from kernels.drift.binned import given_edges
from kernels.drift.quantiles import counts_of_sorted, quantile_bins, quantile_positions
from kernels.sums import order_statistics_of_sorted


@dataclass(slots=True, eq=False)
class HeldRows:
    """The rows of one reference column: as they came until a statistic needs them in order, then ascending."""

    rows: Any
    """(N,) working dtype; NaN stays while it is not ascending"""
    ascending: bool

    def put(self, ordered: Any) -> None:
        """Replace the rows by the same rows, ascending and without NaN."""
        self.rows, self.ascending = ordered, True


@dataclass(frozen=True, slots=True, eq=False)
class NumericColumn:
    """One reference column and its bins."""

    name: str
    held: HeldRows
    missing: int
    edges: Any
    """(B - 1,) ascending host array of the dtype of the rows"""
    counts: Any
    """(B,) int64"""
    sigma: float
    """Interquartile range / 1.349, or the standard deviation where that is 0: the unit of
    wasserstein_normed."""
    cells: list[Any] = field(default_factory=list, repr=False)
    """What the rank primitive fits for unsorted live columns: filled when first needed, never stored."""

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    @property
    def values(self) -> Any:
        """(n,) ascending, working dtype, no NaN; sorts when first needed."""
        order([self])
        return self.held.rows


def order(columns: Sequence[NumericColumn]) -> None:
    """Sort the rows of the columns where that is still to do, in one call of the primitive."""
    waiting = [column.held for column in columns if not column.held.ascending]
    if waiting:
        module = dispatch.implementation("rank", *(held.rows for held in waiting)).module
        ordered = module.sort_columns([held.rows for held in waiting])
        for held, values, n in zip(waiting, ordered.values, ordered.n, strict=True):
            held.put(values[: int(n)])


@dataclass(frozen=True, slots=True, eq=False)
class CategoricalColumn:
    """Counts of one column of categories."""

    name: str
    categories: tuple[Any, ...]
    """C strings, numbers or booleans, most frequent first"""
    counts: Any
    """(C,) int64"""
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
        if isinstance(bins, int | np.integer):
            found = module.order_statistics(list(raw), lambda n: _positions(n, int(bins)), keep=True)
            edges, counted = quantile_bins(found, int(bins))
        else:
            edges = [given_edges(bins, len(raw), str(v.dtype))[f] for f, v in enumerate(raw)]
            ordered = module.sort_columns(list(raw))
            counted = counts_of_sorted(ordered, edges)
            found = order_statistics_of_sorted(ordered, _quartiles, keep=True)
    columns = []
    for f, name in enumerate(sources):
        held, missing = HeldRows(found.kept[f], found.ordered[f]), int(found.missing[f]) + nulls[f]
        column = NumericColumn(name, held, missing, edges[f], counted.counts[f], _spread(found.values[f]))
        if not (np.isfinite(column.sigma) and column.sigma > 0):
            column = replace(column, sigma=_deviation(column.values))
        columns.append(column)
    return columns


def _positions(n: int, bins: int) -> Any:
    return np.concatenate([quantile_positions(n, bins), _quartiles(n)])


def _quartiles(n: int) -> Any:
    return np.array([(n - 1) // 4, (3 * (n - 1) + 3) // 4] if n else [], dtype=np.int64)


def _spread(values: Any) -> float:
    """Interquartile range / 1.349 from order statistics that end with the quartiles."""
    if values.size == 0:
        return float("nan")
    low, high = (v.item() for v in values[-2:])
    return float(high - low) / 1.349


def _deviation(ordered: Any) -> float:
    """Standard deviation of the finite values."""
    kept = ordered.astype(np.float64)
    kept = kept[(kept > -np.inf) & (kept < np.inf)]
    with np.errstate(over="ignore", invalid="ignore"):
        return float((kept - kept[0]).std()) if kept.shape[0] else float("nan")


def fit_categorical(name: str, raw: Any) -> CategoricalColumn:
    counted, missing = window.count_values(raw, name)
    ranked = sorted(counted.items(), key=lambda item: (-item[1], str(item[0])))
    counts = np.array([rows for _, rows in ranked], dtype=np.int64)
    return CategoricalColumn(name, tuple(category for category, _ in ranked), counts, missing)
