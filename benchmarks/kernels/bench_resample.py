"""Intervals of 1M rows against loops over scikit-learn, and DeLong against argsort, both sides in one run.

    python -m pytest benchmarks/kernels/bench_resample.py -s

A loop of a thousand resamples takes minutes to hours, so one or a few turns are timed and multiplied; the
line says so. A turn is what users write: draw row numbers, gather, score.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas
import pytest
import sklearn.metrics
import torch
from torchmetrics.functional.classification import binary_calibration_error

from benchmarks.kernels.sides import compare
from kernels.resample import bootstrap, delong

ROWS = 1_000_000
SLICES = 1000


@pytest.fixture(scope="module")
def rows() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=ROWS)
    label = (rng.random(ROWS) < 1 / (1 + np.exp(-hidden))).astype(np.int64)
    a, b = (1 / (1 + np.exp(-hidden - noise * rng.normal(size=ROWS))) for noise in (0.3, 0.5))
    return label, a, b


def turn(metric: Callable[[Any, Any], Any], label: Any, score: Any) -> Callable[[], Any]:
    """One turn of the loop that a bootstrap of scikit-learn is."""
    rng = np.random.default_rng(2)

    def draw_and_score() -> Any:
        drawn = rng.integers(0, label.shape[0], label.shape[0])
        return metric(label[drawn], score[drawn])

    return draw_and_score


def test_auroc_bootstrap(benchmark: Any, rows: Any) -> None:
    label, score, _ = rows
    bootstrap("roc_auc_score", label[:1000], score[:1000], n_resamples=8)
    tracemalloc.start()
    bootstrap("roc_auc_score", label, score, n_resamples=8)
    extra = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    mine = compare(
        benchmark, lambda: bootstrap("roc_auc_score", label, score, n_resamples=1000),
        turn(sklearn.metrics.roc_auc_score, label, score), floor=100, rounds=3, peer_rounds=5, scale=1000,
        note=f"AUROC bootstrap, 1000 resamples, {extra / 1e6:.0f} MB extra",
    )  # fmt: skip
    assert mine < 3.5
    assert extra < 100e6


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("f1_score", np.float64), ("matthews_corrcoef", np.float64), ("expected_calibration_error", np.float64),
        ("expected_calibration_error", np.float32),
    ],
)  # fmt: skip
def test_bootstrap_by_cell(benchmark: Any, rows: Any, name: str, dtype: type) -> None:
    label, score = rows[0], rows[1].astype(dtype)
    given = score if name == "expected_calibration_error" else (score >= 0.5).astype(np.int64)

    def calibration(y: Any, p: Any) -> Any:
        return binary_calibration_error(torch.from_numpy(p), torch.from_numpy(y), n_bins=15)

    peer = calibration if name == "expected_calibration_error" else getattr(sklearn.metrics, name)
    compare(
        benchmark, lambda: bootstrap(name, label, given, n_resamples=2000), turn(peer, label, given),
        floor=5000, peer_rounds=5, scale=2000, note=f"{name} bootstrap, 2000 resamples, {dtype.__name__}",
    )  # fmt: skip


def test_slices_with_intervals(benchmark: Any, rows: Any) -> None:
    label, score, _ = rows
    codes = np.random.default_rng(3).integers(0, SLICES, ROWS)
    frame = pandas.DataFrame({"slice": codes, "label": label, "score": score})

    def by_slice() -> Any:
        return [sklearn.metrics.roc_auc_score(g["label"], g["score"]) for _, g in frame.groupby("slice")]

    compare(
        benchmark, lambda: bootstrap("roc_auc_score", label, score, slices=codes, n_resamples=1000),
        by_slice, floor=50, rounds=2, peer_rounds=1, scale=1000,
        note=f"AUROC on {SLICES} slices with intervals, 1000 resamples, pandas and scikit-learn",
    )  # fmt: skip


def midranks(x: Any) -> Any:
    """Ranks with ties shared, by argsort: the core of the usual NumPy DeLong (Sun and Xu 2014)."""
    order = np.argsort(x)
    ordered = x[order]
    new = np.append(True, ordered[1:] != ordered[:-1])
    first = np.flatnonzero(new)
    size = np.diff(np.append(first, x.shape[0]))
    out = np.empty(x.shape[0])
    out[order] = np.repeat(first + 0.5 * (size + 1), size)
    return out


def argsort_delong(label: Any, *scores: Any) -> tuple[Any, Any]:
    positive = label == 1
    m, n = positive.sum(), (~positive).sum()
    v10, v01 = [], []
    for score in scores:
        up, down = score[positive], score[~positive]
        both = midranks(np.concatenate([up, down]))
        v10.append((both[:m] - midranks(up)) / n)
        v01.append(1.0 - (both[m:] - midranks(down)) / m)
    return np.mean(v10, axis=1), np.cov(v10) / m + np.cov(v01) / n


def test_paired_delong(benchmark: Any, rows: Any) -> None:
    label, a, b = rows
    aucs, covariance = argsort_delong(label, a, b)
    result = delong(label, a, b)
    assert result.estimates == pytest.approx(aucs)
    np.testing.assert_allclose(result.covariance, covariance, rtol=1e-8)
    compare(
        benchmark, lambda: delong(label, a, b), lambda: argsort_delong(label, a, b), floor=3,
        note="paired DeLong, argsort in NumPy",
    )  # fmt: skip


def test_paired_delong_on_slices(benchmark: Any, rows: Any) -> None:
    label, a, b = rows
    codes = np.random.default_rng(3).integers(0, SLICES, ROWS)
    frame = pandas.DataFrame({"slice": codes, "label": label, "a": a, "b": b})

    def by_slice() -> Any:
        return [argsort_delong(*(g[c].to_numpy() for c in ("label", "a", "b"))) for _, g in frame.groupby("slice")]

    table = delong(label, a, b, slices=codes).slices["slice"]
    np.testing.assert_allclose(table.estimate, [aucs[1] - aucs[0] for aucs, _ in by_slice()], atol=1e-12)
    compare(
        benchmark, lambda: delong(label, a, b, slices=codes), by_slice, floor=1.5, rounds=5,
        note=f"paired DeLong on {SLICES} slices and over all rows, pandas and argsort over the slices alone",
    )  # fmt: skip
