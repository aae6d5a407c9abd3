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
        if n == 0:
            edges.append(values[:0])
            counts.append(np.zeros(1, np.int64))
            continue
        at, low, high = (v[None, : bins + 1] for v in (values, below, upto))
        grid, left, used = quantile_grid(np, at, low, high, np.array([n]))
        edges.append(grid[0, : used[0]])
        counts.append(np.diff(np.concatenate([[0], left[0, : used[0]], [n]])).astype(np.int64))
    return edges, HistogramCounts(tuple(counts), found.missing)


def quantile_grid(xp: Any, at: Any, below: Any, upto: Any, n: Any) -> tuple[Any, Any, Any]:
    """Edges of F columns of one dtype from the values at their `quantile_positions`, without a size that depends on
    values: device arrays never wait.

    at            (F, B + 1) ascending
    below, upto   (F, B + 1) int64, rows smaller than each value, and rows not larger
    n             (F,) int64

    Returns (F, B + 1) ascending edges, of which the first `used` (F,) count and the others are the largest number; and
    (F, B + 1) int64, the rows below each edge, n beyond `used`. B + 1 suffice: a value needs two of the B + 1 positions
    to have an edge behind it as well.
    """
    parts = at.shape[1] - 1
    atom = at[:, 1:] == at[:, :-1]
    values = xp.concatenate([at[:, 1:-1], next_up(at[:, 1:])], axis=1)
    left = xp.concatenate([below[:, 1:-1], upto[:, 1:]], axis=1)
    chosen = xp.concatenate([xp.ones_like(atom[:, 1:]), atom], axis=1) & (n > 0)[:, None]
    top = at.dtype.type(np.inf if at.dtype.kind == "f" else np.iinfo(at.dtype).max)
    largest = chosen & (values == top)
    ends_at_top = largest.any(axis=1)
    below_top = xp.where(largest, left, n[:, None]).min(axis=1)  # the largest number is its own next one
    values = xp.where(chosen, values, top)
    values, left = _along(xp, xp.argsort(values, axis=1), values, left)
    fresh = values < top
    fresh[:, 1:] &= values[:, 1:] > values[:, :-1]
    place = xp.arange(values.shape[1])
    values, left = _along(xp, xp.argsort(xp.where(fresh, place, place.shape[0]), axis=1), values, left)
    distinct = fresh.sum(axis=1)
    inner, last = place < distinct[:, None], (place == distinct[:, None]) & ends_at_top[:, None]
    edges = xp.where(inner, values, top)
    rows = xp.where(inner, left, xp.where(last, below_top[:, None], n[:, None]))
    return edges[:, : parts + 1], rows[:, : parts + 1], distinct + ends_at_top


def _along(xp: Any, order: Any, *arrays: Any) -> list[Any]:
    return [xp.take_along_axis(array, order, axis=1) for array in arrays]


def next_up(values: Any) -> Any:
    """The next representable number of each value; the largest one stays."""
    if values.dtype.kind == "f":
        return np.nextafter(values, values.dtype.type(np.inf))
    return values + (values < values.dtype.type(np.iinfo(values.dtype).max)).astype(values.dtype)


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
