"""Newton's method of the calibration, whose curvature is kept over several steps, ends where SciPy's ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special

from engine.monitor.basis import Basis, Features, log_odds
from engine.monitor.calibrator import FOLDS, OWN, TOLERANCE, _curve, _loss, _newton, calibrate
from engine.monitor.losses import LossModel
from engine.records import Task
from engine.scoring.intervals import Rows


@pytest.mark.parametrize("far", [0.0, 3.0])
def test_coefficients_are_those_of_scipy(far: float) -> None:
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(4000), rng.normal(size=(4000, 6)), rng.random((4000, 3)) < 0.1])
    theta = rng.normal(0, 1.5, design.shape[1])
    truth = (rng.random(4000) < special.expit(design @ theta)).astype(float)
    prior, weight = np.eye(design.shape[1])[1], np.r_[1e-3, np.ones(design.shape[1] - 1)]

    def slope(at: np.ndarray) -> np.ndarray:
        found: np.ndarray = design.T @ (special.expit(design @ at) - truth) + weight * (at - prior)
        return found

    best = optimize.minimize(
        lambda at: _loss(design, truth, at, prior, weight), prior, jac=slope, method="BFGS", options={"gtol": 1e-6}
    )
    found = _newton(design, truth, prior, weight, prior + far)
    assert _loss(design, truth, found, prior, weight) <= best.fun + 4 * TOLERANCE * len(truth)
    np.testing.assert_allclose(found, best.x, atol=1e-3)


def rows_of(task: Task, target: np.ndarray, copies: int, *, clustered: bool) -> Rows:
    """Each row so many times: as independent ones, or as one cluster."""
    cluster = np.repeat(np.arange(len(target)), copies) if clustered else None
    return Rows(task=task, target=np.repeat(target, copies), ids=np.arange(copies * len(target)), cluster=cluster)


def test_rows_of_a_cluster_count_as_one() -> None:
    """Four copies of each row tell no more than one: by cluster the coefficients are as unsure as from the rows
    alone, by row four times surer.
    """
    rng = np.random.default_rng(1)
    n, copies = 2000, 4
    score = rng.uniform(0.05, 0.95, n)
    truth = (rng.random(n) < score).astype(np.int64)
    none = Features(numeric=np.empty((copies * n, 0)), categorical=np.empty((copies * n, 0), np.int64))

    def unsure(*, clustered: bool) -> tuple[float, float]:
        of_classes = rows_of(Task.BINARY, truth, copies, clustered=clustered)
        t, fold = log_odds(np.repeat(score, copies)), np.repeat(np.arange(n) % FOLDS, copies)
        line = Basis.fit("line", t, none)
        curve, _ = _curve(line, t, none, of_classes.target.astype(np.float64), fold, of_classes.cluster)
        of_numbers = rows_of(Task.REGRESSION, score + noise, copies, clustered=clustered)
        loss = np.abs(of_numbers.target - np.repeat(score, copies))
        model = LossModel.fit(loss, of_numbers, np.repeat(score, copies), none, 0)
        return float(np.trace(curve.covariance)), float(np.trace(model.covariance[:2, :2]))

    noise = rng.normal(0, 0.1, n)
    by_row, by_cluster = unsure(clustered=False), unsure(clustered=True)
    assert [b / a for a, b in zip(by_row, by_cluster, strict=True)] == pytest.approx([copies, copies], rel=0.1)


@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS])
def test_a_model_that_is_right_is_taken_at_its_word(task: Task) -> None:
    """Its probabilities stay as they are, as unsure as a line through them; one that is too sure is calibrated."""
    rng = np.random.default_rng(0)
    n = 4000
    said = rng.dirichlet([2.0, 2.0, 2.0] if task is Task.MULTICLASS else [2.0, 2.0], n)
    target = (said.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).astype(np.float64)
    told = said[:, 1] if task is Task.BINARY else said
    rows = Rows(task=task, target=target, ids=np.arange(n), cluster=None)
    none = Features(numeric=np.empty((n, 0)), categorical=np.empty((n, 0), np.int64))
    honest = calibrate(rows, told, none, 0)
    assert honest.kind == OWN
    np.testing.assert_allclose(honest.probability(told, none), told, atol=1e-6)
    unsure = honest.replicates(told, none, np.random.default_rng(1), 200).std(axis=0)
    sure = said**3 / (said**3).sum(axis=1, keepdims=True)
    changed = calibrate(rows, sure[:, 1] if task is Task.BINARY else sure, none, 0)
    assert changed.kind != OWN
    assert 0.002 < unsure.mean() < 0.03
