"""Exact Kolmogorov-Smirnov and Kuiper extremes of two unsorted columns, without sorting them.

A cell of a value is ``int((x - low) * scale)``, clamped to 0 .. K - 1. Subtraction of a constant and
multiplication by a positive one stay monotone under rounding, so cells never split a tie nor swap two values,
and the counts below each cell border are exact values of both distribution functions.

1. Count both columns in the cells (one read each). The extremes of D(z) = m F(z) - n G(z) over the borders
   are lower bounds; F at the right border with G at the left one bounds D inside a cell from above.
2. Only cells whose upper bound beats the lower bound can hold the extreme. Gather their rows (a second read,
   below 1 % of the rows as a rule), sort these alone, and merge cell by cell.

The worst case - most rows in one cell - costs the sort that `kernels.cpu.rank` would have done plus two
reads; a look at a few thousand rows avoids it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

CELLS = 32768
_TILE = 1024
_RUN = 32
_SAMPLE = 4096
_HEAVIEST_CELL = 0.004  # share of the sampled rows; above it sorting is as cheap
MINIMUM_ROWS = 50_000  # measured: below this many rows in either column sort and merge are as fast


def extremes(x: Any, y: Any, *, both: bool) -> tuple[int, int, int, int] | None:
    """``(n, m, d_max, d_min)`` of two unsorted (N,) and (M,) arrays of one working dtype, NaN left out.

    With `both` the two extremes are exact (Kuiper). Without it only the larger of d_max and -d_min is, which
    is all that two-sided Kolmogorov-Smirnov needs, and fewer cells survive.
    None when cells do not pay for these values (few rows, few distinct values, heavy tails): sort instead.
    Three to four reads of the data and 0.5 MB of counters; the integers are those of the rank primitive.
    """
    if min(x.size, y.size) < MINIMUM_ROWS:
        return None
    mapping = fit_cells(x, y)
    if mapping is None:
        return None
    low, scale = mapping
    below_x, below_y = cell_counts(x, low, scale), cell_counts(y, low, scale)
    left, right = _cumulate(below_x), _cumulate(below_y)
    n, m = int(left[CELLS]), int(right[CELLS])
    if n == 0 or m == 0:
        return n, m, 0, 0
    bounds = np.zeros(2, np.int64)
    survives = np.zeros(CELLS + 1, np.bool_)
    _bound(left, right, bounds, survives, both)
    kept_x = np.sort(_gather(x, low, scale, survives, int(below_x[:CELLS][survives[:CELLS]].sum())))
    kept_y = np.sort(_gather(y, low, scale, survives, int(below_y[:CELLS][survives[:CELLS]].sum())))
    _refine(kept_x, kept_y, left, right, survives, bounds)
    return n, m, int(bounds[0]), int(bounds[1])


class Cells(NamedTuple):
    """Cells of one sorted reference column, fitted once for many live windows."""

    low: Any
    scale: Any
    left: Any
    """(CELLS + 1,) int64, reference rows below each cell; the last entry is their number."""


def fit_sorted(x: Any) -> Cells | None:
    """Cells of a sorted column without NaN, or None when they do not pay."""
    mapping = fit_cells(x, x) if x.size >= MINIMUM_ROWS else None
    return None if mapping is None else Cells(*mapping, _cumulate(cell_counts(x, *mapping)))


def extremes_sorted(x: Any, cells: Cells, y: Any, *, both: bool) -> tuple[int, int, int, int]:
    """As `extremes`, for a sorted column with its cells against an unsorted one: two reads of `y`."""
    below_y = cell_counts(y, cells.low, cells.scale)
    left, right = cells.left, _cumulate(below_y)
    n, m = int(left[CELLS]), int(right[CELLS])
    bounds = np.zeros(2, np.int64)
    if m == 0:
        return n, m, 0, 0
    survives = np.zeros(CELLS + 1, np.bool_)
    _bound(left, right, bounds, survives, both)
    which = np.flatnonzero(survives)
    kept_x = np.concatenate([x[:0], *(x[left[c] : left[c + 1]] for c in which)])
    kept_y = np.sort(_gather(y, cells.low, cells.scale, survives, int(below_y[which].sum())))
    _refine(kept_x, kept_y, left, right, survives, bounds)
    return n, m, int(bounds[0]), int(bounds[1])


def fit_cells(x: Any, y: Any) -> tuple[Any, Any] | None:
    """``(low, scale)`` of the cells from a strided sample of both columns, or None when cells do not pay."""
    sample = np.concatenate([column[:: max(1, column.size // _SAMPLE)] for column in (x, y)])
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return None
    real = np.sort(sample).astype(np.float64)
    low, high = real[real.size // 1000], real[real.size - 1 - real.size // 1000]
    kind = np.float32 if sample.dtype == np.float32 else np.float64
    with np.errstate(over="ignore", divide="ignore"):
        origin, scale = kind(low), kind(CELLS / (high - low))
    if not (np.isfinite(scale) and scale > 0):
        return None
    occupied = np.bincount(np.clip((real - low) * np.float64(scale), 0, CELLS - 1).astype(np.int64))
    return None if occupied.max() > _HEAVIEST_CELL * real.size else (origin, scale)


def cell_counts(x: Any, low: Any, scale: Any) -> Any:
    """(CELLS + 1,) int64 counts of one column in the cells; the last entry counts NaN."""
    counts = np.zeros(CELLS + 1, np.int64)
    chunk = 1 << 30  # 32-bit counters inside a chunk, so that they stay in the second cache
    for first in range(0, x.size, chunk):
        part = np.zeros(CELLS + 1, np.int32)
        _count(x[first : first + chunk], low, scale, part)
        counts += part
    return counts


def _cumulate(counts: Any) -> Any:
    """(CELLS + 1,) int64: rows below each cell; the last entry is the number of rows that are not NaN."""
    below = np.zeros(CELLS + 1, np.int64)
    np.cumsum(counts[:CELLS], out=below[1:])
    return below


@njit(cache=True, nogil=True, inline="always")
def _cells(tile, low, scale, zero, top, cell):  # type: ignore[no-untyped-def]
    for q in range(tile.size):
        value = tile[q]
        position = (value - low) * scale
        position = position if position > zero else zero
        position = position if position < top else top
        cell[q] = np.int32(position) if value == value else np.int32(CELLS)


@njit(cache=True, nogil=True)
def _count(x, low, scale, counts):  # type: ignore[no-untyped-def]
    zero, top = type(low)(0), type(low)(CELLS - 1)
    cell = np.empty(_TILE, np.int32)
    for first in range(0, x.size, _TILE):
        tile = x[first : first + _TILE]
        _cells(tile, low, scale, zero, top, cell)
        for q in range(tile.size):
            counts[np.uint32(cell[q])] += np.int32(1)


@njit(cache=True, nogil=True)
def _bound(left, right, bounds, survives, both):  # type: ignore[no-untyped-def]
    """Extremes at the borders into `bounds`; cells of both columns that may exceed them into `survives`."""
    n, m = left[CELLS], right[CELLS]
    d_max = d_min = 0
    for c in range(CELLS):
        d = left[c] * m - right[c] * n
        d_max, d_min = max(d_max, d), min(d_min, d)
    highest, lowest = (d_max, d_min) if both else (max(d_max, -d_min), min(d_min, -d_max))
    for c in range(CELLS):
        mixed = left[c + 1] > left[c] and right[c + 1] > right[c]
        above = left[c + 1] * m - right[c] * n > highest
        below = left[c] * m - right[c + 1] * n < lowest
        survives[c] = mixed and (above or below)
    bounds[0], bounds[1] = d_max, d_min


@njit(cache=True, nogil=True)
def _gather(x, low, scale, survives, total):  # type: ignore[no-untyped-def]
    """The `total` rows of `x` whose cell survives, in the order of the rows.

    Survivors crowd around the extremes, so most runs of rows hold none inside the first and the last
    surviving cell: one SIMD test skips them.
    """
    first_cell, last_cell = np.int32(CELLS), np.int32(-1)
    for c in range(CELLS):
        if survives[c]:
            first_cell, last_cell = min(first_cell, np.int32(c)), np.int32(c)
    kept = np.empty(total + 1, x.dtype)
    zero, top = type(low)(0), type(low)(CELLS - 1)
    cell = np.empty(_TILE, np.int32)
    k = 0
    for first in range(0, x.size, _TILE):
        tile = x[first : first + _TILE]
        _cells(tile, low, scale, zero, top, cell)
        for start in range(0, tile.size, _RUN):
            run = cell[start : min(start + _RUN, tile.size)]
            inside = np.int32(0)
            for q in range(run.size):
                inside = np.int32(inside | np.int32((run[q] >= first_cell) & (run[q] <= last_cell)))
            if inside:
                for q in range(run.size):
                    kept[k] = tile[start + q]
                    k += survives[np.uint32(run[q])]
    return kept[:total]


@njit(cache=True, nogil=True)
def _refine(x, y, left, right, survives, bounds):  # type: ignore[no-untyped-def]
    """Merge the sorted rows of the surviving cells, each from the exact counts at its left border."""
    n, m = left[CELLS], right[CELLS]
    d_max, d_min = bounds[0], bounds[1]
    i = j = 0
    for c in range(CELLS):
        if not survives[c]:
            continue
        before_x, before_y = left[c] - i, right[c] - j
        i_end, j_end = i + left[c + 1] - left[c], j + right[c + 1] - right[c]
        while i < i_end and j < j_end:
            z = x[i] if x[i] <= y[j] else y[j]
            while i < i_end and x[i] == z:
                i += 1
            while j < j_end and y[j] == z:
                j += 1
            d = (before_x + i) * m - (before_y + j) * n
            d_max, d_min = max(d_max, d), min(d_min, d)
        i, j = i_end, j_end
    bounds[0], bounds[1] = d_max, d_min
