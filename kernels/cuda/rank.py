"""The rank primitive on CUDA: sorts, then one merge launch for all columns of a dtype. No host synchronisation.

Kolmogorov-Smirnov and Kuiper alone sort no long live column; see `kernels.cuda.splitter`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernels.cuda import splitter
from kernels.cuda.source import launch, module, pointers, suffix
from kernels.sums import (
    Extremes,
    OrderStatistics,
    PlacementSums,
    RankCounts,
    RankSums,
    SortedColumns,
    order_statistics_of_sorted,
    scale_rank_sums,
)

_THREADS = 128  # kThreads, kTile, kIntegers and kFloats of rank.cu
_TILE = 1024
_INTEGERS = 3
_FLOATS = 6
_PLACEMENTS = 5
_ROWS_A_BLOCK = 1 << 13  # of the copy before a long sort
_BLOCK_SORT = 4096  # columns up to this length sort in one launch, in shared memory


def split_columns(table: Any) -> list[Any]:
    """F contiguous (N,) columns of an (N, F) array: views of F order, one transposed copy of C order."""
    turned = module().ascontiguousarray(table.T)
    return list(turned)


def sort_columns(columns: Sequence[Any]) -> SortedColumns:
    """F arrays of shape (N_f,), any stride, in ascending order, -0.0 as 0.0, every NaN as the same one at the end.

    Columns of up to 4096 values of one dtype are sorted by one launch, longer ones by a radix sort each.
    """
    xp = module()
    missing = xp.zeros(len(columns), np.int64)
    values = list(columns)  # those without rows stay
    groups: dict[tuple[str, bool], list[int]] = {}
    for f, column in enumerate(columns):
        if column.shape[0]:
            groups.setdefault((str(column.dtype), column.shape[0] <= _BLOCK_SORT), []).append(f)
    for (_, short), members in groups.items():
        ordered, lost = (_sort_short if short else _sort_long)([columns[f] for f in members])
        missing[members] = lost
        for f, column in zip(members, ordered, strict=True):
            values[f] = column
    sizes = xp.asarray(np.array([column.shape[0] for column in columns], dtype=np.int64))
    return SortedColumns(tuple(values), sizes - missing, missing)


def _sort_short(columns: list[Any]) -> tuple[list[Any], Any]:
    xp, dtype = module(), columns[0].dtype
    capacity = max(2, 1 << (max(column.shape[0] for column in columns) - 1).bit_length())
    top = dtype.type(np.inf if dtype.kind == "f" else np.iinfo(dtype).max)
    head, results = _room(columns)
    lost = xp.empty(len(columns), np.uint64)
    args = (*head, np.int32(capacity), top, pointers(results), lost)
    threads = min(512, capacity)
    launch("rank", f"rank_sort_{suffix(dtype)}", (len(columns), 1), threads, args, capacity * dtype.itemsize)
    return results, lost


def _sort_long(columns: list[Any]) -> tuple[list[Any], Any]:
    xp = module()
    head, results = _room(columns)
    lost = xp.zeros(len(columns), np.uint64)
    blocks = -(-max(column.shape[0] for column in columns) // _ROWS_A_BLOCK)
    args = (*head, pointers(results), lost)
    launch("rank", f"rank_prepare_{suffix(columns[0].dtype)}", (blocks, len(columns)), _THREADS, args)
    for column in results:
        column.sort()
    return results, lost


def _room(columns: list[Any]) -> tuple[tuple[Any, Any, Any], list[Any]]:
    """Addresses, strides in values and sizes of the columns, and as many values for results, column by column."""
    xp = module()
    strides = np.array([column.strides[0] // column.itemsize for column in columns], dtype=np.int64)
    sizes = np.array([column.shape[0] for column in columns], dtype=np.int64)
    block, ends = xp.empty(int(sizes.sum()), columns[0].dtype), np.cumsum(sizes).tolist()
    results = [block[end - size : end] for end, size in zip(ends, sizes.tolist(), strict=True)]
    return (pointers(columns), xp.asarray(strides), xp.asarray(sizes)), results


def order_statistics(
    columns: Sequence[Any], positions: Callable[[int], Any], *, keep: bool, immutable: Sequence[bool] = ()
) -> OrderStatistics:
    """Values at the positions that `positions` gives for n sorted values, by sorting; keeps copies; synchronises."""
    return order_statistics_of_sorted(sort_columns(columns), positions, keep=keep)


def quantiles(ordered: SortedColumns, parts: int) -> tuple[Any, Any, Any]:
    """Values of sorted columns of one dtype at positions floor(k n / parts), k = 0 .. parts, and the rows smaller than
    each and not larger: three (F, parts + 1) arrays, 0 for a column without rows."""
    xp, columns = module(), len(ordered.values)
    values = xp.empty((columns, parts + 1), ordered.values[0].dtype)
    below, upto = xp.empty(values.shape, np.int64), xp.empty(values.shape, np.int64)
    args = (pointers(ordered.values), xp.ascontiguousarray(ordered.n), np.int32(parts), values, below, upto)
    grid = (-(-(parts + 1) // _THREADS), columns)
    launch("rank", f"rank_pick_{suffix(values.dtype)}", grid, _THREADS, args)
    return values, below, upto


def extremes(reference: Sequence[Any], live: Sequence[Any], *, both: bool) -> Extremes:
    """Sizes and extremes of D(z) of unsorted columns; sorts the reference, and the live columns only where short.

    Without `both` only the larger of d_max and -d_min is exact; see `kernels.cuda.splitter`.
    """
    ordered = sort_columns(reference)
    long = [column.shape[0] > _BLOCK_SORT for column in live]
    return extremes_fitted(ordered, fit_cells(ordered) if any(long) else [None] * len(long), live, both=both)


def fit_cells(reference: SortedColumns) -> list[splitter.Cells | None]:
    """What `extremes_fitted` needs to know of each reference column; None for a column without rows."""
    return splitter.fit_cells(reference)


def extremes_fitted(reference: SortedColumns, cells: Sequence[Any], live: Sequence[Any], *, both: bool) -> Extremes:
    """As `extremes` for a reference that is sorted already, with its cells or None.

    Live columns of up to 4096 rows are sorted, all in one launch. A longer one would be a launch of 60 us at least and
    36 bytes a row; the cells take seven launches for all columns and two reads.
    """
    xp = module()
    n, lost = xp.asarray(reference.n), xp.asarray(reference.missing)
    m, missing, d_max, d_min = xp.zeros((4, len(live)), np.int64)
    by_cells: dict[tuple[str, int], list[int]] = {}
    by_sort = []
    for f, (x, y) in enumerate(zip(reference.values, live, strict=True)):
        if cells[f] is not None and y.shape[0] > _BLOCK_SORT and x.dtype == y.dtype:
            by_cells.setdefault((str(x.dtype), cells[f].splitters.shape[0]), []).append(f)
        else:
            by_sort.append(f)
    for members in by_cells.values():
        sides = ([side[f] for f in members] for side in (reference.values, cells, live))
        found = splitter.extremes(*sides, both=both)
        for whole, part in zip((m, missing, d_max, d_min), found, strict=True):
            whole[members] = part
    if by_sort:
        index = xp.asarray(np.array(by_sort, dtype=np.int64))
        a = SortedColumns(tuple(reference.values[f] for f in by_sort), n[index], lost[index])
        b = sort_columns([live[f] for f in by_sort])
        counts = rank_counts(a, b)
        for whole, part in zip((m, missing, d_max, d_min), (b.n, b.missing, counts.d_max, counts.d_min), strict=True):
            whole[by_sort] = part
    return Extremes(n, m, lost, missing, d_max, d_min)


def rank_counts(reference: SortedColumns, live: SortedColumns) -> RankCounts:
    """KS+, KS-, Kuiper and U of each pair of columns; see RankCounts."""
    return _merge(reference, live, full=False).counts


def rank_sums(reference: SortedColumns, live: SortedColumns) -> RankSums:
    """All rank statistics of each pair of columns in one merge; see RankSums. Empty columns give zeros."""
    return _merge(reference, live, full=True)


def _merge(reference: SortedColumns, live: SortedColumns, *, full: bool) -> RankSums:
    xp, columns = module(), len(reference.values)
    n, m = xp.asarray(reference.n), xp.asarray(live.n)
    integers = xp.zeros((_INTEGERS, columns), np.int64)
    floats = xp.zeros((_FLOATS, columns), np.float64)
    for dtype, members in _by_dtype(reference, live).items():
        tiles = _tiles(reference, live, members, _TILE)
        some_n, some_m, x, y = _side_by_side(reference, live, n, m, members)
        partial_i = xp.empty((len(members), tiles, _INTEGERS), np.int64)
        partial_f = xp.empty((len(members), tiles, _FLOATS) if full else (1,), np.float64)
        args = (x, y, some_n, some_m, np.int64(tiles), np.int32(full), partial_i, partial_f)
        launch("rank", f"rank_tiles_{suffix(dtype)}", (tiles, len(members)), _THREADS, args)
        integers[:, members] = _fold_integers(partial_i, _INTEGERS, larger=0, smaller=1)
        if full:
            folded = xp.empty((_FLOATS, len(members)), np.float64)
            fold_args = (partial_f, np.int64(tiles), np.int32(_FLOATS), folded)
            launch("rank", "rank_fold_f64", (_FLOATS, len(members)), _THREADS, fold_args)
            floats[:, members] = folded
    return scale_rank_sums(xp, RankCounts(n, m, *integers), floats)


def placement_sums(reference: SortedColumns, live: SortedColumns) -> PlacementSums:
    """Exact sums of the DeLong placements of each pair of columns; see PlacementSums."""
    xp, columns = module(), len(reference.values)
    n, m = xp.asarray(reference.n), xp.asarray(live.n)
    sums = xp.zeros((_PLACEMENTS, columns), np.int64)
    for dtype, members in _by_dtype(reference, live).items():
        tiles = _tiles(reference, live, members, _TILE)
        some_n, some_m, x, y = _side_by_side(reference, live, n, m, members)
        partial = xp.empty((len(members), tiles, _PLACEMENTS), np.int64)
        args = (x, y, some_n, some_m, np.int64(tiles), partial)
        launch("rank", f"rank_placements_{suffix(dtype)}", (tiles, len(members)), _THREADS, args)
        sums[:, members] = _fold_integers(partial, _PLACEMENTS, larger=-1, smaller=-1)
    u2, live_high, live_low, high, low = sums
    mask = (1 << 32) - 1
    return PlacementSums(n, m, u2, live_high + (live_low >> 32), live_low & mask, high + (low >> 32), low & mask)


def _fold_integers(partial: Any, width: int, *, larger: int, smaller: int) -> Any:
    columns, tiles = partial.shape[:2]
    folded = module().empty((width, columns), np.int64)
    args = (partial, np.int64(tiles), np.int32(width), np.int32(larger), np.int32(smaller), folded)
    launch("rank", "rank_fold_i64", (width, columns), _THREADS, args)
    return folded


def _by_dtype(reference: SortedColumns, live: SortedColumns) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for f, (x, y) in enumerate(zip(reference.values, live.values, strict=True)):
        if x.shape[0] and y.shape[0]:
            groups.setdefault(str(x.dtype), []).append(f)
    return groups


def _tiles(reference: SortedColumns, live: SortedColumns, members: list[int], tile: int) -> int:
    longest: int = max(reference.values[f].shape[0] + live.values[f].shape[0] for f in members)
    return -(-longest // tile)


def _side_by_side(
    reference: SortedColumns, live: SortedColumns, n: Any, m: Any, members: list[int]
) -> tuple[Any, Any, Any, Any]:
    xp = module()
    index = xp.asarray(np.array(members, dtype=np.int64))
    sides = (pointers([side.values[f] for f in members]) for side in (reference, live))
    return xp.ascontiguousarray(n[index]), xp.ascontiguousarray(m[index]), *sides
