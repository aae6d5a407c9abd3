"""A monotone map behind a network: its raw outputs scaled and shifted, so that they are right on average again.

    binary        sigmoid(a z + b)      Platt, Probabilistic outputs for support vector machines, 1999: a, b of the most
                                        likely map of the logits z
    multiclass    softmax(z / T)        temperature scaling: Guo et al., On Calibration of Modern Neural Networks, ICML
                                        2017; here the slope is 1 / T
    regression    a z + b               least squares

The slope is above 0: no map of these changes which of two rows has the larger binary score or value, or which class of
a row is the likeliest.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from engine.errors import DataError
from engine.records import Task, record

FEWEST = 20  # labelled rows that a map is fitted to
STEPS = 100  # of Newton's method, which takes about ten
SMALL = 1e-10  # of the gradient of the mean loss, in units of the outputs
WAIT = "wait for more labels, or retrain"

Derivatives = Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]]


@record
class Scaling:
    """The map of one network: outputs x slope + shift, before the link of the task."""

    task: Task
    slope: float
    shift: float = 0.0

    def __post_init__(self) -> None:
        """What is read from an artifact may have been written by anybody."""
        if not (math.isfinite(self.slope) and math.isfinite(self.shift) and self.slope > 0):
            raise ValueError(f"slope {self.slope} and shift {self.shift} make no rising map")
        if self.task is Task.MULTICLASS and self.shift != 0:
            raise ValueError("one shift of all classes changes nothing")


def fit(task: Task, output: np.ndarray, target: np.ndarray) -> Scaling:
    """The map of raw outputs (N,) or (N, C) that suits targets (N,) best: maximum likelihood, or least squares.

    Raises:
        DataError: too few rows, one class only, an output that is not finite, rows that tell no best map (outputs that
            separate the labels without a fault), or one that would fall instead of rise.
    """
    if len(target) < FEWEST:
        raise DataError("labels", f"{len(target)} rows are too few for a map of scores", WAIT)
    if not np.isfinite(output).all():
        raise DataError("scores", "not all of them are finite", "retrain")
    slope, shift = _FITS[task](output.astype(np.float64), target)
    if not slope > 0:
        raise DataError("scores", "the best map of them would not rise: they say nothing of the label now", "retrain")
    return Scaling(task=task, slope=float(slope), shift=float(shift))


def _platt(z: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    truth = target.astype(np.float64)
    ones, zeros = z[truth == 1], z[truth == 0]
    if not (len(ones) and len(zeros)):
        raise DataError("labels", "all are the same", WAIT)
    if zeros.max() <= ones.min() or ones.max() <= zeros.min():
        raise DataError("scores", "they separate the labels: no map is the most likely one", WAIT)
    design = np.stack([z, np.ones_like(z)], axis=1)

    def derivatives(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        margin = design @ theta
        p = 0.5 * (1 + np.tanh(0.5 * margin))
        loss = float(np.mean(np.logaddexp(0, margin) - truth * margin))
        weighted = design * (p * (1 - p))[:, None]
        return loss, design.T @ (p - truth) / len(z), design.T @ weighted / len(z)

    slope, shift = _minimum(np.array([1.0, 0.0]), derivatives)
    return slope, shift


def _temperature(z: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    own = np.take_along_axis(z, target.astype(np.int64)[:, None], axis=1)[:, 0]
    if (own >= z.max(axis=1)).all():
        raise DataError("scores", "the likeliest class is right in every row: no temperature is the best", WAIT)
    if own.mean() <= z.mean():
        return 0.0, 0.0  # the loss rises from slope 0 on: it is convex

    def derivatives(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        scaled = z * theta[0]
        top = scaled.max(axis=1, keepdims=True)
        share = np.exp(scaled - top)
        total = share.sum(axis=1, keepdims=True)
        share /= total
        mean = (share * z).sum(axis=1)
        variance = (share * (z - mean[:, None]) ** 2).sum(axis=1)
        loss = float(np.mean(np.log(total[:, 0]) + top[:, 0] - theta[0] * own))
        return loss, np.array([np.mean(mean - own)]), np.array([[np.mean(variance)]])

    return float(_minimum(np.array([1.0]), derivatives)[0]), 0.0


def _line(z: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    truth = target.astype(np.float64)
    spread = z - z.mean()
    power = float(spread @ spread)
    if power == 0:
        raise DataError("scores", "all are the same", "retrain")
    slope = float(spread @ (truth - truth.mean())) / power
    return slope, float(truth.mean() - slope * z.mean())


def _minimum(theta: np.ndarray, derivatives: Derivatives) -> np.ndarray:
    """Of a strictly convex mean loss by Newton's method; a step that does not lower the loss is halved."""
    loss, gradient, hessian = derivatives(theta)
    for _ in range(STEPS):
        if np.abs(gradient).max() <= SMALL:
            return theta
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            break
        length = 1.0
        while length > SMALL:
            there = derivatives(theta - length * step)
            if there[0] < loss:
                break
            length /= 2
        else:  # no digit of the loss is left to win
            return theta - step if np.abs(step).max() < 1e-6 else _none()
        theta, (loss, gradient, hessian) = theta - length * step, there
    return _none()


def _none() -> np.ndarray:
    raise DataError("scores", "no best map of them is found", "retrain")


_FITS: dict[Task, Callable[[np.ndarray, np.ndarray], tuple[float, float]]] = {
    Task.BINARY: _platt,
    Task.MULTICLASS: _temperature,
    Task.REGRESSION: _line,
}
