"""What the primitives hand over: sufficient statistics of columns, one entry a column.

Legend: N reference rows, M live rows, F columns, B bins. ``n`` and ``m`` are the counts of values that are
not NaN in one reference and one live column. Arrays live where the input lives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kernels.arrays import device_of, namespace


class SortedColumns(NamedTuple):
    """Columns in ascending order: the input of the rank primitive.

    values    F arrays of shape (N_f,), working dtype, ascending, any NaN at the end
    n         (F,) int64, values that are not NaN: only ``values[f][:n[f]]`` is ordered data
    missing   (F,) int64, NaN values
    """

    values: tuple[Any, ...]
    n: Any
    missing: Any


class RankCounts(NamedTuple):
    """The integer part of one merge of two sorted columns; equal bit for bit on every backend.

    With F(z) and G(z) the numbers of reference and live values <= z, and D(z) = m F(z) - n G(z):

    n, m      (F,) int64
    d_max     (F,) int64, max(0, max_z D(z)); D+ of Kolmogorov-Smirnov times n m
    d_min     (F,) int64, min(0, min_z D(z)); minus D- times n m
    u2        (F,) int64, 2 #{reference < live} + #{reference = live} over all n m pairs; twice the
              Mann-Whitney U of the live column, so AUROC = u2 / (2 n m). Exact while 2 n m < 2**63.
    """

    n: Any
    m: Any
    d_max: Any
    d_min: Any
    u2: Any


class Extremes(NamedTuple):
    """What Kolmogorov-Smirnov and Kuiper need, from columns that may be unsorted; all (F,) int64.

    n, m                              values that are not NaN
    missing_reference, missing_live   NaN values
    d_max, d_min                      as in RankCounts
    """

    n: Any
    m: Any
    missing_reference: Any
    missing_live: Any
    d_max: Any
    d_min: Any


class RankSums(NamedTuple):
    """All seven rank statistics of two sorted columns from one merge, exact under ties.

    counts        RankCounts
    tie_cubes     (F,) float64, sum over tie groups of the pooled column of t**3 - t
    wasserstein   (F,) float64, integral of |F/n - G/m| dz; inf where infinite values do not cancel
    energy        (F,) float64, integral of (F/n - G/m)**2 dz
    cvm           (F,) float64, two-sample Cramer-von Mises T with midranks
    ad            (F,) float64, two-sample Anderson-Darling A2 with midranks (Scholz and Stephens, eq. 7)
    """

    counts: RankCounts
    tie_cubes: Any
    wasserstein: Any
    energy: Any
    cvm: Any
    ad: Any


class Groups(NamedTuple):
    """Tie groups of one pair of columns, ascending: the parts of a merge that is done range by range.

    value         (K,) distinct values, working dtype
    left, right   (K,) int64, reference and live rows <= each of them, counted from the very first row
    """

    value: Any
    left: Any
    right: Any


class PlacementSums(NamedTuple):
    """Exact sums and sums of squares of the DeLong placements of two sorted columns.

    A live value y has the placement p(y) = 2 #{reference < y} + #{reference = y} (between 0 and 2 n); a
    reference value x has q(x) = 2 #{live > x} + #{live = x}. Both sum to ``u2``. The sums of squares pass
    2**63, so each comes as two int64 words: value = high * 2**32 + low.

    n, m                      (F,) int64
    u2                        (F,) int64
    live_high, live_low       (F,) int64, sum of p**2
    reference_high, reference_low (F,) int64, sum of q**2
    """

    n: Any
    m: Any
    u2: Any
    live_high: Any
    live_low: Any
    reference_high: Any
    reference_low: Any


class OrderStatistics(NamedTuple):
    """Values of columns at given positions of their ascending order; K_f positions in column f, all on the host.

    values    F arrays of shape (K_f,), working dtype
    below     F arrays of shape (K_f,) int64, rows smaller than the value
    upto      F arrays of shape (K_f,) int64, rows not larger than the value
    n         (F,) int64, values that are not NaN
    missing   (F,) int64, NaN values
    kept      F columns where the input lies, none of them memory that may change; None where nothing was to be kept
    ordered   F booleans: whether the kept column is ascending and without NaN, or as it came
    cells     F times what the backend found out about columns that it did not sort; None where it sorted
    """

    values: tuple[Any, ...]
    below: tuple[Any, ...]
    upto: tuple[Any, ...]
    n: Any
    missing: Any
    kept: tuple[Any, ...]
    ordered: tuple[bool, ...]
    cells: tuple[Any, ...]


class HistogramCounts(NamedTuple):
    """Counts of columns in their own bins; integers, equal bit for bit on every backend and any batch split.

    counts    F arrays of shape (B_f,) int64: bin b of column f holds the rows with
              edges[b - 1] <= x < edges[b]; the first and the last bin are open to -inf and +inf
    missing   (F,) int64, NaN values
    """

    counts: tuple[Any, ...]
    missing: Any


def order_statistics_of_sorted(
    columns: SortedColumns, positions: Callable[[int], Any], *, keep: bool
) -> OrderStatistics:
    """The order statistics of columns that are sorted; reading device columns synchronises."""
    n, missing = _host(columns.n), _host(columns.missing)
    kept = [values[: int(size)] for values, size in zip(columns.values, n, strict=True)]
    picked = [v[namespace(device_of(v)).asarray(positions(v.shape[0]))] for v in kept]
    below, upto = (
        tuple(_host(v.searchsorted(at, side=side)).astype(np.int64) for v, at in zip(kept, picked, strict=True))
        for side in ("left", "right")
    )
    held = tuple(kept) if keep else (None,) * len(kept)
    ordered, cells = (True,) * len(kept), (None,) * len(kept)
    return OrderStatistics(tuple(_host(v) for v in picked), below, upto, n, missing, held, ordered, cells)


def _host(array: Any) -> Any:
    return array if isinstance(array, np.ndarray) else array.get()


def scale_rank_sums(xp: Any, counts: RankCounts, raw: Any) -> RankSums:
    """The raw sums of a merge, (6, F) float64, as RankSums; the last step of every fast backend.

    raw   wasserstein, energy, squares, correction, ad and tie_cubes, where over tie groups of f reference and g live
          values, t = f + g, with D before and after the group:
          squares = sum t (D0**2 + D0 D1 + D1**2) / 3
          correction = sum n f (f**2 - 1 - g**2) + m g (g**2 - 1 - f**2), 0 without ties
          ad = sum t ((D0 + D1) / 2)**2 / (B (n + m - B) - (n + m) t / 4), B the midrank of the group less 1/2
    """
    wasserstein, energy, squares, correction, ad, tie_cubes = raw
    n, m = counts.n.astype("float64"), counts.m.astype("float64")
    total, pairs = xp.maximum(n + m, 1.0), xp.maximum(n * m, 1.0)
    cvm = squares / (pairs * total * total) + correction / (12.0 * pairs * total)
    cvm = xp.where(n * m > 0, cvm + 1.0 / (6.0 * total), 0.0)
    return RankSums(counts, tie_cubes, wasserstein, energy, cvm, ad * (total - 1.0) / (pairs * total))


class Advance(NamedTuple):
    """What F streams told while they took in a chunk.

    rows      F int64 arrays, ascending: row numbers of the alarms
    sides     F int8 arrays: +1 where the values rose, -1 where they fell
    missing   (F,) int64, NaN values that were skipped
    refused   (F,) int64, row of the first value outside the span; -1: there is none
    """

    rows: list[Any]
    sides: list[Any]
    missing: Any
    refused: Any
