from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics
import torch

from kernels import metrics
from kernels.dispatch import load
from kernels.errors import MissingValueError, OptionError, ShapeError
from tests.kernels.conftest import Backend
from tests.kernels.placed import get, put


def two_classes(seed: int, n: int = 5000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    proba = rng.random(n)
    label = (rng.random(n) < proba).astype(int)
    proba[:4] = [0.0, 1.0, 0.5, 1.0 / 3.0]
    proba[4:8] = [1e-300, 1.0 - 2**-53, 0.2, 0.6]
    return label, proba, rng.random(n)


def calibration_by_hand(label: np.ndarray, proba: np.ndarray, bins: int, norm: str = "l1") -> float:
    edges = np.linspace(0, 1, bins + 1)
    gaps, rows = [], []
    for b in range(bins):
        inside = (proba > edges[b]) & (proba <= edges[b + 1]) | ((b == 0) & (proba == 0))
        if inside.any():
            gaps.append(abs(label[inside].mean() - proba[inside].mean()))
            rows.append(inside.sum())
    g, w = np.array(gaps), np.array(rows) / len(label)
    return float({"l1": (w * g).sum(), "l2": np.sqrt((w * g * g).sum()), "max": g.max()}[norm])


@pytest.mark.parametrize("weighted", [False, True])
def test_binary_is_scikit_learns(weighted: bool, backend: Backend) -> None:
    label, proba, weight = two_classes(1)
    w, placed_w = (weight, put(backend, weight)) if weighted else (None, None)
    t, p = put(backend, label, proba)
    for name, keywords in (
        ("log_loss", {}), ("log_loss", {"normalize": False}), ("brier_score_loss", {}),
        ("brier_score_loss", {"scale_by_half": False}), ("brier_score_loss", {"pos_label": 0}),
    ):  # fmt: skip
        expected = getattr(sklearn.metrics, name)(label, proba, sample_weight=w, **keywords)
        got = getattr(metrics, name)(t, p, sample_weight=placed_w, backend=backend.name, **keywords)
        np.testing.assert_allclose(get(got), expected, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_multiclass_is_scikit_learns(weighted: bool, backend: Backend) -> None:
    rng = np.random.default_rng(2)
    proba = rng.dirichlet(np.full(5, 0.3), 800)
    label = rng.integers(0, 5, 800)
    weight = rng.random(800)
    w, placed_w = (weight, put(backend, weight)) if weighted else (None, None)
    t, p = put(backend, label, proba)
    for name in ("log_loss", "brier_score_loss"):
        expected = getattr(sklearn.metrics, name)(label, proba, sample_weight=w)
        got = getattr(metrics, name)(t, p, sample_weight=placed_w, backend=backend.name)
        np.testing.assert_allclose(get(got), expected, rtol=1e-12)
    only = label < 4
    expected = sklearn.metrics.log_loss(label[only], proba[only], labels=range(5))
    got = metrics.log_loss(*put(backend, label[only], proba[only]), labels=np.arange(5), backend=backend.name)
    np.testing.assert_allclose(get(got), expected, rtol=1e-12)


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_calibration_error_by_its_definition(norm: str, backend: Backend) -> None:
    label, proba, _ = two_classes(3)
    proba[:50] = np.arange(50) % 16 / 15.0  # on the edges, which belong to the bin below
    t, p = put(backend, label, proba)
    for bins in (1, 10, 15):
        got = get(metrics.expected_calibration_error(t, p, n_bins=bins, norm=norm, backend=backend.name))
        assert float(got) == pytest.approx(calibration_by_hand(label, proba, bins, norm), rel=1e-12)


def test_calibration_agrees_with_scikit_learns_curve() -> None:
    label, proba, _ = two_classes(4)
    outcome, confidence = sklearn.calibration.calibration_curve(label, proba, n_bins=15)
    scores = metrics.binary_scores(label, proba)
    np.testing.assert_allclose(scores.bin_outcome, outcome, rtol=1e-12)
    np.testing.assert_allclose(scores.bin_confidence, confidence, rtol=1e-12)
    outcome, confidence = sklearn.calibration.calibration_curve(label, proba, n_bins=10, strategy="quantile")
    edges = np.quantile(proba, np.linspace(0, 1, 11))
    share = np.histogram(np.searchsorted(edges[1:-1], proba), np.arange(11))[0] / label.size
    got = metrics.expected_calibration_error(label, proba, n_bins=10, strategy="quantile")
    assert got == pytest.approx((share * abs(outcome - confidence)).sum(), rel=1e-12)


def test_top_label_calibration_of_many_classes() -> None:
    rng = np.random.default_rng(5)
    proba = rng.dirichlet(np.ones(6), 2000)
    label = rng.integers(0, 6, 2000)
    got = metrics.expected_calibration_error(label, proba)
    expected = calibration_by_hand((proba.argmax(axis=1) == label).astype(int), proba.max(axis=1), 15)
    assert got == pytest.approx(expected, rel=1e-12)


def test_one_pass_equals_the_single_metrics(backend: Backend) -> None:
    label, proba, _ = two_classes(6)
    t, p = put(backend, label, proba)
    scores = metrics.binary_scores(t, p, threshold=0.6, backend=backend.name)
    assert get(scores.log_loss) == get(metrics.log_loss(t, p, backend=backend.name))
    assert get(scores.brier_score_loss) == get(metrics.brier_score_loss(t, p, backend=backend.name))
    ece = metrics.expected_calibration_error(t, p, backend=backend.name)
    assert float(get(scores.expected_calibration_error)) == pytest.approx(float(get(ece)), rel=1e-12)
    expected = sklearn.metrics.confusion_matrix(label, proba >= 0.6)
    assert get(scores.confusion_matrix).tolist() == expected.tolist()
    assert int(get(scores.bin_rows).sum()) == label.size


def test_float32_is_clipped_by_its_own_epsilon_and_summed_in_float64() -> None:
    label = np.array([1, 0])
    proba = np.array([0.0, 1.0], np.float32)
    assert metrics.log_loss(label, proba) == pytest.approx(-np.log(np.finfo(np.float32).eps), rel=1e-7)
    assert metrics.log_loss(label, proba).dtype == np.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_tensors_are_read_where_they_lie(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """The primitives get the tensor's own memory: predictions of every family, without a copy."""
    label = torch.from_numpy(two_classes(8)[0]).to(torch.uint8)
    proba = torch.from_numpy(two_classes(8)[1]).to(dtype)
    wide = proba.double()
    table = torch.stack([1 - proba, proba], dim=1)
    seen: list[int] = []

    def spy(module: Any, name: str, place: int) -> None:
        inner = getattr(module, name)

        def called(*args: Any, **keywords: Any) -> Any:
            seen.append(args[place].ctypes.data)
            return inner(*args, **keywords)

        monkeypatch.setattr(module, name, called)

    scores, ordering = load("scores", "cpu"), load("ordering", "cpu")
    for module, name in ((scores, "binary_sums"), (scores, "multiclass_sums"), (scores, "regression_sums"),
                         (ordering, "partition")):  # fmt: skip
        spy(module, name, 1)
    for metric, given, where in (
        (metrics.log_loss, proba, proba), (metrics.brier_score_loss, proba, proba), (metrics.log_loss, table, table),
        (metrics.expected_calibration_error, proba, proba), (metrics.roc_auc_score, proba, proba),
        (metrics.average_precision_score, proba, proba), (metrics.mean_squared_error, wide, wide),
    ):  # fmt: skip
        seen.clear()
        metric(label, given)
        assert seen == [where.data_ptr()], metric.__name__


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    label, proba, _ = two_classes(7, 100_000)
    results = []
    for threads in ("1", "3", "8"):
        monkeypatch.setenv("KERNELS_NUM_THREADS", threads)
        results.append(metrics.binary_scores(label, proba))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_many_bins_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    label, proba, _ = two_classes(9, 200_000)
    tracemalloc.start()
    many = metrics.expected_calibration_error(label, proba, n_bins=20_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # block by block it would be 98 x 80 000 counts and sums: 125 MB
    assert many == pytest.approx(calibration_of(label, proba, 20_000), rel=1e-12)
    whole = metrics.binary_scores(label, proba)
    monkeypatch.setattr("kernels.cpu.scores.HELD", 200)  # three blocks a turn
    for left, right in zip(whole, metrics.binary_scores(label, proba), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-13)


def calibration_of(label: np.ndarray, proba: np.ndarray, bins: int) -> float:
    """The calibration error by sorting rows into bins."""
    at = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), proba, side="left") - 1, 0, None)
    return float(np.abs(np.bincount(at, label - proba, bins)).sum() / label.size)


def test_empty_is_nan() -> None:
    none, nothing = np.zeros(0, int), np.zeros(0)
    for metric in (metrics.log_loss, metrics.brier_score_loss, metrics.expected_calibration_error):
        assert np.isnan(metric(none, nothing))


def test_missing_probabilities_follow_the_policy() -> None:
    label, proba = np.array([0, 1, 1]), np.array([0.25, np.nan, 0.75])
    for metric in (metrics.log_loss, metrics.brier_score_loss, metrics.expected_calibration_error):
        with pytest.raises(MissingValueError):
            metric(label, proba)
        assert metric(label, proba, nan_policy="omit") == metric(label[[0, 2]], proba[[0, 2]])
        assert np.isnan(metric(label, proba, nan_policy="propagate"))


def test_refusals_name_the_argument() -> None:
    with pytest.raises(OptionError, match=r"y_proba: 1 values outside \[0, 1\]"):
        metrics.log_loss([0, 1], [0.5, 1.5])
    with pytest.raises(OptionError, match="2 rows do not sum to one"):
        metrics.log_loss([0, 1], [[0.5, 0.1], [0.5, 0.1]])
    with pytest.raises(ShapeError, match="3 columns for 2 classes"):
        metrics.log_loss([0, 1], [[0.5, 0.1, 0.4], [0.5, 0.1, 0.4]])
    with pytest.raises(OptionError, match="n_bins: 0"):
        metrics.expected_calibration_error([0, 1], [0.5, 0.5], n_bins=0)
    with pytest.raises(OptionError, match="strategy"):
        metrics.expected_calibration_error([0, 1], [0.5, 0.5], strategy="equal")
    with pytest.raises(OptionError, match="y_true: 3 classes"):
        metrics.brier_score_loss([0, 1, 2], [0.5, 0.5, 0.5])
