"""The maps behind a network against scikit-learn, SciPy and NumPy; and what is no ground for one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax
from sklearn.linear_model import LinearRegression, LogisticRegression

from engine.errors import DataError
from engine.records import Task
from engine.train.scaled import Scaled, unscaled
from engine.train.scaling import Scaling, fit

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("rows", [60, 2000])
@pytest.mark.parametrize(("slope", "shift"), [(0.5, 1.5), (2.0, -3.0), (1.0, 0.0)])
def test_platt_is_scikit_learns_logistic_regression(rows: int, slope: float, shift: float) -> None:
    rng = np.random.default_rng([rows, int(10 * slope)])
    logit = rng.normal(0.0, 1.5, rows)
    label = (rng.random(rows) < expit(slope * logit + shift)).astype(np.float32)
    found = fit(Task.BINARY, logit, label)
    truth = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit[:, None], label)
    assert found.slope == pytest.approx(truth.coef_[0, 0], abs=1e-5)
    assert found.shift == pytest.approx(truth.intercept_[0], abs=1e-5)


def test_platt_is_right_on_average_in_closed_form() -> None:
    """At the maximum of the likelihood residuals are orthogonal to 1 and to the logit."""
    logit = RNG.normal(0.0, 1.5, 500)
    label = (RNG.random(500) < expit(0.7 * logit + 1)).astype(np.float32)
    found = fit(Task.BINARY, logit, label)
    residual = label - expit(found.slope * logit + found.shift)
    assert residual.mean() == pytest.approx(0.0, abs=1e-9)
    assert (residual * logit).mean() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_temperature_is_that_of_a_bounded_search(temperature: float) -> None:
    rng = np.random.default_rng([7, int(10 * temperature)])
    output = rng.normal(0.0, 3.0, (1500, 4))
    share = np.exp(log_softmax(output / temperature, axis=1))
    label = (rng.random((1500, 1)) > share.cumsum(axis=1)[:, :-1]).sum(axis=1)

    def loss(slope: float) -> float:
        return float(-log_softmax(output * slope, axis=1)[np.arange(1500), label].mean())

    found = fit(Task.MULTICLASS, output, label)
    truth = minimize_scalar(loss, bounds=(1e-3, 20), method="bounded", options={"xatol": 1e-10})
    assert found.slope == pytest.approx(truth.x, rel=1e-5)
    assert found.shift == 0
    assert 1 / found.slope == pytest.approx(temperature, rel=0.15)


def test_scale_and_shift_are_least_squares() -> None:
    value = RNG.normal(40.0, 9.0, 400)
    target = 1.3 * value - 7 + RNG.normal(0.0, 4.0, 400)
    found = fit(Task.REGRESSION, value, target)
    truth = LinearRegression().fit(value[:, None], target)
    assert (found.slope, found.shift) == (pytest.approx(truth.coef_[0]), pytest.approx(truth.intercept_))


ONES = np.ones(40)
HALF = np.arange(40) % 2
LINE = np.linspace(-1.0, 1.0, 40)


@pytest.mark.parametrize(
    ("task", "output", "target", "said"),
    [
        (Task.BINARY, LINE[:19], HALF[:19], "19 rows are too few for a map of scores"),
        (Task.BINARY, LINE, ONES, "all are the same"),
        (Task.BINARY, LINE, (LINE > 0).astype(int), "they separate the labels: no map is the most likely one"),
        (Task.BINARY, np.where(LINE > 0.9, np.nan, LINE), HALF, "not all of them are finite"),
        (
            Task.BINARY,
            LINE,
            np.where(HALF & (np.arange(40) % 4 > 1), 1, (LINE < 0).astype(int)),
            "the best map of them would not rise: they say nothing of the label now",
        ),
        (Task.MULTICLASS, np.eye(3)[np.arange(40) % 3], np.arange(40) % 3, "the likeliest class is right in every row"),
        (Task.MULTICLASS, -np.eye(3)[np.arange(40) % 3], np.arange(40) % 3, "the best map of them would not rise"),
        (Task.REGRESSION, ONES, LINE, "all are the same"),
        (Task.REGRESSION, LINE, -LINE, "the best map of them would not rise"),
    ],
)
def test_what_gives_no_map_is_said(task: Task, output: np.ndarray, target: np.ndarray, said: str) -> None:
    with pytest.raises(DataError) as refused:
        fit(task, output, target)
    assert said in refused.value.what


@pytest.mark.parametrize(
    ("slope", "shift"), [(0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (float("inf"), 0.0), (1.0, float("inf"))]
)
def test_a_map_that_does_not_rise_is_no_map(slope: float, shift: float) -> None:
    with pytest.raises(ValueError, match="make no rising map"):
        Scaling(task=Task.BINARY, slope=slope, shift=shift)


def test_one_shift_of_all_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="one shift of all classes changes nothing"):
        Scaling(task=Task.MULTICLASS, slope=1.0, shift=0.5)


class Sum(torch.nn.Module):
    def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
        return numeric.sum(dim=1)


def test_a_network_with_a_map_gives_mapped_outputs_in_float64() -> None:
    network = Sum()
    numeric, none = torch.tensor([[1.0, 2.0], [0.5, 0.25]]), torch.zeros((2, 0), dtype=torch.int64)
    scaled = Scaled(network, Scaling(task=Task.BINARY, slope=0.5, shift=3.0))
    found = scaled(numeric, none)
    assert found.dtype == torch.float64
    assert found.tolist() == [4.5, 3.375]
    assert unscaled(scaled) is network
    assert unscaled(network) is network
