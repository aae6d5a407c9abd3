"""Slices that nobody declared: found where they are, and rarely where they are not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.errors import ConfigError
from engine.evaluate.conf import EvaluateConf
from engine.evaluate.worst import Feature, categorical_feature, losses, numeric_feature, search
from engine.records import Task
from engine.scoring.intervals import Rows

CONF = EvaluateConf(
    primary="mean_absolute_error", metrics=["mean_absolute_error"], min_slice_rows=100, confidence_level=0.95
)
SHOPS = ("north", "south", "east", "west")


class Made:
    """Rows with three features. A model errs with spread 1; `worse` adds error where it is told."""

    def __init__(self, seed: int, n: int = 4000, clusters: int = 0, features: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.age = rng.normal(40, 10, n)
        self.shop = rng.integers(0, 4, n)
        self.noise = [rng.normal(size=n) for _ in range(features - 2)]
        self.cluster = np.arange(n) % clusters if clusters else None
        shared = rng.normal(size=clusters)[self.cluster] if self.cluster is not None else 0.0
        self.error = np.abs(rng.normal(size=n)) + np.abs(shared)
        self.champion = np.abs(rng.normal(size=n)) + np.abs(shared)
        self.n = n

    def features(self) -> list[Feature]:
        noise = [numeric_feature(f"noise{i}", x, 4) for i, x in enumerate(self.noise)]
        return [numeric_feature("age", self.age, 4), categorical_feature("shop", self.shop, SHOPS), *noise]

    def search(self, worse: np.ndarray | float = 0.0, conf: EvaluateConf = CONF, *, beside: bool = False) -> Any:
        rows = Rows(task=Task.REGRESSION, target=np.zeros(self.n), ids=np.arange(self.n) + 7, cluster=self.cluster)
        champion = self.champion if beside else None
        return search(self.features(), rows, self.error + worse, champion, conf)


def test_a_bad_level_a_bad_range_and_a_bad_crossing_are_named() -> None:
    made = Made(0)
    old = made.age > np.quantile(made.age, 0.75)
    for where, name in ((made.shop == 2, "shop = east"), (old, "age > 46.")):
        found, looked = made.search(0.6 * where)
        assert looked >= 50
        assert found[0].by == "loss"
        assert found[0].slice.startswith(name)
        assert found[0].effect.value == pytest.approx(0.6, abs=0.12)
        assert found[0].effect.low < 0.6 < found[0].effect.high
    found, _ = made.search(1.2 * (old & (made.shop == 2)))
    assert found[0].slice.startswith("age > 46.")
    assert found[0].slice.endswith(" and shop = east")
    assert 0 <= found[0].pvalue < 1e-6


def test_a_regression_is_seen_where_the_loss_is_not_high() -> None:
    """Shop east was easy for the champion, and with the challenger it is as the others are."""
    made = Made(1)
    made.champion = made.champion + 0.6 * (made.shop != 2)
    found, _ = made.search(0.6, beside=True)
    assert {(f.by, f.slice) for f in found} == {("regression", "shop = east")}
    assert found[0].effect.value == pytest.approx(0.6, abs=0.15)
    assert found[0].mean.value == pytest.approx(0.6, abs=0.15)
    worse, _ = made.search(0.9, beside=True)  # everywhere, which is no slice's matter, though its mean shows it
    assert {(f.by, f.slice) for f in worse} == {("regression", "shop = east")}
    assert worse[0].mean.value == pytest.approx(0.9, abs=0.15)


def test_small_effects_and_small_slices_are_not_named() -> None:
    made = Made(2, n=20_000)
    assert made.search(0.04 * (made.shop == 2))[0] == ()  # sure to be there, and below 0.1 standard deviations
    few = np.zeros(made.n, dtype=bool)
    few[:20] = True
    made.shop = np.where(few, 3, made.shop % 3)
    assert all("west" not in f.slice for f in made.search(3.0 * few)[0])


def test_missing_values_and_rare_levels() -> None:
    values = np.array([1.0, np.nan, 2.0, 3.0, np.inf, 4.0, -np.inf])
    feature = numeric_feature("x", values, 2)
    assert feature.levels == ("x <= 2.5", "x > 2.5", "x missing")
    assert feature.codes.tolist() == [0, 2, 0, 1, 1, 1, 0]
    constant = numeric_feature("x", np.full(3, np.nan), 4)
    assert constant.levels == ("x known", "x missing")
    assert constant.codes.tolist() == [1, 1, 1]
    many = categorical_feature("c", np.arange(100) % 50, [f"l{i}" for i in range(50)])
    assert len(many.levels) == 31
    assert many.levels[-1] == "c = (rarer levels)"
    assert many.codes.max() == 30


def test_neither_the_order_of_rows_nor_that_of_features_matters() -> None:
    made = Made(3)
    found, looked = made.search(0.8 * (made.shop == 1))
    order = np.random.default_rng(0).permutation(made.n)
    rows = Rows(task=Task.REGRESSION, target=np.zeros(made.n), ids=(np.arange(made.n) + 7)[order], cluster=None)
    moved = [Feature(f.name, f.codes[order], f.levels) for f in made.features()]
    prediction = (made.error + 0.8 * (made.shop == 1))[order]
    again, looked_again = search(moved, rows, prediction, None, CONF)
    assert looked == looked_again
    assert [f.slice for f in found] == [f.slice for f in again]
    assert found[0].effect.value == pytest.approx(again[0].effect.value)


def test_nothing_is_searched_where_nothing_can_be_told() -> None:
    made = Made(4, n=60)
    assert made.search() == ((), 0)
    made = Made(4)
    assert made.search(conf=EvaluateConf(find_slices=0)) == ((), 0)
    assert made.search(np.nan) == ((), 0)
    few = Made(4, clusters=10)
    assert few.search(5.0 * (few.shop == 1))[0] == ()  # ten clusters decide nothing


def test_losses_are_those_of_the_primary_metric() -> None:
    target = np.array([0, 1, 1])
    rows = Rows(task=Task.BINARY, target=target, ids=np.arange(3), cluster=None)
    chances = np.array([0.2, 0.8, 0.4])
    assert losses("accuracy_score", rows, chances).tolist() == [0.0, 0.0, 1.0]
    assert losses("roc_auc_score", rows, chances) == pytest.approx([-math.log(p) for p in (0.8, 0.8, 0.4)])
    values = Rows(task=Task.REGRESSION, target=np.array([1.0, 2.0]), ids=np.arange(2), cluster=None)
    assert losses("mean_absolute_error", values, np.array([3.0, 2.0])).tolist() == [2.0, 0.0]
    assert losses("r2_score", values, np.array([3.0, 2.0])).tolist() == [4.0, 0.0]
    many = Rows(task=Task.MULTICLASS, target=np.array([2, 0]), ids=np.arange(2), cluster=None)
    shares = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])
    assert losses("log_loss", many, shares) == pytest.approx([-math.log(0.7), -math.log(0.5)])


# ---- how often it errs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clusters", [0, 200])
@pytest.mark.parametrize("windows", [80, pytest.param(2000, marks=pytest.mark.slow)])
def test_where_no_slice_is_worse_none_is_named(
    windows: int, clusters: int, record_property: Callable[[str, object], None]
) -> None:
    """Six features, about 400 slices and two questions; without the effect floor, so that only chance is held back."""
    conf = EvaluateConf(
        primary="mean_absolute_error", metrics=["mean_absolute_error"], min_slice_rows=40, find_effect=0.0
    )
    wrong = sum(
        bool(Made(seed, n=1000, clusters=clusters, features=6).search(conf=conf, beside=True)[0])
        for seed in range(windows)
    )
    unit = "clusters" if clusters else "rows"
    record_property(
        f"worst-slice search: windows with a false slice, by {unit}",
        f"{wrong / windows:.4f} of {windows} (level 0.025)",
    )
    assert wrong <= stats.binom.isf(1e-3, windows, 0.025)


@pytest.mark.parametrize("windows", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_few_of_the_named_slices_are_false(windows: int, record_property: Callable[[str, object], None]) -> None:
    """One bad shop among six features. True is what holds more of its rows than the shop has of all."""
    named, false, hit = 0, 0, 0
    for seed in range(windows):
        made = Made(10_000 + seed, n=2000, features=6)
        found, _ = made.search(0.6 * (made.shop == 2))
        named += len(found)
        false += sum("shop = east" not in f.slice for f in found)
        hit += any(f.slice == "shop = east" for f in found)
    record_property("worst-slice search: false of the named slices", f"{false / max(named, 1):.4f} of {named}")
    record_property(
        "worst-slice search: the bad slice is named", f"{hit / windows:.3f} of {windows} (0.6 of spread 0.6)"
    )
    assert false <= 0.05 * named
    assert hit / windows > 0.9


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"find_slices": -1}, "evaluate.find_slices: -1 is no number of slices - choose 0 to 1000"),
        ({"find_effect": math.nan}, "evaluate.find_effect: nan is no effect - choose one such as 0.1"),
        ({"find_bins": 1}, "evaluate.find_bins: 1 is no number of bins - choose 2 to 20"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        EvaluateConf(**wrong)
    assert str(error.value) == message
