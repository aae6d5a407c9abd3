"""What a profile keeps of each reference column, and how a column is fitted.

Shapes: N reference rows, B bins, C categories.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from kernels import dispatch
from kernels.arrays import common_working, stream_of
from kernels.drift import window
from kernels.drift.binned import given_edges
from kernels.drift.quantiles import counts_of_sorted, quantile_bins, quantile_edges, quantile_positions
from kernels.errors import ProfileError
from kernels.sums import SortedColumns, order_statistics_of_sorted

SPLITTERS = 4096
"""Reference quantiles at which a stream is counted: the error bound of ks and kuiper is about 1 / SPLITTERS."""


MIDDLE = 3
"""The median is so far from the end of `order_positions`."""


@dataclass(slots=True, eq=False)
class HeldRows:
    """The rows of one reference column: as they came until a statistic needs them in order, then ascending."""

    rows: Any
    """(N,) working dtype; NaN stays while it is not ascending"""
    ascending: bool

    def put(self, ordered: Any) -> None:
        """Replace the rows by the same rows, ascending and without NaN."""
        self.rows, self.ascending = ordered, True


class Sketch(NamedTuple):
    """A reference column as counts, where it was too large to hold: its bins, splitters and extremes together."""

    edges: Any
    """(S,) ascending, the dtype of the column"""
    counts: Any
    """(S + 1,) int64 rows between the edges"""


@dataclass(frozen=True, slots=True, eq=False)
class NumericColumn:
    """One reference column and its bins."""

    name: str
    held: HeldRows | Sketch
    missing: int
    edges: Any
    """(B - 1,) ascending host array of the dtype of the rows"""
    counts: Any
    """(B,) int64"""
    sigma: float
    """Interquartile range / 1.349, or the standard deviation where that is 0: the unit of
    wasserstein_normed."""
    cells: list[Any] = field(default_factory=list, repr=False)
    """What the rank primitive fits for unsorted live columns: filled when first needed, never stored."""
    middle: list[Any] = field(default_factory=list, repr=False)
    """The median of rows that are held, where it is known: never stored."""
    sketches: list[Sketch] = field(default_factory=list, repr=False)
    """The sketch of rows that are held: made when a stream first needs it, never stored."""

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    @property
    def values(self) -> Any:
        """(n,) ascending, working dtype, no NaN; sorts when first needed."""
        order([self])
        assert isinstance(self.held, HeldRows)  # who asks has looked
        return self.held.rows

    @property
    def median(self) -> Any:
        """The value at position n // 2 of the ascending rows, a number of their dtype; sorts only after `load`."""
        if not self.middle:
            self.middle.append(self.values[self.n // 2])
        return self.middle[0]

    @property
    def counted(self) -> bool:
        """Whether only counts of the rows were kept."""
        return isinstance(self.held, Sketch)

    @property
    def range(self) -> Any:
        """Values of the column that include its smallest and largest one: tells its dtype and what can join it."""
        return self.held.edges if isinstance(self.held, Sketch) else self.held.rows

    def grid(self) -> Sketch:
        """The counts of the reference that a stream is held against."""
        if isinstance(self.held, Sketch):
            return self.held
        if not self.sketches:
            self.sketches.append(self._sketch())
        return self.sketches[0]

    def _sketch(self) -> Sketch:
        if not self.n:
            return Sketch(self.edges, self.counts)
        ordered = SortedColumns((self.values,), np.array([self.n]), np.array([self.missing]))
        ends = to_host(self.values[[0, -1]])
        edges = np.union1d(np.union1d(quantile_edges(ordered, SPLITTERS)[0], self.edges), ends)
        return Sketch(edges, counts_of_sorted(ordered, [edges]).counts[0])


def to_host(array: Any) -> Any:
    """A host array; reading a device array synchronises."""
    return array if isinstance(array, np.ndarray) else array.get()


def order(columns: Sequence[NumericColumn]) -> None:
    """Sort the rows of the columns where that is still to do, in one call of the primitive."""
    waiting = [(c, c.held) for c in columns if isinstance(c.held, HeldRows) and not c.held.ascending]
    if waiting:
        module = dispatch.implementation("rank", *(held.rows for _, held in waiting)).module
        ordered = module.sort_columns([held.rows for _, held in waiting])
        for (column, held), values, n in zip(waiting, ordered.values, ordered.n, strict=True):
            held.put(values[: int(n)])
            column.cells.clear()  # they were those of rows in another order


@dataclass(frozen=True, slots=True, eq=False)
class CategoricalColumn:
    """Counts of one column of categories."""

    name: str
    categories: tuple[Any, ...]
    """C strings, numbers or booleans, most frequent first"""
    counts: Any
    """(C,) int64"""
    missing: int

    @property
    def n(self) -> int:
        return int(self.counts.sum())


Column = NumericColumn | CategoricalColumn


def fit_numeric(sources: dict[str, Any], bins: int | Sequence[Any], backend: str | None) -> list[NumericColumn]:
    if not sources:
        return []
    raw, nulls = zip(*(window.numeric_values(column, name) for name, column in sources.items()), strict=True)
    module = dispatch.implementation("rank", *raw, backend=backend).module
    with stream_of(next(iter(sources.values()))):
        if isinstance(bins, int | np.integer):
            arrow = [window.is_arrow(column) for column in sources.values()]  # immutable: need not be copied
            found = module.order_statistics(
                list(raw), lambda n: order_positions(n, int(bins)), keep=True, immutable=arrow
            )
            edges, counted = quantile_bins(found, int(bins))
        else:
            edges = [given_edges(bins, len(raw), str(v.dtype))[f] for f, v in enumerate(raw)]
            ordered = module.sort_columns(list(raw))
            counted = counts_of_sorted(ordered, edges)
            found = order_statistics_of_sorted(ordered, quartiles, keep=True)
    columns = []
    for f, name in enumerate(sources):
        held, missing = HeldRows(found.kept[f], found.ordered[f]), int(found.missing[f]) + nulls[f]
        values, cells = found.values[f], [] if found.cells[f] is None else [found.cells[f]]
        column = NumericColumn(name, held, missing, edges[f], counted.counts[f], spread(values), cells)
        if values.size > MIDDLE:
            column.middle.append(values[-MIDDLE])
        columns.append(with_unit(column))
    return columns


def with_unit(column: NumericColumn) -> NumericColumn:
    """With the standard deviation as its unit, where the quartiles give none."""
    known = np.isfinite(column.sigma) and column.sigma > 0
    return column if known else replace(column, sigma=_deviation(column.values))


def order_positions(n: int, bins: int) -> Any:
    """Of the quantiles, then of the median, then of the quartiles."""
    return np.concatenate([quantile_positions(n, bins), np.array([n // 2] if n else [], np.int64), quartiles(n)])


def quartiles(n: int) -> Any:
    return np.array([(n - 1) // 4, (3 * (n - 1) + 3) // 4] if n else [], dtype=np.int64)


def spread(values: Any) -> float:
    """Interquartile range / 1.349 from order statistics that end with the quartiles."""
    if values.size == 0:
        return float("nan")
    low, high = (v.item() for v in values[-2:])
    return float(high - low) / 1.349


def _deviation(ordered: Any) -> float:
    """Standard deviation of the finite values."""
    kept = ordered.astype(np.float64)
    kept = kept[(kept > -np.inf) & (kept < np.inf)]
    with np.errstate(over="ignore", invalid="ignore"):
        return float((kept - kept[0]).std()) if kept.shape[0] else float("nan")


def fit_categorical(name: str, raw: Any) -> CategoricalColumn:
    return categorical_column(name, *window.count_values(raw, name))


def categorical_column(name: str, counted: Mapping[Any, int], missing: int) -> CategoricalColumn:
    """The column of these categories and rows."""
    ranked = sorted(counted.items(), key=lambda item: (-item[1], str(item[0])))
    counts = np.array([rows for _, rows in ranked], dtype=np.int64)
    return CategoricalColumn(name, tuple(category for category, _ in ranked), counts, missing)


def merged(a: Column, b: Column) -> Column:
    """The column of the rows of both; ProfileError where they were not fitted on the same edges."""
    missing = a.missing + b.missing
    if isinstance(a, CategoricalColumn) and isinstance(b, CategoricalColumn):
        counted = Counter(dict(zip(a.categories, a.counts.tolist(), strict=True)))
        counted.update(dict(zip(b.categories, b.counts.tolist(), strict=True)))
        return categorical_column(a.name, counted, missing)
    if isinstance(a, CategoricalColumn) or isinstance(b, CategoricalColumn) or not np.array_equal(a.edges, b.edges):
        raise ProfileError(f"merge: {a.name} has other bins on the two sides - fit both with the same bins=edges")
    if isinstance(a.held, Sketch) or isinstance(b.held, Sketch):
        raise ProfileError(f"merge: {a.name} was fitted in batches - fit all of its batches in one fit_scan")
    rows = np.sort(np.concatenate(common_working(*(to_host(c.values) for c in (a, b)))))
    sigma = spread(rows[quartiles(rows.size)])
    column = NumericColumn(
        a.name, HeldRows(rows, ascending=True), missing, a.edges.astype(rows.dtype), a.counts + b.counts, sigma
    )
    return with_unit(column)
