"""From what a classifier says to how likely a label is: a calibration of its probabilities, and how sure that is.

A logistic regression on a basis of the row (basis.py) maps log odds to log odds, one class against the rest, and the
rest of the classes by dividing by the sum. Its penalty pulls towards the model's own word (slope 1 on the log odds, 0
on all else), so few rows change little. Which basis is taken is decided by the log loss of cross-fitted probabilities
on the reference rows: the model's own word where no calibration beats it, Platt's line, a spline of it, or with the
features, which holds where the share of some kind of row changes for which the model is wrong. Folds keep clusters
whole. A model that is taken at its word is as unsure as the line would be.

The calibration's own error is normal, with the sandwich covariance of its coefficients (White 1982), summed by cluster
where rows come in clusters: what a bootstrap of the reference rows would show, in closed form.

Shapes: N reference rows, M live rows, P columns, C classes, R replicates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine.monitor.basis import KINDS, LEAST, Basis, Features, folds, log_odds
from engine.monitor.labelled import summed
from engine.records import Task
from engine.scoring.intervals import Rows

FOLDS = 5
STEPS = 24  # of Newton's method, at most
PENALTY = 1.0  # the weight of one row that agrees with the model, in each direction
TOLERANCE = 1e-9  # of the loss of a row
FIRST_ROWS = 5000
MOST_WITH_FEATURES = 3  # classes up to which features are looked at
OWN = "own"  # no calibration: the model's word


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One class against the rest: coefficients (P,), and the covariance (P, P) of their error."""

    basis: Basis
    theta: np.ndarray
    covariance: np.ndarray

    def drawn(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Coefficients (R, P) as other reference rows would have given them."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        found: np.ndarray = self.theta + rng.standard_normal((count, len(self.theta))) @ root.T
        return found


@dataclass(frozen=True, kw_only=True)
class Calibrator:
    """Fitted on labelled rows that the model was not trained on."""

    task: Task
    curves: tuple[Curve, ...]  # one for two classes, else one a class
    kind: str  # of the basis, or OWN
    crossed: np.ndarray  # (N,) or (N, C): probabilities of the reference rows, by curves that did not see them

    def probability(self, prediction: np.ndarray, features: Features) -> np.ndarray:
        """Calibrated probabilities of rows: (M,) from (M,), (M, C) from (M, C)."""
        out = np.empty((len(prediction), len(self.curves)))
        for k, curve in enumerate(self.curves):
            for at, design in curve.basis.chunks(log_odds(_of_class(prediction, k)), features):
                out[at, k] = _share(design @ curve.theta)
        return out[:, 0] if self.task is Task.BINARY else _normal(out)

    def replicates(
        self, prediction: np.ndarray, features: Features, rng: np.random.Generator, count: int
    ) -> np.ndarray:
        """The same by curves as other reference rows would have given them: (R, M) or (R, M, C)."""
        parts = []
        for k, curve in enumerate(self.curves):
            design = curve.basis.design(log_odds(_of_class(prediction, k)), features)
            parts.append(_share(curve.drawn(rng, count) @ design.T))
        return parts[0] if self.task is Task.BINARY else _normal(np.stack(parts, axis=2))


def calibrate(rows: Rows, prediction: np.ndarray, features: Features, seed: int) -> Calibrator:
    """The calibration of predictions (N,) or (N, C) on labelled rows.

    Cost: about 10 N P^2 operations with features, N at most some ten thousands (the caller thins).
    """
    unit = rows.ids if rows.cluster is None else rows.cluster
    fold = folds(unit, FOLDS, seed)
    binary = rows.task is Task.BINARY
    classes = 1 if binary else prediction.shape[1]
    found: list[tuple[float, str, list[Curve], np.ndarray]] = []
    for kind in KINDS if classes <= MOST_WITH_FEATURES else KINDS[:2]:
        curves, crossed = [], np.empty((len(rows), classes))
        for k in range(classes):
            t = log_odds(_of_class(prediction, k))
            truth = (rows.target > 0.5 if binary else rows.target == k).astype(np.float64)
            curve, crossed[:, k] = _curve(Basis.fit(kind, t, features), t, features, truth, fold, rows.cluster)
            curves.append(curve)
        probability = crossed[:, 0] if binary else _normal(crossed)
        found.append((_log_loss(rows, probability), kind, curves, probability))
    line = found[0][2]
    own = [replace(curve, theta=_word(len(curve.theta))) for curve in line]
    said = np.clip(prediction.astype(np.float64), LEAST, 1.0 - LEAST)
    said = said if binary else _normal(said)
    _, kind, curves, probability = min([(_log_loss(rows, said), OWN, own, said), *found], key=lambda one: one[0])
    return Calibrator(task=rows.task, curves=tuple(curves), kind=kind, crossed=probability)


def _curve(
    basis: Basis, t: np.ndarray, features: Features, truth: np.ndarray, fold: np.ndarray, cluster: np.ndarray | None
) -> tuple[Curve, np.ndarray]:
    """One curve, and the probabilities (N,) of its rows by curves of the other folds."""
    design = basis.design(t, features)
    prior = _word(design.shape[1])
    weight = np.full(design.shape[1], PENALTY)
    weight[0] = 1e-3  # the rate of the label is no matter of faith
    few = slice(None, None, max(1, len(t) // FIRST_ROWS))  # where Newton's method starts costs little to find
    start = _newton(design[few], truth[few], prior, weight, prior)
    theta = _newton(design, truth, prior, weight, start)
    p = _share(design @ theta)
    tilt = design * np.sqrt(p * (1.0 - p))[:, None]
    rest = fold[:, None] == np.arange(FOLDS)
    pulls = (rest * (truth - p)[:, None]).T @ design  # (FOLDS, P)
    own = [
        part.T @ part for part in (tilt[fold == k] for k in range(FOLDS))
    ]  # of one matrix with itself: half the work
    bend = np.sum(own, axis=0) + np.diag(weight)
    # one more step of Newton's without the fold, whose pull is what is left of the whole
    without = [theta - np.linalg.solve(bend - part, pull) for part, pull in zip(own, pulls, strict=True)]
    crossed = _share(design @ np.stack(without, axis=1))[rest]
    score = design * (truth - crossed)[:, None]  # cross-fitted: residuals of rows that were fitted are too small
    score = summed(score, cluster)
    units = len(score)
    meat = score.T @ score * (units / max(units - 1, 1))
    bread = np.linalg.inv(bend)
    return Curve(basis=basis, theta=theta, covariance=bread @ meat @ bread), crossed


def _word(width: int) -> np.ndarray:
    """Coefficients (P,) that leave a probability as it is."""
    theta = np.zeros(width)
    theta[1] = 1.0
    return theta


def _newton(
    design: np.ndarray, truth: np.ndarray, prior: np.ndarray, weight: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Coefficients (P,) of the penalised logistic regression.

    The curvature costs P times what a gradient does, and changes little near the end: it is kept while each step gains
    less than a quarter of what the one before gained.
    """
    theta, loss, before = start, _loss(design, truth, start, prior, weight), 0.0
    bend: np.ndarray | None = None
    for _ in range(STEPS):
        p = _share(design @ theta)
        if bend is None:
            tilt = design * np.sqrt(p * (1.0 - p))[:, None]
            bend = tilt.T @ tilt + np.diag(weight)  # of one matrix with itself: half the work
        step = np.linalg.solve(bend, design.T @ (truth - p) - weight * (theta - prior))
        for halved in range(8):
            moved = theta + step * 0.5**halved
            now = _loss(design, truth, moved, prior, weight)
            if now <= loss:
                break
        else:
            break
        gained = loss - now
        if halved or gained > before / 4:
            bend = None
        theta, loss, before = moved, now, gained
        if gained < TOLERANCE * len(truth):
            break
    return theta


def _loss(design: np.ndarray, truth: np.ndarray, theta: np.ndarray, prior: np.ndarray, weight: np.ndarray) -> float:
    z = design @ theta
    return float(np.logaddexp(0.0, z).sum() - truth @ z + 0.5 * (weight * (theta - prior) ** 2).sum())


def _log_loss(rows: Rows, probability: np.ndarray) -> float:
    """Mean log loss of the labels."""
    p = np.clip(probability, 1e-12, 1.0)
    if rows.task is Task.BINARY:
        truth = rows.target > 0.5
        return float(-np.log(np.where(truth, p, np.clip(1.0 - probability, 1e-12, 1.0))).mean())
    return float(-np.log(p[np.arange(len(rows)), rows.target.astype(np.int64)]).mean())


def _of_class(prediction: np.ndarray, k: int) -> np.ndarray:
    return prediction if prediction.ndim == 1 else prediction[:, k]


def _share(z: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1.0 / (1.0 + np.exp(-np.clip(z, -30.0, 30.0)))
    return found


def _normal(table: np.ndarray) -> np.ndarray:
    """Classes (..., C) that sum to one."""
    found: np.ndarray = table / table.sum(axis=-1, keepdims=True)
    return found
