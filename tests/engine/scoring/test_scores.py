from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

import engine
import engine.evaluate.report
import engine.scoring.intervals
import engine.train.scorer
import kernels.metrics
import kernels.resample
from engine.errors import ConfigError
from engine.records import Task
from engine.scoring.scores import (
    AVERAGED,
    BY_ROW,
    EVERY_CLASS,
    GREATER_IS_BETTER,
    OF_LABELS,
    absent,
    as_scored,
    as_truth,
    check_metric,
    row_losses,
    score,
)

RNG = np.random.default_rng(0)
N, C = 400, 4
BINARY = (RNG.random(N) < 0.3).astype(np.float32)
CHANCE = np.clip(0.25 * BINARY + RNG.random(N) * 0.7, 0.0, 1.0)
MULTI = RNG.integers(0, C, N)
SHARES = RNG.dirichlet(np.ones(C), N)
VALUES = RNG.normal(size=N).astype(np.float32)
GUESSES = VALUES + RNG.normal(size=N)
LIKELIER = (CHANCE >= 0.5).astype(int)
LIKELIEST = SHARES.argmax(axis=1)
HOT = np.eye(C)[MULTI]

TRUTHS = {
    (Task.BINARY, "roc_auc_score"): sk.roc_auc_score(BINARY, CHANCE),
    (Task.BINARY, "average_precision_score"): sk.average_precision_score(BINARY, CHANCE),
    (Task.BINARY, "log_loss"): sk.log_loss(BINARY, CHANCE),
    (Task.BINARY, "brier_score_loss"): sk.brier_score_loss(BINARY, CHANCE),
    (Task.BINARY, "accuracy_score"): sk.accuracy_score(BINARY, LIKELIER),
    (Task.BINARY, "balanced_accuracy_score"): sk.balanced_accuracy_score(BINARY, LIKELIER),
    (Task.BINARY, "precision_score"): sk.precision_score(BINARY, LIKELIER),
    (Task.BINARY, "recall_score"): sk.recall_score(BINARY, LIKELIER),
    (Task.BINARY, "f1_score"): sk.f1_score(BINARY, LIKELIER),
    (Task.BINARY, "matthews_corrcoef"): sk.matthews_corrcoef(BINARY, LIKELIER),
    (Task.MULTICLASS, "roc_auc_score"): sk.roc_auc_score(MULTI, SHARES, multi_class="ovr"),
    (Task.MULTICLASS, "average_precision_score"): sk.average_precision_score(HOT, SHARES),
    (Task.MULTICLASS, "log_loss"): sk.log_loss(MULTI, SHARES),
    (Task.MULTICLASS, "brier_score_loss"): np.square(HOT - SHARES).sum(axis=1).mean(),
    (Task.MULTICLASS, "accuracy_score"): sk.accuracy_score(MULTI, LIKELIEST),
    (Task.MULTICLASS, "precision_score"): sk.precision_score(MULTI, LIKELIEST, average="macro"),
    (Task.MULTICLASS, "recall_score"): sk.recall_score(MULTI, LIKELIEST, average="macro"),
    (Task.MULTICLASS, "f1_score"): sk.f1_score(MULTI, LIKELIEST, average="macro"),
    (Task.MULTICLASS, "matthews_corrcoef"): sk.matthews_corrcoef(MULTI, LIKELIEST),
    (Task.REGRESSION, "mean_absolute_error"): sk.mean_absolute_error(VALUES, GUESSES),
    (Task.REGRESSION, "mean_squared_error"): sk.mean_squared_error(VALUES, GUESSES),
    (Task.REGRESSION, "root_mean_squared_error"): sk.root_mean_squared_error(VALUES, GUESSES),
    (Task.REGRESSION, "mean_pinball_loss"): sk.mean_pinball_loss(VALUES, GUESSES),
    (Task.REGRESSION, "r2_score"): sk.r2_score(VALUES, GUESSES),
}
GIVEN = {Task.BINARY: (BINARY, CHANCE), Task.MULTICLASS: (MULTI, SHARES), Task.REGRESSION: (VALUES, GUESSES)}


@pytest.mark.parametrize(("task", "metric"), list(TRUTHS), ids=str)
def test_a_score_is_that_of_scikit_learn(task: Task, metric: str) -> None:
    check_metric(metric, task, "search.metric")
    assert score(metric, task, *GIVEN[task]) == pytest.approx(TRUTHS[task, metric], rel=1e-6, abs=1e-12)


def test_every_metric_is_in_the_kernels_and_points_one_way() -> None:
    assert all(callable(getattr(kernels.metrics, metric)) for metric in GREATER_IS_BETTER)
    assert OF_LABELS | AVERAGED | EVERY_CLASS | BY_ROW <= set(GREATER_IS_BETTER)
    for metric, greater in GREATER_IS_BETTER.items():
        assert greater is not metric.endswith(("_loss", "_error")), metric


@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS, Task.REGRESSION])
def test_a_perfect_prediction_is_best_in_the_direction_of_its_metric(task: Task) -> None:
    target, worse = GIVEN[task]
    perfect = {Task.BINARY: BINARY.astype(np.float64), Task.MULTICLASS: HOT, Task.REGRESSION: VALUES * 1.0}[task]
    for metric in (m for t, m in TRUTHS if t is task):
        difference = score(metric, task, target, perfect) - score(metric, task, target, worse)
        assert difference > 0 if GREATER_IS_BETTER[metric] else difference < 0, metric


@pytest.mark.parametrize(
    ("metric", "task"),
    [
        ("roc_auc_score", Task.REGRESSION),
        ("r2_score", Task.BINARY),
        ("auc", Task.MULTICLASS),
        ("ndcg_score", Task.BINARY),
    ],
)
def test_a_metric_that_says_nothing_about_the_task_is_refused(metric: str, task: Task) -> None:
    with pytest.raises(ConfigError) as error:
        check_metric(metric, task, "evaluate.metrics")
    what = f"evaluate.metrics: {metric!r} is no metric of a {task.value} model - choose one of "
    assert str(error.value).startswith(what)
    assert ("r2_score" if task is Task.REGRESSION else "roc_auc_score") in str(error.value)


def test_predictions_as_the_metrics_take_them() -> None:
    assert as_scored("f1_score", Task.BINARY, np.array([0.5, 0.4999])).tolist() == [1, 0]
    assert as_scored("log_loss", Task.BINARY, CHANCE) is CHANCE
    assert as_scored("accuracy_score", Task.MULTICLASS, np.array([[0.2, 0.5, 0.3]])).tolist() == [1]
    assert as_truth(Task.BINARY, BINARY).dtype == np.int64
    assert as_truth(Task.REGRESSION, VALUES).dtype == np.float64


def test_one_class_has_no_auroc() -> None:
    assert math.isnan(score("roc_auc_score", Task.BINARY, np.ones(5), np.linspace(0, 1, 5)))


@pytest.mark.parametrize("metric", sorted(EVERY_CLASS))
def test_a_class_without_rows_leaves_some_metrics_undefined(metric: str) -> None:
    few = MULTI != 2
    assert math.isnan(score(metric, Task.MULTICLASS, MULTI[few], SHARES[few]))
    assert absent(metric, Task.MULTICLASS, MULTI[few], SHARES[few]) == "no row has the label 2"
    assert absent(metric, Task.MULTICLASS, MULTI, SHARES) == ""
    assert absent(metric, Task.BINARY, BINARY, CHANCE) == ""


def test_a_class_without_rows_does_not_matter_to_the_others() -> None:
    few = MULTI != 2
    loss = score("log_loss", Task.MULTICLASS, MULTI[few], SHARES[few])
    assert loss == pytest.approx(sk.log_loss(MULTI[few], SHARES[few], labels=range(C)))
    brier = score("brier_score_loss", Task.MULTICLASS, MULTI[few], SHARES[few])
    assert brier == pytest.approx(np.square(HOT - SHARES).sum(axis=1)[few].mean())
    two = MULTI < 2  # macro over the classes that occur or are predicted, not the second of two
    macro = sk.f1_score(MULTI[two], LIKELIEST[two], average="macro")
    assert score("f1_score", Task.MULTICLASS, MULTI[two], SHARES[two]) == pytest.approx(macro)


@pytest.mark.parametrize("metric", sorted(BY_ROW))
@pytest.mark.parametrize("classes", [2, 4])
def test_the_mean_of_the_losses_by_row_is_the_metric(metric: str, classes: int) -> None:
    shares = np.random.default_rng(1).dirichlet(np.ones(classes), 50)
    shares[0] = np.eye(classes)[0]  # a certainty, and it is wrong
    target = np.arange(50) % classes
    target[0] = classes - 1
    losses = row_losses(metric, target, shares)
    assert losses.shape == (50,)
    assert losses.mean() == pytest.approx(score(metric, Task.MULTICLASS, target, shares), rel=1e-12)


def test_scores_come_from_the_kernels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other library of scores is imported anywhere in the engine, and its two doors lead to the kernels."""
    for path in Path(engine.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.partition(".")[0] for name in names}
            assert not roots & {"sklearn", "torchmetrics", "torcheval", "scipy", "statsmodels"}, (path, names)
    assert engine.train.scorer.score is score
    assert engine.evaluate.report.estimate is engine.scoring.intervals.estimate
    assert engine.evaluate.report.compare is engine.scoring.intervals.compare
    assert engine.scoring.intervals.bootstrap is kernels.resample.bootstrap
    assert engine.scoring.intervals.delong is kernels.resample.delong
    for metric in sorted(GREATER_IS_BETTER):
        monkeypatch.setattr(kernels.metrics, metric, lambda *_args, **_more: 0.125)
        task = Task.REGRESSION if (Task.BINARY, metric) not in TRUTHS and metric not in EVERY_CLASS else Task.BINARY
        assert engine.train.scorer.score(metric, task, *GIVEN[task]) == 0.125
