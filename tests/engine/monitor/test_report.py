"""One report a window: what it is held against, and that the champion's reference stays at hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from engine.monitor.conf import MonitorConf
from engine.monitor.harm import Importance
from engine.monitor.joint import COLUMN
from engine.monitor.performance import Mature
from engine.monitor.report import Monitor
from engine.records import DriftOutcome, MonitorReport, Task, Window
from engine.scoring.intervals import Rows
from kernels.pvalues import adjust


@dataclass
class Metrics:
    metrics: list[str] = field(default_factory=lambda: ["roc_auc_score"])
    confidence_level: float = 0.95
    n_resamples: int = 100
    seed: int = 0
    primary: str = "roc_auc_score"
    min_slice_rows: int = 100


def window(index: int, shift: float = 0.0, *, whole: bool = False) -> Window:
    rng = np.random.default_rng(index)
    values = rng.normal(shift, 1, 400)
    table = pa.table(
        {
            "id": np.arange(400),
            "x": pa.array((100 * values).astype(np.int64) if whole else 100 * values),
            "c": rng.choice(["a", "b"], 400),
            "y": rng.integers(0, 2, 400),
        }
    )
    return Window(name=f"w{index}", index=index, table=table, fingerprint="", path="", labelled=False)


def report(monitor: Monitor, live: Window, previous: Window, model: str = "first", **more: object) -> MonitorReport:
    rng = np.random.default_rng(0)
    known: dict[str, object] = {
        "reference": [window(0), window(1)],
        "predictions": (rng.random(300), rng.random(400)),
        "mature": None,
    }
    return monitor.report(model=model, window=live, previous=previous, **(known | more))  # type: ignore[arg-type]


def make_monitor(conf: MonitorConf | None = None) -> Monitor:
    return Monitor(conf or MonitorConf(), Metrics(), ["x"], ["c"], "y", Task.BINARY)


def test_baseline_and_consecutive_drift_are_both_told() -> None:
    found = report(make_monitor(), window(3, 1.0), window(2, 1.0))
    assert (found.baseline.reference, found.baseline.live) == ("w0 to w1", "w3")
    assert [c.column for c in found.baseline.drifted] == ["x", COLUMN]  # slow creep
    assert found.consecutive is not None
    assert found.consecutive.reference == "w2"
    assert not found.consecutive.drifted  # no jump
    assert [c.column for c in found.baseline.columns] == ["x", "c", "prediction", COLUMN]
    assert [c.column for c in found.consecutive.columns] == ["x", "c", COLUMN]  # predictions: the baseline's
    assert found.baseline.columns[0].n_reference == 800
    assert found.performance is None


def test_one_window_is_named_once() -> None:
    assert report(make_monitor(), window(3), window(2), reference=[window(0)]).baseline.reference == "w0"


def test_a_column_may_be_whole_in_one_window_and_broken_in_another() -> None:
    found = report(make_monitor(), window(3), window(2), reference=[window(0, whole=True), window(1)])
    assert not found.baseline.drifted
    assert found.baseline.columns[0].n_reference == 800


def test_the_reference_changes_with_the_champion_only() -> None:
    monitor = make_monitor()
    first = report(monitor, window(3), window(2))
    same = report(monitor, window(3), window(2), reference=[window(7, 9.0)])
    assert same == first  # the model's training rows are what they were
    other = report(monitor, window(3), window(2), "second", reference=[window(7, 9.0)])
    assert other.baseline.reference == "w7"
    assert [c.column for c in other.baseline.drifted] == ["x", COLUMN]


def mature(share: float, unlabelled: np.ndarray | None = None, rows: int = 300) -> Mature:
    """Labels of which this share is 1, and the predictions that go with them."""
    target = (np.arange(rows) < share * rows).astype(np.int64)
    made = Rows(task=Task.BINARY, target=target, ids=np.arange(rows), cluster=None)
    return Mature(window="w2", rows=made, prediction=np.linspace(0, 0.5, rows), unlabelled=unlabelled)


def test_labels_are_judged_with_the_columns() -> None:
    monitor = make_monitor()
    for share, drifted in ((0.5, []), (0.9, ["y"])):
        found = report(monitor, window(3), window(2), mature=mature(share))
        assert [(c.column, c.kind) for c in found.baseline.columns[-1:]] == [("y", "label")]
        assert [c.column for c in found.baseline.drifted] == drifted
        judged = found.baseline.columns
        expected = adjust(np.array([c.pvalue for c in judged]), "bh")
        np.testing.assert_array_equal([c.adjusted_pvalue for c in judged], expected)
        assert found.consecutive is not None
        assert [c.column for c in found.consecutive.columns] == ["x", "c", COLUMN]


def test_labels_that_are_no_fair_sample_are_undecidable_for_that_reason() -> None:
    found = report(make_monitor(), window(3), window(2), mature=mature(0.9, np.linspace(0.4, 1, 600)))
    label = found.baseline.columns[-1]
    assert found.performance is not None
    assert found.performance.reason.startswith("biased: 300 of 900 rows are labelled")
    assert (label.outcome, label.reason) == (DriftOutcome.UNDECIDABLE, found.performance.reason)
    assert not found.baseline.drifted


def test_all_columns_together_can_be_left_out_or_taken_another_way() -> None:
    for method, statistics in (("none", []), ("pca", ["pca_reconstruction_error"]), ("mmd", ["mmd"])):
        found = report(make_monitor(MonitorConf(multivariate=method)), window(3), window(2))
        assert [c.statistic for c in found.baseline.columns if c.kind == "multivariate"] == statistics
        assert found.consecutive is not None
        assert [c.statistic for c in found.consecutive.columns if c.kind == "multivariate"] == statistics


def test_performance_is_of_the_labelled_window() -> None:
    rng = np.random.default_rng(5)
    score = rng.random(200)
    rows = Rows(task=Task.BINARY, target=(rng.random(200) < score).astype(float), ids=np.arange(200), cluster=None)
    found = report(make_monitor(), window(3), window(2), mature=Mature(window="w2", rows=rows, prediction=score))
    assert found.performance is not None
    assert (found.performance.model, found.performance.window, found.performance.n_rows) == ("first", "w2", 200)
    assert found.performance.metric("roc_auc_score").value > 0.7


def test_importance_is_measured_once_a_champion() -> None:
    asked: list[str] = []

    def measured(model: str) -> Importance:
        asked.append(model)
        return Importance(metric="roc_auc_score", points={"x": 0.5, "c": 0.0})

    monitor = make_monitor()
    for model in ("first", "first", "second"):
        found = report(monitor, window(3, 1.0), window(2), model, importance=lambda model=model: measured(model))
        assert found.baseline.metric == "roc_auc_score"
        assert found.baseline.drifted[0].harm == 0.5 * found.baseline.drifted[0].effect
        assert found.consecutive is not None
        assert found.consecutive.columns[0].importance == 0.5
    assert asked == ["first", "second"]
