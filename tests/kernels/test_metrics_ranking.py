from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import metrics
from kernels.errors import MissingValueError, OptionError, ShapeError
from tests.kernels.conftest import Backend
from tests.kernels.placed import get, put

SPECIAL = [0.0, -0.0, np.inf, -np.inf, 5e-324, -5e-324, 1e308, 1.0, 1.0 + 2**-52]


def scores(seed: int, kind: str, n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    score = {
        "random": rng.normal(size=n) + label,
        "tied": np.round(rng.normal(size=n) + label),
        "special": rng.choice(SPECIAL, n),
        "constant": np.full(n, 0.25),
        "integer": rng.integers(-3, 3, n) + (1 << 60),
        "float32": (rng.random(n) + label).astype(np.float32),
        # These differ only in the lowest bits, where a packed sort key has no room left.
        "close": 1.0 + rng.integers(0, 200, n) * 2.0**-52,
    }[kind]
    return label, score, rng.random(n)


KINDS = ["random", "tied", "special", "constant", "integer", "float32", "close"]


def as_ranks(score: np.ndarray) -> np.ndarray:
    """The same order and ties in small integers: scikit-learn rejects infinities and rounds near ties."""
    return np.unique(score, return_inverse=True)[1]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_binary_is_scikit_learns(kind: str, weighted: bool, backend: Backend) -> None:
    label, score, weight = scores(1, kind)
    w, placed_w = (weight, put(backend, weight)) if weighted else (None, None)
    t, s = put(backend, label, score)
    for name in ("roc_auc_score", "average_precision_score"):
        expected = getattr(sklearn.metrics, name)(label, as_ranks(score), sample_weight=w)
        got = getattr(metrics, name)(t, s, sample_weight=placed_w, backend=backend.name)
        np.testing.assert_allclose(get(got), expected, rtol=1e-12)


@pytest.mark.parametrize("average", ["macro", "weighted", "micro", None])
def test_multiclass_is_scikit_learns(average: str | None, backend: Backend) -> None:
    rng = np.random.default_rng(2)
    label = rng.integers(0, 4, 300)
    score = rng.dirichlet(np.ones(4), 300)
    score[:, 1] = np.round(score[:, 1], 1)
    score /= score.sum(axis=1, keepdims=True)
    weight = rng.random(300)
    t, s, w = put(backend, label, score, weight)
    for sample_weight, placed_w in ((None, None), (weight, w)):
        expected = sklearn.metrics.roc_auc_score(
            label, score, multi_class="ovr", average=average, sample_weight=sample_weight
        )
        got = metrics.roc_auc_score(
            t, s, multi_class="ovr", average=average, sample_weight=placed_w, backend=backend.name
        )
        np.testing.assert_allclose(get(got), expected, rtol=1e-12)
        expected = sklearn.metrics.average_precision_score(label, score, average=average, sample_weight=sample_weight)
        got = metrics.average_precision_score(t, s, average=average, sample_weight=placed_w, backend=backend.name)
        np.testing.assert_allclose(get(got), expected, rtol=1e-12)
    if average in ("macro", "weighted"):
        expected = sklearn.metrics.roc_auc_score(label, score, multi_class="ovo", average=average)
        got = metrics.roc_auc_score(t, s, multi_class="ovo", average=average, backend=backend.name)
        np.testing.assert_allclose(get(got), expected, rtol=1e-12)


def test_ndcg_is_scikit_learns(backend: Backend) -> None:
    rng = np.random.default_rng(3)
    gain = rng.integers(0, 4, (20, 15))
    gain[3] = 0
    for decimals in (0, 8):
        score = np.round(rng.normal(size=gain.shape), decimals)
        t, s = put(backend, gain, score)
        for k in (None, 1, 5, 40):
            expected = sklearn.metrics.ndcg_score(gain, score, k=k)
            np.testing.assert_allclose(get(metrics.ndcg_score(t, s, k=k, backend=backend.name)), expected, rtol=1e-12)
    expected = sklearn.metrics.ndcg_score(gain, score, ignore_ties=True, sample_weight=np.arange(20))
    got = metrics.ndcg_score(t, s, ignore_ties=True, sample_weight=put(backend, np.arange(20)), backend=backend.name)
    np.testing.assert_allclose(get(got), expected, rtol=1e-12)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([*SPECIAL, 2.0, 3.0])), min_size=1, max_size=40))
def test_auroc_counts_every_pair(rows: list[tuple[bool, float]]) -> None:
    label, score = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    up, down = score[label][:, None], score[~label][None, :]
    got = metrics.roc_auc_score(label, score)
    if up.size and down.size:
        assert got == ((up > down).sum() + 0.5 * (up == down).sum()) / (up.size * down.size)
    else:
        assert np.isnan(got)


def test_one_class_or_no_rows_is_nan() -> None:
    for label in (np.zeros(4, int), np.ones(4, int), np.zeros(0, int)):
        assert np.isnan(metrics.roc_auc_score(label, np.arange(label.size, dtype=float)))
    assert np.isnan(metrics.average_precision_score(np.zeros(4, int), np.arange(4.0)))


def test_torch_in_torch_out_without_a_copy_of_the_answer() -> None:
    label, score, _ = scores(4, "random")
    got = metrics.roc_auc_score(torch.from_numpy(label), torch.from_numpy(score).requires_grad_())
    assert isinstance(got, torch.Tensor)
    assert float(got) == metrics.roc_auc_score(label, score)
    half = torch.from_numpy(score).to(torch.bfloat16)
    assert float(metrics.roc_auc_score(torch.from_numpy(label), half)) == metrics.roc_auc_score(
        label, half.double().numpy()
    )


def test_a_nan_score_is_never_ranked() -> None:
    label, score = np.array([0, 1, 1, 0]), np.array([0.1, 0.9, np.nan, 0.2])
    with pytest.raises(MissingValueError):
        metrics.roc_auc_score(label, score)
    assert metrics.roc_auc_score(label, score, nan_policy="omit") == 1.0
    assert np.isnan(metrics.roc_auc_score(label, score, nan_policy="propagate"))
    assert np.isnan(metrics.average_precision_score(label, score, nan_policy="propagate"))


def test_refusals_name_the_argument() -> None:
    label, score = np.array([0, 1, 2]), np.eye(3)
    with pytest.raises(OptionError, match="multi_class: 'raise'"):
        metrics.roc_auc_score(label, score)
    with pytest.raises(OptionError, match="y_true: 3 classes"):
        metrics.roc_auc_score(label, score[:, 0])
    with pytest.raises(ShapeError, match="2 columns for 3 classes"):
        metrics.roc_auc_score(label, score[:, :2], multi_class="ovr")
    with pytest.raises(OptionError, match="'ovo' takes no sample_weight"):
        metrics.roc_auc_score(label, score, multi_class="ovo", average=None)
    with pytest.raises(OptionError, match="k: 0"):
        metrics.ndcg_score(score, score, k=0)
    with pytest.raises(OptionError, match="negative gain"):
        metrics.ndcg_score(-score, score)
    with pytest.raises(ShapeError, match="one score per document"):
        metrics.ndcg_score(score, score[:, :2])
