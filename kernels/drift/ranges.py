"""The ranges between the splitters of columns that are scanned: counted, divided where too many rows fall into one.

Nothing here knows a statistic. `wanted` says which ranges matter to whoever asks; their rows fit in the memory given
once a range is `split` at its own quantiles, and few of them are left once it is `refined` by even steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernels.arrays import common_working
from kernels.drift import passes
from kernels.drift.passes import Intervals, Scan
from kernels.drift.quantiles import quantile_edges
from kernels.drift.stream import LiveCounts, only_value
from kernels.errors import ProfileError
from kernels.sums import SortedColumns

_SPLIT = 4096
_FINE = 1 << 16  # pieces of all ranges of a column that are divided evenly


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One window that is scanned, and its counts so far."""

    scan: Scan
    counts: LiveCounts

    def rows(self, name: str) -> Any:
        """(S + 1,) rows of a column in the ranges of its grid."""
        return self.counts.numeric[name]


def ranges(sides: Sequence[Side], name: str) -> tuple[Any, Any, Any]:
    """The grid of a column, the rows of all scanned sides in its ranges, and which of them hold one value only."""
    grid = sides[0].counts.grids[name]
    single = only_value(grid, frozenset().union(*(side.counts.dtypes[name] for side in sides)))
    return grid, sum(side.rows(name) for side in sides), single


def split(sides: Sequence[Side], names: Sequence[str], wanted: Any, memory: int) -> list[Side]:
    """The sides, counted on grids that are fine enough for every wanted range to fit in `memory` values.

    wanted   (sides, name) -> (S + 1,) bool
    Two passes a round; a round divides each range by about 4096, so one is the rule where any is needed.
    """
    sides = list(sides)
    while True:
        over = {}
        for name in names:
            grid, rows, single = ranges(sides, name)
            crowded = wanted(sides, name) & ~single & (rows > memory)
            if crowded.any():
                over[name] = intervals(grid, crowded), _SPLIT * int(crowded.sum()) / int(rows[crowded].sum())
        if not over:
            return sides
        parts, share = {name: pair[0] for name, pair in over.items()}, {name: pair[1] for name, pair in over.items()}
        samples = [passes.gather(side.scan, side.counts.names, parts, share) for side in sides]
        grids = {}
        for name in over:
            sample = np.sort(passes.joined([found[name] for found in samples]))
            one = SortedColumns((sample,), np.array([sample.size]), np.zeros(1, np.int64))
            old, new = common_working(sides[0].counts.grids[name], quantile_edges(one, _SPLIT)[0])
            grids[name] = np.union1d(old, new)
            if grids[name].size == old.size:
                raise changed(name)
        sides = [_recounted(side, grids) for side in sides]


def refined(sides: Sequence[Side], names: Sequence[str], wanted: Any, memory: int) -> list[Side]:
    """The sides, counted on grids so fine that few wanted rows are left; one pass a round.

    Where both windows are large and alike, D is smaller than what a range of the first grid can hide, and nearly every
    row would be wanted: as many passes as they fill `memory`. Of a path like D the ranges that reach its maximum have a
    share that falls with the square of their size, so a round of even pieces spares nearly all of them. Rounds end
    where two passes bring what is left, or where the last one has not halved it (values that repeat, long tails).
    """
    sides, before = list(sides), dict[str, int]()
    while True:
        grids = {}
        for name in names:
            grid, rows, single = ranges(sides, name)
            left = wanted(sides, name) & ~single
            n = int(rows[left].sum())
            if n > 2 * memory and 2 * n < before.get(name, 2 * n + 1):
                grids[name] = _divided(grid, left, min(_FINE, memory // 8))
            before[name] = n
        if not grids:
            return sides
        sides = [_recounted(side, grids) for side in sides]


def _divided(grid: Any, chosen: Any, pieces: int) -> Any:
    """The grid with about so many edges more, in even steps within the chosen ranges that have two finite ends."""
    low, high = grid[:-1][chosen[1:-1]], grid[1:][chosen[1:-1]]
    finite = np.isfinite(low) & np.isfinite(high)
    low, high = low[finite, None], high[finite, None]
    steps = np.arange(1, max(2, pieces // max(1, low.size)))
    if grid.dtype.kind == "f":
        part = steps / (steps.size + 1)
        inner = (low * (1 - part) + high * part).astype(grid.dtype)
    else:  # unsigned: a difference of two int64 may be none
        start, width = low.astype(np.uint64), high.astype(np.uint64) - low.astype(np.uint64)
        step = np.maximum(width // np.uint64(steps.size + 1), np.uint64(1))
        inner = (start + np.minimum(steps.astype(np.uint64) * step, width)).astype(grid.dtype)
    return np.union1d(grid, inner)


def _recounted(side: Side, grids: dict[str, Any]) -> Side:
    fresh = passes.count(side.scan, LiveCounts.over(side.counts.names, grids, ()))
    numeric = side.counts.numeric | fresh.numeric
    return replace(side, counts=replace(side.counts, grids=side.counts.grids | grids, numeric=numeric))


def intervals(grid: Any, chosen: Any) -> Intervals:
    """The chosen ranges, neighbours joined."""
    return Intervals(grid[np.flatnonzero(chosen[1:] != chosen[:-1])], bool(chosen[0]))


def cut(rows: Any, memory: int) -> list[slice]:
    """Consecutive ranges in groups of at most `memory` rows each, or of one range that holds more."""
    cuts, held = [0], 0
    for k, count in enumerate(rows.tolist()):
        if held and held + count > memory:
            cuts.append(k)
            held = 0
        held += count
    return [slice(a, b) for a, b in zip(cuts, [*cuts[1:], rows.size], strict=True)]


def changed(name: str) -> ProfileError:
    """A second pass that is not the first one again."""
    what = f"{name}: a later pass over the batches found other rows than the first"
    return ProfileError(f"{what} - pass a function that yields the same batches each time it is called")
