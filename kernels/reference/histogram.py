"""The histogram primitive by definition: binary search of every value in the edges of its column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.sums import HistogramCounts


def bin_counts(columns: Any, edges: Sequence[Any]) -> HistogramCounts:
    """Counts of each column between its ascending edges; see HistogramCounts.

    columns   (N, F) array, or F arrays of shape (N_f,), working dtype
    edges     F ascending arrays of shape (B_f - 1,), the dtype of their column
    """
    listed = [columns[:, f] for f in range(len(edges))] if hasattr(columns, "ndim") else list(columns)
    counts, missing = [], []
    for column, inner in zip(listed, edges, strict=True):
        kept = column[column == column]
        index = np.searchsorted(inner, kept, side="right")
        counts.append(np.bincount(index, minlength=len(inner) + 1).astype(np.int64))
        missing.append(column.size - kept.size)
    return HistogramCounts(tuple(counts), np.array(missing, dtype=np.int64))


def code_counts(columns: Sequence[Any], categories: Sequence[int]) -> tuple[Any, ...]:
    """Counts of integer codes 0 .. C_f - 1 of each column, then of codes >= C_f, then of negative ones.

    Returns F arrays of shape (C_f + 2,) int64. Negative codes mean missing.
    """
    results = []
    for column, size in zip(columns, categories, strict=True):
        counts = np.zeros(size + 2, dtype=np.int64)
        for code in column.tolist():
            counts[size + 1 if code < 0 else min(code, size)] += 1
        results.append(counts)
    return tuple(results)
