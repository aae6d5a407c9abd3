"""Two models that agree on almost every row: exact where it can be counted, simulated where it cannot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.gate import RuleConf, judge
from engine.records import Estimate, EvaluationReport, Outcome, Task
from engine.scoring.agreement import FEW, OF_ROWS, SPANS, Agreement, agreement, poisson_bounds, span
from engine.scoring.intervals import Rows, difference
from engine.scoring.scores import GREATER_IS_BETTER, score

ALPHA = 0.025


@dataclass
class Conf:
    """As little as an interval needs."""

    confidence_level: float = 0.95
    n_resamples: int = 300
    seed: int = 0


def rows_of(n: int, *, clusters: int = 0, positive: float = 0.5, task: Task = Task.BINARY, first: int = 0) -> Rows:
    target: np.ndarray = (np.arange(n) < positive * n).astype(np.int64)
    if task is Task.REGRESSION:
        target = target.astype(np.float64)
    cluster = np.arange(n) % clusters if clusters else None
    return Rows(task=task, target=target, ids=np.arange(n) + first, cluster=cluster)


def fair(rows: Rows, seed: int = 0) -> np.ndarray:
    """Probabilities that tell something, float64."""
    rng = np.random.default_rng(seed)
    return np.asarray(1 / (1 + np.exp(-(2 * rows.target - 1 + rng.normal(size=len(rows))))))


def judged(found: Estimate, margin: float) -> Outcome:
    report = EvaluationReport(
        model="a", champion="b", window="", fingerprint="", n_rows=found.n, metrics=(), differences=(found,)
    )
    rule = RuleConf(kind="noninferiority", metric=found.name, margin=margin)
    return judge(report, {"holds": rule}, gate="shadow", greater_is_better=GREATER_IS_BETTER).outcome


@pytest.mark.parametrize("seen", [0, 1, 5, 29, 299])
@pytest.mark.parametrize("alpha", [0.025, 0.2])
def test_poisson_bounds_are_garwoods(seen: int, alpha: float) -> None:
    low = stats.chi2.ppf(alpha, 2 * seen) / 2 if seen else 0.0
    assert poisson_bounds(seen, alpha) == pytest.approx((low, stats.chi2.isf(alpha, 2 * seen + 2) / 2), rel=1e-9)


def test_the_bounds_of_few_answers_never_miss_more_often_than_stated() -> None:
    """Exactly: Poisson counts of both kinds of rows, over means and shares of either kind; both constructions."""
    counts = np.arange(260)
    bounds = np.array([poisson_bounds(int(k), ALPHA) for k in counts])
    gained, lost = np.meshgrid(counts, counts, indexing="ij")
    both = np.minimum(gained + lost, counts[-1])
    answers = gained - lost - np.hypot(gained - bounds[gained, 0], bounds[lost, 1] - lost)
    spanned = gained - lost - (bounds[both, 1] - both)
    worst = 0.0
    for mean in (1, 2, 3, 4, 5, 8, 12, 20, 30, 60):
        for part in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0):
            true = mean * part, mean * (1 - part)
            chance = np.outer(*(stats.poisson.pmf(counts, m) for m in true))
            worst = max(worst, *(float(chance[low > true[0] - true[1] + 1e-9].sum()) for low in (answers, spanned)))
    assert 0.02 < worst <= ALPHA  # and it does not waste its alpha


@pytest.mark.parametrize("metric", ["accuracy_score", "roc_auc_score", "recall_score", "brier_score_loss", "log_loss"])
def test_models_that_never_differ_clear_a_margin_from_as_many_rows_as_the_rule_of_three_wants(metric: str) -> None:
    """ln(1 / alpha) * span / margin units: rows, or rows of the rarer label where labels are looked at apart."""
    margin, each = 0.1, 1.0 if metric in OF_ROWS else 0.4
    most = -math.log(np.finfo(np.float64).eps) if metric == "log_loss" else 1.0
    wanted = math.log(1 / ALPHA) * most / margin / each
    outcomes = {}
    for n in (math.floor(wanted) - 3, math.ceil(wanted) + 3):
        rows = rows_of(n, positive=0.4)
        found = difference(metric, rows, fair(rows), fair(rows), Conf())
        assert found.value == 0.0
        assert "the models differ on 0 of " in found.method
        outcomes[n] = judged(found, margin)
    assert list(outcomes.values()) == [Outcome.INCONCLUSIVE, Outcome.PASS]


def test_thirty_rows_on_which_nobody_differs_clear_nothing() -> None:
    """What opened any gate before: an interval without width."""
    for task in Task:
        if task is Task.MULTICLASS:
            continue
        rows = rows_of(30, task=task)
        prediction = fair(rows)
        metrics = ("mean_absolute_error", "r2_score") if task is Task.REGRESSION else ("accuracy_score", "log_loss")
        for metric in metrics:
            assert judged(difference(metric, rows, prediction, prediction, Conf()), 0.05) is Outcome.INCONCLUSIVE


def test_two_perfect_models_may_still_rank_other_rows_apart() -> None:
    """Their scores differ on every row, and DeLong's variance is 0: nothing was seen to differ."""
    rows = rows_of(100)
    perfect = rows.target * 0.5 + 0.2 + fair(rows) / 100
    found = difference("roc_auc_score", rows, rows.target * 0.9 + 0.05, perfect, Conf())
    assert (found.value, found.high) == (0.0, pytest.approx(math.log(1 / ALPHA) / 50))


def test_whole_clusters_are_the_units() -> None:
    """Two clusters of forty hold all 100 rows that differ; spread over half of all clusters they would be many."""
    rows = rows_of(4000, clusters=40, positive=0.9)
    one = fair(rows)
    two = np.where(rows.cluster == 3, 1 - one, one)
    found = agreement("brier_score_loss", rows.task, rows.target, rows.cluster, (one, two), level=0.95, certain=False)
    assert found is not None
    assert (found.differing, found.units) == (1, 40)
    assert found.below == found.above == pytest.approx((poisson_bounds(1, ALPHA)[1] - 1) / 40)
    assert rows.cluster is not None
    many = np.where(rows.cluster < 20, 1 - one, one)
    told: dict[str, Any] = {"level": 0.95, "certain": False}
    assert agreement("brier_score_loss", rows.task, rows.target, rows.cluster, (one, many), **told) is None
    alone = agreement("brier_score_loss", rows.task, rows.target, None, (one, two), **told)
    assert alone is None  # a hundred rows of their own are many


def test_without_a_span_it_is_undecidable_until_one_per_cent_would_have_shown() -> None:
    outcomes = []
    for n in (368, 369):
        rows = rows_of(n, task=Task.REGRESSION)
        found = difference("mean_absolute_error", rows, rows.target + 0.1, rows.target + 0.1, Conf())
        outcomes.append((found.reason, judged(found, 0.1)))
    wanted = "too few rows or clusters (368 of 369) of models that differ on 0 of them"
    assert outcomes == [(wanted, Outcome.INCONCLUSIVE), ("", Outcome.PASS)]
    rows = rows_of(1000, task=Task.REGRESSION)
    other = rows.target + 0.1
    other[:12] += 1.0
    found = difference("mean_absolute_error", rows, rows.target + 0.1, other, Conf())
    assert found.reason == "too few rows or clusters (1000 of 2097) of models that differ on 12 of them"
    other[: FEW + 1] += 1.0
    assert difference("mean_absolute_error", rows, rows.target + 0.1, other, Conf()).reason == ""


@pytest.mark.parametrize("metric", [*SPANS, "log_loss"])
@pytest.mark.parametrize("classes", [2, 3])
def test_no_rows_move_a_metric_by_more_than_its_span(metric: str, classes: int) -> None:
    """Random models that differ on some rows, many with answers that are surely right or wrong."""
    rng = np.random.default_rng(5)
    for _ in range(300):
        n = int(rng.integers(12, 60))
        target = rng.permutation(np.arange(n) % classes)
        target[rng.random(n) < 0.5] = 0
        if len(np.unique(target)) < classes:
            continue
        raw = rng.random((n, classes)) ** rng.choice([1.0, 20.0])
        one = raw / raw.sum(axis=1, keepdims=True)
        two, apart = one.copy(), rng.random(n) < rng.random()
        two[apart] = np.eye(classes)[rng.integers(0, classes, apart.sum())]
        task = Task.BINARY if classes == 2 else Task.MULTICLASS
        models = (one[:, 1], two[:, 1]) if classes == 2 else (one, two)
        moved = abs(score(metric, task, target, models[1]) - score(metric, task, target, models[0]))
        units = n if metric in OF_ROWS else np.bincount(target).min()
        assert moved <= span(metric, task, models[0]) * apart.sum() / units + 1e-9


def test_many_differing_rows_leave_the_interval_alone() -> None:
    rows = rows_of(2000)
    one, two = fair(rows), fair(rows, 1)
    for metric in ("accuracy_score", "roc_auc_score", "log_loss", "average_precision_score"):
        assert "the models differ" not in difference(metric, rows, one, two, Conf()).method


def test_a_note_says_what_the_interval_rests_on() -> None:
    few = Agreement(differing=3, units=40, below=0.1, above=0.1)
    assert few.note == "the models differ on 3 of 40: at least the exact bound of as many"


@pytest.mark.parametrize("gates", [150, pytest.param(4000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("n", [30, 100, 400, 3000])
def test_models_that_differ_on_one_row_of_a_hundred_are_promoted_as_rarely_as_stated(
    n: int, gates: int, record_property: Any
) -> None:
    """The challenger is wrong where the two differ, on 1 % of all rows: worse by just the margin."""
    rng, conf = np.random.default_rng(n), Conf()
    wrong = 0
    for gate in range(gates):
        rows = rows_of(n, first=gate * n)
        apart, right = rng.random(n) < 0.01, rng.random(n) < 0.9
        good = np.where(right, rows.target, 1 - rows.target)
        champion, challenger = np.where(apart, rows.target, good), np.where(apart, 1 - rows.target, good)
        found = difference("accuracy_score", rows, champion * 0.8 + 0.1, challenger * 0.8 + 0.1, conf)
        wrong += judged(found, 0.01) is Outcome.PASS
    record_property(
        f"false promotions, models that differ on 1 % of {n} rows", f"{wrong / gates:.4f} of {gates} (alpha {ALPHA})"
    )
    assert wrong <= stats.binom.isf(1e-3, gates, ALPHA)


def test_the_simulation_can_tell_an_interval_without_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was: on 100 rows one challenger in three is promoted."""
    monkeypatch.setattr("engine.scoring.intervals.agreement", lambda *args, **more: None)
    rows = rows_of(100)
    same = difference("accuracy_score", rows, fair(rows), fair(rows), Conf())
    assert (same.low, same.high) == (0.0, 0.0)
    assert judged(same, 1e-9) is Outcome.PASS


def test_recall_counts_answers_on_rows_that_are_sought_and_the_balanced_accuracy_on_both_kinds() -> None:
    """From FEW rows on that differ; below, any of them may cost the whole span."""
    target = np.repeat([1, 0], [400, 900])
    one, two = np.zeros(1300), np.zeros(1300)
    one[:200], two[40:260] = 1.0, 1.0  # of those that are sought 60 are gained and 40 lost
    one[400:420], two[420:470] = 1.0, 1.0  # of the others 20 gained, 50 lost
    told: dict[str, Any] = {"level": 0.95, "certain": False}
    found = {
        metric: agreement(metric, Task.BINARY, target, None, (one, two), **told)
        for metric in ("recall_score", "balanced_accuracy_score")
    }
    bounds = {k: poisson_bounds(k, ALPHA) for k in (60, 40, 20, 50)}
    below = math.hypot(60 - bounds[60][0], bounds[40][1] - 40) / 400
    others = math.hypot(20 - bounds[20][0], bounds[50][1] - 50) / 900
    recall, balanced = found["recall_score"], found["balanced_accuracy_score"]
    assert recall is not None
    assert balanced is not None
    assert (recall.differing, recall.units) == (100, 400)
    assert recall.below == pytest.approx(below)
    assert (balanced.differing, balanced.units) == (170, 1300)
    assert balanced.below == pytest.approx(math.hypot(below, others) / 2)
    assert agreement("recall_score", Task.BINARY, target, np.arange(1300) // 2, (one, two), **told) is None
