"""Simulated windows that shift: rows come from elsewhere, and what their label follows from stays as it was.

Five features of independent normal numbers, and a label drawn with probability sigmoid(x0 + 0.7 x1 - 0.5 x2 - 0.5).
A model says the truth, or is too sure of itself, or has seen x0 alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.monitor.basis import Features
from engine.monitor.labelled import Labelled, Live
from engine.records import Task
from engine.scoring.intervals import Rows

MODELS = ("honest", "overconfident", "short-sighted")
SHIFTS = ("none", "mean", "spread", "mixture")


@dataclass
class Conf:
    """What the estimates are told; no protocol wants more."""

    metrics: tuple[str, ...] = (
        "roc_auc_score", "average_precision_score", "log_loss", "brier_score_loss", "accuracy_score",
        "balanced_accuracy_score", "precision_score", "recall_score", "f1_score", "matthews_corrcoef",
    )  # fmt: skip
    confidence_level: float = 0.95
    n_resamples: int = 200
    seed: int = 0
    primary: str = "roc_auc_score"
    min_slice_rows: int = 100


def sigmoid(z: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1.0 / (1.0 + np.exp(-z))
    return found


def features(x: np.ndarray) -> Features:
    """Numbers alone."""
    return Features(numeric=x, categorical=np.zeros((len(x), 0), np.int64))


def rows(rng: np.random.Generator, n: int, shift: str) -> np.ndarray:
    """Features (n, 5) of a window."""
    x = rng.normal(size=(n, 5))
    if shift == "mean":
        x[:, 0] += 0.8
    elif shift == "spread":
        x[:, :2] *= 0.6
    elif shift == "mixture":  # a kind of row that was one in two is three in four
        x[:, 1] = np.where(rng.random(n) < 0.75, np.abs(x[:, 1]), -np.abs(x[:, 1]))
    return x


def truth(x: np.ndarray) -> np.ndarray:
    """Probability of the label."""
    return sigmoid(x[:, 0] + 0.7 * x[:, 1] - 0.5 * x[:, 2] - 0.5)


def says(model: str, x: np.ndarray) -> np.ndarray:
    """What a model predicts."""
    if model == "honest":
        return truth(x)
    if model == "overconfident":
        p = truth(x)
        return sigmoid(1.8 * np.log(p / (1 - p)) + 0.4)
    return sigmoid(0.8 * x[:, 0] - 0.4)


def labelled(rng: np.random.Generator, n: int, model: str, shift: str = "none", window: str = "May") -> Labelled:
    """A window with its labels."""
    x = rows(rng, n, shift)
    y = (rng.random(n) < truth(x)).astype(np.float64)
    return Labelled(
        window=window,
        rows=Rows(task=Task.BINARY, target=y, ids=np.arange(n), cluster=None),
        prediction=says(model, x),
        features=features(x),
    )


def live(of: Labelled, cluster: np.ndarray | None = None) -> Live:
    """The same window before its labels are in."""
    return Live(window=of.window, n_rows=len(of.rows), prediction=of.prediction, features=of.features, cluster=cluster)
