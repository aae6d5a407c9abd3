"""Tests and distances of category codes, column by column.

Shapes: N reference rows, M live rows, F columns, C categories; inputs (N,) with (M,), or (N, F) with (M, F),
of integer codes 0 .. C - 1; negative codes are missing values, and are counted and left out. A code above
every code of the reference is an unseen category and counts as one. Columns of strings belong to `Profile`.
No pseudocount, no pooling; results () or (F,) float64. Finding C reads one number back to the host
(a device synchronisation on CUDA).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kernels import dispatch, pvalues
from kernels.arrays import Array
from kernels.drift.binned import chi_square_statistic
from kernels.drift.columns import to_host
from kernels.drift.pairs import Pair, TestResult, paired
from kernels.errors import DTypeError

_EXPECTED = 5.0
"""Rows that a cell of the chi-square test must expect on the smaller side."""
_MANY = 10
"""From this many degrees of freedom on chi-square hides one category that changes."""
_ENOUGH = 1000.0
"""Expected rows from which the normal limit holds at levels that are divided by thousands of categories."""


def chi2_contingency(
    reference: Array, live: Array, *, pool_rare: bool = False, backend: str | None = None
) -> TestResult:
    """Chi-square test that both windows share the category probabilities.

    As ``scipy.stats.chi2_contingency(table, correction=False)`` of the 2 x C table without empty categories.
    NaN where fewer than two categories occur.

    pool_rare   the p-value is that of `homogeneity`, which holds where categories are rare or many, too: SciPy's
                finds drift in nearly every pair of windows of 200 rows and 300 categories. Each unseen code counts
                for itself then, and the counts come to the host.

    Example: counts [10, 10] against [5, 15] -> 2.667, p = 0.102.
    """
    with paired(reference, live, "histogram", "omit", backend) as pair:
        p, q, missing, missing_live = _counts(pair, unseen=pool_rare)
        statistic, df = chi_square_statistic(p, q)
        if pool_rare:
            p_value = pair.xp.asarray(homogeneity(to_host(p), to_host(q)))  # synchronises
        else:
            p_value = pvalues.chi_square(statistic, df)
        n, m = p.sum(1), q.sum(1)
        known = (n > 0) & (m > 0) & (df > 0)
        return pair.test(statistic, p_value, n, m, missing, missing_live, known)


def total_variation_distance(reference: Array, live: Array, *, backend: str | None = None) -> Any:
    """Half the sum of |p - q| over categories: the largest change of probability of any set of them, 0 to 1.

    Example: codes [0, 0, 1, 1] against [0, 1, 1, 1] -> 0.25.
    """
    return _gap(reference, live, backend, total=True)


def linf_distance(reference: Array, live: Array, *, backend: str | None = None) -> Any:
    """Largest |p - q| over categories, 0 to 1.

    Example: codes [0, 0, 1, 2] against [0, 1, 1, 2] -> 0.25.
    """
    return _gap(reference, live, backend, total=False)


def _gap(reference: Array, live: Array, backend: str | None, *, total: bool) -> Any:
    with paired(reference, live, "histogram", "omit", backend) as pair:
        p, q, missing, missing_live = _counts(pair)
        known = (p.sum(1) > 0) & (q.sum(1) > 0)
        return pair.finish(variation(p, q, total=total), missing, missing_live, known)


def variation(p: Any, q: Any, *, total: bool) -> Any:
    """Total variation or largest gap of (F, C) counts; float64 (F,)."""
    n, m = p.sum(1, dtype=np.float64), q.sum(1, dtype=np.float64)
    gaps = np.abs(p / np.maximum(n, 1.0)[:, None] - q / np.maximum(m, 1.0)[:, None])
    return np.minimum(0.5 * gaps.sum(1), 1.0) if total else gaps.max(axis=1)


def aligned(reference: Mapping[Any, int], live: Mapping[Any, int]) -> tuple[Any, Any]:
    """(1, C) counts of the categories of either side, in the order of their names."""
    names = sorted({**reference, **live}, key=str)
    p, q = (np.array([[side.get(name, 0) for name in names]], dtype=np.int64) for side in (reference, live))
    return p, q


def homogeneity(p: Any, q: Any) -> Any:
    """P-values that both windows share the category probabilities, right for any number of categories of any rarity.

    p, q   (F, C) host counts of the reference and the live window; the order of the categories must not depend on
           how their rows fall on the two sides (by name or code, not by the counts of one side)
    Returns (F,) float64: 1 where all rows are of one category, NaN where a side is empty.

    Few frequent categories are the chi-square test. It is wrong where categories are rare (with 300 of them and 200
    rows a side it finds drift in nearly every window without any), and blind to one of many that changes. So else
    two tests share the column, and their smaller p-value is doubled (Bonferroni):

        pooled   chi-square, after the rarest categories are pooled, smallest first, until each cell expects 5 rows
                 on the smaller side (Cochran 1954): new values are rare together, so a flood of them fills a cell
                 of its own kind
        single   the category that differs most, by the exact test of two rates, times the number of categories

    What is rare is told by the rows of both windows together, never by one side, which would bias the test.
    """
    n, m = p.sum(1), q.sum(1)
    total = p + q
    needed = _EXPECTED * (n + m) / np.maximum(np.minimum(n, m), 1)
    statistic, df = chi_square_statistic(p, q)
    chance = np.where(df > 0, pvalues.chi_square(statistic, df), 1.0)
    hard = ((total > 0) & (total < needed[:, None])).any(1) | (df >= _MANY)
    for f in np.flatnonzero(hard & (n > 0) & (m > 0) & (df > 0)):
        occurs = np.flatnonzero(total[f])
        order = occurs[np.argsort(total[f, occurs], kind="stable")]
        a, b = p[f, order], q[f, order]
        tests = [t for t in (_pooled(a, b, float(needed[f])), _single(a, b)) if t is not None]
        chance[f] = min([1.0, *(len(tests) * t for t in tests)])
    return np.where((n > 0) & (m > 0), chance, np.nan)


def _pooled(p: Any, q: Any, needed: float) -> float | None:
    """P of the chi-square test of (C,) counts, rarest first; None where pooling leaves one cell."""
    cells = _cells(p + q, needed)
    size = int(cells[-1]) + 1
    if size == 1:
        return None
    a, b = (np.bincount(cells, side, size)[None, :] for side in (p, q))
    return float(pvalues.chi_square(*chi_square_statistic(a, b))[0])


def _cells(total: Any, needed: float) -> Any:
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


def _single(p: Any, q: Any) -> float:
    """P of the category that differs most, by likelihood, corrected for how many there are."""
    n, m = int(p.sum()), int(q.sum())
    expected = (p + q) * (m / (n + m))
    sides = ((q, expected), (p, p + q - expected))
    deviance = sum(np.where(k > 0, k * np.log(np.maximum(k, 1) / e), 0.0) - k + e for k, e in sides)
    worst = int(deviance.argmax())
    looks = p.size if p.size > 2 else 1  # what one of two gains the other loses
    return min(1.0, looks * pvalues.two_rates(int(p[worst]), n, int(q[worst]), m, enough=_ENOUGH))


def _counts(pair: Pair, *, unseen: bool = False) -> tuple[Any, Any, Any, Any]:
    """(F, C + 1) counts of both windows, the last column for unseen codes, and the missing of both.

    With `unseen` the codes of the live window alone are among the C."""
    for name, table in (("reference", pair.reference), ("live", pair.live)):
        if table.dtype.kind not in "iu":
            raise DTypeError(f"{name}: dtype {table.dtype} is not integer - pass category codes")
    rank = dispatch.load("rank", pair.backend)
    columns = rank.split_columns(pair.reference), rank.split_columns(pair.live)
    known = (pair.reference, pair.live) if unseen else (pair.reference,)
    size = max((int(side.max()) + 1 for side in known if side.size), default=0)  # synchronises
    sizes = [max(size, 0)] * pair.reference.shape[1]
    p, q = (pair.xp.stack(pair.primitive.code_counts(side, sizes)) for side in columns)
    return p[:, :-1], q[:, :-1], p[:, -1], q[:, -1]
