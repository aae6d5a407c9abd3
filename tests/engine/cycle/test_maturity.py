"""Labels that come late, in part or corrected, in a whole loop; estimates without them, and how they came out."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.data.tables import label_digest, write_parquet
from engine.records import Action, MonitorReport
from tests.engine.world import Answer, World, configure


def monitors(world: World) -> dict[str, MonitorReport]:
    return {window: cycle.monitor for window, cycle in world.cycles().items() if cycle.monitor is not None}


def rewrite(world: World, window: str, labels: pa.Table) -> None:
    write_parquet(labels, world.folder / "labels" / f"{window}.parquet")


def labels_of(world: World, window: str) -> pa.Table:
    return pq.read_table(world.folder / "labels" / f"{window}.parquet")


@pytest.fixture
def own(new: World, young: World, tmp_path: Path) -> World:
    """A world of its own files, founded and two windows on like `young`."""
    world = configure(tmp_path)
    for kind in ("windows", "labels"):
        shutil.copytree(new.folder / kind, tmp_path / kind)
    shutil.copytree(young.out, world.out)
    return world


def test_a_window_has_an_estimate_before_its_labels_and_its_score_after(ended: tuple[World, Answer]) -> None:
    world, _ = ended
    found = monitors(world)
    march = found["2026-03"].estimated
    assert march is not None
    assert (march.window, march.reference, march.checked, march.reason) == ("2026-03", "2026-02", "2026-02", "")
    scored = {one.metric: one for one in found["2026-04"].scored}
    assert set(scored) == {"roc_auc_score", "log_loss"}
    auc = scored["roc_auc_score"]
    came = found["2026-04"].performance
    assert came is not None
    assert came.window == "2026-03"
    assert (auc.window, auc.model, auc.estimated) == ("2026-03", march.model, march.metric("roc_auc_score").value)
    assert auc.realised == came.metric("roc_auc_score").value
    assert auc.inside
    total = {one.metric: one for one in found["2026-05"].scores}["roc_auc_score"]
    both = [auc, *(one for one in found["2026-05"].scored if one.metric == "roc_auc_score")]
    assert total.n == 2
    assert total.mean_absolute_error == pytest.approx(np.mean([abs(one.estimated - one.realised) for one in both]))
    assert total.coverage == 0.5  # the label turned round in between, which no estimate can see


def test_an_estimate_is_undecidable_once_the_label_has_turned(ended: tuple[World, Answer]) -> None:
    world, _ = ended
    found = monitors(world)["2026-05"].estimated
    assert found is not None
    assert (found.checked, found.reason[:33]) == ("2026-04", "the calibration no longer holds: ")
    assert all(math.isnan(one.value) for one in found.metrics)
    assert not monitors(world)["2026-06"].scored  # what was not estimated is not scored


def test_estimates_decide_nothing(ended: tuple[World, Answer], own: World) -> None:
    """The same loop without estimates comes to the same decisions and promotions."""
    world, _ = ended
    other = World(own.folder, own.folder / "other")
    assert other.ask("loop", "loop.until=2026-05", "monitor.estimate=false").code == 0
    told, plain = world.cycles(), other.cycles()
    assert monitors(other)["2026-04"].estimated is None
    for window, cycle in plain.items():
        ours = told[window].decision
        theirs = cycle.decision
        assert ours is not None
        assert theirs is not None
        assert (ours.action, ours.reason) == (theirs.action, theirs.reason)
        assert [c.target for c in told[window].changes] == [c.target for c in cycle.changes]


def test_performance_is_told_by_slice(ended: tuple[World, Answer]) -> None:
    world, _ = ended
    came = monitors(world)["2026-04"].performance
    assert came is not None
    assert [(one.column, one.level) for one in came.slices] == [
        ("colour", "blue"), ("colour", "green"), ("colour", "red")
    ]  # fmt: skip
    assert sum(one.estimate.n for one in came.slices) == came.n_rows == 600


def test_corrected_labels_are_recorded_beside_what_was(own: World) -> None:
    before = own.rows()
    labels = labels_of(own, "2026-03")
    shuffled = labels.take(np.random.default_rng(0).permutation(labels.num_rows))
    rewrite(own, "2026-03", shuffled)
    assert own.ask("loop", "loop.until=2026-05").code == 0
    assert monitors(own)["2026-05"].corrections == ()  # the same labels in another order are no correction
    flipped = labels.set_column(1, "late", pa.array(np.where(np.arange(600) < 150, 1, labels["late"].to_numpy())))
    rewrite(own, "2026-03", flipped)
    assert own.ask("loop", "loop.until=2026-06").code == 0
    found = monitors(own)
    (correction,) = found["2026-06"].corrections
    was = found["2026-04"].performance
    assert was is not None
    assert (correction.performance.window, correction.performance.model) == ("2026-03", was.model)
    assert correction.before == was.metrics
    assert correction.labels == was.labels != correction.performance.labels
    assert correction.performance.labels == label_digest(flipped, "row", "late")
    assert correction.performance.metric("roc_auc_score").value < was.metric("roc_auc_score").value
    assert own.rows()[: len(before)] == before  # nothing was overwritten
    assert own.ask("loop", "loop.until=2026-07").code == 0
    assert monitors(own)["2026-07"].corrections == ()  # it is known now


def test_labels_that_come_in_part_for_a_reason_decide_nothing(own: World) -> None:
    """Of 2026-04 only the rows are labelled that look late: the number is not trusted, and nothing is retrained."""
    rows = pq.read_table(own.folder / "windows" / "2026-04.parquet")
    seen = rows.filter(pc.greater(rows["pull"], 1.0))["row"]
    labels = labels_of(own, "2026-04")
    rewrite(own, "2026-04", labels.filter(pc.is_in(labels["row"], value_set=seen.combine_chunks())))
    assert own.ask("loop", "loop.until=2026-05").code == 0
    cycle = own.cycles()["2026-05"]
    assert cycle.monitor is not None
    assert cycle.decision is not None
    came = cycle.monitor.performance
    assert came is not None
    assert came.n_rows + came.unlabelled == 600
    assert came.reason.startswith(f"biased: {came.n_rows} of 600 rows are labelled")
    assert cycle.decision.action is Action.KEEP
    assert "realised performance is undefined (biased: " in cycle.decision.reason
    assert cycle.monitor.scored == ()  # no estimate is scored by a number that is not trusted


def test_labels_of_a_window_without_the_rest(own: World) -> None:
    with own.opened() as (_, ports):
        table = ports.source.labels("2026-03")
        whole = ports.source.read("2026-03", labelled=True).table
    assert table.equals(whole.select(["row", "late"]))
    assert label_digest(table, "row", "late") == label_digest(whole, "row", "late")
