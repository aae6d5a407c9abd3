"""How many independent rows clustered rows are worth."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from engine.scoring import student

MIN_CLUSTERS = 5  # fewer give no variance to speak of


def effective_rows(groups: np.ndarray, clusters: np.ndarray, size: int, confidence_level: float) -> np.ndarray:
    """Rows that each group's share is worth, (size,) float64, of K clusters with rows.

    groups: (N,) int64 codes below `size`. clusters: (N,) int64 codes from 0. The share of a group is a ratio of sums
    over clusters; the binomial variance over its linearised one says how many rows it is worth, N at most, times
    (z / t)^2 with t on K - 1 degrees of freedom (Korn and Graubard 1998). A group that all rows or none belong to
    shows no variance: there K clusters count as K rows. Cost: one sort of N words.
    """
    n, rows = len(groups), np.bincount(clusters).astype(np.float64)  # m_c
    k = int((rows > 0).sum())
    if k < 2:
        return np.full(size, float(k))
    cells, hits = np.unique(clusters.astype(np.int64) * size + groups, return_counts=True)  # y_c of each group
    of, hits = cells % size, hits.astype(np.float64)
    share = np.bincount(of, weights=hits, minlength=size) / n
    squares = np.bincount(of, weights=hits * hits, minlength=size)
    crossed = np.bincount(of, weights=hits * rows[cells // size], minlength=size)
    total = squares - 2 * share * crossed + share**2 * float((rows**2).sum())  # of (y_c - share m_c)^2
    variance = k / (k - 1) * np.maximum(total, 0.0) / n**2
    binomial = share * (1 - share)
    varied = (binomial > 0) & (variance > 0)
    worth = np.where(binomial > 0, float(n), float(k))
    worth[varied] = np.minimum(n, binomial[varied] / variance[varied])
    level = 0.5 + confidence_level / 2
    few = (NormalDist().inv_cdf(level) / student.within(confidence_level, k - 1)) ** 2
    return np.where(worth < n, worth * few, worth)
