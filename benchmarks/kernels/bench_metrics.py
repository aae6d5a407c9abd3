"""Metrics of 1M rows against scikit-learn and torchmetrics on the CPU, both sides in one run.

    python -m pytest benchmarks/kernels/bench_metrics.py -s

Floors are the ratios that we promise on two cores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from torchmetrics.functional.classification import binary_auroc, binary_calibration_error

from benchmarks.kernels.sides import compare
from kernels import metrics

ROWS = 1_000_000


@pytest.fixture(scope="module")
def rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=ROWS)
    label = (rng.random(ROWS) < 1 / (1 + np.exp(-hidden))).astype(np.int64)
    return label, 1 / (1 + np.exp(-hidden - 0.3 * rng.normal(size=ROWS)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_auroc_against_scikit_learn(benchmark: Any, rows: Any, dtype: type) -> None:
    label, score = rows[0], rows[1].astype(dtype)
    assert metrics.roc_auc_score(label, score) == pytest.approx(sklearn.metrics.roc_auc_score(label, score))
    compare(
        benchmark, lambda: metrics.roc_auc_score(label, score),
        lambda: sklearn.metrics.roc_auc_score(label, score), floor=12,
        note=f"AUROC {dtype.__name__}, scikit-learn",
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_auroc_against_torchmetrics(benchmark: Any, rows: Any, dtype: type) -> None:
    label, score = torch.from_numpy(rows[0]), torch.from_numpy(rows[1].astype(dtype))
    compare(
        benchmark, lambda: metrics.roc_auc_score(label, score),
        lambda: binary_auroc(score, label), floor=5, note=f"AUROC {dtype.__name__}, torchmetrics exact",
    )  # fmt: skip


def test_average_precision_against_scikit_learn(benchmark: Any, rows: Any) -> None:
    label, score = rows
    compare(
        benchmark, lambda: metrics.average_precision_score(label, score),
        lambda: sklearn.metrics.average_precision_score(label, score), floor=8,
        note="average precision, scikit-learn",
    )  # fmt: skip


def test_one_pass_against_four_in_turn(benchmark: Any, rows: Any) -> None:
    label, proba = rows
    torch_label, torch_proba = torch.from_numpy(label), torch.from_numpy(proba)

    def in_turn() -> None:
        sklearn.metrics.log_loss(label, proba)
        sklearn.metrics.brier_score_loss(label, proba)
        sklearn.metrics.confusion_matrix(label, proba >= 0.5)
        binary_calibration_error(torch_proba, torch_label, n_bins=15)

    compare(
        benchmark, lambda: metrics.binary_scores(label, proba), in_turn, floor=25,
        note="log loss, Brier, ECE and confusion, scikit-learn and torchmetrics",
    )  # fmt: skip


def test_f1_against_scikit_learn(benchmark: Any, rows: Any) -> None:
    label, predicted = rows[0], (rows[1] >= 0.5).astype(np.int64)
    compare(
        benchmark, lambda: metrics.f1_score(label, predicted),
        lambda: sklearn.metrics.f1_score(label, predicted), floor=20, note="F1, scikit-learn",
    )  # fmt: skip
