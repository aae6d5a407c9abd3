"""The rank primitive on the CPU: NumPy sorts, Numba merges; columns in parallel threads.

The merge is branchless. Each step takes the smaller head, and writes value and counts into slot k of a small
buffer, where k moves on only when the value differs from the one before; so a tie group, whichever side it
comes from, ends up as one slot. Two merges run interleaved, one from the front and one from a tie-aligned cut
in the middle, because a single chain of dependent loads would leave most of the core idle. A second loop
without dependencies turns full buffers into sums.

Cost for n + m values: two sorts, then about 4 ns a value. No memory beyond the sorted columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from kernels.cpu import selection, splitter
from kernels.cpu.layout import split_columns
from kernels.cpu.placement import place
from kernels.cpu.threads import map_columns
from kernels.sums import Extremes, OrderStatistics, PlacementSums, RankCounts, RankSums, SortedColumns, scale_rank_sums

__all__ = [
    "extremes",
    "extremes_fitted",
    "fit_cells",
    "order_statistics",
    "placement_sums",
    "rank_counts",
    "rank_sums",
    "sort_columns",
    "split_columns",
]

_BLOCK = 512
_LANES = 8  # float sums run in this many fixed lanes: fast, and the same on every machine
_INTEGERS = 3  # d_max, d_min, u2
_FLOATS = 6  # wasserstein, energy, squares, correction, ad, tie_cubes


def sort_columns(columns: Sequence[Any]) -> SortedColumns:
    """F arrays of shape (N_f,), working dtype, strides allowed -> ascending copies without NaN.

    O(N log N) a column, in threads; NumPy's SIMD sort puts NaN last whatever its sign bit.
    """

    def ordered(column: int) -> Any:
        values = np.sort(columns[column])
        if values.dtype.kind == "f" and values.size and values[-1] != values[-1]:
            values = values[: int(np.searchsorted(values, np.nan))]
        return values

    values = map_columns(ordered, len(columns), sum(column.size for column in columns))
    n = np.array([column.size for column in values], dtype=np.int64)
    total = np.array([column.size for column in columns], dtype=np.int64)
    return SortedColumns(tuple(values), n, total - n)


def order_statistics(
    columns: Sequence[Any], positions: Callable[[int], Any], *, keep: bool, immutable: Sequence[bool] = ()
) -> OrderStatistics:
    """Values at the positions that `positions` gives for n sorted values, by cells where that pays, else by sorting.

    What is kept is a copy, but for columns that are said to be `immutable`.
    """
    return selection.order_statistics(columns, positions, sort_columns, keep=keep, immutable=immutable)


def rank_counts(reference: SortedColumns, live: SortedColumns) -> RankCounts:
    """KS+, KS-, Kuiper and U of each pair of columns; see RankCounts."""
    return _merge_all(reference, live, full=False).counts


def rank_sums(reference: SortedColumns, live: SortedColumns) -> RankSums:
    """All rank statistics of each pair of columns in one merge; see RankSums. Empty columns give zeros."""
    return _merge_all(reference, live, full=True)


def extremes(reference: Sequence[Any], live: Sequence[Any], *, both: bool) -> Extremes:
    """Sizes and extremes of D(z) of unsorted columns, by cells where that pays, else by sort and merge.

    Without `both` only the larger of d_max and -d_min is exact; see `kernels.cpu.splitter`.
    """

    def column_extremes(column: int) -> tuple[int, ...]:
        x, y = reference[column], live[column]
        found = splitter.extremes(x, y, both=both)
        if found is None:
            counts = rank_counts(sort_columns([x]), sort_columns([y]))
            found = int(counts.n[0]), int(counts.m[0]), int(counts.d_max[0]), int(counts.d_min[0])
        n, m, d_max, d_min = found
        return n, m, x.size - n, y.size - m, d_max, d_min

    work = sum(column.size for columns in (reference, live) for column in columns)
    rows = map_columns(column_extremes, len(reference), work)
    return Extremes(*np.array(rows, dtype=np.int64).reshape(-1, 6).T)


def fit_cells(reference: SortedColumns) -> list[splitter.Cells | None]:
    """What `extremes_fitted` needs to know of each sorted reference column; None where sorting is as good."""
    work = int(reference.n.sum())
    return map_columns(lambda f: splitter.fit_sorted(reference.values[f]), len(reference.values), work)


def extremes_fitted(reference: SortedColumns, cells: Sequence[Any], live: Sequence[Any], *, both: bool) -> Extremes:
    """As `extremes` for a reference that was fitted: its columns are ascending, or in any order where their cells say
    so; the live columns may be in any order."""

    def column_extremes(column: int) -> tuple[int, ...]:
        x, y = reference.values[column], live[column]
        if cells[column] is not None and y.dtype == x.dtype:
            n, m, d_max, d_min = splitter.extremes_fitted(x, cells[column], y, both=both)
            return n, m, y.size - m, d_max, d_min
        one = SortedColumns((x,), reference.n[column : column + 1], reference.missing[column : column + 1])
        counts = rank_counts(one, sort_columns([y]))
        m = int(counts.m[0])
        return int(counts.n[0]), m, y.size - m, int(counts.d_max[0]), int(counts.d_min[0])

    rows = map_columns(column_extremes, len(live), sum(column.size for column in live))
    n, m, missing, d_max, d_min = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    return Extremes(n, m, reference.missing, missing, d_max, d_min)


def _merge_all(reference: SortedColumns, live: SortedColumns, *, full: bool) -> RankSums:
    columns = len(reference.values)
    integers = np.zeros((_INTEGERS, columns), np.int64)
    floats = np.zeros((_FLOATS, columns), np.float64)

    def merge(column: int) -> None:
        x, y = reference.values[column], live.values[column]
        if x.size and y.size:
            _merge(x, y, integers[:, column], floats[:, column], full)

    map_columns(merge, columns, int(reference.n.sum() + live.n.sum()))
    counts = RankCounts(reference.n, live.n, *integers)
    return scale_rank_sums(np, counts, floats)


def placement_sums(reference: SortedColumns, live: SortedColumns) -> PlacementSums:
    """Exact sums of the DeLong placements of each pair of columns; see PlacementSums."""
    columns = len(reference.values)
    sums = np.zeros((5, columns), np.int64)

    def place_column(column: int) -> None:
        place(reference.values[column], live.values[column], sums[:, column])

    map_columns(place_column, columns, int(reference.n.sum() + live.n.sum()))
    return PlacementSums(reference.n, live.n, *sums)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _step(x, y, i, j, k, last, value, left, right):  # type: ignore[no-untyped-def]
    """Take the smaller head; a new value opens the next slot, an equal one overwrites the slot in place."""
    a, b = x[i], y[j]  # both loads come first: a conditional load would turn the select into a branch
    from_x = a <= b
    z = a if from_x else b
    i += from_x
    j += not from_x
    k += z != last
    value[k] = z
    left[k] = i
    right[k] = j
    return i, j, k, z


def _gap(upper: Any, lower: Any) -> float:
    """Distance of two values as float64; integers are subtracted as integers. Compiled by `_gap_of` below."""
    raise NotImplementedError("only compiled code calls this")


@overload(_gap, inline="always")
def _gap_of(upper, lower):  # type: ignore[no-untyped-def]
    if isinstance(upper, types.Float):
        return lambda upper, lower: np.float64(upper) - np.float64(lower)
    # wrapped to uint64, values 2**64 - 1 apart are still exact
    return lambda upper, lower: np.float64(np.uint64(upper) - np.uint64(lower))


@njit(cache=True, nogil=True, error_model="numpy")
def _absorb(value, left, right, slots, n, m, integers, lanes, terms, full):  # type: ignore[no-untyped-def]
    """Add the complete groups in slots 1 .. slots - 1 to the sums; slot 0 holds the group before them."""
    d_max, d_min, u2 = integers[0], integers[1], integers[2]
    for k in range(1, slots):
        d = left[k] * m - right[k] * n
        d_max = max(d_max, d)
        d_min = min(d_min, d)
        u2 += (right[k] - right[k - 1]) * (left[k - 1] + left[k])
    integers[0], integers[1], integers[2] = d_max, d_min, u2
    if not full:
        return
    fn, fm = np.float64(n), np.float64(m)
    total, inverse = fn + fm, 1.0 / (fn * fm)
    for k in range(1, slots):
        d0 = np.float64(left[k - 1] * m - right[k - 1] * n)
        d1 = np.float64(left[k] * m - right[k] * n)
        f = np.float64(left[k] - left[k - 1])
        g = np.float64(right[k] - right[k - 1])
        size = f + g
        width = _gap(value[k], value[k - 1]) if d0 != 0.0 else 0.0
        gap = abs(d0) * inverse
        below = np.float64(left[k - 1] + right[k - 1]) + 0.5 * size
        spread = below * (total - below) - 0.25 * total * size
        middle = 0.5 * (d0 + d1)
        terms[0, k - 1] = gap * width
        terms[1, k - 1] = gap * gap * width
        terms[2, k - 1] = size * (d0 * d0 + d0 * d1 + d1 * d1) / 3.0
        terms[3, k - 1] = fn * f * (f * f - 1.0 - g * g) + fm * g * (g * g - 1.0 - f * f)
        terms[4, k - 1] = size * middle * middle / spread if spread > 0.0 else 0.0
        terms[5, k - 1] = size * size * size - size
    padded = (slots - 1 + _LANES - 1) // _LANES * _LANES
    for t in range(_FLOATS):
        terms[t, slots - 1 : padded] = 0.0
        for start in range(0, padded, _LANES):
            for lane in range(_LANES):
                lanes[t, lane] += terms[t, start + lane]


@njit(cache=True, nogil=True, error_model="numpy")
def _slide(value, left, right, k):  # type: ignore[no-untyped-def]
    """The last complete group becomes slot 0 and the group that may still grow slot 1."""
    for slot in range(2):
        value[slot] = value[k - 1 + slot]
        left[slot] = left[k - 1 + slot]
        right[slot] = right[k - 1 + slot]


@njit(cache=True, nogil=True, error_model="numpy")
def _open(x, y, i, j, value, left, right):  # type: ignore[no-untyped-def]
    """Fill slot 0 with the group that ends at the cut (i, j); return the first value of slot 1."""
    from_x = i < x.size and (j == y.size or x[i] <= y[j])
    head = x[i] if from_x else y[j]
    previous = head
    if i > 0 and j > 0:
        previous = x[i - 1] if x[i - 1] >= y[j - 1] else y[j - 1]
    elif i > 0:
        previous = x[i - 1]
    elif j > 0:
        previous = y[j - 1]
    value[0], left[0], right[0] = previous, i, j
    return head


@njit(cache=True, nogil=True, error_model="numpy")
def _finish(x, y, i, i_end, j, j_end, last, value, left, right, integers, lanes, terms, full):  # type: ignore[no-untyped-def]
    """Merge what remains of x[i:i_end] and y[j:j_end]; slot 1 is open and holds the value `last`."""
    n, m = x.size, y.size
    while i < i_end or j < j_end:
        k = 1
        if i < i_end and j < j_end:
            for _ in range(min(i_end - i, j_end - j, _BLOCK)):
                i, j, k, last = _step(x, y, i, j, k, last, value, left, right)
        else:
            from_x = i < i_end
            for _ in range(min(i_end - i + j_end - j, _BLOCK)):
                z = x[i] if from_x else y[j]
                i += from_x
                j += not from_x
                k += z != last
                last = z
                value[k], left[k], right[k] = z, i, j
        _absorb(value, left, right, k, n, m, integers, lanes, terms, full)
        _slide(value, left, right, k)
    _absorb(value, left, right, 2, n, m, integers, lanes, terms, full)


@njit(cache=True, nogil=True, error_model="numpy")
def _merge(x, y, integers, floats, full):  # type: ignore[no-untyped-def]
    """All sums of two sorted, non-empty columns."""
    n, m = x.size, y.size
    value = np.empty((2, _BLOCK + 2), x.dtype)
    left = np.empty((2, _BLOCK + 2), np.int64)
    right = np.empty((2, _BLOCK + 2), np.int64)
    terms = np.zeros((_FLOATS, _BLOCK + _LANES))
    lanes = np.zeros((_FLOATS, _LANES))
    i, j = 0, 0
    i2 = i_cut = np.searchsorted(x, x[n // 2])
    j2 = j_cut = np.searchsorted(y, x[n // 2])
    last = _open(x, y, 0, 0, value[0], left[0], right[0])
    last2 = _open(x, y, i2, j2, value[1], left[1], right[1])
    front_value, front_left, front_right = value[0], left[0], right[0]
    back_value, back_left, back_right = value[1], left[1], right[1]
    while i < i_cut and j < j_cut and i2 < n and j2 < m:
        k = k2 = 1
        for _ in range(min(i_cut - i, j_cut - j, n - i2, m - j2, _BLOCK)):
            i, j, k, last = _step(x, y, i, j, k, last, front_value, front_left, front_right)
            i2, j2, k2, last2 = _step(x, y, i2, j2, k2, last2, back_value, back_left, back_right)
        _absorb(front_value, front_left, front_right, k, n, m, integers, lanes, terms, full)
        _absorb(back_value, back_left, back_right, k2, n, m, integers, lanes, terms, full)
        _slide(front_value, front_left, front_right, k)
        _slide(back_value, back_left, back_right, k2)
    if i_cut + j_cut > 0:
        _finish(x, y, i, i_cut, j, j_cut, last, value[0], left[0], right[0], integers, lanes, terms, full)
    _finish(x, y, i2, n, j2, m, last2, value[1], left[1], right[1], integers, lanes, terms, full)
    for t in range(_FLOATS):
        for lane in range(_LANES):
            floats[t] += lanes[t, lane]
