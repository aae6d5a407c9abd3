"""Gaps between groups: their values by definition, and intervals that are valid although the gap is a maximum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.evaluate.conf import EvaluateConf
from engine.evaluate.fairness import MIN_HITTABLE, MIN_UNITS, gap
from engine.records import AskedGap, Estimate, GroupGap, Task
from engine.scoring.intervals import Rows
from kernels.metrics import expected_calibration_error

PARITY, ODDS, WITHIN = "demographic_parity_difference", "equalized_odds_difference", "calibration_within_groups"
CONF = EvaluateConf(n_resamples=200, min_slice_rows=50)


def asked(metric: str) -> AskedGap:
    return AskedGap(column="shop", metric=metric)


def rows_of(target: np.ndarray, cluster: np.ndarray | None = None, task: Task = Task.BINARY) -> Rows:
    return Rows(task=task, target=target, ids=np.arange(len(target)), cluster=cluster)


def groups_of(n: int = 1500, groups: int = 3, seed: int = 0) -> tuple[Any, Any, Any]:
    """Labels, probabilities and groups that differ in both."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, n)
    target = (rng.random(n) < 0.3 + 0.1 * group).astype(float)
    prediction = np.clip(0.35 + 0.3 * target + 0.06 * group + 0.25 * rng.normal(size=n), 0.01, 0.99)
    return target, prediction, np.array(["a", "b", "c", "d", "e"])[group]


def found(metric: str, rows: Rows, prediction: np.ndarray, group: np.ndarray, conf: EvaluateConf = CONF) -> GroupGap:
    return gap(asked(metric), rows, prediction, group, conf)


def test_values_are_those_of_the_definitions() -> None:
    target, prediction, group = groups_of()
    hits = prediction >= 0.5
    rates = {g: hits[group == g].mean() for g in "abc"}
    parity = found(PARITY, rows_of(target), prediction, group)
    assert parity.estimate.value == pytest.approx(max(rates.values()) - min(rates.values()))
    assert parity.worst == f"{max(rates, key=rates.__getitem__)}, {min(rates, key=rates.__getitem__)}"
    widest = []
    for label in (0.0, 1.0):
        by = [hits[(group == g) & (target == label)].mean() for g in "abc"]
        widest.append(max(by) - min(by))
    odds = found(ODDS, rows_of(target), prediction, group).estimate
    assert odds.value == pytest.approx(max(widest))
    errors = {
        g: float(expected_calibration_error(target[group == g].astype(int), prediction[group == g])) for g in "abc"
    }
    within = found(WITHIN, rows_of(target), prediction, group)
    assert within.estimate.value == pytest.approx(max(errors.values()))
    assert within.worst == max(errors, key=errors.__getitem__)
    for made in (parity.estimate, odds):
        assert 0 <= made.low <= made.value <= made.high <= 1
        assert made.n == 1500


def test_two_groups_of_independent_rows_have_the_textbook_interval() -> None:
    """Newcombe's case: p1 - p2 +- z sqrt(p1 q1 / n1 + p2 q2 / n2), to the noise of the resamples."""
    rng = np.random.default_rng(1)
    group = np.where(np.arange(4000) < 2500, "a", "b")
    hits = np.where(rng.random(4000) < np.where(group == "a", 0.5, 0.4), 0.9, 0.1)
    made = found(PARITY, rows_of(np.zeros(4000)), hits, group, EvaluateConf(n_resamples=2000)).estimate
    p, n = [(hits[group == g] > 0.5).mean() for g in "ab"], (2500, 1500)
    half = 1.96 * np.sqrt(sum(share * (1 - share) / size for share, size in zip(p, n, strict=True)))
    assert made.high - made.value == pytest.approx(half, rel=0.06)


def test_clusters_make_it_wider_and_shared_ones_do_not() -> None:
    """Luck that a day brings to one group makes the gap uncertain; luck that it brings to both does not."""
    rng = np.random.default_rng(2)
    n, day = 6000, np.arange(6000) % 40
    group = np.where(rng.random(n) < 0.5, "a", "b")
    own, shared = rng.normal(0, 0.15, (40, 2)), np.repeat(rng.normal(0, 0.15, (40, 1)), 2, axis=1)
    halves = {}
    for name, luck in (("own", own), ("shared", shared)):
        hits = np.where(rng.random(n) < 0.5 + luck[day, (group == "b").astype(int)], 0.9, 0.1)
        for by, cluster in (("rows", None), ("days", day)):
            made = found(PARITY, rows_of(np.zeros(n), cluster), hits, group).estimate
            halves[name, by] = made.high - made.value
    assert halves["own", "days"] > 2 * halves["own", "rows"]
    assert halves["shared", "days"] < 1.3 * halves["shared", "rows"]


@pytest.mark.parametrize("hits", [0.0, 1.0])
def test_a_rate_at_its_end_has_a_width_all_the_same(hits: float) -> None:
    """Two hundred rows without one hit: the true rate may well be a percent."""
    group = np.repeat(["a", "b"], 200)
    made = found(PARITY, rows_of(np.zeros(400)), np.full(400, hits), group).estimate
    assert (made.value, made.low) == (0.0, 0.0)
    assert 0.015 < made.high < 0.05


UNKNOWN = {
    "no rows": (np.zeros(0), np.zeros(0), np.zeros(0, dtype="U1"), None, "too few rows (0)"),
    "one group": (np.ones(99), np.ones(99), np.full(99, "a"), None, "there is one group alone, a"),
    "small": (
        np.ones(99), np.ones(99), np.array(["a"] * 90 + ["b"] * 9), None, "too few rows of group b (9 of 50)",
    ),
    "NaN": (np.ones(99), np.full(99, np.nan), np.full(99, "a"), None, "a prediction is not finite"),
    "clusters": (
        np.ones(200), np.ones(200), np.repeat(["a", "b"], 100), np.arange(200) % (MIN_UNITS - 1),
        f"too few clusters in group a ({MIN_UNITS - 1} of {MIN_UNITS})",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_cannot_be_known_says_why(kind: str) -> None:
    target, prediction, group, cluster, reason = UNKNOWN[kind]
    made = found(PARITY, rows_of(target, cluster), prediction, group).estimate
    assert np.isnan([made.value, made.low, made.high]).all()
    assert made.reason == reason


def test_a_group_without_enough_of_a_label_has_no_odds() -> None:
    target = np.array([1.0, 0.0] * 100 + [1.0] * 10 + [0.0] * 190)
    group = np.repeat(["a", "b"], 200)
    made = found(ODDS, rows_of(target), np.full(400, 0.7), group).estimate
    assert made.reason == f"too few rows of a label in group b (10 of {MIN_HITTABLE})"
    target[200:] = 0.0
    made = found(ODDS, rows_of(target), np.full(400, 0.7), group).estimate
    assert made.reason == f"too few rows of a label in group b (0 of {MIN_HITTABLE})"


def test_groups_of_other_tasks() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, 600)
    prediction = rng.dirichlet([1, 1, 1], 600)
    rows = rows_of(target, task=Task.MULTICLASS)
    group = np.repeat(["a", "b"], 300)
    assert found(PARITY, rows, prediction, group).estimate.reason == f"{PARITY} is about binary models"
    assert 0 < found(WITHIN, rows, prediction, group).estimate.value < 1


# ---- does the interval of the maximum cover ------------------------------------------------------------------------

WORLDS: dict[str, dict[str, Any]] = {
    "no gap": {"rates": (0.3, 0.3)},
    "one gap": {"rates": (0.3, 0.5)},
    "five equal groups": {"rates": (0.3,) * 5},
    "five groups, one apart": {"rates": (0.3, 0.3, 0.3, 0.3, 0.45)},
    "rare": {"rates": (0.02, 0.02, 0.05)},
    "never in one group": {"rates": (0.0, 0.03)},
    "ten clusters": {"rates": (0.3, 0.5), "clusters": 10, "n": 400},
    "thirty clusters": {"rates": (0.3, 0.4, 0.5), "clusters": 30, "n": 400},
}


def simulated(rng: np.random.Generator, rates: tuple[float, ...], n: int = 200, clusters: int = 0) -> Estimate:
    """One window: `n` rows a group; each cluster brings its own luck, shared and by group."""
    group = np.repeat(np.arange(len(rates)), n)
    share = np.array(rates)[group]
    cluster = rng.integers(0, clusters, len(group)) if clusters else None
    if cluster is not None:
        luck = rng.normal(0, 0.1, (clusters, len(rates))) + rng.normal(0, 0.1, (clusters, 1))
        share = share + luck[cluster, group]
    hits = (rng.random(len(group)) < share).astype(float)
    rows = Rows(task=Task.BINARY, target=np.zeros(len(group)), ids=np.arange(len(group)), cluster=cluster)
    conf = EvaluateConf(n_resamples=200, min_slice_rows=50, seed=int(rng.integers(2**32)))
    return found(PARITY, rows, hits, group.astype(str), conf).estimate


def misses(world: str, windows: int) -> tuple[int, int]:
    """How often the bounds of a world's windows lie on the wrong side of the true gap: (low, high)."""
    told = WORLDS[world]
    truth = max(told["rates"]) - min(told["rates"])
    rng = np.random.default_rng(list(world.encode()))
    made = [simulated(rng, **told) for _ in range(windows)]
    return sum(e.low > truth for e in made), sum(e.high < truth for e in made)


@pytest.mark.parametrize("world", WORLDS)
def test_each_end_misses_no_more_often_than_stated(world: str) -> None:
    low, high = misses(world, 120)
    assert max(low, high) <= stats.binom.ppf(0.999, 120, 0.025)


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_each_end_misses_no_more_often_than_stated_at_full_size(world: str, record_property: Any) -> None:
    windows = 4000
    low, high = misses(world, windows)
    figure = f"low {low / windows:.2%}, high {high / windows:.2%} of {windows} windows, stated 2.5 % each"
    record_property(f"interval of the largest gap: {world}", figure)
    assert max(low, high) <= stats.binom.ppf(0.999, windows, 0.025)


@pytest.mark.parametrize("windows", [40, pytest.param(800, marks=pytest.mark.slow)])
def test_the_largest_calibration_error_of_groups_is_covered(windows: int, record_property: Any) -> None:
    """Three groups whose true errors are 0.0, 0.05 and 0.1: the bounds of the maximum hold 0.1."""
    rng = np.random.default_rng(5)
    low = high = 0
    for _ in range(windows):
        group = np.repeat([0, 1, 2], 500)
        prediction = np.clip(rng.choice(np.arange(0.15, 0.9, 0.1), 1500), 0, 1)
        target = (rng.random(1500) < prediction - 0.05 * group).astype(float)
        made = found(WITHIN, rows_of(target), prediction, group.astype(str)).estimate
        low, high = low + (made.low > 0.1), high + (made.high < 0.1)
    if windows > 100:
        record_property(
            "interval of the largest calibration error of groups",
            f"low {low / windows:.2%}, high {high / windows:.2%} of {windows} windows, stated 2.5 % each",
        )
    assert max(low, high) <= stats.binom.ppf(0.999, windows, 0.03)
