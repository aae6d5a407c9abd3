"""Realised performance: every metric has its interval, or NaN and the reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from sklearn import metrics

from engine.intervals import Rows
from engine.monitor.performance import Mature, realised
from engine.records import Performance, Task


@dataclass
class Conf:
    metrics: list[str] = field(default_factory=lambda: ["roc_auc_score", "log_loss"])
    confidence_level: float = 0.95
    n_resamples: int = 200
    seed: int = 0


def performance(target: np.ndarray, prediction: np.ndarray, task: Task = Task.BINARY, **conf: object) -> Performance:
    rows = Rows(task=task, target=target, ids=np.arange(len(target)), cluster=None)
    return realised("model", Mature(window="May", rows=rows, prediction=prediction), Conf(**conf))  # type: ignore[arg-type]


def binary(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    score = rng.beta(2, 3, n)
    return (rng.random(n) < score).astype(np.float32), score


def test_every_metric_has_its_value_and_interval() -> None:
    target, score = binary(500)
    found = performance(target, score)
    assert (found.model, found.window, found.n_rows) == ("model", "May", 500)
    assert [e.name for e in found.metrics] == ["roc_auc_score", "log_loss"]
    assert found.metric("roc_auc_score").value == pytest.approx(metrics.roc_auc_score(target, score))
    assert found.metric("log_loss").value == pytest.approx(metrics.log_loss(target, score))
    for estimate in found.metrics:
        assert estimate.low < estimate.value < estimate.high
        assert (estimate.n, estimate.reason) == (500, "")
    with pytest.raises(KeyError):
        found.metric("accuracy_score")


@pytest.mark.parametrize(
    ("target", "prediction", "reason"),
    [
        (np.zeros(100, np.float32), np.linspace(0, 1, 100), "the labels are all the same"),
        (np.zeros(0, np.float32), np.zeros(0), "too few rows (0)"),
        (np.ones(1, np.float32), np.ones(1), "too few rows (1)"),
        (np.tile(np.float32([0, 1]), 50), np.full(100, np.nan), "a prediction is not finite"),
        (np.tile(np.float32([0, 1]), 50), np.append(np.full(99, 0.5), np.inf), "a prediction is not finite"),
    ],
)
def test_what_cannot_be_known_is_nan_with_its_reason(target: np.ndarray, prediction: np.ndarray, reason: str) -> None:
    for estimate in performance(target, prediction).metrics:
        assert all(map(math.isnan, (estimate.value, estimate.low, estimate.high)))
        assert estimate.reason == reason


def test_several_classes_and_regression() -> None:
    rng = np.random.default_rng(0)
    probability = rng.dirichlet([1, 1, 1], 400)
    target = np.array([rng.choice(3, p=p) for p in probability])
    found = performance(target, probability, Task.MULTICLASS, metrics=["accuracy_score"])
    assert found.metric("accuracy_score").value == pytest.approx((probability.argmax(1) == target).mean())
    truth = rng.normal(size=300)
    found = performance(truth, truth + rng.normal(size=300), Task.REGRESSION, metrics=["mean_absolute_error"])
    assert found.metric("mean_absolute_error").low < np.sqrt(2 / np.pi) < found.metric("mean_absolute_error").high
