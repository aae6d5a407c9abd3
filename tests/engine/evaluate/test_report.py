from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.evaluate.conf import EvaluateConf
from engine.evaluate.report import evaluate, undecidable
from engine.records import EvaluationReport, Task, from_plain, to_plain

N = 400


def make_conf(**changes: Any) -> EvaluateConf:
    values: dict[str, Any] = {
        "primary": "roc_auc_score",
        "metrics": ["roc_auc_score", "log_loss"],
        "n_resamples": 100,
        "min_slice_rows": 50,
    }
    return EvaluateConf(**values | changes)


def report(conf: EvaluateConf | None = None, *, champion: bool = True, **changes: Any) -> EvaluationReport:
    """A good challenger against a champion that guesses, on N rows with two slices of three quarters and one."""
    rng = np.random.default_rng(0)
    target = (rng.random(N) < 0.4).astype(np.float32)
    values: dict[str, Any] = {
        "model": "new",
        "champion": "old" if champion else "",
        "window": "w7",
        "fingerprint": "f",
        "task": Task.BINARY,
        "target": target,
        "rows": np.arange(N),
        "cluster": None,
        "prediction": np.clip(0.3 * target + 0.7 * rng.random(N), 0, 1),
        "champion_prediction": rng.random(N) if champion else None,
        "slices": {"origin": np.where(np.arange(N) % 4 == 0, "EWR", "JFK")},
        "conf": conf or make_conf(),
    }
    return evaluate(**values | changes)


def test_challenger_champion_and_their_difference() -> None:
    found = report()
    assert (found.model, found.champion, found.window, found.fingerprint, found.n_rows) == ("new", "old", "w7", "f", N)
    for estimates in (found.metrics, found.champion_metrics, found.differences):
        assert [e.name for e in estimates] == ["roc_auc_score", "log_loss"]
    for new, old, both in zip(found.metrics, found.champion_metrics, found.differences, strict=True):
        assert both.value == pytest.approx(new.value - old.value)
    assert found.differences[0].low > 0
    assert found.differences[1].high < 0


def test_slices_have_the_primary_metric_and_its_difference() -> None:
    found = report()
    assert [(s.column, s.level, s.estimate.n) for s in found.slices] == [("origin", "EWR", 100), ("origin", "JFK", 300)]
    for part in found.slices:
        assert part.difference is not None
        assert part.estimate.name == part.difference.name == "roc_auc_score"
        assert part.difference.low > 0


def test_slices_below_the_floor_are_undecidable_and_not_dropped() -> None:
    found = report(make_conf(min_slice_rows=101))
    small = found.slices[0]
    assert small.level == "EWR"
    assert small.difference is not None
    for number in (small.estimate, small.difference):
        assert (number.n, number.reason) == (100, "too few rows (100 of 101)")
        assert math.isnan(number.value)
        assert math.isnan(number.low)
        assert math.isnan(number.high)
    assert found.slices[1].estimate.reason == ""


def test_a_slice_of_one_label_is_undecidable() -> None:
    rng = np.random.default_rng(0)
    target = (rng.random(N) < 0.4).astype(np.float32)
    found = report(slices={"label": np.where(target == 1, "late", "on time")})
    assert [s.estimate.reason for s in found.slices] == ["the labels are all the same"] * 2


def test_without_a_champion_nothing_is_compared() -> None:
    found = report(champion=False)
    assert (found.champion, found.champion_metrics, found.differences) == ("", (), ())
    assert [s.difference for s in found.slices] == [None, None]
    small = report(make_conf(min_slice_rows=101), champion=False).slices[0]
    assert small.difference is None


def test_one_label_in_the_whole_window_decides_nothing() -> None:
    found = report(target=np.zeros(N, dtype=np.float32))
    for number in (*found.metrics, *found.champion_metrics, *found.differences):
        assert number.reason == "the labels are all the same"
    assert from_plain(EvaluationReport, to_plain(found)).n_rows == N


def test_regression_and_many_classes() -> None:
    rng = np.random.default_rng(1)
    value = rng.normal(size=N)
    found = report(
        make_conf(primary="mean_absolute_error", metrics=["mean_absolute_error", "r2_score"]),
        task=Task.REGRESSION,
        target=value,
        prediction=value + 0.1 * rng.normal(size=N),
        champion_prediction=value + rng.normal(size=N),
    )
    assert found.differences[0].high < 0 < found.differences[1].low
    codes = rng.integers(0, 5, N)
    found = report(
        make_conf(primary="accuracy_score", metrics=["accuracy_score", "log_loss"]),
        task=Task.MULTICLASS,
        target=codes,
        prediction=0.5 * np.eye(5)[codes] + 0.5 * rng.dirichlet(np.ones(5), N),
        champion_prediction=rng.dirichlet(np.ones(5), N),
        slices={"code": codes.astype(str)},
    )
    assert found.differences[0].low > 0 > found.differences[1].high
    assert [s.estimate.reason for s in found.slices] == ["the labels are all the same"] * 5


def test_clusters_are_resampled_whole() -> None:
    found = report(cluster=np.arange(N) // 10)
    methods = {e.method.split("; widened by ")[0] for e in (*found.metrics, *found.differences)}
    assert methods == {"cluster bootstrap, 100 resamples"}


def test_a_metric_of_another_task_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^evaluate\.metrics: 'roc_auc_score' is no metric of a regression model - "):
        report(task=Task.REGRESSION)


def test_the_undecidable_estimate_names_the_primary() -> None:
    nothing = undecidable(make_conf(), 3, "why")
    assert (nothing.name, nothing.n, nothing.reason, nothing.method) == ("roc_auc_score", 3, "why", "")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"primary": "f1_score"}, "evaluate.primary: 'f1_score' is not computed - add it to evaluate.metrics"),
        ({"confidence_level": 0.4}, "evaluate.confidence_level: 0.4 is no level - choose one from 0.5 up to 0.999"),
        ({"confidence_level": 1.0}, "evaluate.confidence_level: 1.0 is no level - choose one from 0.5 up to 0.999"),
        ({"n_resamples": 99}, "evaluate.n_resamples: 99 is too few - use 100 or more"),
        ({"seed": -1}, "evaluate.seed: -1 is no seed - choose one from 0 to 2**64 - 1"),
        ({"min_slice_rows": 1}, "evaluate.min_slice_rows: 1 is too few - use 2 or more"),
        ({"metrics": ["roc_auc_score"] * 2}, "evaluate.metrics: names a metric twice - name it once"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_conf(**wrong)
    assert str(error.value) == message


def test_a_class_without_rows_is_named() -> None:
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 2, N)
    values: dict[str, Any] = {
        "task": Task.MULTICLASS,
        "target": codes,
        "prediction": rng.dirichlet(np.ones(3), N),
        "champion_prediction": None,
        "champion": False,
        "slices": {},
    }
    found = report(make_conf(), **values, classes=("basic", "free", "pro"))
    assert found.metric("roc_auc_score").reason == "no row has the label pro"
    assert from_plain(EvaluationReport, to_plain(found)).classes == ("basic", "free", "pro")
    nameless = report(make_conf(), **values)
    assert nameless.metric("roc_auc_score").reason == "no row has the label 2"
    before = {name: value for name, value in to_plain(nameless).items() if name != "classes"}
    assert from_plain(EvaluationReport, before).classes == ()  # a ledger from before there were names
