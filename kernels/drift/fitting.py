"""A reference larger than memory, fitted in passes over its batches: exact edges and counts, and no rows kept.

    survey    kinds of columns, categories, ranges, and a sample of each numeric column
    count     the rows between splitters, quantiles of the sample: between which of them each edge lies is exact
    gather    the rows of those ranges alone, below one per cent as a rule: the edges themselves

The sample decides the splitters only, never an edge or a count. Where the quartiles of a column are equal, one more
pass finds its standard deviation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from kernels.drift import passes, window
from kernels.drift.binned import given_edges
from kernels.drift.columns import (
    SPLITTERS,
    CategoricalColumn,
    Column,
    NumericColumn,
    Sketch,
    categorical_column,
    order_positions,
    quartiles,
    spread,
)
from kernels.drift.passes import Scan, host_column, joined
from kernels.drift.quantiles import quantile_bins, quantile_edges
from kernels.drift.ranges import Side, cut, intervals, ranges, split
from kernels.drift.stream import LiveCounts
from kernels.errors import OptionError, ProfileError
from kernels.sums import OrderStatistics, SortedColumns

_SAMPLE = 8 * SPLITTERS


@dataclass(slots=True, eq=False)
class Surveyed:
    """What a survey has seen of one column."""

    categorical: bool
    missing: int = 0
    categories: Counter[Any] = field(default_factory=Counter)
    ends: dict[str, Any] = field(default_factory=dict)
    """Working dtype -> (2,) smallest and largest value that came in it."""
    sample: tuple[Any, Any] | None = None
    """Random keys and values: the rows with the smallest keys."""

    def add_numbers(self, values: Any, missing: int, rng: np.random.Generator) -> None:
        self.missing += missing
        if values.size:
            self._merge_numbers(
                {str(values.dtype): np.array([values.min(), values.max()])}, rng.random(values.size), values
            )

    def merge(self, other: Surveyed) -> Surveyed:
        self.missing += other.missing
        self.categories += other.categories
        if other.sample is not None:
            self._merge_numbers(other.ends, *other.sample)
        return self

    def _merge_numbers(self, ends: dict[str, Any], keys: Any, values: Any) -> None:
        for dtype, pair in ends.items():
            both = np.concatenate([pair, self.ends.get(dtype, pair)])
            self.ends[dtype] = np.array([both.min(), both.max()])
        if self.sample is not None:
            limit = self.sample[0].max() if self.sample[0].size >= _SAMPLE else 1.0
            close = keys < limit
            keys = np.concatenate([self.sample[0], keys[close]])
            values = joined([self.sample[1], values[close]])
        if keys.size > _SAMPLE:
            kept = np.argpartition(keys, _SAMPLE)[:_SAMPLE]
            keys, values = keys[kept], values[kept]
        self.sample = keys, values


@dataclass(frozen=True, slots=True)
class Survey:
    """Kinds, categories, ranges and samples of all columns; gives column -> Surveyed."""

    names: tuple[str, ...] | None
    categorical: frozenset[str]

    def __call__(self, batches: Iterable[Any]) -> dict[str, Surveyed]:
        rng = np.random.default_rng(0)
        found: dict[str, Surveyed] = {}
        for batch in batches:
            sources = window.column_sources(batch, self.names)
            if not found:
                unknown = self.categorical - sources.keys()
                if unknown:
                    raise OptionError(f"categorical: {min(unknown)!r} is not a column - use {', '.join(sources)}")
                kinds = {n: n in self.categorical or window.looks_categorical(raw) for n, raw in sources.items()}
                found = {name: Surveyed(kind) for name, kind in kinds.items()}
            _same_columns(found, sources)
            for name, column in found.items():
                if column.categorical:
                    counted, missing = window.count_values(sources[name], name)
                    column.categories += Counter(counted)
                    column.missing += missing
                else:
                    values, nulls = host_column(sources[name], name)
                    column.add_numbers(values, nulls, rng)
        return found


def _same_columns(found: Collection[str], sources: Collection[str]) -> None:
    if set(found) != set(sources):
        odd = min(set(found) ^ set(sources))
        raise ProfileError(f"{odd}: not in every batch - give all batches the same columns")


def _merged(a: dict[str, Surveyed], b: dict[str, Surveyed]) -> dict[str, Surveyed]:
    if not a or not b:
        return a or b
    _same_columns(a, b)
    for name, column in b.items():
        if a[name].categorical != column.categorical:
            raise ProfileError(f"{name}: numbers in some batches and categories in others - list it under categorical")
        a[name].merge(column)
    return a


def fit_scan(
    scan: Scan,
    bins: int | Sequence[Any],
    names: Sequence[str] | None,
    categorical: Collection[str],
    memory: int,
) -> tuple[Column, ...]:
    """The columns of a profile without rows."""
    survey = Survey(None if names is None else tuple(names), frozenset(categorical))
    seen: dict[str, Surveyed] = reduce(_merged, scan(survey), {})
    if not seen:
        raise ProfileError("batches: there is none - a reference needs at least one")
    numeric = {name: column for name, column in seen.items() if not column.categorical}
    dtypes = {
        name: joined(list(c.ends.values())).dtype if c.ends else np.dtype(np.float64) for name, c in numeric.items()
    }
    number = int(bins) if isinstance(bins, int | np.integer) else None
    edges: dict[str, Any] = {}
    if not isinstance(bins, int | np.integer):
        edges = {n: given_edges(bins, len(numeric), str(dtypes[n]))[f] for f, n in enumerate(numeric)}
    grids = {}
    for name, column in numeric.items():
        kept = [] if column.sample is None else [joined(list(column.ends.values())), _splitters(column.sample[1])]
        kept = [np.array([], dtypes[name]), *kept, *([edges[name]] if name in edges else [])]
        grids[name] = np.unique(np.concatenate([part.astype(dtypes[name]) for part in kept]))
    side = Side(scan, passes.count(scan, LiveCounts.over(tuple(seen), grids, ())))
    fitted: dict[str, Column] = {}
    for name, column in seen.items():
        if column.categorical:
            fitted[name] = categorical_column(name, column.categories, column.missing)
    found, side = _order_statistics(side, dict.fromkeys(numeric, number), memory)
    for name, stats in found.items():
        fitted[name] = _column(
            name, numeric[name].missing, stats, side.counts, edges.get(name) if number is None else number
        )
    return tuple(_with_deviation(scan, tuple(seen), fitted[name]) for name in seen)


def _splitters(sample: Any) -> Any:
    ordered = np.sort(sample)
    return quantile_edges(SortedColumns((ordered,), np.array([ordered.size]), np.zeros(1, np.int64)), SPLITTERS)[0]


def _order_statistics(side: Side, bins: dict[str, int | None], memory: int) -> tuple[dict[str, OrderStatistics], Side]:
    """What the edges need of each column, and the side as it was counted last."""
    share = max(1, memory // max(1, len(bins)))

    def positions(counts: LiveCounts, name: str) -> Any:
        n, number = int(counts.numeric[name].sum()), bins[name]
        return quartiles(n) if number is None else order_positions(n, number)

    def wanted(sides: Sequence[Side], name: str) -> Any:
        rows = sides[0].rows(name)
        chosen = np.zeros(rows.size, np.bool_)
        chosen[np.cumsum(rows).searchsorted(positions(sides[0].counts, name), side="right")] = True
        return chosen

    side = split([side], list(bins), wanted, share)[0]
    jobs = {}
    for name in bins:
        grid, rows, single = ranges([side], name)
        jobs[name] = _Picked(grid, rows, single, positions(side.counts, name))
        jobs[name].groups = cut(np.where(wanted([side], name) & ~single, rows, 0), share)
    for k in range(max((len(job.groups) for job in jobs.values()), default=0)):
        chosen = {name: job.ranges_of(k) & wanted([side], name) & ~job.single for name, job in jobs.items()}
        found = passes.gather(
            side.scan, side.counts.names, {name: intervals(jobs[name].grid, mask) for name, mask in chosen.items()}
        )
        for name, job in jobs.items():
            job.pick(k, chosen[name], found[name])
    return {name: job.statistics(side.counts.missing[name]) for name, job in jobs.items()}, side


class _Picked:
    """Order statistics of one column, picked range by range."""

    def __init__(self, grid: Any, rows: Any, single: Any, positions: Any) -> None:
        self.grid, self.single, self.positions = grid, single, positions
        self.left = np.concatenate([[0], np.cumsum(rows)])
        self.groups: list[slice] = []
        self.value = np.zeros(positions.size, grid.dtype)
        self.below, self.upto = np.zeros(positions.size, np.int64), np.zeros(positions.size, np.int64)

    def ranges_of(self, k: int) -> Any:
        chosen = np.zeros(self.single.size, np.bool_)
        if k < len(self.groups):
            chosen[self.groups[k]] = True
        return chosen

    def pick(self, k: int, chosen: Any, rows: Any) -> None:
        """From the ascending `rows` of the `chosen` ranges, or from the range alone where it holds one value."""
        rows = rows.astype(self.grid.dtype)
        starts = np.concatenate([[0], np.cumsum(np.where(chosen, np.diff(self.left), 0))])
        mine = self.ranges_of(k)
        for i, position in enumerate(self.positions.tolist()):
            at = int(self.left[1:].searchsorted(position, side="right"))
            if not mine[at]:
                continue
            if self.single[at]:
                self.value[i], self.below[i], self.upto[i] = self.grid[at - 1], self.left[at], self.left[at + 1]
                continue
            inside = rows[starts[at] : starts[at + 1]]
            value = inside[position - self.left[at]]
            self.value[i] = value
            self.below[i] = self.left[at] + inside.searchsorted(value, side="left")
            self.upto[i] = self.left[at] + inside.searchsorted(value, side="right")

    def statistics(self, missing: int) -> OrderStatistics:
        n = self.left[-1:].astype(np.int64)
        lost = np.array([missing])
        return OrderStatistics((self.value,), (self.below,), (self.upto,), n, lost, (None,), (True,), (None,))


def _column(name: str, missing: int, found: OrderStatistics, counts: LiveCounts, bins: Any) -> NumericColumn:
    """A column of `bins` quantiles, or of the edges that `bins` is."""
    grid, below = counts.grids[name], np.cumsum(counts.numeric[name])
    n = int(below[-1])
    if isinstance(bins, int):
        listed, counted = quantile_bins(found, bins)
        edges, coarse = listed[0], counted.counts[0]
    else:
        edges = bins
        coarse = np.diff(np.concatenate([[0], below[grid.searchsorted(edges)], [n]]))
    every, first = np.unique(np.concatenate([grid, edges]), return_index=True)
    upto = np.concatenate([below[:-1], np.cumsum(coarse)[:-1]])[first]
    sketch = Sketch(every, np.diff(np.concatenate([[0], upto, [n]])).astype(np.int64))
    return NumericColumn(name, sketch, missing, edges, coarse.astype(np.int64), spread(found.values[0]))


@dataclass(frozen=True, slots=True)
class Moments:
    """Rows, sum and sum of squares of the finite values of one column, from `center`."""

    names: tuple[str, ...]
    name: str
    center: float

    def __call__(self, batches: Iterable[Any]) -> Any:
        total = np.zeros(3)
        for batch in batches:
            values, _ = host_column(window.live_sources(batch, self.names)[self.name], self.name)
            values = values.astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                gap = values[np.isfinite(values)] - self.center
                total += gap.size, gap.sum(), (gap * gap).sum()
        return total


def _with_deviation(scan: Scan, names: tuple[str, ...], column: Column) -> Column:
    """With the standard deviation as its unit, where the quartiles of a numeric column give none."""
    if isinstance(column, CategoricalColumn) or not column.n or (np.isfinite(column.sigma) and column.sigma > 0):
        return column
    middle = float(column.range[np.searchsorted(np.cumsum(column.grid().counts), column.n // 2, side="right") - 1])
    center = middle if np.isfinite(middle) else 0.0
    rows, first, second = np.sum(list(scan(Moments(names, column.name, center))), axis=0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        variance = second / rows - (first / rows) ** 2
        sigma = float(np.sqrt(max(variance, 0.0))) if np.isfinite(variance) else float("nan")
    return NumericColumn(column.name, column.held, column.missing, column.edges, column.counts, sigma)
