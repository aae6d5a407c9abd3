"""Kolmogorov-Smirnov and Kuiper extremes on CUDA without sorting the live window; all columns of a dtype a launch.

Shapes: N reference rows, M live rows, F columns, K splitters. See `splitter.cu` for the five steps. No size depends on
the data, so the host never waits: the only workspace that grows with the rows is two 32-bit counters a reference row,
for as many columns at a time as fit a gibibyte, and only surviving bins are touched in it.

Cost: two reads of the live window, of which the second stops at columns that the splitters settle. With K = 16384 of
1e6 to 5e6 rows 0.1 to 2 % of the live rows survive. The worst case, a live window equal to the reference, in which
nothing can be ruled out, is one search of a live row among N / K reference rows, about log2(N / K) reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from kernels.cuda.source import launch, module, pointers, shared_limit, suffix
from kernels.sums import SortedColumns

_THREADS = 1024  # kThreads, kBound and kSettle of splitter.cu
_BOUND = 256
_SETTLE = 128
_MOST = 16384  # splitters: their numbers must fit the 16-bit entries of the table
_ROWS_A_BLOCK = 1 << 17  # enough rows to pay for the write of the counters at the end of a block
_BLOCKS = 1024  # blocks that fill a device; with more columns a block takes more rows
_MARKED_ROWS = 1 << 27  # reference rows whose counters are held at once: 1 GiB


class Cells(NamedTuple):
    """What is fitted to one sorted reference column."""

    splitters: Any
    """(K,) ascending, dtype of the column"""
    below: Any
    """(K + 2,) int64: reference rows below each of the K + 1 bins, then all"""
    start: Any
    """(K + 1,) uint16: splitters in cells below each cell"""
    mapping: Any
    """(2,) float64: origin and scale of the cells"""


def splitters_for(rows: int, itemsize: int) -> int:
    """K for a column of `rows`: 4 to 8 times the square root, a power of two, at most what a block can hold."""
    count = 1 << max(4, int(8 * math.sqrt(rows)).bit_length() - 1)
    count = min(count, _MOST)
    while _shared_bytes(count, itemsize) > shared_limit():
        count //= 2
    return count


def _shared_bytes(count: int, itemsize: int) -> int:
    """Splitters, counters of 4 bytes and table entries of 2 bytes of one column."""
    return count * itemsize + (count + 2) * 4 + (count + 1) * 2


def fit_cells(reference: SortedColumns) -> list[Cells | None]:
    """Cells of each sorted column; None for a column without rows."""
    xp = module()
    cells: list[Cells | None] = [None] * len(reference.values)
    n = xp.asarray(reference.n)
    for dtype in {str(column.dtype) for column in reference.values}:
        members = [f for f, c in enumerate(reference.values) if str(c.dtype) == dtype and c.shape[0]]
        if not members:
            continue
        columns = [reference.values[f] for f in members]
        count = splitters_for(max(column.shape[0] for column in columns), columns[0].itemsize)
        splitters = xp.empty((len(members), count), dtype)
        below = xp.empty((len(members), count + 2), np.int64)
        start = xp.empty((len(members), count + 1), np.uint16)
        mapping = xp.empty((len(members), 2), np.float64)
        some_n = xp.ascontiguousarray(n[xp.asarray(np.array(members, dtype=np.int64))])
        name, grid = suffix(dtype), (-(-count // _BOUND), len(members))
        args = (pointers(columns), some_n, np.int32(count), splitters, below)
        launch("splitter", f"splitter_fit_{name}", grid, _BOUND, args)
        args = (splitters, np.int32(count), np.int32(count), start, mapping)
        launch("splitter", f"splitter_table_{name}", (len(members), 1), _BOUND, args)
        for row, f in enumerate(members):
            cells[f] = Cells(splitters[row], below[row], start[row], mapping[row])
    return cells


def extremes(reference: Sequence[Any], cells: Sequence[Cells], live: Sequence[Any], *, both: bool) -> tuple[Any, ...]:
    """``(m, missing, d_max, d_min)``, (F,) int64, of sorted reference columns with their cells and unsorted live ones.

    Columns of one dtype and one number of splitters; live columns of any stride. With `both` the two extremes are
    exact (Kuiper). Without it only the larger of d_max and -d_min is.
    """
    xp, columns, count = module(), len(live), cells[0].splitters.shape[0]
    name, itemsize, bins = suffix(live[0].dtype), live[0].itemsize, count + 1
    words = -(-bins // 32)
    strides = xp.asarray(np.array([column.strides[0] // itemsize for column in live], dtype=np.int64))
    sizes = xp.asarray(np.array([column.shape[0] for column in live], dtype=np.int64))
    head = (pointers(live), strides, sizes)
    references = pointers(reference)
    splitters, belows, starts, mappings = (
        pointers([getattr(one, field) for one in cells]) for field in ("splitters", "below", "start", "mapping")
    )
    counts = xp.zeros((columns, count + 2), np.uint64)
    right = xp.empty((columns, count + 2), np.int64)
    found = xp.empty((columns, 2), np.int64)
    survives = xp.empty((columns, words), np.uint32)
    alive = xp.empty(columns, np.int32)
    k, grid = np.int32(count), (_blocks(live), columns)
    args: tuple[Any, ...] = (*head, splitters, starts, mappings, k, k, counts)
    launch("splitter", f"splitter_count_{name}", grid, _THREADS, args, _shared_bytes(count, itemsize))
    args = (belows, counts, k, np.int32(both), right, found, survives, alive)
    launch("splitter", "splitter_bound", (columns, 1), _BOUND, args)
    for some, offsets, rows in _batches(reference):
        marks = xp.empty((rows, 2), np.uint32)
        part = [array[some] for array in (*head, references, splitters, starts, mappings, belows, survives, alive)]
        grid, where = (min(words, 64), offsets.shape[0]), (k, offsets, marks)
        launch("splitter", "splitter_clear", grid, _SETTLE, (*part[7:], *where))
        args = (*part, k, *where)
        near = count * itemsize + words * 4 + (count + 1) * 2
        launch("splitter", f"splitter_mark_{name}", (_blocks(live), offsets.shape[0]), _THREADS, args, near)
        args = (part[3], part[7], right[some], part[8], part[9], *where, found[some])
        launch("splitter", f"splitter_settle_{name}", grid, _SETTLE, args)
    missing = counts[:, count + 1].astype(np.int64)
    return sizes - missing, missing, found[:, 0], found[:, 1]


def _blocks(live: Sequence[Any]) -> int:
    """Blocks a column: a device full of them in all, but none with too few rows."""
    rows = [int(column.shape[0]) for column in live]
    total, longest = sum(rows), max(rows)
    return max(1, -(-longest // max(_ROWS_A_BLOCK, total // _BLOCKS)))


def _batches(reference: Sequence[Any]) -> Iterator[tuple[slice, Any, int]]:
    """Runs of columns whose counters are held at once: the slice, the offset of each column, and the rows in all."""
    first = 0
    while first < len(reference):
        offsets, rows, last = [], 0, first
        while last < len(reference) and (last == first or rows + reference[last].shape[0] <= _MARKED_ROWS):
            offsets.append(rows)
            rows += reference[last].shape[0]
            last += 1
        yield slice(first, last), module().asarray(np.array(offsets, dtype=np.int64)), rows
        first = last
