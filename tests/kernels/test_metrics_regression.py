from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics

from kernels import metrics
from kernels.errors import MissingValueError, OptionError, ShapeError
from tests.kernels.conftest import Backend
from tests.kernels.placed import get, put

LOSSES = [
    "mean_absolute_error",
    "mean_squared_error",
    "root_mean_squared_error",
    "mean_pinball_loss",
    "r2_score",
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(5000,), (40,), (2,), (300, 3)])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_scikit_learns(name: str, shape: tuple[int, ...], weighted: bool, backend: Backend) -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(size=shape) * 30 + 1e5
    pred = true + rng.normal(size=shape)
    weight = rng.random(shape[0]) + 0.1
    w, placed_w = (weight, put(backend, weight)) if weighted else (None, None)
    for keywords in ({}, {"multioutput": "raw_values"}, {"alpha": 0.9}):
        if "alpha" in keywords and name != "mean_pinball_loss":
            continue
        expected = getattr(sklearn.metrics, name)(true, pred, sample_weight=w, **keywords)
        t, p = put(backend, true, pred)
        got = get(getattr(metrics, name)(t, p, sample_weight=placed_w, backend=backend.name, **keywords))
        np.testing.assert_allclose(np.squeeze(got), np.squeeze(expected), rtol=1e-12)


def test_integers_and_float32_are_widened_exactly() -> None:
    true, pred = np.arange(10), np.arange(10)[::-1].astype(np.float32)
    assert metrics.mean_absolute_error(true, pred) == sklearn.metrics.mean_absolute_error(true, pred)


def test_undefined_is_nan_where_scikit_learn_invents() -> None:
    constant = np.full(4, 2.5)
    assert np.isnan(metrics.r2_score(constant, constant))
    assert np.isnan(metrics.r2_score(constant, constant + 1))
    assert np.isnan(metrics.r2_score([1.0], [1.0]))
    for name in LOSSES:
        assert np.isnan(getattr(metrics, name)(np.zeros(0), np.zeros(0)))


def test_missing_values_follow_the_policy() -> None:
    true, pred = np.array([1.0, 2.0, np.nan]), np.array([1.0, 4.0, 1.0])
    with pytest.raises(MissingValueError):
        metrics.mean_squared_error(true, pred)
    assert metrics.mean_squared_error(true, pred, nan_policy="omit") == 2.0
    assert np.isnan(metrics.mean_squared_error(true, pred, nan_policy="propagate"))


def test_refusals_name_the_argument() -> None:
    with pytest.raises(OptionError, match=r"alpha: 1\.5"):
        metrics.mean_pinball_loss([1.0], [1.0], alpha=1.5)
    with pytest.raises(OptionError, match="multioutput"):
        metrics.r2_score([1.0], [1.0], multioutput="variance_weighted")
    with pytest.raises(ShapeError, match="y_pred: shape"):
        metrics.mean_squared_error([[1.0], [2.0]], [1.0, 2.0])
