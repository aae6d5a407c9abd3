from __future__ import annotations

import tracemalloc
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from scipy import stats

from kernels import metrics
from kernels.errors import DTypeError, MissingValueError, OptionError, ShapeError
from kernels.measures.table import FAMILY, GREATER_IS_BETTER
from kernels.primitives import POISSON
from kernels.reference import resample as reference
from kernels.resample import MetricOptions, bootstrap, permutation_test
from kernels.resample.build import build
from kernels.resample.inputs import paired
from kernels.resample.problems import Draw, Segments
from tests.kernels.conftest import Backend
from tests.kernels.placed import put

REGRESSION = {"mean_absolute_error", "mean_pinball_loss", "mean_squared_error", "r2_score"}
REGRESSION |= {"root_mean_squared_error"}
ROW_METRICS = sorted(set(FAMILY) - {"ndcg_score"})


def arguments(name: str, n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True values and two models' scores, right for the metric; model b is the noisier one."""
    rng = np.random.default_rng(seed)
    if name == "ndcg_score":
        gain = rng.integers(0, 4, (n, 6))
        return gain, gain + rng.normal(size=gain.shape) * 2, gain + rng.normal(size=gain.shape) * 3
    label = rng.integers(0, 2, n)
    hidden = rng.normal(size=n) + 1.5 * label - 0.75
    if name in REGRESSION:
        return hidden, hidden + rng.normal(size=n) * 0.3, hidden + rng.normal(size=n) * 0.4
    a, b = (1 / (1 + np.exp(-(hidden + noise * rng.normal(size=n)))) for noise in (0.3, 0.9))
    return label, np.round(a, 2), np.round(b, 2)


def called(name: str, true: Any, score: Any, **keywords: Any) -> float:
    """The public metric on labels or scores, as the bootstrap understands them."""
    if FAMILY[name] == "cells":
        score = (np.asarray(score) >= 0.5).astype(int)
    return float(getattr(metrics, name)(true, score, **keywords))


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_estimates_are_the_metrics_own(name: str) -> None:
    true, a, b = arguments(name)
    one = bootstrap(name, true, a, n_resamples=64)
    assert one.estimate == pytest.approx(called(name, true, a), rel=1e-12)
    two = bootstrap(getattr(metrics, name), true, a, b, n_resamples=64)
    assert two.estimate == pytest.approx(called(name, true, b) - called(name, true, a), rel=1e-9)
    assert two.estimates == pytest.approx((called(name, true, a), called(name, true, b)), rel=1e-12)
    assert two.low < two.high
    if name != "expected_calibration_error":  # its interval is about the truth, not about an estimate that is biased
        assert two.low < two.estimate < two.high
    if name != "expected_calibration_error":  # noise in the scores need not spoil their calibration
        assert (two.estimate < 0) == GREATER_IS_BETTER[name]


@pytest.mark.parametrize("name", ["roc_auc_score", "average_precision_score", "log_loss", "f1_score", "r2_score"])
def test_a_replicate_is_the_metric_under_its_weights(name: str) -> None:
    """The proof of the kernels: row weights of the reference, put into the metric as sample_weight."""
    true, a, _ = arguments(name, n=150)
    problem = build(name, paired(true, a), MetricOptions())
    ids = np.arange(150, dtype=np.uint64)
    replicates = problem.replicates(Segments(None, 1), Draw(ids, 7, 0, 24))[0][0]
    for r in (0, 5, 23):
        w = reference.weights(ids, r, seed=7, stream=0, kind=POISSON).astype(float)
        assert replicates[r] == pytest.approx(called(name, true, a, sample_weight=w), rel=1e-10)


@pytest.mark.parametrize("name", ["roc_auc_score", "average_precision_score", "log_loss", "expected_calibration_error"])
def test_backends_give_one_result(name: str, backend: Backend) -> None:
    true, a, b = arguments(name, n=120)
    codes = np.arange(120) % 3
    keywords: dict[str, Any] = {"n_resamples": 40, "seed": 3}
    expected = bootstrap(name, true, a, b, codes, backend="cpu", **keywords)
    got = bootstrap(name, *put(backend, true, a, b, codes), backend=backend.name, **keywords)
    assert got.backend == backend.name
    assert (got.low, got.high, got.standard_error) == (expected.low, expected.high, expected.standard_error)
    assert np.array_equal(got.slices["slice"].low, expected.slices["slice"].low)


def test_row_ids_pair_rows_across_calls_and_orders() -> None:
    true, a, _ = arguments("log_loss")
    ids = np.random.default_rng(1).integers(0, 2**62, true.size)
    order = np.random.default_rng(2).permutation(true.size)
    for name in ("log_loss", "roc_auc_score"):
        first = bootstrap(name, true, a, row_ids=ids, n_resamples=200)
        moved = bootstrap(name, true[order], a[order], row_ids=ids[order], n_resamples=200)
        assert (first.low, first.high) == (moved.low, moved.high)


def test_the_same_model_twice_has_no_difference() -> None:
    for name in ROW_METRICS:
        true, a, _ = arguments(name)
        result = bootstrap(name, true, a, a, n_resamples=50)
        assert (result.estimate, result.low, result.high, result.standard_error) == (0.0, 0.0, 0.0, 0.0)


def test_pairing_narrows_the_interval() -> None:
    for name in ("roc_auc_score", "log_loss", "accuracy_score"):
        true, a, b = arguments(name, n=1500)
        both = bootstrap(name, true, a, b)
        alone = np.hypot(bootstrap(name, true, a).standard_error, bootstrap(name, true, b).standard_error)
        assert both.standard_error < 0.9 * alone


@pytest.mark.parametrize("name", ["f1_score", "matthews_corrcoef", "expected_calibration_error"])
def test_cells_and_rows_agree(name: str) -> None:
    """Two constructions of one distribution: multinomial cells, Poisson rows."""
    n = 60_000 if name == "expected_calibration_error" else 3000
    true, a, _ = arguments(name, n=n)
    cells = bootstrap(name, true, a, resampling="cells")
    rows = bootstrap(name, true, a, resampling="rows")
    assert (cells.resampling, rows.resampling) == ("cells", "rows")
    assert cells.standard_error == pytest.approx(rows.standard_error, rel=0.1)
    assert cells.low == pytest.approx(rows.low, abs=0.4 * rows.standard_error)
    assert cells.high == pytest.approx(rows.high, abs=0.4 * rows.standard_error)


def test_poisson_and_multinomial_weights_agree() -> None:
    true, a, _ = arguments("roc_auc_score", n=1500)
    rng = np.random.default_rng(4)
    values = [
        metrics.roc_auc_score(true, a, sample_weight=np.bincount(rng.integers(0, 1500, 1500), minlength=1500))
        for _ in range(400)
    ]
    assert bootstrap("roc_auc_score", true, a).standard_error == pytest.approx(np.std(values), rel=0.12)


def test_slices_are_the_rows_of_each_slice() -> None:
    rng = np.random.default_rng(5)
    for name in ("roc_auc_score", "log_loss", "f1_score", "expected_calibration_error"):
        true, a, b = arguments(name, n=600)
        region, tiny = rng.integers(-2, 2, 600), np.where(np.arange(600) < 4, 1, 0)
        result = bootstrap(name, true, a, b, {"region": region, "tiny": tiny}, n_resamples=300)
        table = result.slices["region"]
        assert table.values.tolist() == [-2, -1, 0, 1]
        for s, code in enumerate(table.values):
            rows = region == code
            assert table.n[s] == rows.sum()
            alone = bootstrap(name, true[rows], a[rows], b[rows], row_ids=np.flatnonzero(rows), n_resamples=300)
            assert table.estimate[s] == pytest.approx(alone.estimate, rel=1e-9)
            if alone.resampling == "rows":
                # Fixed-point scales differ with the number of rows, and with them the last bits.
                assert table.low[s] == pytest.approx(alone.low, rel=1e-7)
        small = result.slices["tiny"]
        assert small.enough.tolist() == [True, False]
        assert np.isnan(small.low[1])
        assert np.isnan(small.standard_error[1])


def test_slices_in_batches_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.arange(400) % 8
    for name in ("roc_auc_score", "f1_score", "log_loss"):
        true, a, _ = arguments(name)
        whole = bootstrap(name, true, a, slices=codes, n_resamples=100).slices["slice"]
        monkeypatch.setattr(import_module("kernels.resample.bootstrap"), "HELD", 300)
        parts = bootstrap(name, true, a, slices=codes, n_resamples=100).slices["slice"]
        monkeypatch.undo()
        assert np.array_equal(whole.low, parts.low)
        assert np.array_equal(whole.high, parts.high)


def test_clusters_widen_the_interval_of_correlated_rows() -> None:
    rng = np.random.default_rng(6)
    cluster = np.repeat(np.arange(100), 20)
    shift = rng.normal(size=100)[cluster]
    true = rng.normal(size=2000)
    pred = true + shift + 0.1 * rng.normal(size=2000)
    for name, t, p in (
        ("mean_absolute_error", true, pred),
        ("accuracy_score", (true > 0).astype(int), (pred > 0).astype(int)),
    ):
        rows = bootstrap(name, t, p)
        clustered = bootstrap(name, t, p, cluster=cluster)
        assert clustered.resampling == "rows"
        assert clustered.standard_error > 1.5 * rows.standard_error
    # By hand: the mean over clusters of equal size has the standard error of the cluster means.
    loss = np.abs(true - pred).reshape(100, 20).mean(axis=1)
    expected = loss.std() / 10
    assert bootstrap("mean_absolute_error", true, pred, cluster=cluster).standard_error == pytest.approx(
        expected, rel=0.08
    )


def test_bca_shifts_a_skewed_metric_like_scipy() -> None:
    rng = np.random.default_rng(7)
    true, pred = np.zeros(80), rng.exponential(size=80)
    got = bootstrap("mean_absolute_error", true, pred, method="bca", n_resamples=8000)
    scipy = stats.bootstrap((pred,), np.mean, method="BCa", n_resamples=8000, random_state=rng)
    width = scipy.confidence_interval.high - scipy.confidence_interval.low
    assert got.low == pytest.approx(scipy.confidence_interval.low, abs=0.06 * width)
    assert got.high == pytest.approx(scipy.confidence_interval.high, abs=0.06 * width)
    plain = bootstrap("mean_absolute_error", true, pred, n_resamples=8000)
    assert got.high > plain.high


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_influence_is_the_leave_one_out_change(name: str) -> None:
    true, a, _ = arguments(name, n=60)
    problem = build(name, paired(true, a), MetricOptions())
    influence = problem.influence()[0]
    whole = called(name, true, a)
    for i in (0, 17, 59):
        kept = np.arange(60) != i
        change = 59 * (whole - called(name, true[kept], a[kept]))
        assert influence[i] == pytest.approx(change, rel=0.1, abs=0.06)
    assert abs(influence.mean()) < 0.05


def test_multiclass_scores() -> None:
    rng = np.random.default_rng(8)
    true = rng.integers(0, 3, 500)
    score = rng.dirichlet(np.ones(3), 500) + 0.5 * np.eye(3)[true]
    score /= score.sum(axis=1, keepdims=True)
    for average in ("macro", "weighted"):
        options = MetricOptions(average=average)
        for name in ("roc_auc_score", "average_precision_score", "f1_score", "recall_score"):
            result = bootstrap(name, true, score, n_resamples=200, options=options, method="bca")
            given = score.argmax(axis=1) if FAMILY[name] == "cells" else score
            extra = {"multi_class": "ovr"} if name == "roc_auc_score" else {}
            expected = getattr(metrics, name)(true, given, average=average, **extra)
            assert result.estimate == pytest.approx(float(expected), rel=1e-12)
            assert result.low < result.estimate < result.high
    for name in ("log_loss", "brier_score_loss", "expected_calibration_error", "accuracy_score"):
        given = score.argmax(axis=1) if FAMILY[name] == "cells" else score
        expected = getattr(metrics, name)(true, given)
        assert bootstrap(name, true, score, n_resamples=50).estimate == pytest.approx(float(expected), rel=1e-12)


def one_against_one(true: np.ndarray, score: np.ndarray, w: np.ndarray, average: str) -> float:
    """Hand and Till (2001) by hand, every pair both ways, with row weights."""
    classes, values, shares = range(score.shape[1]), [], []
    for a in classes:
        for b in range(a + 1, len(classes)):
            pair = ((true == a) | (true == b)) & (w > 0)
            both = [
                sklearn.metrics.roc_auc_score(true[pair] == c, score[pair, c], sample_weight=w[pair]) for c in (a, b)
            ]
            values.append(np.mean(both))
            shares.append(w[pair].sum())
    return float(np.average(values, weights=shares if average == "weighted" else None))


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_one_against_one_is_the_loop_over_pairs(average: str) -> None:
    """Percentile and BCa bounds from a loop with the same weights and an exact leave-one-out jackknife."""
    rng = np.random.default_rng(12)
    n, resamples = 80, 80
    true = rng.choice(3, n, p=[0.6, 0.25, 0.15])
    score = np.round(rng.dirichlet(np.ones(3), n) + 0.4 * np.eye(3)[true], 2)
    options = MetricOptions(average=average, multi_class="ovo")
    keywords: dict[str, Any] = {"n_resamples": resamples, "seed": 5, "options": options}
    ids, ones = np.arange(n, dtype=np.uint64), np.ones(n)
    drawn = np.array([
        one_against_one(true, score, reference.weights(ids, r, seed=5, stream=0, kind=POISSON).astype(float), average)
        for r in range(resamples)
    ])  # fmt: skip
    result = bootstrap("roc_auc_score", true, score, **keywords)
    assert result.estimate == pytest.approx(one_against_one(true, score, ones, average), rel=1e-12)
    expected = metrics.roc_auc_score(true, score, multi_class="ovo", average=average)
    assert result.estimate == pytest.approx(float(expected), rel=1e-12)
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), rel=1e-12)

    without = np.array([one_against_one(true, score, np.where(np.arange(n) == i, 0.0, 1.0), average) for i in range(n)])
    apart = without.mean() - without
    acceleration = (apart**3).sum() / (6 * (apart**2).sum() ** 1.5)
    bias = stats.norm.ppf((drawn < result.estimate).mean() + 0.5 * (drawn == result.estimate).mean())
    shifted = bias + stats.norm.ppf([0.025, 0.975])
    bounds = np.quantile(drawn, stats.norm.cdf(bias + shifted / (1 - acceleration * shifted)))
    bca = bootstrap("roc_auc_score", true, score, method="bca", **keywords)
    assert (bca.low, bca.high) == pytest.approx(tuple(bounds), abs=2e-4)

    # By slice, paired, and as a permutation test.
    codes = np.arange(n) % 2
    table = bootstrap("roc_auc_score", true, score, slices=codes, **keywords).slices["slice"]
    for s in (0, 1):
        alone = metrics.roc_auc_score(true[codes == s], score[codes == s], multi_class="ovo", average=average)
        assert table.estimate[s] == pytest.approx(float(alone), rel=1e-12)
    same = bootstrap("roc_auc_score", true, score, score, **keywords)
    assert (same.estimate, same.low, same.high) == (0.0, 0.0, 0.0)
    worse = rng.permuted(score, axis=0)
    assert permutation_test("roc_auc_score", true, score, worse, n_resamples=99, options=options).pvalue == 0.01
    with pytest.raises(OptionError, match="multi_class: 'ovo' for average_precision_score"):
        bootstrap("average_precision_score", true, score, **keywords)


def test_many_classes_number_only_cells_that_occur() -> None:
    rng = np.random.default_rng(9)
    true = rng.integers(0, 40, 3000)
    a, b = (np.where(rng.random(3000) < p, true, rng.integers(0, 40, 3000)) for p in (0.6, 0.5))
    result = bootstrap("f1_score", true, a, b, n_resamples=100)
    expected = metrics.f1_score(true, b, average="macro") - metrics.f1_score(true, a, average="macro")
    assert result.estimate == pytest.approx(float(expected), rel=1e-9)


def test_replicates_without_a_class_are_counted() -> None:
    true = np.array([1, 1] + [0] * 98)
    score = np.linspace(0, 1, 100)
    result = bootstrap("roc_auc_score", true, score, n_resamples=1000)
    assert 80 < result.undefined < 200  # two positives both get weight 0 with probability e^-2
    assert np.isnan(result.low)
    one = bootstrap("roc_auc_score", np.zeros(50, int), score[:50], n_resamples=20)
    assert np.isnan(one.estimate)
    assert one.undefined == 20
    empty = bootstrap("log_loss", np.zeros(0, int), np.zeros(0), n_resamples=20)
    assert (empty.n, np.isnan(empty.estimate), np.isnan(empty.low)) == (0, True, True)


@pytest.mark.parametrize("name", ROW_METRICS)
def test_memory_does_not_grow_with_rows_times_resamples(name: str) -> None:
    n, resamples = 20_000, 1000
    true, a, b = arguments(name, n=n)
    cluster, tests = np.arange(n) // 2, {"n_resamples": resamples}
    for other, keywords in ((None, {}), (b, {"cluster": cluster}), (None, {"slices": np.arange(n) % 5})):
        bootstrap(name, true[:100], a[:100], n_resamples=16)
        tracemalloc.start()
        bootstrap(name, true, a, other, **keywords, **tests)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # 20 million weights would be 20 MB as bytes, 160 MB as int64; rows and replicates alone are far less.
        assert peak < 400 * n + 8 * 16 * 5 * 8 * resamples, (name, peak)


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_threads_and_tiles_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the same promise that the weights' own test makes: bounds are equal to the last bit."""
    true, a, b = arguments(name, n=300)
    codes, results = np.arange(300) % 3, []
    for threads, tile in (("1", 2048), ("4", 2048), ("2", 64)):
        monkeypatch.setenv("KERNELS_NUM_THREADS", threads)
        monkeypatch.setattr(import_module("kernels.resample.bootstrap"), "TILE", tile)
        results.append(bootstrap(name, true, a, b, codes, n_resamples=200, seed=9))
    for other in results[1:]:
        assert (other.low, other.high) == (results[0].low, results[0].high)
        assert np.array_equal(other.slices["slice"].low, results[0].slices["slice"].low)


def test_a_nan_leaves_the_row_out_of_both_models() -> None:
    true, a, b = arguments("log_loss")
    b = b.copy()
    b[::10] = np.nan
    with pytest.raises(MissingValueError, match="40 NaN"):
        bootstrap("log_loss", true, a, b)
    result = bootstrap("log_loss", true, a, b, nan_policy="omit", n_resamples=50)
    kept = ~np.isnan(b)
    assert (result.missing, result.n) == (40, 360)
    assert result.estimates[0] == pytest.approx(called("log_loss", true[kept], a[kept]), rel=1e-12)


def test_infinite_predictions_have_no_interval() -> None:
    pred = np.zeros(50)
    pred[3] = np.inf
    result = bootstrap("mean_squared_error", np.zeros(50), pred, n_resamples=20)
    assert result.estimate == np.inf
    assert np.isnan(result.low)


def test_torch_tensors_are_read_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    true, a, b = (torch.from_numpy(x) for x in arguments("roc_auc_score"))
    module, seen = import_module("kernels.resample.bootstrap"), []
    build_, kept = module.build, [true.data_ptr(), a.data_ptr(), b.data_ptr()]

    def spy(name: str, rows: Any, options: MetricOptions) -> Any:
        seen.append([x.ctypes.data for x in (rows.y_true, *rows.scores)])
        return build_(name, rows, options)

    monkeypatch.setattr(module, "build", spy)
    bootstrap("roc_auc_score", true, a, b, n_resamples=8)
    assert seen == [kept]


def test_torch_tensors_on_the_cpu() -> None:
    true, a, _ = arguments("roc_auc_score")
    expected = bootstrap("roc_auc_score", true, a, n_resamples=50)
    got = bootstrap("roc_auc_score", torch.from_numpy(true), torch.from_numpy(a), n_resamples=50)
    assert got == expected or (got.low, got.high) == (expected.low, expected.high)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"metric": "auc"}, "metric: 'auc' is not known"),
        ({"metric": len}, "metric: 'len' is not known"),
        ({"method": "basic"}, "method"),
        ({"confidence_level": 95}, "confidence_level: 95"),
        ({"n_resamples": 0}, "n_resamples: 0"),
        ({"seed": -1}, "seed: -1"),
        ({"nan_policy": "propagate"}, "nan_policy"),
        ({"resampling": "cells"}, "not made of counts"),
        ({"metric": "log_loss", "y_score": np.full(4, 2.0)}, r"outside \[0, 1\]"),
    ],
)
def test_bad_options_are_refused(keywords: dict[str, Any], message: str) -> None:
    given = {
        "metric": "roc_auc_score",
        "y_true": np.array([0, 1, 0, 1]),
        "y_score": np.arange(4.0),
    } | keywords
    with pytest.raises(OptionError, match=message):
        bootstrap(**given)


def test_bad_arrays_and_metric_options_are_refused() -> None:
    true, a, _ = arguments("log_loss")
    with pytest.raises(ShapeError, match="lengths differ"):
        bootstrap("log_loss", true, a[:-1])
    with pytest.raises(DTypeError, match="integer codes"):
        bootstrap("log_loss", true, a, slices=a)
    with pytest.raises(ShapeError, match="one column a class"):
        bootstrap("log_loss", true, np.full((400, 3), 1 / 3))
    for bad in ({"average": "median"}, {"multi_class": "all"}, {"n_bins": 0}, {"alpha": 2.0}, {"norm": "l3"}, {"k": 0}):
        with pytest.raises(OptionError):
            MetricOptions(**bad)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize(
    "metric", ["log_loss", "average_precision_score", "accuracy_score", "expected_calibration_error", "roc_auc_score"]
)
def test_each_model_of_a_pair_has_the_interval_that_it_has_alone(metric: str, clustered: bool) -> None:
    """From the same replicates; by cell the draws are others, and the intervals alike."""
    rng = np.random.default_rng(5)
    y = (rng.random(800) < 0.4).astype(np.int64)
    scores = [np.clip(0.3 * y + 0.7 * rng.random(800), 0, 1) for _ in range(2)]
    known: dict[str, Any] = {"n_resamples": 400, "seed": 3, "slices": {"s": rng.integers(0, 3, 800)}}
    known["cluster"] = np.arange(800) // 4 if clustered else None
    pair = bootstrap(metric, y, scores[0], other=scores[1], each=True, **known)
    loose = metric == "accuracy_score" and not clustered
    for m, score in enumerate(scores):
        alone = bootstrap(metric, y, score, **known)
        slices, own = pair.slices["s"], alone.slices["s"]
        assert slices.estimates[m] == pytest.approx(own.estimate, abs=1e-12)
        width = alone.high - alone.low
        near = 0.25 * width if loose else 1e-12
        assert (pair.models[m].low, pair.models[m].high) == pytest.approx((alone.low, alone.high), abs=near)
        assert pair.models[m].note == alone.note
        for found, expected in zip(slices.models[m], (own.low, own.high), strict=True):
            assert found == pytest.approx(expected, abs=0.25 * float(np.max(own.high - own.low)) if loose else 1e-12)
    plain = bootstrap(metric, y, scores[0], other=scores[1], **known)
    assert (plain.low, plain.high, plain.models) == (pair.low, pair.high, ())
