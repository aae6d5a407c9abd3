"""Exact rank statistics of windows larger than memory: the splitter method, range by range.

The first pass counts the rows between splitters, reference quantiles, so that both distribution functions are known
exactly at every splitter. Kolmogorov-Smirnov and Kuiper: only ranges that could hold more than the largest difference
at a splitter matter, a few per cent of the rows as a rule, and a second pass keeps the rows of these alone; where they
are many, because large windows are alike, finer splitters come first (`refined`). The other
rank statistics are sums over all rows: as many passes as the rows fill the memory that is given, each keeps the rows
of its own range, sorts them and goes on with the sums. A range that holds one value needs no rows, whatever its count,
and a range that holds too many of several values is split again at its own quantiles.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kernels.arrays import common_working
from kernels.drift import passes, values
from kernels.drift.columns import Column, NumericColumn, to_host
from kernels.drift.compare import Rows, column_rows
from kernels.drift.passes import Scan
from kernels.drift.ranges import Side, changed, cut, intervals, ranges, refined, split
from kernels.drift.stream import LiveCounts, inside_bounds, working
from kernels.errors import DTypeError
from kernels.sums import Groups, RankSums

MEMORY = 16_000_000
"""Values that the passes hold at a time, over all columns: 128 MB of float64, and a few times that while they work."""
_PIECE = 1 << 18  # rows that are made groups at a time: groups take three times their memory


def exact_rows(
    columns: Sequence[Column],
    live: Scan,
    counts: LiveCounts,
    reference: Scan | None,
    statistics: Sequence[str],
    memory: int,
) -> Rows:
    """Rows of the rank statistics of the columns whose rows are held, or can be scanned; `counts` is pass one."""
    asked = [name for name in statistics if name in values.RANK]
    numeric = [c for c in columns if isinstance(c, NumericColumn) and c.name not in counts.refused]
    numeric = [c for c in numeric if not c.counted or reference is not None] if asked else []
    other = None
    if reference is not None:
        grids = {c.name: c.grid() for c in numeric if c.counted}
        start = LiveCounts.over(counts.names, {name: grid.edges for name, grid in grids.items()}, ())
        other = Side(reference, replace(start, numeric={name: grid.counts for name, grid in grids.items()}))
    sums = rank_sums(numeric, Side(live, counts), other, asked, memory)
    rows: Rows = {}
    for column in numeric:
        if column.name in sums:
            found, sigma = sums[column.name], np.array([column.sigma])
            results = {name: values.rank_values(name, found, sigma) for name in asked}
            rows.update(column_rows([column], results, found.counts.m, [counts.missing[column.name]], "cpu"))
    return rows


def rank_sums(
    columns: Sequence[NumericColumn], live: Side, reference: Side | None, statistics: Sequence[str], memory: int
) -> dict[str, RankSums]:
    """The sums of each column that the rank statistics asked for need."""
    full = any(name in values.SUMMED for name in statistics)
    both = "kuiper" in statistics
    held = {column.name: column for column in columns if not column.counted}
    names = [column.name for column in columns if column.n and live.rows(column.name).sum()]
    share = max(1, memory // max(1, len(names)))

    def expected(sides: Sequence[Side], name: str) -> Any:
        return sides[1].rows(name) if len(sides) > 1 else _counts_of(held[name], sides[0].counts.grids[name])

    def wanted(sides: Sequence[Side], name: str) -> Any:
        a, b = expected(sides, name), sides[0].rows(name)
        return (a + b > 0) if full else _matters(a, b, both)

    sums: dict[str, RankSums] = {}
    for sides in ([live], [live, reference]):
        mine = [name for name in names if (name in held) == (len(sides) == 1)]
        if not mine or sides[-1] is None:
            continue
        done = [side for side in sides if side is not None]
        done = split(done if full else refined(done, mine, wanted, share), mine, wanted, share)
        jobs = {}
        for name in mine:
            grid, rows, single = ranges(done, name)
            need = wanted(done, name)
            dtype = working(grid, frozenset().union(*(side.counts.dtypes[name] for side in done)))
            jobs[name] = _Job(held.get(name), dtype, expected(done, name), done[0].rows(name), need, single)
            jobs[name].groups = cut(np.where(need & ~single, rows, 0), share)
        for k in range(max(len(job.groups) for job in jobs.values())):
            _pass(done, jobs, k)
        sums |= {name: job.sums() for name, job in jobs.items()}
    return sums


def _counts_of(column: NumericColumn, grid: Any) -> Any:
    edges, ordered = common_working(grid, to_host(column.values))
    return np.diff(np.concatenate([[0], ordered.searchsorted(edges, side="left"), [ordered.size]]))


def _matters(expected: Any, observed: Any, both: bool) -> Any:
    """(S + 1,) ranges of rows of both sides in which D may pass what it reaches at a splitter."""
    left, right = (np.concatenate([[0], np.cumsum(c)]) for c in (expected, observed))
    d = left * right[-1] - right * left[-1]
    highest, lowest = int(d.max()), int(d.min())
    if not both:
        highest, lowest = max(highest, -lowest), min(lowest, -highest)
    above, below = inside_bounds(left, right)
    return (expected > 0) & (observed > 0) & ((above > highest) | (below < lowest))


class _Job:
    """The sums of one column, on the way from the lowest range to the highest."""

    def __init__(
        self, held: NumericColumn | None, dtype: Any, expected: Any, observed: Any, need: Any, single: Any
    ) -> None:
        self.held, self.dtype, self.need, self.single = held, dtype, need, single
        self.left, self.right = (np.concatenate([[0], np.cumsum(c)]) for c in (expected, observed))
        self.groups: list[slice] = []
        """The ranges of each pass."""
        from kernels.cpu import parts  # brings Numba

        self._groups_of = parts.groups_of_sorted
        self.partial = parts.PartialSums(int(self.left[-1]), int(self.right[-1]))

    def rows_wanted(self, k: int) -> Any:
        """(S + 1,) ranges whose rows pass k must bring."""
        chosen = np.zeros(self.need.size, np.bool_)
        if k < len(self.groups):
            chosen[self.groups[k]] = True
        return chosen & self.need & ~self.single

    def add(self, k: int, grid: Any, x: Any, y: Any) -> None:
        """Go on with pass k; `x` and `y` are the ascending rows of the ranges that it wanted."""
        if k >= len(self.groups):
            return
        chosen = np.zeros(self.need.size + 1, np.bool_)
        chosen[self.groups[k]] = self.need[self.groups[k]]
        single = np.append(self.single, False)
        marks = np.flatnonzero(np.diff(np.where(chosen, 1 + single, 0), prepend=0))
        i = j = 0
        for start, stop in itertools.pairwise(marks.tolist()):  # the last mark ends the last run
            if not chosen[start]:
                continue
            if single[start]:
                bins = start + np.flatnonzero(
                    np.diff(self.left[start : stop + 1]) + np.diff(self.right[start : stop + 1])
                )
                value = grid[bins - 1].astype(x.dtype)
                self.partial.add(Groups(value, self.left[bins + 1], self.right[bins + 1]))
                continue
            for piece in cut(np.diff(self.left[start : stop + 1]) + np.diff(self.right[start : stop + 1]), _PIECE):
                low, high = start + piece.start, start + piece.stop
                i_end, j_end = i + self.left[high] - self.left[low], j + self.right[high] - self.right[low]
                below = int(self.left[low]), int(self.right[low])
                self.partial.add(self._groups_of(x[i:i_end], y[j:j_end], *below))
                i, j = i_end, j_end

    def sums(self) -> RankSums:
        """The sums, with the extremes at the splitters among them."""
        found = self.partial.sums()
        d = self.left * self.partial.m - self.right * self.partial.n
        counts = found.counts
        return found._replace(
            counts=counts._replace(d_max=np.maximum(counts.d_max, d.max()), d_min=np.minimum(counts.d_min, d.min()))
        )


def _pass(sides: Sequence[Side], jobs: dict[str, _Job], k: int) -> None:
    """One pass over every side: the rows of the k-th ranges of each column, and what they add."""
    chosen = {name: job.rows_wanted(k) for name, job in jobs.items()}
    grids = sides[0].counts.grids
    wanted = {name: intervals(grids[name], mask) for name, mask in chosen.items()}
    found = [passes.gather(side.scan, side.counts.names, wanted) for side in sides]
    for name, job in jobs.items():
        y = found[0].pop(name)
        x = found[1].pop(name) if job.held is None else _slices(job.held, job.left, chosen[name])
        for rows, below in ((x, job.left), (y, job.right)):
            if rows.size != int(np.diff(below)[chosen[name]].sum()):
                raise changed(name)
        job.add(k, grids[name], *(_in_dtype(rows, job.dtype, name) for rows in (x, y)))


def _in_dtype(rows: Any, dtype: Any, name: str) -> Any:
    if dtype == np.uint64 and rows.dtype == np.int64 and rows.size and rows.min() < 0:
        raise DTypeError(f"{name}: some batches hold int64 below 0 and some uint64 - give all batches one dtype")
    return rows.astype(dtype)


def _slices(column: NumericColumn, left: Any, chosen: Any) -> Any:
    """The ascending reference rows of the chosen ranges."""
    ordered = to_host(column.values)
    change = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
    runs = [ordered[left[a] : left[b]] for a, b in zip(change[::2], change[1::2], strict=True)]
    return np.concatenate([ordered[:0], *runs])
