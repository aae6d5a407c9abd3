"""Metrics of probabilities instead of labels: against every labelling there can be, and against drawn ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics

from kernels import metrics
from kernels.errors import MissingValueError, OptionError, ShapeError
from kernels.measures import confusion

FEW = 6
RANKS: dict[str, Callable[..., Any]] = {
    "roc_auc_score": metrics.expected_roc_auc_score,
    "average_precision_score": metrics.expected_average_precision_score,
}
LOSSES: dict[str, Callable[..., Any]] = {
    "log_loss": metrics.expected_log_loss,
    "brier_score_loss": metrics.expected_brier_score_loss,
}


def rows(n: int = FEW, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 0.9, n), np.round(rng.uniform(0.05, 0.95, n), 1)  # scores with ties


def labellings(prob: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Every labelling of the rows with its probability."""
    found = []
    for labels in itertools.product((0, 1), repeat=len(prob)):
        y = np.array(labels)
        found.append((float(np.prod(np.where(y == 1, prob, 1 - prob))), y))
    return found


def test_auroc_is_the_ratio_of_the_exact_expectations_of_its_pairs() -> None:
    prob, score = rows()
    above = possible = 0.0
    for chance, y in labellings(prob):
        apart = score[y == 1][:, None] - score[y == 0][None, :]
        above += chance * ((apart > 0).sum() + 0.5 * (apart == 0).sum())
        possible += chance * apart.size
    assert metrics.expected_roc_auc_score(prob, score) == pytest.approx(above / possible, abs=1e-14)


def test_average_precision_is_the_ratio_of_the_exact_expectations_of_its_sums() -> None:
    prob, score = rows(seed=1)
    gained = positives = 0.0
    for chance, y in labellings(prob):
        if y.any():
            gained += chance * sklearn.metrics.average_precision_score(y, score) * y.sum()
            positives += chance * y.sum()
    assert metrics.expected_average_precision_score(prob, score) == pytest.approx(gained / positives, abs=1e-14)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_exact_expectations(name: str) -> None:
    prob, score = rows(seed=2)
    theirs = getattr(sklearn.metrics, name)
    exact = sum(chance * theirs(y, score, labels=[0, 1]) for chance, y in labellings(prob))
    assert LOSSES[name](prob, score) == pytest.approx(exact, abs=1e-14)


def test_the_confusion_matrix_is_an_exact_expectation() -> None:
    prob, score = rows(seed=3)
    pred = (score >= 0.5).astype(np.int64)
    exact = sum(chance * sklearn.metrics.confusion_matrix(y, pred, labels=[0, 1]) for chance, y in labellings(prob))
    np.testing.assert_allclose(metrics.expected_confusion_matrix(prob, pred), exact, atol=1e-14)


@pytest.mark.parametrize("name", [*RANKS, *LOSSES])
def test_known_labels_give_the_metric_itself(name: str) -> None:
    prob, score = rows(500, seed=4)
    y = (np.random.default_rng(0).random(500) < prob).astype(np.int64)
    found = (RANKS | LOSSES)[name](y.astype(float), score)
    assert found == pytest.approx(getattr(metrics, name)(y, score), abs=1e-12)


@pytest.mark.parametrize("name", [*RANKS, *LOSSES])
def test_the_mean_over_drawn_labels_and_sets_of_probabilities(name: str) -> None:
    """20,000 labellings of 60 rows at once: each a set of probabilities of 0 and 1."""
    prob, score = rows(60, seed=5)
    drawn = (np.random.default_rng(1).random((20_000, 60)) < prob).astype(float)
    function = (RANKS | LOSSES)[name]
    values = function(drawn, score)
    assert values.shape == (20_000,)
    assert values[7] == pytest.approx(function(drawn[7], score), abs=1e-13)
    error = values.std() / np.sqrt(len(values))
    assert function(prob, score) == pytest.approx(values.mean(), abs=4 * error + 0.5 / 60)  # a ratio: to O(1 / M)


@pytest.mark.parametrize("name", [*RANKS, *LOSSES])
def test_weights_are_counts_of_rows(name: str) -> None:
    prob, score = rows(300, seed=6)
    y = (np.random.default_rng(2).random(300) < prob).astype(float)
    weight = np.random.default_rng(3).poisson(1.0, (5, 300))
    found = (RANKS | LOSSES)[name](y, score, sample_weight=weight)
    theirs = getattr(sklearn.metrics, name)
    assert found == pytest.approx([theirs(y, score, sample_weight=w) for w in weight], abs=1e-12)


def test_many_classes() -> None:
    rng = np.random.default_rng(7)
    prob, score = rng.dirichlet([1, 1, 1], 4000), rng.dirichlet([1, 1, 1], 4000)
    drawn = (prob.cumsum(axis=1) > rng.random(4000)[:, None]).argmax(axis=1)
    hot = np.eye(3)[drawn]
    assert metrics.expected_log_loss(hot, score) == pytest.approx(sklearn.metrics.log_loss(drawn, score))
    assert metrics.expected_brier_score_loss(hot, score) == pytest.approx(
        metrics.brier_score_loss(drawn, score, labels=[0, 1, 2])
    )
    pred = score.argmax(axis=1)
    assert (
        metrics.expected_confusion_matrix(hot, pred).tolist() == sklearn.metrics.confusion_matrix(drawn, pred).tolist()
    )
    matrix = metrics.expected_confusion_matrix(np.stack([prob, hot]), pred)
    assert matrix.shape == (2, 3, 3)
    f1 = confusion.f1(matrix, average="macro")
    assert f1[1] == pytest.approx(sklearn.metrics.f1_score(drawn, pred, average="macro"))
    assert f1[0] == pytest.approx(f1[1], abs=0.03)


def test_no_pair_of_labels_is_possible() -> None:
    score = np.array([0.2, 0.7])
    assert np.isnan(metrics.expected_roc_auc_score(np.ones(2), score))
    assert np.isnan(metrics.expected_average_precision_score(np.zeros(2), score))
    assert np.isnan(metrics.expected_roc_auc_score(np.array([0.5]), np.array([0.5])))  # one row has no other


@pytest.mark.parametrize(
    ("prob", "score", "error", "said"),
    [
        ([0.5, 1.2], [0.1, 0.2], OptionError, "y_prob: a value outside 0..1"),
        ([0.5, np.nan], [0.1, 0.2], OptionError, "y_prob: a value outside 0..1 or missing"),
        ([0.5, 0.5], [0.1, np.nan], MissingValueError, "y_score"),
        ([0.5, 0.5, 0.5], [0.1, 0.2], ShapeError, "y_prob: shape"),
    ],
)
def test_what_is_refused(prob: list[float], score: list[float], error: type[Exception], said: str) -> None:
    for function in (RANKS | LOSSES).values():
        with pytest.raises(error, match=said):
            function(np.array(prob), np.array(score))


def test_a_class_that_is_none_is_refused() -> None:
    with pytest.raises(OptionError, match=r"y_pred: a code outside 0\.\.1"):
        metrics.expected_confusion_matrix(np.array([0.5, 0.5]), np.array([0, 2]))
