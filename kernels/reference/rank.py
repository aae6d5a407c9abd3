"""The rank primitive by definition: every distinct pooled value, one line of arithmetic each.

O((n + m) log(n + m)) time and memory; integers of any size are exact because they are Python integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernels.sums import (
    Extremes,
    OrderStatistics,
    PlacementSums,
    RankCounts,
    RankSums,
    SortedColumns,
    order_statistics_of_sorted,
)


def split_columns(table: Any) -> list[Any]:
    """F columns of shape (N,) of an (N, F) array."""
    return [table[:, f] for f in range(table.shape[1])]


def sort_columns(columns: Sequence[Any]) -> SortedColumns:
    """F arrays of shape (N_f,) in ascending order, NaN cut off and counted."""
    kept = [column[~np.isnan(column)] if column.dtype.kind == "f" else column for column in columns]
    return SortedColumns(
        tuple(np.sort(column) for column in kept),
        np.array([column.size for column in kept], dtype=np.int64),
        np.array([c.size - k.size for c, k in zip(columns, kept, strict=True)], dtype=np.int64),
    )


def order_statistics(
    columns: Sequence[Any], positions: Callable[[int], Any], *, keep: bool, immutable: Sequence[bool] = ()
) -> OrderStatistics:
    """Values at the positions that `positions` gives for n sorted values, by sorting the columns; keeps copies."""
    return order_statistics_of_sorted(sort_columns(columns), positions, keep=keep)


def extremes(reference: Sequence[Any], live: Sequence[Any], *, both: bool) -> Extremes:
    """Sizes and extremes of D(z) of unsorted columns; both are always exact here."""
    a, b = sort_columns(reference), sort_columns(live)
    counts = rank_counts(a, b)
    return Extremes(a.n, b.n, a.missing, b.missing, counts.d_max, counts.d_min)


def fit_cells(reference: SortedColumns) -> list[None]:
    """Nothing to fit: the definition needs no cells."""
    return [None] * len(reference.values)


def extremes_fitted(reference: SortedColumns, cells: Sequence[Any], live: Sequence[Any], *, both: bool) -> Extremes:
    """As `extremes` for a reference that was fitted, whatever its order."""
    a, b = sort_columns(reference.values), sort_columns(live)
    counts = rank_counts(a, b)
    return Extremes(reference.n, b.n, reference.missing, b.missing, counts.d_max, counts.d_min)


def rank_counts(reference: SortedColumns, live: SortedColumns) -> RankCounts:
    """KS+, KS-, Kuiper and U of each pair of columns; see RankCounts."""
    return rank_sums(reference, live).counts


def rank_sums(reference: SortedColumns, live: SortedColumns) -> RankSums:
    """All rank statistics of each pair of columns; see RankSums. Empty columns give zeros."""
    rows = [_column_sums(a[:n], b[:m]) for a, b, n, m in _pairs(reference, live)]
    integers = np.array([row[:5] for row in rows], dtype=np.int64).reshape(-1, 5).T
    floats = np.array([row[5:] for row in rows], dtype=np.float64).reshape(-1, 5).T
    return RankSums(RankCounts(*integers), *floats)


def placement_sums(reference: SortedColumns, live: SortedColumns) -> PlacementSums:
    """Exact sums of the DeLong placements of each pair of columns; see PlacementSums."""
    rows = []
    for a, b, n, m in _pairs(reference, live):
        x, y = a[:n], b[:m]
        p = [int(v) for v in np.searchsorted(x, y, "left") + np.searchsorted(x, y, "right")]
        q = [2 * int(m) - int(v) for v in np.searchsorted(y, x, "left") + np.searchsorted(y, x, "right")]
        squares = sum(v * v for v in p), sum(v * v for v in q)
        words = [word for square in squares for word in divmod(square, 1 << 32)]
        rows.append((int(n), int(m), sum(p), *words))
    return PlacementSums(*np.array(rows, dtype=np.int64).reshape(-1, 7).T)


def _pairs(reference: SortedColumns, live: SortedColumns) -> zip[tuple[Any, Any, Any, Any]]:
    return zip(reference.values, live.values, reference.n, live.n, strict=True)


def _column_sums(x: Any, y: Any) -> tuple[float, ...]:
    n, m = int(x.size), int(y.size)
    if n == 0 or m == 0:
        return (n, m, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0)
    total = n + m
    values = np.unique(np.concatenate([x, y]))
    upto_x = [int(v) for v in np.searchsorted(x, values, "right")]
    upto_y = [int(v) for v in np.searchsorted(y, values, "right")]
    d_max = d_min = u2 = ties = 0
    wasserstein = energy = ad = 0.0
    twelfths = 0  # 12 times n sum (rank - i)^2 + m sum (rank - j)^2, an exact integer
    before_x = before_y = 0
    for k, (after_x, after_y) in enumerate(zip(upto_x, upto_y, strict=True)):
        f, g = after_x - before_x, after_y - before_y
        size, d = f + g, m * after_x - n * after_y
        d_max, d_min = max(d_max, d), min(d_min, d)
        u2 += g * (before_x + after_x)
        ties += size**3 - size
        middle_x, middle_y = before_x + after_x, before_y + after_y  # twice the midpoints
        twelfths += n * (3 * f * middle_y**2 + f * (f * f - 1)) + m * (3 * g * middle_x**2 + g * (g * g - 1))
        below = middle_x + middle_y
        spread = below * (2 * total - below) - total * size
        if spread:
            ad += size * (m * middle_x - n * middle_y) ** 2 / spread
        if d:
            width = _difference(values[k + 1], values[k])
            wasserstein += abs(d) / (n * m) * width
            energy += (d / (n * m)) ** 2 * width
        before_x, before_y = after_x, after_y
    cvm = (twelfths - 2 * n * m * (4 * n * m - 1)) / (12 * n * m * total)
    ad *= (total - 1) / (total * n * m)
    return (n, m, d_max, d_min, u2, float(ties), wasserstein, energy, cvm, ad)


def _difference(upper: Any, lower: Any) -> float:
    """Integers are subtracted as integers: 2**53 + 1 - 2**53 is 1."""
    if isinstance(upper, np.floating):
        with np.errstate(over="ignore"):
            return float(np.float64(upper) - np.float64(lower))
    return float(int(upper) - int(lower))
