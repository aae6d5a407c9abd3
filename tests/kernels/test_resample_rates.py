"""Rates by group: exact counts, replicates that move together, and as much as the binomial law says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels.errors import DTypeError, OptionError, ShapeError
from kernels.resample import group_rates


def rows_of(n: int = 3000) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(3)
    return (rng.random(n) < 0.3).astype(np.int64), rng.integers(-1, 2, n), rng.integers(0, 40, n)


def test_counts_and_rates(backend: Any) -> None:
    hits, groups, cluster = rows_of()
    given = [backend.put(x) for x in (hits, groups, cluster)]
    found = group_rates(*given, n_resamples=64, seed=5, backend=backend.name)
    np.testing.assert_array_equal(found.values, [-1, 0, 1])
    for place, value in enumerate(found.values):
        inside = groups == value
        assert found.n[place] == inside.sum()
        assert found.hits[place] == hits[inside].sum()
        assert found.units[place] == len(np.unique(cluster[inside]))
        assert found.rate[place] == pytest.approx(hits[inside].mean())
    assert found.replicates.shape == (3, 64)
    reference = group_rates(hits, groups, cluster, n_resamples=64, seed=5, backend="reference")
    np.testing.assert_array_equal(found.replicates, reference.replicates)


def test_the_spread_of_independent_rows_is_binomial() -> None:
    hits, groups, _ = rows_of(6000)
    found = group_rates(hits, groups, n_resamples=2000)
    np.testing.assert_allclose(
        found.replicates.std(axis=1), np.sqrt(found.rate * (1 - found.rate) / found.n), rtol=0.06
    )
    assert abs(np.corrcoef(found.replicates)[0, 1]) < 0.08


def test_groups_that_share_clusters_move_together() -> None:
    """Days of luck that lift both groups: their rates vary much, and the difference between them little."""
    rng = np.random.default_rng(1)
    day, group = rng.integers(0, 40, 8000), rng.integers(0, 2, 8000)
    hits = rng.random(8000) < np.where(rng.random(40) < 0.5, 0.2, 0.7)[day]
    found = group_rates(hits, group, day, n_resamples=1000)
    apart = found.replicates[0] - found.replicates[1]
    assert found.replicates.std(axis=1).min() > 0.03
    assert apart.std() < 0.02
    alone = group_rates(hits, group, n_resamples=1000)
    assert alone.replicates.std(axis=1).max() < 0.01


def test_a_group_that_a_replicate_does_not_draw_is_undefined() -> None:
    found = group_rates(np.array([1, 0, 1]), np.array([0, 1, 1]), n_resamples=200)
    assert np.isnan(found.replicates[0]).any()
    assert not np.isnan(found.replicates[0]).all()


def test_refusals() -> None:
    hits, groups, _ = rows_of(10)
    with pytest.raises(DTypeError):
        group_rates(hits, groups.astype(float))
    with pytest.raises(ShapeError):
        group_rates(hits, groups[:5])
    with pytest.raises(OptionError):
        group_rates(hits, groups, n_resamples=0)
