"""Importance against a closed form, and harm as the order of what drifted."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from engine.monitor.conf import MonitorConf
from engine.monitor.drift import Reference, compare
from engine.monitor.harm import ROWS, Importance, importance, with_harm
from engine.records import DriftReport, MonitorReport, Task, from_plain, to_plain
from engine.scoring.intervals import Rows

WEIGHTS = {"heavy": 2.0, "light": 0.5, "idle": 0.0}


def made(n: int, seed: int, shift: float = 0.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    columns = {name: rng.normal(shift, 1, n) for name in WEIGHTS}
    columns["light"] = np.where(rng.random(n) < 0.1 * bool(shift), np.nan, columns["light"])
    return pa.table(columns)


def predict(table: pa.Table) -> np.ndarray:
    return sum(w * np.nan_to_num(table[name].to_numpy()) for name, w in WEIGHTS.items())  # type: ignore[return-value]


def rows_of(table: pa.Table) -> Rows:
    return Rows(task=Task.REGRESSION, target=predict(table), ids=np.arange(len(table)), cluster=None)


def test_shuffling_a_linear_term_costs_twice_its_variance() -> None:
    """Of independent normal columns: mean squared error 2 w**2 (Fisher, Rudin and Dominici 2019)."""
    table = made(3 * ROWS, 1)
    found = importance(predict, table, rows_of(table), list(WEIGHTS), "mean_squared_error")
    for name, weight in WEIGHTS.items():
        assert found.points[name] == pytest.approx(2 * weight**2, rel=0.1), name
    assert found.metric == "mean_squared_error"
    assert found == importance(predict, table, rows_of(table), list(WEIGHTS), "mean_squared_error")
    one = importance(predict, table, rows_of(table), ["light"], "mean_squared_error")
    assert one.points["light"] == found.points["light"]  # whatever other columns there are


def test_points_are_lost_whichever_way_the_metric_points() -> None:
    table = made(ROWS, 1)
    truth = Rows(task=Task.BINARY, target=(predict(table) > 0).astype(np.int64), ids=np.arange(ROWS), cluster=None)

    def chance(rows: pa.Table) -> np.ndarray:
        return 1 / (1 + np.exp(-predict(rows)))

    for metric in ("roc_auc_score", "log_loss"):
        points = importance(chance, table, truth, list(WEIGHTS), metric).points
        assert points["heavy"] > points["light"] > points["idle"] == 0


def test_a_metric_that_is_undefined_gives_no_importance() -> None:
    table = made(100, 1)
    rows = Rows(task=Task.BINARY, target=np.ones(100, np.int64), ids=np.arange(100), cluster=None)
    assert math.isnan(importance(predict, table, rows, ["heavy"], "roc_auc_score").points["heavy"])

    def broken(some: pa.Table) -> np.ndarray:
        return np.full(len(some), np.nan)

    assert math.isnan(importance(broken, table, rows_of(table), ["heavy"], "mean_squared_error").points["heavy"])


def drifted() -> DriftReport:
    reference = Reference(name="before", table=made(2000, 1), numeric=tuple(WEIGHTS), categorical=())
    return compare(reference, made(2000, 2, 0.5), "now", MonitorConf(), None)


def test_what_costs_most_comes_first_and_outcomes_stay() -> None:
    before = drifted()
    known = Importance(metric="roc_auc_score", points={"heavy": 0.1, "light": 0.02, "idle": 0.0})
    after = with_harm(before, known)
    assert {c.column for c in before.drifted} == {"heavy", "light", "idle", "light is missing"}
    assert [c.column for c in after.drifted] == ["heavy", "light", "light is missing", "idle"]
    for old, new in zip(before.columns, after.columns, strict=True):
        name = new.column.removesuffix(" is missing")
        assert new.harm == pytest.approx(known.points[name] * new.effect)
        assert (new.outcome, new.adjusted_pvalue) == (old.outcome, old.adjusted_pvalue)
    assert after.metric == "roc_auc_score"


def test_reports_of_before_are_read() -> None:
    report = MonitorReport(window="now", model="m", baseline=drifted(), consecutive=None, performance=None)
    plain = to_plain(report)
    del plain["baseline"]["metric"]
    for column in plain["baseline"]["columns"]:
        del column["importance"], column["harm"]
    read = from_plain(MonitorReport, plain)
    assert [c.column for c in read.baseline.drifted] == [c.column for c in report.baseline.drifted]
    assert math.isnan(read.baseline.columns[0].harm)
