"""The test of one look against SciPy, and DeLong; the promise over a whole run by simulation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.errors import ConfigError
from engine.records import Task
from engine.scoring import scores
from engine.scoring.scores import direction, score
from engine.train.paired import (
    BY_ROW,
    Paired,
    check_metric,
    forget_losses,
    influence,
    pvalue,
    read_losses,
    write_losses,
)
from kernels.resample import delong
from tests.engine.train.made import make_rows

EPOCHS, TRIALS, ROWS = 8, 12, 300
ALPHA = 0.05


def has(metric: str, task: Task) -> bool:
    """Is this a metric of the task that can be held row by row."""
    try:
        check_metric(metric, task)
        scores.check_metric(metric, task, "")
    except ConfigError:
        return False
    return True


def predictions(task: Task, target: np.ndarray, seed: int, noise: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if task is Task.REGRESSION:
        return target + rng.normal(0, 10 * noise, len(target))
    if task is Task.BINARY:
        return 1 / (1 + np.exp(-(2.0 * (target - 0.5) + rng.normal(0, noise, len(target)))))
    raw = np.exp(2.0 * (target[:, None] == np.arange(3)) + rng.normal(0, noise, (len(target), 3)))
    return raw / raw.sum(axis=1, keepdims=True)


OF_ROWS = [(metric, task) for metric in (*BY_ROW, "roc_auc_score") for task in Task if has(metric, task)]


@pytest.mark.parametrize(("metric", "task"), OF_ROWS)
def test_means_of_losses_order_models_as_the_metric_does(metric: str, task: Task) -> None:
    target = make_rows(task, n=400).target
    assert target is not None
    values = [score(metric, task, target, predictions(task, target, 0, noise)) for noise in (0.5, 1.0, 2.0)]
    means = [influence(metric, task, target, predictions(task, target, 0, n)).mean() for n in (0.5, 1.0, 2.0)]
    assert means[0] < means[1] < means[2]
    sign = 1 if direction(metric) == "max" else -1
    assert sign * values[0] > sign * values[1] > sign * values[2]
    if metric in ("log_loss", "mean_absolute_error", "mean_squared_error"):
        np.testing.assert_allclose(means, values, rtol=1e-6)
    if metric in ("roc_auc_score", "accuracy_score"):
        np.testing.assert_allclose(means, 1 - np.array(values), rtol=1e-6)


def test_one_look_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    mine, best = rng.exponential(1.1, 500).astype(np.float32), rng.exponential(1.0, 500).astype(np.float32)
    truth = stats.ttest_rel(mine.astype(float), best.astype(float), alternative="greater").pvalue
    assert pvalue(mine, best) == pytest.approx(truth, rel=1e-9)
    assert pvalue(best, mine) == pytest.approx(1 - truth, rel=1e-9)


def test_one_look_at_the_auroc_is_that_of_delong() -> None:
    rng = np.random.default_rng(2)
    target = rng.integers(0, 2, 4000)
    shared = target + rng.normal(0, 1.5, 4000)
    mine, best = (np.round(shared + rng.normal(0, s, 4000), 1) for s in (1.0, 0.8))  # with ties
    p = pvalue(*(influence("roc_auc_score", Task.BINARY, target, x) for x in (mine, best)))
    two_sided = float(delong(target, best, mine).pvalue)
    assert p == pytest.approx(two_sided / 2, rel=0.01)  # variances over n against n - 1, and t against z


def test_rows_of_a_cluster_count_as_one() -> None:
    """Two hundred clusters of ten equal rows are two hundred rows."""
    rng = np.random.default_rng(3)
    mine, best = rng.exponential(1.1, 200).astype(np.float32), rng.exponential(1.0, 200).astype(np.float32)
    codes = np.repeat(np.arange(200), 10)
    assert pvalue(mine.repeat(10), best.repeat(10), codes) == pytest.approx(pvalue(mine, best), rel=1e-9)
    assert pvalue(mine.repeat(10), best.repeat(10)) < pvalue(mine, best) / 2


@pytest.mark.parametrize(
    ("mine", "best"),
    [
        (np.ones(29), np.zeros(29)),  # too few
        (np.r_[np.ones(99), np.nan], np.zeros(100)),
        (np.ones(100), np.zeros(99)),  # other rows
        (np.ones(100), np.ones(100)),
        (np.ones(100), np.zeros(100)),  # no spread: nothing to measure it by
        (np.empty(0), np.empty(0)),
    ],
)
def test_what_cannot_be_told_stops_nobody(mine: np.ndarray, best: np.ndarray) -> None:
    assert pvalue(mine.astype(np.float32), best.astype(np.float32)) == 1.0


def test_few_clusters_stop_nobody() -> None:
    rng = np.random.default_rng(4)
    mine, best = rng.normal(5, 1, 1000).astype(np.float32), rng.normal(0, 1, 1000).astype(np.float32)
    assert pvalue(mine, best) < 1e-100
    assert pvalue(mine, best, np.arange(1000) % 29) == 1.0
    assert pvalue(mine, best, np.arange(1000) % 30) < 1e-10


def test_one_class_or_no_number_has_no_auroc() -> None:
    ones = np.ones(50)
    assert np.isnan(influence("roc_auc_score", Task.BINARY, ones, np.linspace(0, 1, 50))).all()
    broken = np.r_[np.nan, np.linspace(0, 1, 49)]
    assert np.isnan(influence("roc_auc_score", Task.BINARY, np.arange(50) % 2, broken)).all()
    for metric in ("log_loss", "brier_score_loss", "accuracy_score"):
        assert math.isnan(influence(metric, Task.BINARY, np.arange(50) % 2, broken)[0])


@pytest.mark.parametrize(("metric", "task"), [("f1_score", Task.BINARY), ("roc_auc_score", Task.MULTICLASS)])
def test_a_metric_without_rows_is_refused(metric: str, task: Task) -> None:
    with pytest.raises(ConfigError) as error:
        check_metric(metric, task)
    said = (
        f"search.metric: {metric} of a {task.value} model cannot be held row by row, as paired needs - choose another"
    )
    assert str(error.value).startswith(said)


# ---- over a whole run ---------------------------------------------------------------------------------------------


def a_sweep(rng: np.random.Generator, metric: str, worse: float, **conf: Any) -> dict[str, int]:
    """A sweep in which all trials are equally good but for the last, which is `worse`; trial to the epoch it was
    stopped after. Rows are shared, learning goes on from epoch to epoch, and every trial errs in its own way.
    """
    truth = rng.normal(0, 1, ROWS)
    target = (rng.random(ROWS) < 1 / (1 + np.exp(-2 * truth))).astype(float)
    losses: dict[tuple[str, int], np.ndarray] = {}
    curves: dict[str, list[float]] = {}
    stopped: dict[str, int] = {}
    rule = Paired(
        lambda trial, epoch: losses.get((trial, epoch)),
        alpha=ALPHA,
        grace_period=2,
        max_epochs=EPOCHS,
        trials=TRIALS,
        **conf,
    )
    for i in range(TRIALS):
        name = f"trial-{i:03d}"
        own = rng.normal(0, 0.8, ROWS)
        curves[name] = []
        for epoch in range(1, EPOCHS + 1):
            noise = own + rng.normal(0, 0.3, ROWS) + (worse if i == TRIALS - 1 else 0.0) * rng.normal(0, 1, ROWS)
            predicted = 1 / (1 + np.exp(-3 * (truth * (1 - 0.5**epoch) + noise)))  # overconfident: heavy tails
            losses[name, epoch] = influence(metric, Task.BINARY, target, predicted)
            sign = 1 if direction(metric) == "max" else -1
            curves[name].append(sign * score(metric, Task.BINARY, target, predicted))
            if epoch < EPOCHS and rule(name, curves):
                stopped[name] = epoch
                break
    return stopped


def wrongly_stopped(runs: int, metric: str) -> tuple[int, int]:
    """(equally good trials that were stopped, all of them) over so many sweeps."""
    rng = np.random.default_rng(2026)
    return sum(len(a_sweep(rng, metric, 0.0)) for _ in range(runs)), runs * TRIALS


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc_score"])
def test_a_trial_as_good_as_the_best_is_rarely_stopped(metric: str, record_property: Any) -> None:
    stopped, trials = wrongly_stopped(20, metric)
    assert stopped / trials <= ALPHA
    record_property("an equal trial is stopped, paired", f"{stopped} of {trials} by {metric} (alpha {ALPHA:g})")


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["log_loss", "roc_auc_score"])
def test_a_trial_as_good_as_the_best_is_rarely_stopped_at_full_size(metric: str, record_property: Any) -> None:
    stopped, trials = wrongly_stopped(1000, metric)
    bound = stats.binomtest(stopped, trials).proportion_ci(0.99).high
    assert bound <= ALPHA
    record_property(
        "an equal trial is stopped, paired, at full size",
        f"{stopped} of {trials} by {metric}, below {bound:.2g} with 99 % (alpha {ALPHA:g})",
    )


@pytest.mark.parametrize(("metric", "worse"), [("log_loss", 1.5), ("roc_auc_score", 1.5)])
def test_a_clearly_worse_trial_is_stopped_early(metric: str, worse: float, record_property: Any) -> None:
    rng = np.random.default_rng(7)
    last = f"trial-{TRIALS - 1:03d}"
    epochs = [a_sweep(rng, metric, worse).get(last, EPOCHS) for _ in range(10)]
    assert np.mean(epochs) <= 4
    assert max(epochs) < EPOCHS
    record_property(
        "a clearly worse trial is stopped, paired", f"after epoch {np.mean(epochs):.1f} of {EPOCHS} by {metric}"
    )


def test_a_bare_point_would_stop_equal_trials() -> None:
    """What the test is for: by values alone nearly every equal trial lies below the best."""
    rng = np.random.default_rng(2026)
    rows = rng.exponential(1, (500, ROWS))
    assert np.mean(rows[1:].mean(axis=1) > np.minimum.accumulate(rows.mean(axis=1))[:-1]) > 0.9


def test_who_is_held_against_whom() -> None:
    rng = np.random.default_rng(5)
    good, bad = (rng.exponential(mean, 400).astype(np.float32) for mean in (1.0, 3.0))
    losses = {("trial-000", 2): good, ("trial-001", 2): bad, ("trial-002", 2): bad}
    rule = Paired(lambda t, e: losses.get((t, e)), alpha=0.05, grace_period=2, max_epochs=4, trials=3)
    curves = {"trial-000": [0.5, 0.9, 0.9], "trial-001": [0.5, 0.6]}
    told = rule("trial-001", curves)
    assert told.startswith("stopped by the scheduler after epoch 2: worse than trial-000 on the same 400 rows (p = ")
    assert rule("trial-000", {"trial-000": [0.5, 0.9], "trial-001": [0.5, 0.6]}) == ""  # the best itself
    assert rule("trial-001", {**curves, "trial-001": [0.5]}) == ""  # within the grace period
    assert rule("trial-001", {"trial-001": [0.5, 0.6]}) == ""  # alone
    assert rule("trial-001", {"trial-000": [0.9], "trial-001": [0.5, 0.6]}) == ""  # the other did not come as far
    assert rule("trial-001", {**curves, "trial-001": [0.5, 0.95]}) == ""  # it leads
    del losses["trial-000", 2]
    assert rule("trial-001", curves) == ""  # nothing is known of the best
    assert rule("trial-002", {"trial-000": [0.5, 0.9], "trial-001": [0.5, 0.7], "trial-002": [0.5, 0.6]}) == ""


def test_losses_are_kept_without_pickle(tmp_path: Path) -> None:
    losses = np.arange(5, dtype=np.float32)
    write_losses(tmp_path, "trial-000", 3, losses)
    np.testing.assert_array_equal(read_losses(tmp_path, "trial-000", 3), losses)
    assert read_losses(tmp_path, "trial-000", 4) is None
    path = tmp_path / "trial-000" / "losses-0003.npy"
    path.write_bytes(path.read_bytes()[:-3])
    assert read_losses(tmp_path, "trial-000", 3) is None
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert read_losses(tmp_path, "trial-000", 3) is None
    forget_losses(tmp_path, "trial-000")
    assert not path.exists()
