from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

from engine.records import Estimate, Task
from engine.scoring.intervals import MIN_CLUSTERS, Rows, compare, difference, estimate
from engine.scoring.scores import score
from kernels.resample import delong


@dataclass
class Conf:
    """As little as an interval needs."""

    confidence_level: float = 0.95
    n_resamples: int = 300
    seed: int = 0


CONF = Conf()


def make_rows(task: Task = Task.BINARY, n: int = 600, clusters: int = 0, seed: int = 0) -> tuple[Rows, np.ndarray]:
    """Rows with a fair prediction of them. Rows of a cluster share their luck."""
    rng = np.random.default_rng(seed)
    cluster = np.arange(n) % clusters if clusters else None
    luck = rng.normal(size=clusters)[cluster] if cluster is not None else np.zeros(n)
    signal = rng.normal(size=n) + 2.0 * luck
    if task is Task.MULTICLASS:
        target: np.ndarray = np.digitize(signal + rng.normal(size=n), [-0.7, 0.7])
        shares = np.exp(np.column_stack([-2.0 * signal, np.zeros(n), 2.0 * signal]))
        prediction = shares / shares.sum(axis=1, keepdims=True)
    elif task is Task.BINARY:
        target = (signal + rng.normal(size=n) + 2.0 * luck > 0.0).astype(np.float32)
        prediction = 1.0 / (1.0 + np.exp(-signal + luck))
    else:
        target, prediction = (signal + luck + 0.5 * rng.normal(size=n)).astype(np.float32), signal - luck
    return Rows(task=task, target=target, ids=np.arange(n) + 10_000, cluster=cluster), prediction


def undecidable(found: Estimate) -> str:
    """The reason; and that no number comes with it that could be compared."""
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    return found.reason


METRICS = [
    (Task.BINARY, "roc_auc_score", "DeLong"),
    (Task.BINARY, "log_loss", "bootstrap, 300 resamples"),
    (Task.BINARY, "f1_score", "bootstrap, 300 resamples"),
    (Task.MULTICLASS, "roc_auc_score", "bootstrap, 300 resamples"),
    (Task.MULTICLASS, "accuracy_score", "bootstrap, 300 resamples"),
    (Task.MULTICLASS, "log_loss", "bootstrap, 300 resamples"),
    (Task.MULTICLASS, "brier_score_loss", "bootstrap, 300 resamples"),
    (Task.MULTICLASS, "f1_score", "bootstrap, 300 resamples"),
    (Task.REGRESSION, "mean_absolute_error", "bootstrap, 300 resamples"),
    (Task.REGRESSION, "r2_score", "bootstrap, 300 resamples"),
]


@pytest.mark.parametrize(("task", "metric", "method"), METRICS, ids=str)
def test_an_interval_is_around_the_score_and_a_difference_around_that_of_two(
    task: Task, metric: str, method: str
) -> None:
    rows, good = make_rows(task)
    noise = np.random.default_rng(1).normal(size=len(rows))
    if task is Task.MULTICLASS:
        worse = 0.5 * good + 0.5 / 3
        worse[noise > 0.5] = worse[noise > 0.5][:, ::-1]
    else:
        worse = np.where(noise > 1.0, 1.0 - good, good) if task is Task.BINARY else good + noise
    one = estimate(metric, rows, good, CONF)
    assert (one.name, one.n, one.confidence_level, one.reason) == (metric, 600, 0.95, "")
    assert one.method.split("; widened by ")[0] == method
    assert one.value == pytest.approx(score(metric, task, rows.target, good), abs=1e-12)
    assert one.low < one.value < one.high
    both = difference(metric, rows, worse, good, CONF)
    expected = score(metric, task, rows.target, good) - score(metric, task, rows.target, worse)
    assert both.value == pytest.approx(expected, abs=1e-9)
    assert both.low < both.value < both.high
    assert both.high < 0 or both.low > 0  # it is seen that one is better
    swapped = difference(metric, rows, good, worse, CONF)
    assert swapped.value == pytest.approx(-both.value)
    width = both.high - both.low  # metrics of counts are resampled by cell, which the swap numbers anew
    assert (swapped.low, swapped.high) == pytest.approx((-both.high, -both.low), abs=0.2 * width)


def test_auroc_of_independent_rows_is_delongs() -> None:
    """Of many rows; of few it is no narrower, and hardly wider."""
    for n, widest in ((20_000, 0.0), (600, 0.15)):
        rows, prediction = make_rows(n=n)
        exact = delong(rows.target.astype(np.int64), prediction, confidence_level=0.9)
        found = estimate("roc_auc_score", rows, prediction, Conf(confidence_level=0.9))
        assert found.value == exact.estimate
        assert 0.0 <= exact.low - found.low <= widest * (exact.high - exact.low)
        assert 0.0 <= found.high - exact.high <= widest * (exact.high - exact.low)


@pytest.mark.parametrize("metric", ["accuracy_score", "recall_score", "f1_score", "roc_auc_score"])
@pytest.mark.parametrize("by", ["rows", "clusters"])
def test_rows_without_an_error_do_not_prove_that_there_is_none(metric: str, by: str) -> None:
    """Resampled, they show none either; the exact bound of Clopper and Pearson does not end there."""
    target = np.arange(120) % 4 // 3
    cluster = np.arange(120) // 4 if by == "clusters" else None
    rows = Rows(task=Task.BINARY, target=target, ids=np.arange(120), cluster=cluster)
    found = estimate(metric, rows, np.where(target == 1, 0.9, 0.1), CONF)
    m = 30 if cluster is not None or metric != "accuracy_score" else 120
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(stats.binomtest(m, m).proportion_ci(CONF.confidence_level, "exact").low)
    assert "no error was seen" in found.method


@pytest.mark.parametrize(("task", "metric", "method"), METRICS, ids=str)
def test_a_model_does_not_differ_from_itself(task: Task, metric: str, method: str) -> None:
    rows, prediction = make_rows(task)
    """On rows that nobody has seen it might, were it another: engine/scoring/agreement.py."""
    same = difference(metric, rows, prediction, prediction, CONF)
    assert same.value == 0.0
    assert same.low == -same.high
    assert (same.high > 0.0) is (task is not Task.REGRESSION)  # no bound of a metric without one, and rows enough


@pytest.mark.parametrize(
    ("task", "metric"),
    [(Task.BINARY, "roc_auc_score"), (Task.BINARY, "log_loss"), (Task.REGRESSION, "mean_absolute_error")],
)
def test_clusters_widen_the_interval(task: Task, metric: str) -> None:
    rows, prediction = make_rows(task, n=1200, clusters=30)
    alone = Rows(task=task, target=rows.target, ids=rows.ids, cluster=None)
    by_cluster = estimate(metric, rows, prediction, CONF)
    by_row = estimate(metric, alone, prediction, CONF)
    assert by_cluster.method.startswith("cluster bootstrap, 300 resamples")
    assert by_cluster.value == pytest.approx(by_row.value)
    assert by_cluster.high - by_cluster.low > 1.5 * (by_row.high - by_row.low)


def test_pairing_narrows_the_interval() -> None:
    rows, prediction = make_rows(Task.REGRESSION)
    other = prediction + 0.05 * np.random.default_rng(1).normal(size=len(rows))
    paired = difference("mean_squared_error", rows, prediction, other, CONF)
    single = estimate("mean_squared_error", rows, prediction, CONF)
    assert paired.high - paired.low < 0.2 * (single.high - single.low)


def test_one_row_has_one_weight_wherever_it_stands() -> None:
    rows, prediction = make_rows(Task.REGRESSION)
    order = np.random.default_rng(1).permutation(len(rows))
    moved = Rows(task=rows.task, target=rows.target[order], ids=rows.ids[order], cluster=None)
    one = estimate("mean_absolute_error", rows, prediction, CONF)
    two = estimate("mean_absolute_error", moved, prediction[order], CONF)
    assert (one.low, one.high) == pytest.approx((two.low, two.high), rel=1e-12)
    many = Rows(task=rows.task, target=np.tile(rows.target, 9), ids=np.arange(9 * len(rows)), cluster=None)
    drawn = [estimate("mean_absolute_error", many, np.tile(prediction, 9), Conf(seed=seed)) for seed in range(8)]
    assert len({(found.low, found.high) for found in drawn}) > 1


def test_what_cannot_be_known_says_why() -> None:
    rows, prediction = make_rows()
    some = np.zeros(len(rows), dtype=bool)
    some[:1] = True
    assert undecidable(estimate("log_loss", rows.take(some), prediction[some], CONF)) == "too few rows (1)"
    none = np.zeros(len(rows), dtype=bool)
    assert undecidable(estimate("log_loss", rows.take(none), prediction[none], CONF)) == "too few rows (0)"
    ones = rows.target == 1
    for metric in ("roc_auc_score", "log_loss", "accuracy_score"):
        found = estimate(metric, rows.take(ones), prediction[ones], CONF)
        assert undecidable(found) == "the labels are all the same"
        assert math.isnan(found.value)
        assert found.n == int(ones.sum())
    single = ones.copy()
    single[np.flatnonzero(~ones)[0]] = True
    assert undecidable(estimate("roc_auc_score", rows.take(single), prediction[single], CONF)) == (
        "too few rows of a class (1 of 20)"
    )
    for wrong in (np.nan, np.inf):
        broken = prediction.copy()
        broken[3] = wrong
        assert undecidable(estimate("log_loss", rows, broken, CONF)) == "a prediction is not finite"
        assert undecidable(difference("log_loss", rows, prediction, broken, CONF)) == "a prediction is not finite"


def test_a_metric_without_variance_in_the_labels_is_undefined() -> None:
    rows = Rows(task=Task.REGRESSION, target=np.ones(50), ids=np.arange(50), cluster=None)
    found = estimate("r2_score", rows, np.linspace(0, 1, 50), CONF)
    assert undecidable(found) == "the metric is undefined on too many resamples"


def test_a_handful_of_clusters_is_too_few() -> None:
    for clusters, enough in ((1, False), (MIN_CLUSTERS - 1, False), (MIN_CLUSTERS, True)):
        rows, prediction = make_rows(Task.REGRESSION, clusters=clusters)
        found = estimate("mean_absolute_error", rows, prediction, CONF)
        if enough:
            assert found.low < found.value < found.high
        else:
            assert undecidable(found) == f"too few clusters ({clusters} of {MIN_CLUSTERS})"


@pytest.mark.parametrize("pasts", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_equal_models_are_rarely_told_apart_by_few_clusters(
    pasts: int, record_property: Callable[[str, object], None]
) -> None:
    """At 2.5 % a side; percentiles as they are would tell 5 % apart, and 6.5 % of five clusters."""
    wrong = looks = 0
    for clusters in (6, 10):
        rng = np.random.default_rng(clusters)
        cluster = np.repeat(np.arange(clusters), 6)
        for seed in range(pasts):
            first, second = (50 + rng.normal(size=clusters)[cluster] + rng.normal(size=len(cluster)) for _ in range(2))
            rows = Rows(
                task=Task.REGRESSION, target=np.zeros(len(cluster)), ids=rng.permutation(len(cluster)), cluster=cluster
            )
            found = difference("mean_absolute_error", rows, first, second, Conf(n_resamples=500, seed=seed))
            wrong += int(found.low > 0) + int(found.high < 0)
            looks += 2
    record_property("equal models told apart by 6 and 10 clusters", f"{wrong / looks:.3f} of {looks} (level 0.025)")
    assert wrong / looks <= 0.035


def test_a_class_without_rows_makes_undecidable_only_what_it_concerns() -> None:
    rows, prediction = make_rows(Task.MULTICLASS)
    mask = rows.target != 1
    part, shares = rows.take(mask), prediction[mask]
    for metric in ("roc_auc_score", "average_precision_score", "expected_calibration_error"):
        assert undecidable(estimate(metric, part, shares, CONF)) == "no row has the label 1"
    for metric in ("log_loss", "brier_score_loss", "accuracy_score", "f1_score", "matthews_corrcoef"):
        found = estimate(metric, part, shares, CONF)
        assert found.low < found.value < found.high, metric
        assert found.value == pytest.approx(score(metric, Task.MULTICLASS, part.target, shares), abs=1e-12)


def test_a_slice_where_two_of_many_classes_occur_keeps_the_macro_average() -> None:
    rows, prediction = make_rows(Task.MULTICLASS)
    mask = (rows.target != 1) & (prediction.argmax(axis=1) != 1)
    part, shares = rows.take(mask), prediction[mask]
    flipped = shares[:, ::-1]
    found = difference("precision_score", part, flipped, shares, CONF)
    expected = [score("precision_score", Task.MULTICLASS, part.target, p) for p in (flipped, shares)]
    assert found.value == pytest.approx(expected[1] - expected[0])
    one = estimate("precision_score", part, shares, CONF)
    assert one.low < one.value < one.high


def test_the_calibration_error_says_when_its_interval_is_one_sided() -> None:
    rng = np.random.default_rng(3)
    true = rng.uniform(size=2000)
    target = (rng.random(2000) < true).astype(np.float32)
    rows = Rows(task=Task.BINARY, target=target, ids=np.arange(2000), cluster=None)
    perfect, poor = (estimate("expected_calibration_error", rows, p, CONF) for p in (true, true**2))
    assert perfect.low == 0.0
    assert perfect.method.endswith("perfect calibration is not excluded: the interval is one-sided")
    assert poor.low > 0.05
    assert poor.method == "bootstrap, 300 resamples"


def as_sure(found: Estimate) -> Estimate:
    """Without its bounds, and the law by which they are as wide."""
    return replace(found, low=0.0, high=0.0, method=found.method.split("; widened by ")[0])


@pytest.mark.parametrize("clusters", [0, 40])
@pytest.mark.parametrize(("task", "metric", "method"), METRICS, ids=str)
def test_one_pass_says_what_three_say(task: Task, metric: str, method: str, clusters: int) -> None:
    rows, good = make_rows(task, clusters=clusters)
    worse = np.roll(good, 300, axis=0) if task is not Task.REGRESSION else good + 0.3
    both, first, second = compare(metric, rows, worse, good, CONF)
    counts = metric in ("f1_score", "accuracy_score")  # resampled by cells of both models, where rows are independent
    expected = difference(metric, rows, worse, good, CONF)
    assert both == expected
    for found, prediction in ((first, worse), (second, good)):
        alone = estimate(metric, rows, prediction, CONF)
        if counts and not clusters:
            assert as_sure(found) == as_sure(alone)
            width = alone.high - alone.low
            assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=0.3 * width)
        else:
            assert found == alone


def test_one_pass_hides_nothing_that_one_model_alone_can_say() -> None:
    rows, good = make_rows()
    broken = good.copy()
    broken[3] = np.nan
    both, first, second = compare("log_loss", rows, broken, good, CONF)
    assert undecidable(both) == undecidable(first) == "a prediction is not finite"
    assert second == estimate("log_loss", rows, good, CONF)
    few = np.flatnonzero(rows.target == 1)[:5].tolist() + np.flatnonzero(rows.target == 0)[:100].tolist()
    part = rows.take(np.array(few))
    for found in compare("roc_auc_score", part, good[few], good[few] ** 2, CONF):
        assert undecidable(found) == "too few rows of a class (5 of 20)"


@pytest.mark.parametrize("clusters", [0, 60])
def test_a_ranking_of_few_rows_that_are_sought_has_no_interval(clusters: int) -> None:
    """Its value stays. An average precision does not ask how many rows of the other class there are."""
    n = 300
    for metric, ones, decidable in (
        ("average_precision_score", 19, False),
        ("average_precision_score", 20, True),
        ("average_precision_score", 290, True),
        ("roc_auc_score", 19, False),
        ("roc_auc_score", 290, False),
        ("roc_auc_score", 20, True),
    ):
        rng = np.random.default_rng(ones)
        target = (np.arange(n) < ones).astype(np.int64)
        cluster = np.arange(n) % clusters if clusters else None
        rows = Rows(task=Task.BINARY, target=target, ids=np.arange(n), cluster=cluster)
        old, new = rng.random((2, n))
        for found in (estimate(metric, rows, new, CONF), *compare(metric, rows, old, new, CONF)):
            assert math.isfinite(found.value)
            if decidable:
                assert found.low < found.high
            else:
                assert undecidable(found) == f"too few rows of a class ({min(ones, n - ones)} of 20)"


def test_equal_models_are_rarely_told_apart_by_average_precision_where_few_rows_are_sought() -> None:
    """Fewest rows that have an interval, of many: one-sided 2.5 %, and three standard errors of the simulation."""
    pasts, hits = 300, 0
    rng = np.random.default_rng(8)
    for number in range(pasts):
        target = (np.arange(300) < 20).astype(np.int64)
        rows = Rows(task=Task.BINARY, target=target, ids=np.arange(300) + 300 * number, cluster=None)
        old, new = 1 / (1 + np.exp(2.5 - 1.5 * target - rng.standard_normal((2, 300))))
        hits += difference("average_precision_score", rows, old, new, Conf(n_resamples=400, seed=number)).low > 0
    assert hits / pasts < 0.025 + 3 * math.sqrt(0.025 * 0.975 / pasts)


@pytest.mark.parametrize(
    ("metric", "clusters"),
    [("log_loss", 0), ("brier_score_loss", 60), ("balanced_accuracy_score", 0), ("recall_score", 0)],
)
def test_losses_and_shares_want_ten_rows_of_a_class(metric: str, clusters: int) -> None:
    n = 300
    cluster = np.arange(n) % clusters if clusters else None
    rng = np.random.default_rng(3)
    old, new = rng.random((2, n))
    for ones in (9, 10, 290, 291):
        rows = Rows(task=Task.BINARY, target=(np.arange(n) < ones).astype(np.int64), ids=np.arange(n), cluster=cluster)
        for found in (estimate(metric, rows, new, CONF), *compare(metric, rows, old, new, CONF)):
            assert math.isfinite(found.value)
            if 10 <= ones <= 290:
                assert found.low < found.high
            else:
                assert undecidable(found) == "too few rows of a class (9 of 10)"


def test_a_difference_of_precisions_wants_rows_that_both_models_take_for_the_class() -> None:
    target = (np.arange(300) < 60).astype(np.int64)
    rows = Rows(task=Task.BINARY, target=target, ids=np.arange(300), cluster=None)
    rng = np.random.default_rng(4)
    many = np.where(target == 1, 0.8, 0.55) - 0.5 * rng.random(300)
    few = np.where(np.arange(300) % 40 == 0, 0.9, 0.1)
    for metric in ("precision_score", "f1_score", "matthews_corrcoef"):
        both, first, second = compare(metric, rows, many, few, CONF)
        assert undecidable(both) == "too few rows that a model takes for the class (8 of 10)"
        assert first == estimate(metric, rows, many, CONF)
        assert first.low < first.value < first.high
        assert second == estimate(metric, rows, few, CONF)


def test_errors_without_a_variance_have_no_interval_and_are_not_a_failure() -> None:
    """Squares of errors that are Student's t of 3 degrees; their absolute values have one."""
    rng = np.random.default_rng(5)
    rows = Rows(task=Task.REGRESSION, target=np.zeros(2000), ids=np.arange(2000), cluster=None)
    old, new = rng.standard_t(3, size=(2, 2000)) ** 3
    for found in compare("mean_squared_error", rows, old, new, CONF):
        assert undecidable(found).startswith("too few rows or clusters (2000): ")
        assert undecidable(found).endswith(" of them make the number")
        assert math.isfinite(found.value)
    light = estimate("mean_absolute_error", rows, np.cbrt(new), CONF)
    assert light.low < light.value < light.high
