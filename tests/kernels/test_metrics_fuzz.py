"""Random cases against scikit-learn: ties, extremes, weights of zero, tiny and huge, few rows, odd labels.

Where scikit-learn invents a number for what is undefined, or refuses, ours is NaN or refuses as well; every other
value agrees to 1e-12. CI takes a few cases a metric, the marked size 3000.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics

from kernels import metrics
from kernels.errors import KernelError

CASES = [40, pytest.param(3000, marks=pytest.mark.slow)]
Case = tuple[tuple[Any, ...], dict[str, Any]]


def weights(rng: np.random.Generator, n: int) -> Any:
    kinds = [rng.random(n), rng.integers(0, 3, n) * 1.0, rng.random(n) * 1e-300, rng.random(n) * 1e150, None]
    weight = kinds[rng.integers(0, 5)]
    if weight is not None and not weight.any():
        return None  # no weight at all: scikit-learn refuses, ours is NaN (tested by name)
    return weight


def sized(rng: np.random.Generator) -> int:
    return int(rng.choice([1, 2, 3, 5, 10, 50, 300]))


def two_labels(rng: np.random.Generator, n: int) -> np.ndarray:
    low, high = [(0, 1), (-1, 1), (0.0, 1.0), (False, True), (1, 2)][rng.integers(0, 5)]
    label = np.where(rng.random(n) < rng.choice([0.5, 0.1]), high, low)
    if n > 1:
        label[:2] = low, high
    return label if n > 1 else np.full(n, 1)


def ranked(rng: np.random.Generator) -> Case:
    n = sized(rng)
    score = [
        rng.normal(size=n), np.round(rng.normal(size=n)), np.zeros(n), rng.random(n) * 1.7e308,
        rng.integers(-3, 4, n) * 5e-324, rng.integers(0, 5, n), rng.random(n).astype(np.float32),
        1 + rng.integers(0, 9, n) * 2.0**-52,
    ][rng.integers(0, 8)]  # fmt: skip
    return (two_labels(rng, n), score), {"sample_weight": weights(rng, n)}


def probable(rng: np.random.Generator) -> Case:
    n = sized(rng)
    proba = [rng.random(n), np.round(rng.random(n), 1), rng.choice([0.0, 1.0, 5e-324, 1 - 2**-53], n)][
        rng.integers(0, 3)
    ]
    label = two_labels(rng, n)
    more = {"labels": sorted({*label.tolist(), *([0, 1] if n < 2 else [])})} if rng.random() < 0.5 or n < 2 else {}
    return (label, proba), {"sample_weight": weights(rng, n)} | more


def many(rng: np.random.Generator) -> Case:
    n, classes = sized(rng), int(rng.integers(3, 6))
    proba = rng.dirichlet(np.full(classes, rng.choice([0.1, 1.0])), n)
    return (rng.integers(0, classes, n), proba), {"sample_weight": weights(rng, n), "labels": list(range(classes))}


def labelled(rng: np.random.Generator) -> Case:
    n, classes = sized(rng), int(rng.integers(1, 6))
    names: np.ndarray = [
        np.arange(classes), np.arange(classes) - 2, np.array(list("abcde"))[:classes], np.arange(classes) * 1e3,
        np.arange(classes).astype(np.uint64) * 2**61 + 5, np.arange(classes) * 2**40,
    ][rng.integers(0, 6)]  # fmt: skip
    true = names[rng.integers(0, classes, n)]
    pred = np.where(rng.random(n) < rng.choice([0.0, 0.5]), true, names[rng.integers(0, classes, n)])
    return (true, pred), {"sample_weight": weights(rng, n), "names": names}


def continuous(rng: np.random.Generator) -> Case:
    n, outputs = sized(rng), int(rng.integers(0, 3))
    shape = (n, outputs) if outputs else (n,)
    scale = rng.choice([1.0, 1.0, 1e100, 1e-100])
    true = rng.choice([0.0, 1e6, 0.1]) + rng.normal(size=shape) * scale
    pred = true + rng.normal(size=shape) * scale * 0.3
    more = {"sample_weight": weights(rng, n), "multioutput": str(rng.choice(["uniform_average", "raw_values"]))}
    return (true, pred), more


def gains(rng: np.random.Generator) -> Case:
    shape = int(rng.integers(1, 5)), int(rng.integers(2, 8))
    gain = rng.integers(0, 4, shape) * rng.choice([1.0, 0.0, 1e300])
    score = np.round(rng.normal(size=shape), rng.integers(0, 3))
    return (gain, score), {"k": None if rng.random() < 0.5 else int(rng.integers(1, 10))}


def compared(name: str, ours: tuple[Any, ...], theirs: tuple[Any, ...], keywords: dict[str, Any]) -> str:
    """Whether the two agree ("equal"), ours is undefined ("undefined") or both refuse ("refused")."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = np.asarray(getattr(sklearn.metrics, name)(*theirs, **keywords), float)
        except ValueError:
            expected = None
        try:
            got = np.asarray(getattr(metrics, name)(*ours, **keywords), float)
        except KernelError:
            got = None
    if got is None:
        assert expected is None, f"{name} refuses what scikit-learn scores: {ours} {keywords}"
        return "refused"
    known = ~np.isnan(got)
    if expected is not None and known.any():
        expected = np.broadcast_to(expected, got.shape)
        # r2_score subtracts from 1: near 0 only its absolute error is small.
        np.testing.assert_allclose(
            got[known], expected[known], rtol=1e-12, atol=1e-12, err_msg=f"{name} {ours} {keywords}"
        )
    return "equal" if known.all() and expected is not None else "undefined"


def averaged(rng: np.random.Generator, keywords: dict[str, Any]) -> dict[str, Any]:
    names = keywords.pop("names")
    chosen = rng.permutation(names)[: rng.integers(1, len(names) + 1)] if rng.random() < 0.4 else None
    return keywords | {
        "average": [None, "macro", "weighted", "micro"][rng.integers(0, 4)], "labels": chosen,
        "zero_division": float(rng.choice([0.0, 1.0, np.nan])),
    }  # fmt: skip


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize(
    ("name", "make", "least"),
    [
        ("roc_auc_score", ranked, 0.7), ("average_precision_score", ranked, 0.7),
        ("log_loss", probable, 0.9), ("brier_score_loss", probable, 0.9), ("log_loss", many, 0.9),
        ("brier_score_loss", many, 0.9), ("roc_auc_score", many, 0.25),
        ("accuracy_score", labelled, 0.9), ("balanced_accuracy_score", labelled, 0.9),
        ("matthews_corrcoef", labelled, 0.4), ("precision_score", labelled, 0.5),
        ("recall_score", labelled, 0.5), ("f1_score", labelled, 0.5),
        ("mean_absolute_error", continuous, 0.9), ("mean_squared_error", continuous, 0.9),
        ("root_mean_squared_error", continuous, 0.9), ("mean_pinball_loss", continuous, 0.9),
        ("r2_score", continuous, 0.5), ("ndcg_score", gains, 0.9),
    ],
)  # fmt: skip
def test_random_cases_are_scikit_learns(
    name: str, make: Callable[[np.random.Generator], Case], least: float, cases: int
) -> None:
    rng = np.random.default_rng(1)
    equal = 0
    for _ in range(cases):
        ours, keywords = make(rng)
        theirs = ours
        if make is ranked:  # scikit-learn refuses huge scores and rounds near ones: the same order, in small integers
            theirs = ours[0], np.unique(ours[1], return_inverse=True)[1]
            keywords |= {"pos_label": ours[0].max()} if name == "average_precision_score" else {}
        if make is many and name == "roc_auc_score":
            keywords |= {"multi_class": "ovr", "average": [None, "macro", "weighted"][rng.integers(0, 3)]}
            weight = keywords["sample_weight"]
            if len(np.unique(ours[0])) < ours[1].shape[1] or (weight is not None and weight.max() < 1e-9):
                keywords |= {"average": None, "sample_weight": None}  # it takes tiny and missing classes for 0.0
        if make is probable and name == "brier_score_loss":
            keywords.pop("labels", None)
            keywords |= {"pos_label": ours[0].max()}
        if make is labelled:
            keywords = averaged(rng, keywords) if name in {"precision_score", "recall_score", "f1_score"} else keywords
            keywords.pop("names", None)
        equal += compared(name, ours, theirs, keywords) == "equal"
    assert equal >= least * cases, f"{equal} of {cases} were defined and compared"


def test_no_weight_at_all_is_undefined() -> None:
    none, label = np.zeros(4), np.array([0, 1, 0, 1])
    of_labels = ["accuracy_score", "balanced_accuracy_score", "matthews_corrcoef", "f1_score", "roc_auc_score"]
    of_values = ["average_precision_score", "log_loss", "brier_score_loss", "mean_absolute_error", "r2_score"]
    for name in of_labels + of_values:
        assert np.isnan(getattr(metrics, name)(label, label, sample_weight=none)), name


def test_rounding_never_passes_for_variation() -> None:
    """Equal values whose weighted mean rounds, and one predicted class under fractional weights."""
    for n in range(3, 40):
        weight = np.random.default_rng(n).random(n)
        assert np.isnan(metrics.r2_score(np.full(n, 0.1), np.full(n, 0.3), sample_weight=weight))
        assert np.isnan(metrics.r2_score(np.full(n, 0.1), np.full(n, 0.3)))
        assert np.isnan(metrics.matthews_corrcoef(np.arange(n) % 3, np.zeros(n, int), sample_weight=weight))


def test_weights_and_labels_that_mean_nothing_are_refused() -> None:
    label, proba = np.array([0, 1, 1]), np.array([0.1, 0.7, 0.4])
    for weight in ([1.0, -1.0, 1.0], [1.0, np.inf, 1.0]):
        with pytest.raises(KernelError, match="sample_weight: a weight below 0 or infinite"):
            metrics.log_loss(label, proba, sample_weight=np.array(weight))
    with pytest.raises(KernelError, match="sample_weight: dtype complex128"):
        metrics.log_loss(label, proba, sample_weight=np.full(3, 1j))
    for name in ("log_loss", "brier_score_loss", "expected_calibration_error", "average_precision_score"):
        metric = getattr(metrics, name)
        more = {"pos_label": None} if name == "average_precision_score" else {}
        with pytest.raises(KernelError, match="the one label 7"):
            metric(np.full(3, 7), proba, **more)
    assert metrics.log_loss(np.full(3, -1), proba) == pytest.approx(-np.log1p(-proba).mean())  # -1 is negative
    assert metrics.log_loss(np.full(3, 1), proba) == pytest.approx(-np.log(proba).mean())
    assert np.isnan(metrics.roc_auc_score(np.full(3, 7), proba))
    with pytest.raises(KernelError, match="labels: not ascending"):
        metrics.roc_auc_score([0, 1, 2], np.eye(3), multi_class="ovr", labels=[2, 1, 0])
    with pytest.raises(KernelError, match="1 documents a query"):
        metrics.ndcg_score([[1.0]], [[1.0]])
    for values in (np.array([1j, 2.0]), np.array(["1", "2"])):
        with pytest.raises(KernelError, match="y_true: dtype"):
            metrics.mean_squared_error(values, [1.0, 2.0])


def test_labels_at_the_ends_of_their_type() -> None:
    high, low = np.uint64(2**63 + 7), np.int64(-(2**63))
    top = np.array([high, high + np.uint64(1)])
    assert metrics.confusion_matrix(top, top).tolist() == [[1, 0], [0, 1]]
    assert metrics.f1_score(np.array([low, low + 1]), np.array([low, low]), average=None).tolist() == [2 / 3, 0.0]
    swapped = np.array([0, 1, 1, 0]).astype(">i8")
    assert metrics.roc_auc_score(swapped, np.array([0.1, 0.4, 0.3, 0.2]).astype(">f8")) == 1.0


def test_a_missing_label_propagates() -> None:
    label, score = np.array([0.0, 1.0, np.nan]), np.array([0.2, 0.7, 0.4])
    for metric in (metrics.log_loss, metrics.brier_score_loss, metrics.roc_auc_score, metrics.f1_score):
        given = score if metric is not metrics.f1_score else np.round(score)
        assert np.isnan(metric(label, given, nan_policy="propagate"))
