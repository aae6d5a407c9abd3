"""Proof of the statistics by simulation: intervals cover, tests keep their size, pairing gains power.

Labels are Bernoulli(p^2) for uniform p, and the model says p. That gives closed forms: AUROC 7/8, log loss
1/2, F1 at 1/2 is 7/10, calibration error 1/6 with any bins. The marked sizes run in CI; a quick run does a
tenth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernels.resample import MetricOptions, bootstrap, delong, mcnemar, permutation_test

SIZES = [200, pytest.param(2000, marks=pytest.mark.slow)]


def within(hits: int, sets: int, target: float, tolerance: float) -> bool:
    """The stated tolerance at full size; in a quick run four standard errors of the simulation."""
    noise = 4 * math.sqrt(target * (1 - target) / sets)
    return abs(hits / sets - target) <= (tolerance if sets >= 2000 else max(tolerance, noise))


def squared(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    proba = rng.random(n)
    return (rng.random(n) < proba**2).astype(int), proba


def normal(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    true = rng.normal(size=n)
    return true, true + rng.normal(size=n)


@pytest.mark.parametrize("sets", [200, pytest.param(4000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "truth", "sample"),
    [
        ("roc_auc_score", 7 / 8, squared),
        ("log_loss", 1 / 2, squared),
        ("f1_score", 7 / 10, squared),
        ("root_mean_squared_error", 1.0, normal),
        ("expected_calibration_error", 1 / 6, squared),
    ],
)
def test_intervals_cover(
    name: str,
    truth: float,
    sample: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]],
    sets: int,
    record_property: Any,
) -> None:
    rng = np.random.default_rng(1)
    options = MetricOptions(n_bins=5)
    hits = 0
    for seed in range(sets):
        result = bootstrap(name, *sample(rng, 1000), n_resamples=1000, seed=seed, options=options)
        hits += result.low <= truth <= result.high
    record_property(f"{name}: coverage of 95 % intervals", f"{hits / sets:.3f} of {sets} sets")
    assert within(hits, sets, 0.95, 0.01)


@pytest.mark.parametrize("sets", SIZES)
def test_delong_covers_and_bca_covers_a_skewed_mean(sets: int, record_property: Any) -> None:
    rng = np.random.default_rng(2)
    hits, skewed = 0, 0
    for seed in range(sets):
        result = delong(*squared(rng, 1000))
        hits += result.low <= 7 / 8 <= result.high
        loss = rng.exponential(size=200)
        bca = bootstrap("mean_absolute_error", np.zeros(200), loss, method="bca", n_resamples=1000, seed=seed)
        skewed += bca.low <= 1.0 <= bca.high
    record_property("DeLong: coverage of 95 % intervals", f"{hits / sets:.3f} of {sets} sets")
    record_property("BCa, skewed mean: coverage of 95 % intervals", f"{skewed / sets:.3f} of {sets} sets")
    assert within(hits, sets, 0.95, 0.01)
    assert within(skewed, sets, 0.95, 0.015)


def exchangeable(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two models that err alike and mostly together: the null of every paired test."""
    label = rng.integers(0, 2, n)
    hidden = 1.5 * label - 0.75 + rng.normal(size=n)
    a, b = (1 / (1 + np.exp(-(hidden + 0.5 * rng.normal(size=n)))) for _ in range(2))
    return label, a, b


@pytest.mark.parametrize("sets", SIZES)
def test_paired_tests_keep_their_size(sets: int, record_property: Any) -> None:
    rng = np.random.default_rng(3)
    names = ["roc_auc_score", "log_loss", "accuracy_score"]
    rejected = dict.fromkeys([*names, "delong", "mcnemar", "bootstrap"], 0)
    for seed in range(sets):
        label, a, b = exchangeable(rng, 500)
        for name in names:
            rejected[name] += permutation_test(name, label, a, b, n_resamples=399, seed=seed).pvalue <= 0.05
        rejected["delong"] += delong(label, a, b).pvalue <= 0.05
        rejected["mcnemar"] += mcnemar(label, (a > 0.5).astype(int), (b > 0.5).astype(int)).pvalue <= 0.05
        interval = bootstrap("log_loss", label, a, b, n_resamples=1000, seed=seed)
        rejected["bootstrap"] += not interval.low <= 0.0 <= interval.high
    for name, hits in rejected.items():
        record_property(f"{name}: size of the paired test at 5 %", f"{hits / sets:.3f} of {sets} sets")
        assert within(hits, sets, 0.05, 0.01), f"{name}: {hits} of {sets}"


def test_pairing_gains_power(record_property: Any) -> None:
    rng = np.random.default_rng(4)
    paired, alone = 0, 0
    for seed in range(100):
        label, a, _ = exchangeable(rng, 500)
        b = np.clip(a + 0.12 * rng.normal(size=500), 0.01, 0.99)
        both = bootstrap("brier_score_loss", label, a, b, n_resamples=500, seed=seed)
        paired += both.low > 0
        errors = [bootstrap("brier_score_loss", label, s, n_resamples=500, seed=seed).standard_error for s in (a, b)]
        alone += both.estimate > 1.96 * math.hypot(*errors)
    record_property("a worse model found: paired, unpaired", f"{paired}, {alone} of 100 sets")
    assert paired > 2 * alone + 10
