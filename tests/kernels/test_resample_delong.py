from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from kernels import metrics
from kernels.errors import MissingValueError, OptionError, ShapeError
from kernels.resample import bootstrap, delong
from tests.kernels.conftest import Backend
from tests.kernels.placed import put


def two_models(seed: int, n: int = 300, decimals: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    hidden = rng.normal(size=n) + label
    a, b = (np.round(hidden + noise * rng.normal(size=n), decimals) for noise in (0.2, 0.8))
    return label, a, b


def by_definition(label: np.ndarray, *scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROCs and covariance from the full matrix of pairs (DeLong et al. 1988, equations 3 to 6)."""
    v10, v01 = [], []
    for score in scores:
        up, down = score[label == 1][:, None], score[label == 0][None, :]
        win = (up > down) + 0.5 * (up == down)
        v10.append(win.mean(axis=1))
        v01.append(win.mean(axis=0))
    s10, s01 = np.atleast_2d(np.cov(v10)), np.atleast_2d(np.cov(v01))
    positives, negatives = (label == 1).sum(), (label == 0).sum()
    return np.array([v.mean() for v in v10]), s10 / positives + s01 / negatives


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_covariance_by_its_definition(decimals: int, backend: Backend) -> None:
    label, a, b = two_models(1, decimals=decimals)
    aucs, covariance = by_definition(label, a, b)
    result = delong(*put(backend, label, a, b), backend=backend.name)
    np.testing.assert_allclose(result.estimates, aucs, rtol=1e-12)
    np.testing.assert_allclose(result.covariance, covariance, rtol=1e-10)
    difference = aucs[1] - aucs[0]
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert result.estimate == pytest.approx(difference, rel=1e-12)
    assert result.z == pytest.approx(difference / error, rel=1e-10)
    assert result.pvalue == pytest.approx(2 * stats.norm.sf(abs(difference / error)), rel=1e-9)
    assert result.low == pytest.approx(difference - stats.norm.ppf(0.975) * error, rel=1e-9)


def test_one_model_has_an_interval_within_zero_and_one() -> None:
    label, a, _ = two_models(2)
    (auc,), covariance = by_definition(label, a)
    result = delong(label, a, confidence_level=0.9)
    assert result.estimate == metrics.roc_auc_score(label, a)
    assert result.standard_error == pytest.approx(math.sqrt(covariance[0, 0]), rel=1e-10)
    assert result.high == pytest.approx(auc + stats.norm.ppf(0.95) * result.standard_error, rel=1e-10)
    assert math.isnan(result.pvalue)
    perfect = delong([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4])
    assert (perfect.estimate, perfect.low, perfect.high) == (1.0, 1.0, 1.0)


def test_it_agrees_with_the_bootstrap() -> None:
    label, a, b = two_models(3, n=2000)
    assert delong(label, a).standard_error == pytest.approx(
        bootstrap("roc_auc_score", label, a).standard_error, rel=0.1
    )
    assert delong(label, a, b).standard_error == pytest.approx(
        bootstrap("roc_auc_score", label, a, b).standard_error, rel=0.1
    )


def test_equal_rankings_are_no_evidence() -> None:
    label, a, _ = two_models(4)
    result = delong(label, a, 3.0 * a - 1.0)
    assert (result.estimate, result.z, result.pvalue, result.standard_error) == (0.0, 0.0, 1.0, 0.0)
    # Perfect against perfectly wrong: no variance at all, yet a difference.
    separated = delong([0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0])
    assert (separated.estimate, separated.z, separated.pvalue) == (-1.0, -math.inf, 0.0)


def test_one_class_has_no_auroc_and_one_row_no_variance() -> None:
    nothing = delong(np.ones(5, int), np.arange(5.0))
    assert math.isnan(nothing.estimate)
    assert math.isnan(nothing.low)
    single = delong([1, 0, 0], [3.0, 1.0, 2.0])
    assert single.estimate == 1.0
    assert math.isnan(single.standard_error)
    assert math.isnan(single.high)
    assert math.isnan(delong([1, 0, 0], [3.0, 1.0, 2.0], [3.0, 1.0, 2.0]).pvalue)


def test_missing_and_bad_arguments() -> None:
    label, a, b = two_models(5)
    b = b.copy()
    b[0] = np.nan
    with pytest.raises(MissingValueError):
        delong(label, a, b)
    assert delong(label, a, b, nan_policy="omit").n == 299
    with pytest.raises(OptionError, match="confidence_level"):
        delong(label, a, confidence_level=1.0)
    with pytest.raises(OptionError, match="3 classes"):
        delong([0, 1, 2], [0.1, 0.2, 0.3])
    with pytest.raises(ShapeError, match="lengths differ"):
        delong(label, a[:-1])
    with pytest.raises(ShapeError, match="axes"):
        delong(label, np.stack([a, a], axis=1))
