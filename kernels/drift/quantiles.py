"""Bins on the quantiles of a reference column, and the counts of the reference between them.

Shapes: F columns, B bins. Edges are host arrays of the dtype of their column; see `kernels.drift.binned` for what a
bin is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels import dispatch
from kernels.errors import OptionError
from kernels.sums import HistogramCounts, OrderStatistics, SortedColumns, order_statistics_of_sorted


def quantile_positions(n: int, bins: int) -> Any:
    """(B + 1,) int64: the positions floor(k n / B), k = 0 .. B, of n sorted values; () when there are none."""
    if isinstance(bins, bool) or bins < 2:
        raise OptionError(f"bins: {bins!r} - use an integer of at least 2, or edges")
    return np.minimum(np.arange(bins + 1, dtype=np.int64) * n // bins, n - 1)[: bins + 1 if n else 0]


def quantile_edges(columns: SortedColumns, bins: int) -> list[Any]:
    """Edges on reference quantiles of sorted columns: F ascending host arrays, at most ``2 bins - 1`` long.

    Example: values [0, 0, 0, 1, 2, 3], bins=3 -> [0, next after 0, 2].
    """
    found = order_statistics_of_sorted(columns, lambda n: quantile_positions(n, bins), keep=False)
    return quantile_bins(found, bins)[0]


def quantile_bins(found: OrderStatistics, bins: int) -> tuple[list[Any], HistogramCounts]:
    """Edges of every column and the counts between them; `found` begins with `quantile_positions`."""
    edges, counts = [], []
    for values, below, upto, n in zip(found.values, found.below, found.upto, found.n, strict=True):
        at, low, high = (v[: bins + 1] for v in (values, below, upto))
        atom = np.flatnonzero(at[1:] == at[:-1]) + 1
        # the first of equal candidates counts: the largest number is its own next one
        candidates = np.concatenate([at[1:-1], at[atom], next_up(at[atom])])
        edge, first = np.unique(candidates, return_index=True)
        left = np.concatenate([low[1:-1], low[atom], high[atom]])[first]
        edges.append(edge)
        counts.append(np.diff(np.concatenate([[0], left, [int(n)]])).astype(np.int64))
    return edges, HistogramCounts(tuple(counts), found.missing)


def next_up(values: Any) -> Any:
    """The next representable number of each value; the largest one stays."""
    if values.dtype.kind == "f":
        return np.nextafter(values, values.dtype.type(np.inf))
    top = np.iinfo(values.dtype).max
    return np.where(values < top, values + (values < top).astype(values.dtype), values)


def counts_of_sorted(columns: SortedColumns, edges: Sequence[Any]) -> HistogramCounts:
    """Counts of sorted columns between their edges by binary search of the edges alone."""
    counts = []
    for values, n, edge in zip(columns.values, columns.n, edges, strict=True):
        below = values[: int(n)].searchsorted(_like(edge, values), side="left")
        host = below if isinstance(below, np.ndarray) else below.get()
        counts.append(np.diff(np.concatenate([[0], host, [int(n)]])).astype(np.int64))
    missing = columns.missing if isinstance(columns.missing, np.ndarray) else columns.missing.get()
    return HistogramCounts(tuple(counts), missing)


def _like(edge: Any, values: Any) -> Any:
    if isinstance(values, np.ndarray):
        return edge
    return dispatch.load_cupy().asarray(edge)
