"""Do two windows share the category probabilities: a p-value that holds for any number of categories of any rarity.

The chi-square test is wrong where categories are rare: with 300 of them and 200 rows a side it finds drift in nearly
every window without any. So two tests share the column:

    pooled   chi-square, after the rarest categories are pooled, smallest first, until each cell expects 5 rows on the
             smaller side (Cochran 1954): new values are rare together, so a flood of them fills a cell of its own kind
    rare     the rare category that differs most, by the exact test of two rates, times the number of rare categories

What is rare is told by the rows of both windows together, never by one side, which would bias the test. The column's
p-value is the smaller of the two, doubled (Bonferroni).
"""

from __future__ import annotations

import math

import numpy as np

from engine.monitor.columns import Counts
from kernels.drift.binned import chi_square_statistic
from kernels.drift.categorical import variation
from kernels.pvalues import chi_square, two_rates

EXPECTED = 5.0
"""Rows that a cell of the chi-square test must expect on the smaller side."""


def homogeneity(reference: Counts, live: Counts) -> tuple[float, float]:
    """(total variation distance, p-value) of two windows; NaN where one holds no value.

    An unseen category counts as a category. The distance of small windows with many categories is large by chance:
    it is the p-value that says whether it is more than that.
    """
    p, q = _aligned(reference, live)
    if not p.sum() or not q.sum():
        return math.nan, math.nan
    needed = EXPECTED * (p.sum() + q.sum()) / min(p.sum(), q.sum())
    tests = [t for t in (_pooled(p, q, needed), _rare(p, q, needed)) if t is not None]
    distance = min(1.0, float(variation(p[None, :], q[None, :], total=True)[0]))
    return distance, min([1.0, *(len(tests) * t for t in tests)])


def _aligned(reference: Counts, live: Counts) -> tuple[np.ndarray, np.ndarray]:
    """(C,) int64 counts of the categories of either side, rarest first, ties by name."""
    total = {name: reference.get(name, 0) + live.get(name, 0) for name in {**reference, **live}}
    names = sorted(total, key=lambda name: (total[name], name))
    p, q = (np.array([side.get(name, 0) for name in names], dtype=np.int64) for side in (reference, live))
    return p, q


def _pooled(p: np.ndarray, q: np.ndarray, needed: float) -> float | None:
    """P of the chi-square test; None where pooling leaves one cell."""
    cells = _cells(p + q, needed)
    size = int(cells.max()) + 1
    if size == 1:
        return None
    a, b = (np.bincount(cells, side, size)[None, :] for side in (p, q))
    statistic, freedom = chi_square_statistic(a, b)
    return float(chi_square(statistic, freedom)[0])


def _cells(total: np.ndarray, needed: float) -> np.ndarray:
    """(C,) cell of each category; `total` ascends, and each cell gathers at least `needed` rows of both windows."""
    cells = np.zeros(len(total), dtype=np.int64)
    cell, gathered = 0, 0
    for i, rows in enumerate(total.tolist()):
        cells[i] = cell
        gathered += rows
        if gathered >= needed:
            cell, gathered = cell + 1, 0
    if gathered and cell:
        cells[cells == cell] = cell - 1
    return cells


def _rare(p: np.ndarray, q: np.ndarray, needed: float) -> float | None:
    """P of the rare category that differs most, corrected for how many there are; None where none is rare."""
    total, n, m = p + q, int(p.sum()), int(q.sum())
    rare = (total > 0) & (total < needed)
    if not rare.any():
        return None
    expected = total * m / (n + m)
    excess = np.where(rare, np.abs(q - expected) / np.sqrt(np.maximum(expected, 1e-300)), -1.0)
    worst = int(excess.argmax())
    return min(1.0, int(rare.sum()) * two_rates(int(p[worst]), n, int(q[worst]), m))
