"""Contributions of rows and their moments: against closed forms, DeLong, SciPy and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from kernels import metrics
from kernels.errors import ShapeError
from kernels.resample import delong, influence, moments, precision_bias
from kernels.resample.influence import tail_index


def labelled(n: int, seed: int = 0, share: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < share).astype(int)
    a, b = 1 / (1 + np.exp(1 - 1.5 * label - rng.normal(size=(2, n))))
    return label, a, b


def test_the_contributions_to_a_mean_are_its_rows_less_their_mean() -> None:
    label, a, b = labelled(400)
    own = influence("brier_score_loss", label, a, b)
    for contribution, score in zip(own, (a, b), strict=True):
        loss = np.square(label - score)
        assert contribution == pytest.approx(loss - loss.mean(), abs=1e-9)


@pytest.mark.parametrize(
    "metric", ["roc_auc_score", "average_precision_score", "f1_score", "log_loss", "matthews_corrcoef"]
)
def test_contributions_say_how_a_metric_moves_with_its_rows(metric: str) -> None:
    """Twice the same rows and then without a tenth of them: the mean contribution of what is left, to first order."""
    label, score, _ = labelled(4000, 3)
    score = (score > 0.5).astype(int) if metric in ("f1_score", "matthews_corrcoef") else score
    (own,) = influence(metric, label, score)
    kept = np.arange(4000) % 10 > 0
    function = getattr(metrics, metric)
    moved = function(label[kept], score[kept]) - function(label, score)
    assert own.mean() == pytest.approx(0.0, abs=1e-3)
    assert moved == pytest.approx(own[kept].mean(), abs=0.1 * abs(own[kept].mean()) + 2e-4)


@pytest.mark.parametrize("pair", [False, True])
def test_the_error_of_an_auroc_is_delongs(pair: bool) -> None:
    label, a, b = labelled(300)
    other = b if pair else None
    own = influence("roc_auc_score", label, a, other)
    known = moments(own[1] - own[0] if pair else own[0], strata=label)
    assert known.error == pytest.approx(delong(label, a, other).standard_error, rel=1e-9)


def test_moments_of_independent_rows_are_those_of_their_mean() -> None:
    x = np.random.default_rng(1).exponential(size=500)
    known = moments(x - x.mean())
    assert known.error == pytest.approx(x.std(ddof=1) / math.sqrt(500))
    assert known.skewness == pytest.approx(stats.skew(x) / math.sqrt(500) * (499 / 500) ** 1.5)
    kurtosis = stats.kurtosis(x, fisher=False)
    assert known.freedom == pytest.approx(2 * 500 / (kurtosis - 1) * (500 / 499) ** 2)
    assert known.effective == pytest.approx(500 / kurtosis * (500 / 499) ** 2)
    assert known.units == 500


def test_rows_of_a_cluster_are_one_unit() -> None:
    rng = np.random.default_rng(2)
    cluster = np.repeat(np.arange(40) * 7, 5)
    x = rng.normal(size=200) + rng.normal(size=40).repeat(5)
    known = moments(x - x.mean(), cluster=cluster)
    means = x.reshape(40, 5).mean(axis=1)
    assert known.units == 40
    assert known.error == pytest.approx(means.std(ddof=1) / math.sqrt(40))
    assert known.freedom <= 39


def test_the_freedom_never_exceeds_what_a_normal_law_leaves() -> None:
    assert moments(np.array([1.0, -1.0] * 20)).freedom == 39  # the kurtosis is 1: the variance is known for sure
    assert moments(np.array([5.0] + [-0.05] * 99)).freedom == pytest.approx(2.1, abs=0.01)


def test_contributions_without_spread_have_no_error() -> None:
    known = moments(np.zeros(50))
    assert (known.error, known.effective, known.tail) == (0.0, 0.0, math.inf)
    with pytest.raises(ShapeError, match="contributions: no rows - pass one at least"):
        moments(np.zeros(0))


@pytest.mark.parametrize("index", [1.5, 3.0])
def test_the_tail_index_of_a_pareto_law_is_found(index: float) -> None:
    x = np.random.default_rng(4).pareto(index, size=400_000) + 1.0
    assert tail_index(x) == pytest.approx(index, rel=0.1)
    shared = np.concatenate([x[:20_000], np.full(400_000, -0.01)])  # models that agree on most rows
    assert tail_index(shared) == pytest.approx(index, rel=0.25)


def test_a_normal_law_has_no_such_tail_and_equal_rows_have_none() -> None:
    assert tail_index(np.random.default_rng(5).normal(size=2500)) > 4.0
    assert tail_index(np.repeat([1.0, -1.0], 50)) == math.inf


def test_an_average_precision_flatters_by_as_much_as_it_says() -> None:
    """The true one is that of two million rows; on 150 with 30 that are sought the mean is above it."""
    truth = float(metrics.average_precision_score(*labelled(2_000_000, 6, 0.2)[:2]))
    found = [labelled(150, seed, 0.2)[:2] for seed in range(1000)]
    values = np.array([float(metrics.average_precision_score(*one)) for one in found])
    less = values - [precision_bias(*one) for one in found]
    spread = values.std() / math.sqrt(len(values))
    assert values.mean() - truth > 4 * spread
    assert abs(less.mean() - truth) < 3 * spread


def test_the_bias_of_ties_is_that_of_one_place() -> None:
    assert precision_bias(np.array([1, 0, 1, 0]), np.full(4, 0.5)) == pytest.approx(0.5 / 4)
    assert precision_bias(np.array([1, 1, 0, 0]), np.array([4.0, 3.0, 2.0, 1.0])) == 0.0
    assert math.isnan(precision_bias(np.zeros(3), np.arange(3.0)))
