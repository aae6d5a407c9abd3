from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from engine.validate.clustered import effective_rows


def test_a_share_is_worth_its_linearised_variance() -> None:
    """Against the formula written out, cluster by cluster."""
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(12), rng.integers(5, 30, 12))
    groups = (rng.random(len(clusters)) < rng.random(12)[clusters]).astype(np.int64)
    worth = effective_rows(groups, clusters, 2, 0.95)
    n = len(groups)
    few = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 11)) ** 2
    for group in (0, 1):
        share = (groups == group).mean()
        inside = [((groups == group) & (clusters == c)).sum() - share * (clusters == c).sum() for c in range(12)]
        variance = 12 / 11 * sum(z**2 for z in inside) / n**2
        assert worth[group] == pytest.approx(share * (1 - share) / variance * few)
    assert worth.max() < n


def test_rows_that_share_nothing_are_worth_themselves() -> None:
    groups = np.arange(40) % 2
    worth = effective_rows(groups, np.repeat(np.arange(10), 4), 2, 0.95)  # every cluster as the whole
    assert worth.tolist() == [40.0, 40.0]


def test_hardly_any_clusters() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert effective_rows(nothing, nothing, 2, 0.95).tolist() == [0.0, 0.0]
    assert effective_rows(np.array([0, 1]), np.array([0, 0]), 2, 0.95).tolist() == [1.0, 1.0]
    assert effective_rows(np.array([0, 1]), np.array([3, 3]), 2, 0.95).tolist() == [1.0, 1.0]  # codes without rows
