"""Joint drift against dense definitions, closed forms, and its own false-alarm rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance
from sklearn.decomposition import PCA

from kernels import dispatch, drift
from kernels.errors import MissingValueError, OptionError


def dense_mmd(x: np.ndarray, y: np.ndarray, sigma: float) -> float:
    k = [np.exp(-cdist(a, b, "sqeuclidean") / (2 * sigma**2)) for a, b in ((x, x), (y, y), (x, y))]
    n, m = len(x), len(y)
    return (k[0].sum() - n) / (n * (n - 1)) + (k[1].sum() - m) / (m * (m - 1)) - 2 * k[2].mean()


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("sizes", [(60, 47), (7, 30), (2, 2)])
def test_mmd_is_the_dense_definition(sizes: tuple[int, int], offset: float, backend: Any) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(sizes[0], 3)) + offset, rng.normal(0.5, 1, size=(sizes[1], 3)) + offset
    arrays = backend.put(x), backend.put(y)
    result = drift.mmd(*arrays, bandwidth=1.3, n_resamples=19, blocks=16, backend=backend.name)
    assert float(backend.get(result.statistic)) == pytest.approx(dense_mmd(x, y, 1.3), rel=1e-6, abs=1e-9)
    assert backend.get(result.statistic).shape == ()


def test_block_sums_are_the_sums_of_pairs(backend: Any) -> None:
    rng = np.random.default_rng(2)
    rows, offsets = rng.normal(size=(37, 5)), np.array([0, 1, 9, 30, 37])
    kernel = np.exp(-0.3 * cdist(rows, rows, "sqeuclidean"))
    np.fill_diagonal(kernel, 0.0)
    expected = np.add.reduceat(np.add.reduceat(kernel, offsets[:-1], axis=0), offsets[:-1], axis=1)
    got = dispatch.load("pairwise", backend.name).block_sums(backend.put(rows), offsets, 0.3)
    np.testing.assert_allclose(backend.get(got), expected, rtol=1e-12)


def test_default_bandwidth_is_the_median_distance_of_the_reference() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(300, 2)), rng.normal(9, 5, size=(40, 2))
    sigma = np.median(cdist(x, x)[np.triu_indices(300, 1)])
    got = drift.mmd(x, y, n_resamples=9).statistic
    assert got == pytest.approx(drift.mmd(x, y, n_resamples=9, bandwidth=float(sigma)).statistic, rel=1e-9)


def test_permutation_p_values_hold_their_level_and_see_a_shift() -> None:
    rng = np.random.default_rng(4)
    null = [
        float(drift.mmd(rng.normal(size=(80, 2)), rng.normal(size=(50, 2)), n_resamples=99, seed=s, blocks=26).pvalue)
        for s in range(200)
    ]
    assert min(null) >= 0.01
    assert np.mean(np.array(null) <= 0.05) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 200)
    assert np.mean(np.array(null) <= 0.5) == pytest.approx(0.5, abs=0.15)
    shifted = drift.mmd(rng.normal(size=(300, 2)), rng.normal(0.6, 1, size=(200, 2)), n_resamples=999)
    assert shifted.pvalue == 1 / 1000


def test_equal_seeds_repeat() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(100, 2)), rng.normal(0.2, 1, size=(90, 2))
    first, again, other = (drift.mmd(x, y, seed=s, n_resamples=200).pvalue for s in (1, 1, 2))
    assert first == again
    assert abs(first - other) < 0.15


def test_mmd_counts_the_rows_that_it_leaves_out() -> None:
    x = np.random.default_rng(6).normal(size=(40, 2))
    y = x.copy()
    y[0, 1], y[1, 0] = np.nan, np.inf
    result = drift.mmd(x, y, n_resamples=9)
    assert (result.n_live, result.missing_live, result.n_reference) == (38, 2, 40)
    with pytest.raises(MissingValueError, match="live: 2 NaN"):
        drift.mmd(x, y, nan_policy="raise")
    assert np.isnan(drift.mmd(x, y, n_resamples=9, nan_policy="propagate").statistic)
    assert np.isnan(drift.mmd(x, x[:1]).pvalue)
    assert isinstance(drift.mmd(torch.from_numpy(x), torch.from_numpy(x)).statistic, torch.Tensor)


def test_sliced_wasserstein_is_the_mean_over_directions(backend: Any) -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(80, 3)), rng.normal(1, 2, size=(60, 3))
    directions = np.random.default_rng(11).normal(size=(3, 20))
    directions /= np.linalg.norm(directions, axis=0)
    expected = np.mean([wasserstein_distance(x @ d, y @ d) for d in directions.T])
    got = drift.sliced_wasserstein_distance(
        backend.put(x), backend.put(y), n_directions=20, seed=11, backend=backend.name
    )
    assert float(backend.get(got)) == pytest.approx(expected, rel=1e-10)
    one = drift.sliced_wasserstein_distance(backend.put(x[:, 0]), backend.put(y[:, 0]), backend=backend.name)
    assert float(backend.get(one)) == pytest.approx(wasserstein_distance(x[:, 0], y[:, 0]), rel=1e-10)


@pytest.mark.parametrize("kept", [1, 3, 0.6])
def test_reconstruction_error_is_sklearns(kept: int | float) -> None:
    rng = np.random.default_rng(8)
    mixing = rng.normal(size=(5, 5))
    x, y = rng.normal(size=(400, 5)) @ mixing, rng.normal(size=(300, 5))
    scaled = [(v - x.mean(0)) / x.std(0) for v in (x, y)]
    pca = PCA(n_components=kept).fit(scaled[0])
    errors = [np.linalg.norm(v - pca.inverse_transform(pca.transform(v)), axis=1) for v in scaled]
    got = drift.pca_reconstruction_error(x, y, n_components=kept)
    assert got.n_components == pca.n_components_
    assert got.reference == pytest.approx(errors[0].mean(), rel=1e-9)
    assert got.live == pytest.approx(errors[1].mean(), rel=1e-9)
    assert got.pvalue < 1e-2
    assert drift.pca_reconstruction_error(x[:200], x[200:], n_components=kept).pvalue > 1e-3


def test_a_broken_correlation_is_seen_where_every_column_is_unchanged() -> None:
    rng = np.random.default_rng(9)
    one = rng.normal(size=2000)
    x = np.stack([one, one + 0.1 * rng.normal(size=2000)], axis=1)
    y = np.stack([x[:, 0], rng.permutation(x[:, 1])], axis=1)
    assert (drift.ks_2samp(x, y).pvalue > 0.9).all()
    assert drift.pca_reconstruction_error(x, y, n_components=1).pvalue < 1e-50
    assert drift.mmd(x[:500], y[:500], n_resamples=199).pvalue == 1 / 200


def test_refusals() -> None:
    x = np.zeros((5, 2))
    for arguments, message in (
        ({"bandwidth": 0.0}, "bandwidth: 0.0 - use a positive"),
        ({"n_resamples": 0}, "use at least 1 permutation"),
    ):
        with pytest.raises(OptionError, match=message):
            drift.mmd(x, x, **arguments)
    with pytest.raises(OptionError, match="n_directions: 0 - use at least 1"):
        drift.sliced_wasserstein_distance(x, x, n_directions=0)
    for kept, message in ((3, "n_components: 3 of 2 columns"), (1.5, r"n_components: 1\.5 - use a whole")):
        with pytest.raises(OptionError, match=message):
            drift.pca_reconstruction_error(x, x, n_components=kept)


def test_constant_and_empty_tables_are_no_drift_or_unknown() -> None:
    x = np.ones((30, 2))
    assert drift.mmd(x, x, n_resamples=9).pvalue == 1.0
    assert drift.sliced_wasserstein_distance(x, x) == 0.0
    assert drift.pca_reconstruction_error(x, x).pvalue == 1.0
    assert np.isnan(drift.sliced_wasserstein_distance(x, x[:0]))
    assert np.isnan(drift.pca_reconstruction_error(x, x[:0]).pvalue)
