"""A live window larger than memory, or spread over workers, as counts that merge.

Shapes: F columns, B bins, S splitters. Counts are integers: any split of the rows into batches and any order
of merges gives the same numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernels import dispatch
from kernels.arrays import common_working
from kernels.drift import values, window
from kernels.drift.binned import padded
from kernels.drift.columns import CategoricalColumn, Column, NumericColumn
from kernels.drift.compare import Rows, category_rows, column_rows
from kernels.drift.quantiles import next_up
from kernels.drift.table import Reason
from kernels.errors import DTypeError, ProfileError, ShapeError


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
    dtypes: dict[str, frozenset[str]]
    """Numeric column -> the working dtypes of its batches."""

    @classmethod
    def start(cls, columns: Sequence[Column]) -> LiveCounts:
        """No rows yet, for the columns of a profile."""
        grids = {column.name: column.grid()[0] for column in columns if isinstance(column, NumericColumn)}
        categorical = [column.name for column in columns if isinstance(column, CategoricalColumn)]
        return cls.over(tuple(column.name for column in columns), grids, categorical)

    @classmethod
    def over(cls, names: tuple[str, ...], grids: dict[str, Any], categorical: Sequence[str]) -> LiveCounts:
        """No rows yet, for numeric columns between the edges of `grids`, and for categorical ones."""
        return cls(
            names,
            grids,
            {name: np.zeros(grid.size + 1, np.int64) for name, grid in grids.items()},
            {name: Counter() for name in categorical},
            dict.fromkeys(names, 0),
            {},
            dict.fromkeys(grids, frozenset()),
        )

    def update(self, batch: Any) -> LiveCounts:
        """With the rows of one batch, a window of any kind that `Profile.compare` takes. One read of it."""
        sources = window.live_sources(batch, self.names)
        counts, categories, missing = dict(self.numeric), dict(self.categories), dict(self.missing)
        refused, dtypes = dict(self.refused), dict(self.dtypes)
        for name in (*counts, *categories):
            if name not in sources:
                refused.setdefault(name, Reason.COLUMN_ABSENT)
                continue
            try:
                if name in counts:
                    added, lost, dtype = _count(name, self.grids[name], sources[name])
                    counts[name], dtypes[name] = counts[name] + added, dtypes[name] | {dtype}
                else:
                    found, lost = window.count_values(sources[name], name)
                    categories[name] = categories[name] + Counter(found)
            except (DTypeError, ShapeError):
                refused[name] = Reason.NOT_COMPARABLE
                continue
            missing[name] += lost
        return LiveCounts(self.names, self.grids, counts, categories, missing, refused, dtypes)

    def merge(self, other: LiveCounts) -> LiveCounts:
        """The rows of both; ProfileError when they were not started from one profile."""
        same = self.names == other.names and self.grids.keys() == other.grids.keys()
        if not same or any(not np.array_equal(grid, other.grids[name]) for name, grid in self.grids.items()):
            raise ProfileError("merge: counts of different profiles - start both from the same profile")
        return replace(
            self,
            numeric={name: counts + other.numeric[name] for name, counts in self.numeric.items()},
            categories={name: counts + other.categories[name] for name, counts in self.categories.items()},
            missing={name: rows + other.missing[name] for name, rows in self.missing.items()},
            refused={**other.refused, **self.refused},
            dtypes={name: kinds | other.dtypes[name] for name, kinds in self.dtypes.items()},
        )


def live_column(raw: Any, name: str) -> tuple[Any, int]:
    """The numeric column of a batch in its working dtype, and its nulls; DTypeError for what is not numeric."""
    if window.looks_categorical(raw) and not window.is_arrow(raw):
        raise DTypeError(f"{name}: not numeric - pass numbers, or list the column under categorical")
    return window.numeric_values(raw, name)


def _count(name: str, grid: Any, raw: Any) -> tuple[Any, int, str]:
    live, nulls = live_column(raw, name)
    dtype = str(live.dtype)
    edges, live = common_working(grid, live, "reference", "live") if isinstance(live, np.ndarray) else (grid, live)
    module = dispatch.implementation("histogram", live).module
    counted = module.bin_counts([live], [edges])
    counts, lost = counted.counts[0], counted.missing[0]
    host = counts if isinstance(counts, np.ndarray) else counts.get()  # synchronises once a batch
    return host, int(lost) + nulls, dtype


def working(grid: Any, dtypes: frozenset[str]) -> np.dtype[Any]:
    """The dtype that holds the reference, whose range `grid` spans, and live rows of these dtypes."""
    kinds = dtypes | {str(grid.dtype)}
    if any(kind.startswith("float") for kind in kinds):
        return np.dtype(np.float32 if kinds == {"float32"} else np.float64)
    if kinds == {"int64", "uint64"}:
        return np.dtype(np.uint64 if grid.size and grid[0] >= 0 else np.int64)
    return np.dtype(str(grid.dtype))


def only_value(grid: Any, dtypes: frozenset[str]) -> Any:
    """(S + 1,) bool: ranges that hold one representable number, so that their count says all of their rows."""
    if working(grid, dtypes).kind == "f":
        grid = grid.astype(working(grid, dtypes))
    return np.concatenate([[False], next_up(grid[:-1]) >= grid[1:], [False]])[: grid.size + 1]


def compare_counts(columns: Sequence[Column], counts: LiveCounts, statistics: Sequence[str]) -> Rows:
    """Rows of the columns that every batch could be compared on."""
    rows: Rows = {}
    known = [column for column in columns if column.name not in counts.refused]
    for column in known:
        if isinstance(column, CategoricalColumn):
            found = dict(counts.categories[column.name])
            rows.update(category_rows(column, found, counts.missing[column.name], statistics))
    numeric = [column for column in known if isinstance(column, NumericColumn)]
    return rows | _numeric(numeric, counts, statistics) if numeric else rows


def _numeric(columns: Sequence[NumericColumn], counts: LiveCounts, statistics: Sequence[str]) -> Rows:
    """All columns side by side, as `compare` does: the order of float additions is the same."""
    n, lost = (np.array(side, dtype=np.int64) for side in zip(*((c.n, c.missing) for c in columns), strict=True))
    m = np.array([counts.numeric[c.name].sum() for c in columns], dtype=np.int64)
    missing = np.array([counts.missing[c.name] for c in columns], dtype=np.int64)
    p, q = padded([c.counts for c in columns]), padded([_coarse(c, counts) for c in columns])
    results: dict[str, values.Values] = {}
    errors: dict[str, Any] = {}
    for name in statistics:
        if name in values.EXTREME:
            found = [_bounds(name, column, counts) for column in columns]
            results[name] = values.side_by_side([low for low, _ in found])
            errors[name] = [gap for _, gap in found]
        elif name in values.BINNED:
            bins = [c.counts.size for c in columns]
            results[name] = values.count_values(name, p, q, bins, values.binned_chance(p, q))
        elif name in values.SUMMED:
            results[name] = values.unknown(values.emptiness(n, m), Reason.NEEDS_ROWS)
        elif name == "missing":
            results[name] = values.missing_values(n, lost, m, missing)
    return column_rows(columns, results, m, missing, "cpu", errors)


def _coarse(column: NumericColumn, counts: LiveCounts) -> Any:
    """Live counts in the bins of a column, whose edges are among those of its grid."""
    grid, fine = counts.grids[column.name], np.cumsum(counts.numeric[column.name])
    return np.diff(np.concatenate([[0], fine[np.searchsorted(grid, column.edges)], fine[-1:]]))


def _bounds(name: str, column: NumericColumn, counts: LiveCounts) -> tuple[values.Values, float]:
    """Lower bound of the statistic, exact at the edges, and how far the upper bound lies above it."""
    expected, observed = column.grid().counts, counts.numeric[column.name]
    single = only_value(counts.grids[column.name], counts.dtypes[column.name])
    left, right = (np.concatenate([[0], np.cumsum(c)]) for c in (expected, observed))
    n, m = left[-1:], right[-1:]
    d = left * m - right * n
    d_max, d_min = np.maximum(d.max(keepdims=True), 0), np.minimum(d.min(keepdims=True), 0)
    above, below = inside_bounds(left, right)
    mixed = (expected > 0) & (observed > 0) & ~single  # one representable value hides nothing
    highest = max(int(np.where(mixed, above, 0).max()), int(d_max[0]))
    lowest = min(int(np.where(mixed, below, 0).min()), int(d_min[0]))
    low = values.extreme_values(name, n, m, d_max, d_min)
    pairs = max(float(n[0]) * float(m[0]), 1.0)
    if name == "ks":
        gap = max(highest, -lowest) - max(int(d_max[0]), -int(d_min[0]))
    else:
        gap = (highest - lowest) - int(d_max[0] - d_min[0])
    return low, gap / pairs


def inside_bounds(left: Any, right: Any) -> tuple[Any, Any]:
    """What D(z) = m F(z) - n G(z) can reach inside each bin; `left` and `right` are the rows below its borders."""
    n, m = left[-1], right[-1]
    return left[1:] * m - right[:-1] * n, left[:-1] * m - right[1:] * n
