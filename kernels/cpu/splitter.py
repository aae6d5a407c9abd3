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
_TILE = 256
_LINE = 16  # values of float32 in a cache line
_CHUNK = 1 << 30  # rows that 32-bit counters hold
_SAMPLE = 4096
_HEAVIEST_CELL = 0.004  # share of the sampled rows; above it sorting is as cheap
MINIMUM_ROWS = 50_000  # measured: below this many rows in either column sort and merge are as fast


def extremes(x: Any, y: Any, *, both: bool) -> tuple[int, int, int, int] | None:
    """``(n, m, d_max, d_min)`` of two unsorted (N,) and (M,) arrays of one working dtype, NaN left out.

    With `both` the two extremes are exact (Kuiper). Without it only the larger of d_max and -d_min is, which
    is all that two-sided Kolmogorov-Smirnov needs, and fewer cells survive.
    None when cells do not pay for these values (few rows, few distinct values, heavy tails): sort instead.
    Two reads of the data and 1 MB of counters; the integers are those of the rank primitive.
    """
    if min(x.size, y.size) < MINIMUM_ROWS:
        return None
    mapping = fit_cells(x, y)
    if mapping is None:
        return None
    low, scale = mapping
    left, right = rows_below(x, low, scale), rows_below(y, low, scale)
    n, m = int(left[CELLS]), int(right[CELLS])
    if n == 0 or m == 0:
        return n, m, 0, 0
    bounds = np.zeros(2, np.int64)
    survives = np.zeros(CELLS + 1, np.bool_)
    _bound(left, right, bounds, survives, both)
    kept_x, kept_y = (sorted_rows(v, low, scale, below, survives) for v, below in ((x, left), (y, right)))
    _refine(kept_x, kept_y, left, right, survives, bounds)
    return n, m, int(bounds[0]), int(bounds[1])


class Cells(NamedTuple):
    """Cells of one reference column, fitted once for many live windows."""

    low: Any
    scale: Any
    left: Any
    """(CELLS + 1,) int64, reference rows below each cell; the last entry is their number."""
    ascending: bool
    """Whether the rows were in order, and without NaN, when the cells were fitted: then a cell is a slice."""

    def rows(self, x: Any, wanted: Any) -> Any:
        """Those of the column `x` in the cells that (CELLS + 1,) bool `wanted` marks, ascending."""
        if self.ascending:
            return np.concatenate([x[:0], *(x[self.left[c] : self.left[c + 1]] for c in np.flatnonzero(wanted))])
        return sorted_rows(x, self.low, self.scale, self.left, wanted)


def fit_sorted(x: Any) -> Cells | None:
    """Cells of a sorted column without NaN, or None when they do not pay."""
    mapping = fit_cells(x, x) if x.size >= MINIMUM_ROWS else None
    return None if mapping is None else Cells(*mapping, rows_below(x, *mapping), ascending=True)


def extremes_fitted(x: Any, cells: Cells, y: Any, *, both: bool) -> tuple[int, int, int, int]:
    """As `extremes`, for a column with its cells: two reads of `y`, and one of `x` where that is not ascending."""
    left, right = cells.left, rows_below(y, cells.low, cells.scale)
    n, m = int(left[CELLS]), int(right[CELLS])
    bounds = np.zeros(2, np.int64)
    if m == 0:
        return n, m, 0, 0
    survives = np.zeros(CELLS + 1, np.bool_)
    _bound(left, right, bounds, survives, both)
    kept_x = cells.rows(x, survives)
    kept_y = sorted_rows(y, cells.low, cells.scale, right, survives)
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


def rows_below(x: Any, low: Any, scale: Any) -> Any:
    """(CELLS + 1,) int64 rows of one column below each cell; the last entry is the number that are not NaN."""
    below = np.zeros(CELLS + 1, np.int64)
    for first in range(0, x.size, _CHUNK):
        _count(x[first : first + _CHUNK], low, scale, below)
    return below


def sorted_rows(x: Any, low: Any, scale: Any, below: Any, wanted: Any) -> Any:
    """The rows of `x` in the cells that (CELLS + 1,) bool `wanted` marks, ascending; `below` from `rows_below`."""
    total = int((below[1:] - below[:-1])[wanted[:CELLS]].sum())
    kept = np.empty(total + 1, x.dtype)
    if x.size:
        _gather(x, low, scale, wanted.view(np.uint8), kept)
    return np.sort(kept[:total])


@njit(cache=True, nogil=True, inline="always")
def _cell(value, low, scale):  # type: ignore[no-untyped-def]
    position = (value - low) * scale
    position = position if position > type(low)(0) else type(low)(0)
    position = position if position < type(low)(CELLS - 1) else type(low)(CELLS - 1)
    return np.uint32(np.int32(position) if value == value else np.int32(CELLS))


@njit(cache=True, nogil=True)
def _count(x, low, scale, below):  # type: ignore[no-untyped-def]
    """Add the rows of `x` below each cell to `below`. Counters of 32 bits stay in the second cache."""
    counts = np.zeros(CELLS + 1, np.int32)
    cell = np.empty(_TILE, np.uint32)
    touched = x[0]
    whole = x.size // _TILE * _TILE
    for first in range(0, whole, _TILE):
        tile = x[first : first + _TILE]
        for q in range(_TILE):
            cell[q] = _cell(tile[q], low, scale)
        coming = x[min(first + _TILE, whole - _TILE) :]
        for start in range(0, _TILE, _LINE):
            # one load a cache line of the next tile: counting hides the way to memory
            touched = max(touched, coming[start])
            for q in range(_LINE):
                counts[cell[start + q]] += np.int32(1)
    for q in range(whole, x.size):
        counts[_cell(x[q], low, scale)] += np.int32(1)
    rows = 0
    for c in range(CELLS):
        rows += counts[c]
        below[c + 1] += rows
    return touched  # a result, or the loads would be dropped


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
def _gather(x, low, scale, wanted, kept):  # type: ignore[no-untyped-def]
    """The rows of `x` whose cell is `wanted` (0 or 1), in the order of the rows; the last place of `kept` is spare.

    Every row is written, and the place moves on where the row is wanted: no branch to mispredict.
    """
    cell = np.empty(_TILE, np.uint32)
    touched = x[0]
    whole = x.size // _TILE * _TILE
    k = np.uint64(0)
    for first in range(0, whole, _TILE):
        tile = x[first : first + _TILE]
        for q in range(_TILE):
            cell[q] = _cell(tile[q], low, scale)
        coming = x[min(first + _TILE, whole - _TILE) :]
        for start in range(0, _TILE, _LINE):
            touched = max(touched, coming[start])
        for q in range(_TILE):
            kept[k] = tile[q]
            k += np.uint64(wanted[cell[q]])
    for q in range(whole, x.size):
        kept[k] = x[q]
        k += np.uint64(wanted[_cell(x[q], low, scale)])
    return touched


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
