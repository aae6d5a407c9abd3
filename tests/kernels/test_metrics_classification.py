from __future__ import annotations

import inspect

import numpy as np
import pytest
import sklearn.metrics
import torch

from kernels import metrics, resample
from kernels.errors import DTypeError, MissingValueError, OptionError, ShapeError
from tests.kernels.conftest import Backend
from tests.kernels.placed import get, put

AVERAGED = ["precision_score", "recall_score", "f1_score"]


def labels(seed: int, classes: int, n: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n)
    pred = np.where(rng.random(n) < 0.6, true, rng.integers(0, classes, n))
    return true, pred, rng.random(n)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", ["macro", "weighted", "micro", None])
@pytest.mark.parametrize("name", AVERAGED)
def test_averages_are_scikit_learns(name: str, average: str | None, weighted: bool, backend: Backend) -> None:
    true, pred, weight = labels(1, 5)
    keywords = {"average": average, "zero_division": 0.0}
    for wanted in (None, [1, 3], [4, 0, 2, 1, 3]):
        expected = getattr(sklearn.metrics, name)(
            true, pred, labels=wanted, sample_weight=weight if weighted else None, **keywords
        )
        got = getattr(metrics, name)(
            *put(backend, true, pred), labels=wanted, backend=backend.name,
            sample_weight=put(backend, weight) if weighted else None, **keywords,
        )  # fmt: skip
        np.testing.assert_allclose(get(got), expected, rtol=1e-12)


@pytest.mark.parametrize("name", AVERAGED)
def test_two_classes_take_any_two_labels(name: str, backend: Backend) -> None:
    true, pred, _ = labels(2, 2)
    for low, high in ((0, 1), (-1, 1), (7, 100_000)):
        t, p = np.where(true, high, low), np.where(pred, high, low)
        for pos_label in (low, high):
            expected = getattr(sklearn.metrics, name)(t, p, pos_label=pos_label)
            got = getattr(metrics, name)(*put(backend, t, p), pos_label=pos_label, backend=backend.name)
            np.testing.assert_allclose(get(got), expected, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_matrix_and_its_functions_are_scikit_learns(weighted: bool, backend: Backend) -> None:
    true, pred, weight = labels(3, 4)
    w, placed_w = (weight, put(backend, weight)) if weighted else (None, None)
    t, p = put(backend, true, pred)
    for keywords in (
        {},
        {"labels": [3, 0]},
        {"normalize": "true"},
        {"normalize": "pred"},
        {"normalize": "all"},
    ):
        expected = sklearn.metrics.confusion_matrix(true, pred, sample_weight=w, **keywords)
        got = metrics.confusion_matrix(t, p, sample_weight=placed_w, backend=backend.name, **keywords)
        np.testing.assert_allclose(get(got), expected, rtol=1e-12)
    for name, keywords in (
        ("accuracy_score", {}), ("accuracy_score", {"normalize": False}), ("balanced_accuracy_score", {}),
        ("balanced_accuracy_score", {"adjusted": True}), ("matthews_corrcoef", {}),
    ):  # fmt: skip
        expected = getattr(sklearn.metrics, name)(true, pred, sample_weight=w, **keywords)
        got = getattr(metrics, name)(t, p, sample_weight=placed_w, backend=backend.name, **keywords)
        np.testing.assert_allclose(get(got), expected, rtol=1e-12)


def test_counts_are_integers_beyond_float32() -> None:
    true = np.ones((1 << 24) + 1, np.uint8)
    matrix = metrics.confusion_matrix(true, true)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[(1 << 24) + 1]]


def test_undefined_is_nan_not_zero_or_one() -> None:
    none, ones = np.zeros(5, int), np.ones(5, int)
    mixed = np.array([0, 1, 0, 1, 0])
    assert np.isnan(metrics.precision_score(mixed, none))
    assert np.isnan(metrics.recall_score(none, mixed))
    assert np.isnan(metrics.f1_score(none, none))
    assert np.isnan(metrics.matthews_corrcoef(ones, mixed))
    assert metrics.precision_score(mixed, none, zero_division=0.0) == 0.0
    empty = np.zeros(0, int)
    assert np.isnan(metrics.accuracy_score(empty, empty))
    assert np.isnan(metrics.balanced_accuracy_score(empty, empty))


def test_labels_may_be_sparse_text_or_torch() -> None:
    true, pred, _ = labels(4, 3)
    names = np.array(["ash", "birch", "cedar"])
    codes = np.array([-5, 2**40, 3])
    for table in (names, codes):
        expected = sklearn.metrics.f1_score(table[true], table[pred], average="macro")
        assert metrics.f1_score(table[true], table[pred], average="macro") == pytest.approx(expected, rel=1e-12)
    got = metrics.accuracy_score(torch.from_numpy(true), torch.from_numpy(pred))
    assert isinstance(got, torch.Tensor)
    assert got.shape == ()
    assert float(got) == sklearn.metrics.accuracy_score(true, pred)


def test_missing_labels_follow_the_policy() -> None:
    true, pred = np.array([0.0, 1.0, 1.0, np.nan]), np.array([0.0, 1.0, 0.0, 1.0])
    with pytest.raises(MissingValueError, match="1 NaN"):
        metrics.accuracy_score(true, pred)
    assert metrics.accuracy_score(true, pred, nan_policy="omit") == pytest.approx(2 / 3)
    assert np.isnan(metrics.accuracy_score(true, pred, nan_policy="propagate"))
    assert np.isnan(metrics.confusion_matrix(true, pred, nan_policy="propagate")).all()


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"average": "binary"}, OptionError, "average: 'binary' with 3 classes"),
        ({"average": "median"}, OptionError, "average: 'median' is not known"),
        ({"nan_policy": "drop"}, OptionError, "nan_policy"),
        ({"backend": "gpu"}, OptionError, "backend"),
    ],
)
def test_bad_options_are_refused(keywords: dict[str, object], error: type[Exception], message: str) -> None:
    true, pred, _ = labels(5, 3)
    with pytest.raises(error, match=message):
        metrics.f1_score(true, pred, **keywords)


def test_bad_arrays_are_refused() -> None:
    with pytest.raises(ShapeError, match="lengths differ"):
        metrics.accuracy_score([0, 1], [0, 1, 1])
    with pytest.raises(ShapeError, match="axes"):
        metrics.accuracy_score([0, 1], [[0, 1]])
    with pytest.raises(OptionError, match="pos_label: 5"):
        metrics.f1_score([0, 1], [0, 1], pos_label=5)
    with pytest.raises(OptionError, match="labels"):
        metrics.confusion_matrix([0, 1], [0, 1], labels=[1, 1])
    with pytest.raises(OptionError, match="labels: none of them occurs in y_true"):
        metrics.confusion_matrix([0, 1], [0, 2], labels=[2])
    with pytest.raises(DTypeError):
        metrics.roc_auc_score([0, 1], np.array([1j, 2j]))


def test_every_docstring_says_what_a_nan_does_and_the_default_raises() -> None:
    for module in (metrics, resample):
        for name in module.__all__:
            function = getattr(module, name)
            parameter = inspect.signature(function).parameters.get("nan_policy") if callable(function) else None
            if parameter is not None:
                assert parameter.default == "raise", name
                assert 'nan_policy "raise" (default)' in " ".join(str(function.__doc__).split()), name
