"""Tests and distances of category codes, column by column.

Shapes: N reference rows, M live rows, F columns, C categories; inputs (N,) with (M,), or (N, F) with (M, F),
of integer codes 0 .. C - 1; negative codes are missing values, and are counted and left out. A code above
every code of the reference is an unseen category and counts as one. Columns of strings belong to `Profile`.
No pseudocount, no pooling; results () or (F,) float64. Finding C reads one number back to the host
(a device synchronisation on CUDA).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import dispatch, pvalues
from kernels.arrays import Array
from kernels.drift.binned import chi_square_statistic
from kernels.drift.pairs import Pair, TestResult, paired
from kernels.errors import DTypeError


def chi2_contingency(reference: Array, live: Array, *, backend: str | None = None) -> TestResult:
    """Chi-square test that both windows share the category probabilities.

    As ``scipy.stats.chi2_contingency(table, correction=False)`` of the 2 x C table without empty categories.
    NaN where fewer than two categories occur.

    Example: counts [10, 10] against [5, 15] -> 2.667, p = 0.102.
    """
    with paired(reference, live, "histogram", "omit", backend) as pair:
        p, q, missing, missing_live = _counts(pair)
        statistic, df = chi_square_statistic(p, q)
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
    return 0.5 * gaps.sum(1) if total else gaps.max(axis=1)


def _counts(pair: Pair) -> tuple[Any, Any, Any, Any]:
    """(F, C + 1) counts of both windows, the last column for unseen codes, and the missing of both."""
    for name, table in (("reference", pair.reference), ("live", pair.live)):
        if table.dtype.kind not in "iu":
            raise DTypeError(f"{name}: dtype {table.dtype} is not integer - pass category codes")
    rank = dispatch.load("rank", pair.backend)
    columns = rank.split_columns(pair.reference), rank.split_columns(pair.live)
    size = int(pair.reference.max()) + 1 if pair.reference.size else 0  # synchronises
    sizes = [max(size, 0)] * pair.reference.shape[1]
    p, q = (pair.xp.stack(pair.primitive.code_counts(side, sizes)) for side in columns)
    return p[:, :-1], q[:, :-1], p[:, -1], q[:, -1]
