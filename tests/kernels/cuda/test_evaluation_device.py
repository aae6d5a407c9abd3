"""Metrics and intervals on device arrays, end to end, without a GPU: a strict stand-in for CuPy, kernels by
the shim."""

from __future__ import annotations

from typing import Any

import device
import numpy as np
import pytest

from kernels import metrics
from kernels.errors import DeviceError
from kernels.measures.table import FAMILY, MetricOptions
from kernels.resample import bootstrap, crossing, delong, mcnemar, permutation_test
from tests.kernels.test_resample_bootstrap import arguments


@pytest.fixture(autouse=True)
def standing_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy is the stand-in; kernels launch on the host."""
    device.install(monkeypatch)


def there(*arrays: Any) -> Any:
    """Arrays on the device."""
    placed = tuple(device.ndarray(np.asarray(a)) for a in arrays)
    return placed[0] if len(placed) == 1 else placed


def same(got: Any, expected: Any) -> None:
    """A device result, of the values that the host gives."""
    assert isinstance(got, device.ndarray)
    np.testing.assert_allclose(got.get(), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", sorted(FAMILY))
def test_metrics_stay_on_the_device(name: str, weighted: bool) -> None:
    true, score, _ = arguments(name, n=150)
    if FAMILY[name] == "cells":
        score = (score >= 0.5).astype(int)
    weight = np.random.default_rng(1).random(150)
    keywords = {"sample_weight": weight} if weighted and name != "expected_calibration_error" else {}
    placed = {key: there(value) for key, value in keywords.items()}
    metric = getattr(metrics, name)
    same(metric(*there(true, score), **placed), metric(true, score, **keywords))


def test_classes_and_probabilities_stay_on_the_device() -> None:
    rng = np.random.default_rng(2)
    true, proba = rng.integers(0, 4, 200), rng.dirichlet(np.ones(4), 200)
    pred = proba.argmax(axis=1)
    placed_true, placed_proba, placed_pred = there(true, proba, pred)
    for name in ("log_loss", "brier_score_loss", "expected_calibration_error", "average_precision_score"):
        same(getattr(metrics, name)(placed_true, placed_proba), getattr(metrics, name)(true, proba))
    for keywords in ({"multi_class": "ovr"}, {"multi_class": "ovo"}, {"multi_class": "ovr", "average": None}):
        same(
            metrics.roc_auc_score(placed_true, placed_proba, **keywords),
            metrics.roc_auc_score(true, proba, **keywords),
        )
    for average in ("macro", "weighted", "micro", None):
        for labels in (None, [1, 3]):
            keywords = {"average": average, "labels": labels}
            same(
                metrics.f1_score(placed_true, placed_pred, **keywords),
                metrics.f1_score(true, pred, **keywords),
            )
    for keywords in ({}, {"labels": [3, 0]}, {"normalize": "true"}):
        same(
            metrics.confusion_matrix(placed_true, placed_pred, **keywords),
            metrics.confusion_matrix(true, pred, **keywords),
        )
    same(
        metrics.log_loss(placed_true, placed_proba, labels=[0, 1, 2, 3]),
        metrics.log_loss(true, proba, labels=[0, 1, 2, 3]),
    )
    quantile = {"strategy": "quantile", "n_bins": 7}
    two, first = (true == 0).astype(int), proba[:, 0]
    same(
        metrics.expected_calibration_error(*there(two, first), **quantile),
        metrics.expected_calibration_error(two, first, **quantile),
    )
    for got, expected in zip(metrics.binary_scores(*there(two, first)), metrics.binary_scores(two, first), strict=True):
        same(got, expected)


def test_missing_values_on_the_device() -> None:
    true, score, _ = arguments("log_loss", n=60)
    score = score.copy()
    score[::7] = np.nan
    for metric in (metrics.log_loss, metrics.roc_auc_score, metrics.mean_squared_error):
        for policy in ("omit", "propagate"):
            same(metric(*there(true, score), nan_policy=policy), metric(true, score, nan_policy=policy))


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_intervals_are_the_hosts(name: str) -> None:
    true, a, b = arguments(name, n=120)
    slices, cluster = np.arange(120) % 3, np.arange(120) // 4
    for extra in (
        {},
        {"cluster": cluster},
        {"slices": slices, "min_rows": 45},
        {"method": "bca", "slices": slices},
    ):
        keywords: dict[str, Any] = {"n_resamples": 24, "seed": 2}
        if name == "expected_calibration_error" and "method" in extra:
            continue  # its interval has a method of its own
        placed = {k: there(v) if isinstance(v, np.ndarray) else v for k, v in extra.items()}
        expected = bootstrap(name, true, a, b, **keywords, **extra)
        got = bootstrap(name, *there(true, a, b), **keywords, **placed)
        assert (got.backend, expected.backend) == ("cuda", "cpu")
        assert got.estimate == pytest.approx(expected.estimate, rel=1e-9, abs=1e-12)
        assert (got.low, got.high) == pytest.approx((expected.low, expected.high), rel=1e-7, nan_ok=True)
    tested = permutation_test(name, *there(true, a, b), n_resamples=20)
    assert tested.pvalue == permutation_test(name, true, a, b, n_resamples=20).pvalue


def test_many_classes_and_other_tests_on_the_device() -> None:
    rng = np.random.default_rng(3)
    true = rng.integers(0, 3, 150)
    proba = rng.dirichlet(np.ones(3), 150) + 0.3 * np.eye(3)[true]
    proba /= proba.sum(axis=1, keepdims=True)
    for name in ("roc_auc_score", "log_loss", "f1_score", "expected_calibration_error"):
        options = MetricOptions(average="weighted")
        expected = bootstrap(name, true, proba, n_resamples=16, options=options)
        got = bootstrap(name, *there(true, proba), n_resamples=16, options=options)
        assert (got.low, got.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    label, a, b = arguments("roc_auc_score", n=200)
    expected_delong, got_delong = delong(label, a, b), delong(*there(label, a, b))
    assert got_delong.pvalue == pytest.approx(expected_delong.pvalue, rel=1e-9)
    assert got_delong.estimates == expected_delong.estimates
    codes = np.arange(200) % 4
    tables = [
        r.slices["slice"] for r in (delong(label, a, b, slices=codes), delong(*there(label, a, b), slices=there(codes)))
    ]
    for field in ("n", "estimate", "low", "pvalue"):
        np.testing.assert_allclose(getattr(tables[1], field), getattr(tables[0], field), rtol=1e-9)
    joint, values = crossing(*there(codes, label))
    assert isinstance(joint, device.ndarray)
    assert values[joint.get()].tolist() == np.stack([codes, label], axis=1).tolist()
    pred = [(s > 0.5).astype(int) for s in (a, b)]
    assert mcnemar(*there(label, *pred)).pvalue == mcnemar(label, *pred).pvalue


def test_host_and_device_never_mix() -> None:
    label, a, b = arguments("roc_auc_score", n=20)
    with pytest.raises(DeviceError):
        metrics.roc_auc_score(there(label), a)
    with pytest.raises(DeviceError):
        bootstrap("log_loss", there(label), there(a), b)
