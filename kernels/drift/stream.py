"""A live window larger than memory, or spread over workers, as counts that merge.

Shapes: F columns, B bins, S splitters. Counts are integers: any split of the rows into batches and any order
of merges gives the same numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels import dispatch
from kernels.arrays import common_working
from kernels.drift import values, window
from kernels.drift.binned import padded
from kernels.drift.categorical import homogeneity
from kernels.drift.columns import CategoricalColumn, Column, NumericColumn
from kernels.drift.compare import Rows, category_rows, column_rows
from kernels.drift.quantiles import counts_of_sorted, next_up, quantile_edges
from kernels.drift.table import Reason
from kernels.errors import DTypeError, ProfileError, ShapeError
from kernels.sums import SortedColumns

SPLITTERS = 4096
"""Reference quantiles at which a stream counts: the error bound of ks and kuiper is about 1 / SPLITTERS."""


@dataclass(frozen=True, slots=True, eq=False)
class LiveCounts:
    """Counts of the live rows seen so far; `update` and `merge` return new ones.

    Holds names, edges and counts, and no rows of the reference: send it to workers freely.
    """

    names: tuple[str, ...]
    grids: dict[str, Any]
    """Numeric column -> ascending edges: its bins and its splitters together."""
    numeric: dict[str, Any]
    """Numeric column -> int64 counts between the edges of its grid."""
    categories: dict[str, Counter[Any]]
    """Categorical column -> rows of each category."""
    missing: dict[str, int]
    refused: dict[str, Reason]
    """Columns that some batch lacked or held in a kind that cannot be compared."""

    @classmethod
    def start(cls, columns: tuple[Column, ...]) -> LiveCounts:
        """No rows yet, for the columns of a profile."""
        grids, counts = {}, {}
        for column in columns:
            if isinstance(column, NumericColumn):
                grids[column.name] = _grid(column)
                counts[column.name] = np.zeros(grids[column.name].size + 1, np.int64)
        categories: dict[str, Counter[Any]] = {c.name: Counter() for c in columns if isinstance(c, CategoricalColumn)}
        names = tuple(c.name for c in columns)
        return cls(names, grids, counts, categories, dict.fromkeys(names, 0), {})

    def update(self, batch: Any) -> LiveCounts:
        """With the rows of one batch, a window of any kind that `Profile.compare` takes. One read of it."""
        sources = window.live_sources(batch, self.names)
        counts, categories = dict(self.numeric), dict(self.categories)
        missing, refused = dict(self.missing), dict(self.refused)
        for name in self.names:
            if name not in sources:
                refused.setdefault(name, Reason.COLUMN_ABSENT)
                continue
            try:
                if name in counts:
                    added, lost = _count(name, self.grids[name], sources[name])
                    counts[name] = counts[name] + added
                else:
                    found, lost = window.count_values(sources[name], name)
                    categories[name] = categories[name] + Counter(found)
            except (DTypeError, ShapeError):
                refused[name] = Reason.NOT_COMPARABLE
                continue
            missing[name] += lost
        return LiveCounts(self.names, self.grids, counts, categories, missing, refused)

    def merge(self, other: LiveCounts) -> LiveCounts:
        """The rows of both; ProfileError when they were not started from one profile."""
        same = self.names == other.names and self.grids.keys() == other.grids.keys()
        if not same or any(not np.array_equal(grid, other.grids[name]) for name, grid in self.grids.items()):
            raise ProfileError("merge: counts of different profiles - start both from the same profile")
        return LiveCounts(
            self.names,
            self.grids,
            {name: counts + other.numeric[name] for name, counts in self.numeric.items()},
            {name: counts + other.categories[name] for name, counts in self.categories.items()},
            {name: rows + other.missing[name] for name, rows in self.missing.items()},
            {**other.refused, **self.refused},
        )


def _grid(column: NumericColumn) -> Any:
    splitters = quantile_edges(_sorted(column), SPLITTERS)[0] if column.n else column.edges
    return np.union1d(splitters, column.edges)


def _sorted(column: NumericColumn) -> SortedColumns:
    return SortedColumns((column.values,), np.array([column.n], np.int64), np.array([column.missing], np.int64))


def _count(name: str, grid: Any, raw: Any) -> tuple[Any, int]:
    if window.looks_categorical(raw) and not window.is_arrow(raw):
        raise DTypeError(f"{name}: not numeric - pass numbers, or list the column under categorical")
    live, nulls = window.numeric_values(raw, name)
    edges, live = common_working(grid, live, "reference", "live") if isinstance(live, np.ndarray) else (grid, live)
    module = dispatch.implementation("histogram", live).module
    counted = module.bin_counts([live], [edges])
    counts, lost = counted.counts[0], counted.missing[0]
    host = counts if isinstance(counts, np.ndarray) else counts.get()  # synchronises once a batch
    return host, int(lost) + nulls


def compare_counts(columns: Sequence[Column], counts: LiveCounts, statistics: Sequence[str]) -> Rows:
    """Rows of the columns that every batch could be compared on."""
    rows: Rows = {}
    for column in columns:
        if column.name in counts.refused:
            continue
        if isinstance(column, CategoricalColumn):
            found = dict(counts.categories[column.name])
            rows.update(category_rows(column, found, counts.missing[column.name], statistics))
        else:
            rows.update(_numeric(column, counts, statistics))
    return rows


def _numeric(column: NumericColumn, counts: LiveCounts, statistics: Sequence[str]) -> Rows:
    grid, fine, missing = counts.grids[column.name], counts.numeric[column.name], counts.missing[column.name]
    n, m = np.array([column.n]), np.array([int(fine.sum())])
    expected = counts_of_sorted(_sorted(column), [grid]).counts[0]
    coarse = np.diff(np.concatenate([[0], np.cumsum(fine)[np.searchsorted(grid, column.edges)], m]))
    p, q = padded([column.counts]), padded([coarse])
    results: dict[str, values.Values] = {}
    errors: dict[str, Any] = {}
    for name in statistics:
        if name in values.EXTREME:
            results[name], errors[name] = _bounds(name, grid, expected, fine)
        elif name in values.BINNED:
            bins = [column.counts.size]
            results[name] = values.count_values(name, p, q, bins, homogeneity(p, q))
        elif name in values.SUMMED:
            unknown = np.array([np.nan])
            results[name] = values.Values(unknown, unknown, [Reason.NEEDS_ROWS])
        elif name == "missing":
            sides = n, np.array([column.missing]), m, np.array([missing])
            results[name] = values.missing_values(*sides)
    return column_rows([column], results, m, [missing], "cpu", errors)


def _bounds(name: str, grid: Any, expected: Any, observed: Any) -> tuple[values.Values, Any]:
    """Lower bound of the statistic, exact at the edges, and how far the upper bound lies above it."""
    left, right = (np.concatenate([[0], np.cumsum(c)]) for c in (expected, observed))
    n, m = left[-1:], right[-1:]
    d = left * m - right * n
    d_max, d_min = np.maximum(d.max(keepdims=True), 0), np.minimum(d.min(keepdims=True), 0)
    single = np.concatenate([[False], next_up(grid[:-1]) >= grid[1:], [False]])[: grid.size + 1]
    mixed = (expected > 0) & (observed > 0) & ~single  # one representable value hides nothing
    highest = max(int(np.where(mixed, left[1:] * m - right[:-1] * n, 0).max()), int(d_max[0]))
    lowest = min(int(np.where(mixed, left[:-1] * m - right[1:] * n, 0).min()), int(d_min[0]))
    low = values.extreme_values(name, n, m, d_max, d_min)
    pairs = max(float(n[0]) * float(m[0]), 1.0)
    if name == "ks":
        gap = max(highest, -lowest) - max(int(d_max[0]), -int(d_min[0]))
    else:
        gap = (highest - lowest) - int(d_max[0] - d_min[0])
    return low, np.array([gap / pairs])
