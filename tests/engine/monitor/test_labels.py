"""Drift of labels: judged as SciPy judges numbers and counts, and never where they do not speak for their window."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from engine.monitor.conf import MonitorConf
from engine.monitor.drift import report
from engine.monitor.labels import Labels
from engine.records import ColumnDrift, DriftOutcome, Task, Window


def labels(values: np.ndarray, task: Task) -> Labels:
    return Labels(column="y", task=task, values=values)


def judged(old: np.ndarray, new: np.ndarray, task: Task, reason: str = "") -> ColumnDrift:
    conf = MonitorConf()
    return report("before", "now", [labels(old, task).finding(new, conf, reason)], conf).columns[0]


def window(values: list[int | None]) -> Window:
    table = pa.table({"y": pa.array(values, pa.int64())})
    return Window(name="w", index=0, table=table, fingerprint="", path="", labelled=True)


def test_numbers_are_held_against_those_of_the_reference() -> None:
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=2000), rng.normal(0.5, 1, 400)
    truth = stats.ks_2samp(old, new, method="exact")
    found = judged(old, new, Task.REGRESSION)
    assert (found.column, found.kind, found.statistic) == ("y", "label", "ks_2samp")
    assert found.effect == pytest.approx(truth.statistic, abs=1e-12)
    assert found.pvalue == pytest.approx(truth.pvalue, rel=1e-9)
    assert found.outcome is DriftOutcome.DRIFT
    assert judged(old, rng.normal(size=400), Task.REGRESSION).outcome is DriftOutcome.NO_DRIFT


@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS])
def test_classes_are_held_against_their_shares(task: Task) -> None:
    old, new = np.repeat([0, 1], [1600, 400]), np.repeat([0, 1], [240, 160])
    found = judged(old, new, task)
    truth = stats.chi2_contingency([[1600, 400], [240, 160]], correction=False)
    assert (found.kind, found.statistic, found.floor) == ("label", "total_variation_distance", 0.1)
    assert found.effect == pytest.approx(0.2, abs=1e-12)
    assert found.pvalue == pytest.approx(truth.pvalue, rel=1e-9)
    assert found.outcome is DriftOutcome.DRIFT
    assert (found.n_reference, found.n_live) == (2000, 400)
    assert judged(old, np.repeat([0, 1], [320, 80]), task).outcome is DriftOutcome.NO_DRIFT


def test_a_class_that_was_never_there_is_drift() -> None:
    old, new = np.repeat([0, 1, 2], 500), np.repeat([0, 1, 3], 100)
    found = judged(old, new, Task.MULTICLASS)
    assert found.outcome is DriftOutcome.DRIFT
    assert found.effect == pytest.approx(1 / 3, abs=1e-12)


@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION])
def test_few_labels_are_undecidable(task: Task) -> None:
    old = np.repeat([0, 1], 500)
    found = judged(old.astype(float) if task is Task.REGRESSION else old, np.zeros(49, old.dtype), task)
    assert found.outcome is DriftOutcome.UNDECIDABLE
    assert found.reason == "49 values in the live window, 50 are needed"


def test_labels_that_do_not_speak_for_their_window_are_undecidable() -> None:
    found = judged(np.repeat([0, 1], 500), np.ones(300, np.int64), Task.BINARY, "biased: 300 of 900 rows are labelled")
    assert found.outcome is DriftOutcome.UNDECIDABLE
    assert found.reason == "biased: 300 of 900 rows are labelled"
    assert np.isnan(found.adjusted_pvalue)


def test_rows_without_a_label_are_left_out() -> None:
    found = Labels.of("y", Task.BINARY, [window([0, None, 1]), window([1, 1])])
    assert found.values.tolist() == [0, 1, 1, 1]
    again = report("before", "now", [found.finding(np.array([0, 1]), MonitorConf())], MonitorConf())
    assert [c.column for c in again.columns] == ["y"]  # the share of missing labels is no drift
