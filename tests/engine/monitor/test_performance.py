"""Realised performance: every metric has its interval, or NaN and the reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from sklearn import metrics

from engine.monitor.conf import MonitorConf
from engine.monitor.performance import Levels, Mature, realised
from engine.records import Performance, Task
from engine.scoring.intervals import Rows


@dataclass
class Conf:
    metrics: list[str] = field(default_factory=lambda: ["roc_auc_score", "log_loss"])
    confidence_level: float = 0.95
    n_resamples: int = 200
    seed: int = 0
    primary: str = "roc_auc_score"
    min_slice_rows: int = 100


def performance(target: np.ndarray, prediction: np.ndarray, task: Task = Task.BINARY, **conf: object) -> Performance:
    rows = Rows(task=task, target=target, ids=np.arange(len(target)), cluster=None)
    return seen(Mature(window="May", rows=rows, prediction=prediction), **conf)


def seen(mature: Mature, rules: MonitorConf | None = None, **conf: object) -> Performance:
    return realised("model", mature, Conf(**conf), rules or MonitorConf())  # type: ignore[arg-type]


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


def part(n: int, of: np.ndarray, **more: object) -> Mature:
    """The first n of 2000 rows are labelled; `of` orders them."""
    target, score = binary(2000)
    order = np.argsort(of, kind="stable")
    known, others = order[:n], order[n:]
    rows = Rows(task=Task.BINARY, target=target[known], ids=known, cluster=None)
    return Mature(window="May", rows=rows, prediction=score[known], unlabelled=score[others], **more)  # type: ignore[arg-type]


def test_some_labels_that_are_a_fair_sample_count() -> None:
    found = seen(part(1200, np.random.default_rng(1).random(2000)))
    assert (found.n_rows, found.unlabelled, found.reason) == (1200, 800, "")
    assert found.metric("roc_auc_score").n == 1200


def test_labels_that_are_missing_for_a_reason_are_not_trusted() -> None:
    """Only the rows that the model scored low were looked at."""
    _, score = binary(2000)
    levels = Levels(codes=np.zeros(1200, np.int64), names=("all",))
    found = seen(part(1200, score + 0.3 * np.random.default_rng(1).random(2000), slices={"kind": levels}))
    assert found.reason.startswith("biased: 1200 of 2000 rows are labelled, and the model's predictions")
    assert all(math.isnan(e.value) and math.isnan(e.low) and e.reason.startswith("biased") for e in found.metrics)
    assert found.metric("log_loss").reason.endswith(" on the labelled rows")  # the value, for people
    assert math.isnan(found.slices[0].estimate.value)


@pytest.mark.parametrize(("labelled", "reason"), [(1810, ""), (1780, "biased: 1780 of 2000 rows are labelled")])
def test_rows_that_never_get_a_label_are_left_out_up_to_a_share(labelled: int, reason: str) -> None:
    """The model scores them high, all of them: cancelled flights in bad weather, say."""
    _, score = binary(2000)
    found = seen(part(labelled, score))
    assert found.unlabelled == 2000 - labelled
    assert found.reason.startswith(reason)
    assert math.isfinite(found.metric("log_loss").value) == (reason == "")


def test_a_fair_sample_is_rarely_called_biased() -> None:
    alarms = sum(bool(seen(part(1000, np.random.default_rng(s).random(2000)), metrics=[]).reason) for s in range(300))
    assert alarms <= 9  # at most 1 % of 300 are expected; the floor keeps it below


def test_too_few_labels_cannot_be_told_to_be_a_fair_sample() -> None:
    found = seen(part(40, np.random.default_rng(1).random(2000)))
    assert (
        found.reason
        == "undecidable: 40 of 2000 rows are labelled, 50 on either side tell whether they are a fair sample"
    )
    assert math.isnan(found.metric("log_loss").value)
    assert seen(part(1990, np.random.default_rng(1).random(2000))).reason == ""  # ten rows cannot move much


def test_the_primary_metric_by_slice() -> None:
    target, score = binary(1000)
    codes = np.repeat([1, 0, 2], [450, 500, 50])
    rows = Rows(task=Task.BINARY, target=target, ids=np.arange(1000), cluster=None)
    levels = Levels(codes=codes, names=("b", "a", "few"))
    found = seen(Mature(window="May", rows=rows, prediction=score, slices={"kind": levels}))
    assert [(s.column, s.level) for s in found.slices] == [("kind", "a"), ("kind", "b"), ("kind", "few")]
    at = codes == 1
    assert found.slices[0].estimate.value == pytest.approx(metrics.roc_auc_score(target[at], score[at]))
    assert found.slices[2].estimate.reason == "too few rows (50 of 100)"
    assert math.isnan(found.slices[2].estimate.value)
