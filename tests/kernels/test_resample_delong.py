from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from kernels import metrics
from kernels.errors import DTypeError, MissingValueError, OptionError, ShapeError
from kernels.resample import bootstrap, crossing, delong
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


FIELDS = ("estimate", "low", "high", "standard_error", "z", "pvalue")


@pytest.mark.parametrize("decimals", [0, 6])
def test_slices_are_the_rows_of_each_slice(decimals: int, backend: Backend) -> None:
    label, a, b = two_models(6, n=500, decimals=decimals)
    rng = np.random.default_rng(7)
    region, odd = rng.integers(-3, 3, 500), np.where(np.arange(500) < 25, np.arange(500) // 2, 50)
    label[region == 2] = 1  # one class alone: no AUROC
    for scores in ((a,), (a, b)):
        placed = put(backend, label, *scores)
        columns = {"region": put(backend, region), "odd": put(backend, odd)}
        result = delong(*placed, slices=columns, backend=backend.name)
        assert result.estimates == delong(*placed, backend=backend.name).estimates
        for name, column in (("region", region), ("odd", odd)):
            table = result.slices[name]
            assert table.values.tolist() == np.unique(column).tolist()
            assert table.n.sum() == 500
            for s, code in enumerate(table.values):
                rows = column == code
                alone = delong(label[rows], *(x[rows] for x in scores))
                counts = (alone.n, alone.positives, alone.negatives)
                assert (table.n[s], table.positives[s], table.negatives[s]) == counts
                assert table.enough[s] == (alone.n >= 30)
                for field in FIELDS if table.enough[s] else FIELDS[:1]:
                    expected = pytest.approx(getattr(alone, field), rel=1e-11, abs=1e-12, nan_ok=True)
                    assert getattr(table, field)[s] == expected, (name, code, field)
                if not table.enough[s]:
                    assert np.isnan([getattr(table, field)[s] for field in FIELDS[1:]]).all()


def test_slices_can_be_small_when_asked_and_lose_missing_rows() -> None:
    label, a, b = two_models(8, n=100)
    b[3] = np.nan
    codes = np.arange(100) % 10
    table = delong(label, a, b, slices=codes, min_rows=2, nan_policy="omit").slices["slice"]
    assert table.n.tolist() == [10, 10, 10, 9, *[10] * 6]
    assert table.enough.all()
    with pytest.raises(DTypeError, match="integer codes"):
        delong(label, a, slices=a)


def test_a_crossing_is_the_combinations_that_occur() -> None:
    rng = np.random.default_rng(19)
    label, a, _ = two_models(9, n=2000)
    x, y, z = (rng.integers(low, low + 3, 2000) for low in (-1, 7, 2**40))
    codes, values = crossing(x, y, z)
    assert values.shape == (27, 3)
    assert values[codes].tolist() == np.stack([x, y, z], axis=1).tolist()
    assert values.tolist() == sorted(values.tolist())
    for table in (
        delong(label, a, slices={"all": codes}, min_rows=1).slices["all"],
        bootstrap("roc_auc_score", label, a, slices={"all": codes}, min_rows=1, n_resamples=8).slices["all"],
    ):
        for s in (0, 13, 26):
            rows = (x == values[s, 0]) & (y == values[s, 1]) & (z == values[s, 2])
            assert table.n[s] == rows.sum()
            assert table.estimate[s] == pytest.approx(float(metrics.roc_auc_score(label[rows], a[rows])), rel=1e-12)


def test_a_crossing_of_many_wide_columns_stays_in_range() -> None:
    wide = [np.random.default_rng(k).permutation(3000) for k in range(8)]  # 3000^8 is beyond 64 bits
    codes, values = crossing(*wide)
    assert np.array_equal(values[codes], np.stack(wide, axis=1))
    assert isinstance(crossing(torch.arange(3))[0], torch.Tensor)
    empty, none = crossing(np.zeros(0, int), np.zeros(0, int))
    assert (empty.shape, none.shape) == ((0,), (0, 2))
    for bad, error, message in (
        ((), OptionError, "columns: none"), ((np.zeros(2),), DTypeError, "integer codes"),
        ((np.zeros(2, int), np.zeros(3, int)), ShapeError, "lengths differ"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            crossing(*bad)
