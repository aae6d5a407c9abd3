"""The pipeline's numbers of a real loop: recorded once, before rules look, and the same after a kill."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow.compute as pc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed
from sklearn.metrics import roc_auc_score

from engine.act import metrics_of
from engine.cycle import metering
from engine.cycle.metering import Counted, used
from engine.data.sources import ParquetSource
from engine.models.predictor import load
from engine.records import Cycle, DeviceUse, PipelineMetrics, from_plain, to_plain
from engine.system import durable
from tests.engine.cycles import cycle, trial
from tests.engine.pipeline.made import attempt
from tests.engine.world import LAST, WINDOWS, YOUNG, Answer, World

POINT = 0.01


# A process that dies just after a commit does not live to see SQLAlchemy complain of the rollback; ours does.
AFTER_COMMIT = pytest.mark.filterwarnings("ignore:transaction already deassociated")


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(scope="module")
def told(ended: tuple[World, Answer]) -> dict[str, PipelineMetrics]:
    """Of each window."""
    found = {window: cycle.pipeline for window, cycle in ended[0].cycles().items()}
    assert all(found.values())
    return {window: one for window, one in found.items() if one is not None}


def measures(one: PipelineMetrics) -> dict[str, float]:
    return {measure.estimate.name: measure.estimate.value for measure in one.lasting}


def test_each_window_has_one_row_and_its_cycle_holds_the_same(ended: tuple[World, Answer]) -> None:
    world = ended[0]
    rows = world.rows("pipeline")
    assert [row.window for row in rows] == list(world.cycles())
    for row in rows:
        assert row.payload == to_plain(world.cycles()[row.window].pipeline)
        kinds = [other.kind for other in world.rows() if other.window == row.window]
        assert kinds[0] == "opened"
        assert kinds[-1] == "cycle"
        assert kinds.index("pipeline") > max((i for i, kind in enumerate(kinds) if kind == "stage"), default=0)


def test_the_age_of_rows_is_counted_to_the_opening(
    ended: tuple[World, Answer], told: dict[str, PipelineMetrics]
) -> None:
    world = ended[0]
    source = ParquetSource(world.config()[0].need_data)
    for row in world.rows("opened"):
        newest = pc.max(source.read(row.window, labelled=False).table["at"]).as_py()
        hours = (datetime.fromisoformat(row.at) - newest).total_seconds() / 3600
        assert told[row.window].freshness_hours == pytest.approx(hours, abs=1e-6)


def test_the_lag_of_labels_is_told_by_the_window_that_sees_them_first(told: dict[str, PipelineMetrics]) -> None:
    first_seen = {window: one.label_lag_windows for window, one in told.items() if math.isfinite(one.label_lag_windows)}
    assert first_seen == dict.fromkeys(WINDOWS[3 : WINDOWS.index(LAST) + 1], 1.0)
    assert all(one.label_lag_hours > 0 for one in told.values() if math.isfinite(one.label_lag_windows))


def test_rows_go_through_the_stages(ended: tuple[World, Answer], told: dict[str, PipelineMetrics]) -> None:
    first, last = told[WINDOWS[1]], told[LAST]
    assert {"read", "validate", "train", "evaluate"} <= set(first.flows)
    assert {"read", "validate", "monitor"} <= set(last.flows)
    assert (last.flows["validate"].rows, last.flows["monitor"].rows) == (600, 600)
    assert all(flow.rows_per_second > 0 for one in told.values() for flow in one.flows.values())
    assert last.flows["read"].bytes_per_second > 0
    made = ended[0].cycles()[WINDOWS[1]].candidate
    assert made is not None
    assert first.flows["train"].rows == made.n_rows * sum(len(trial.curve) for trial in made.trials)
    assert first.flows["train"].seconds == made.seconds


def test_devices_and_failures_are_those_of_the_trials(told: dict[str, PipelineMetrics]) -> None:
    trained = {window for window, one in told.items() if math.isfinite(one.trial_cpu_seconds)}
    assert trained == {"2026-02", "2026-05", "2026-06"}
    assert all(told[window].trial_cpu_seconds > 0 for window in trained)
    assert all((told[w].gpu_hours, told[w].failed_trials_share) == (0.0, 0.0) for w in trained)
    assert all(math.isnan(told[w].gpu_utilisation) for w in trained)
    assert all(one.cpu_seconds > 0 for one in told.values())
    assert all(math.isnan(one.queue_seconds) for one in told.values())  # no watch saw them land


def test_costs_follow_the_attempts(told: dict[str, PipelineMetrics]) -> None:
    reviewed = {window: one.review_cost for window, one in told.items() if one.review_cost}
    assert reviewed == {"2026-02": 300.0, "2026-05": 300.0, "2026-06": 300.0}
    last = measures(told[LAST])
    assert last["spent"] == 900.0  # decide.hour_price is 0 in this world
    assert last["cost_per_window"] == 150.0
    assert last["cost_per_promotion"] == 600.0


def test_the_turn_is_seen_answered_and_over(told: dict[str, PipelineMetrics]) -> None:
    last = measures(told[LAST])
    assert last["drift_to_promotion_windows"] == 3.0  # 2026-04 to 2026-07
    assert last["drift_to_detection_windows"] + last["detection_to_promotion_windows"] == 3.0
    assert last["gate_pass_rate"] == 0.5
    assert [told[w].drift_open_windows for w in told] == [pytest.approx(math.nan, nan_ok=True), 0, 1, 2, 3, 0]
    assert math.isnan(last["return_on_retraining"])  # no window that it served has labels yet


def test_rules_act_on_the_same_numbers(old: World) -> None:
    rule = "{metric: pipeline.review_cost, threshold: -1, when: '>', owner: ada}"
    assert old.run("loop", "loop.until=2026-08", f"+act.rules={{paid: {rule}}}") == 0
    (item,) = [item for item in old.cycles()["2026-08"].actions if item.rule == "paid"]
    assert (item.metric, item.owner) == ("pipeline.review_cost", "ada")
    assert item.value == metrics_of(old.cycles()["2026-08"])["pipeline.review_cost"]


def test_the_gain_of_a_promoted_model_is_the_paired_difference_on_a_window_that_it_served(
    old: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With labels at once: 2026-08 is served by the model that was promoted in 2026-07. Of a large window every other
    row is looked at.
    """
    monkeypatch.setattr(metering, "GAIN_ROWS", 300)
    assert old.run("loop", "loop.until=2026-08", "data.label_lag=0") == 0
    last = old.cycles()["2026-08"]
    assert last.pipeline is not None
    gain = last.pipeline.gain
    assert gain is not None
    cycles = old.cycles()
    assert (gain.window, gain.model, gain.replaced) == (
        "2026-08", cycles["2026-07"].champion_after, cycles["2026-02"].champion_after,
    )  # fmt: skip
    config, _ = old.config()
    table = ParquetSource(config.need_data).read("2026-08", labelled=True).table[::2]
    scores = [load(config.open_store(), m, ()).predict(table) for m in (gain.model, gain.replaced)]
    new, before = (roc_auc_score(table["late"].to_numpy(), score) for score in scores)
    assert gain.points.value == pytest.approx((new - before) / POINT)
    assert gain.points.low < gain.points.value < gain.points.high
    assert gain.points.n == 300
    returned = next(m for m in last.pipeline.lasting if m.estimate.name == "return_on_retraining")
    assert returned.estimate.value == pytest.approx(gain.points.value * 100 - 600)
    assert (returned.estimate.n, returned.unit) == (1, "EUR")


def test_a_model_that_is_gone_leaves_the_gain_undecidable_and_the_loop_going(old: World) -> None:
    replaced = old.cycles()["2026-02"].champion_after
    for path in (old.out / "store").rglob("*"):
        if path.is_file() and replaced in str(path):
            path.unlink()
    assert old.run("loop", "loop.until=2026-08", "data.label_lag=0") == 0
    found = old.cycles()["2026-08"].pipeline
    assert found is not None
    assert found.gain is not None
    assert math.isnan(found.gain.points.value)
    assert found.gain.points.reason


@AFTER_COMMIT
def test_a_kill_behind_the_row_leaves_what_was_measured(grown: World) -> None:
    seen = list[str]()

    def die(step: durable.Step, execute: Callable[[], None]) -> None:
        execute()
        if step.operation == "commit" and (rows := grown.rows("pipeline")) and rows[-1].window == "2026-05":
            seen.append(rows[-1].hash)
            raise Killed

    with durable.intercept(die), pytest.raises(Killed):
        grown.run("loop", "loop.until=2026-05")
    assert grown.run("loop", "loop.until=2026-05") == 0
    row = grown.rows("pipeline")[-1]
    assert [row.hash] == seen
    found = grown.cycles()["2026-05"].pipeline
    assert found is not None
    assert found.cpu_seconds == row.payload["cpu_seconds"]


def test_what_does_not_hang_on_time_is_the_same_in_another_run(fresh: World, told: dict[str, PipelineMetrics]) -> None:
    assert fresh.run("loop", f"loop.until={YOUNG}") == 0
    for window, again in fresh.cycles().items():
        assert again.pipeline is not None
        ours, theirs = (
            {name: v for name, v in measures(one).items() if not name.endswith("hours") and "cost" not in name}
            for one in (again.pipeline, told[window])
        )
        assert ours == pytest.approx(theirs, nan_ok=True)


def test_the_exposition_is_written_whole_after_each_cycle(grown: World, tmp_path: Path) -> None:
    path = tmp_path / "metrics" / "loop.prom"
    written = list[str]()

    def look(step: durable.Step, execute: Callable[[], None]) -> None:
        execute()
        if step.operation == "replace" and step.target == path:
            written.append(path.read_text())

    with durable.intercept(look):
        assert grown.run("loop", "loop.until=2026-06", f"track.openmetrics={path}", "decide=never") == 0
    windows = [
        one.labels["window"] for text in written for f in parsed(text) for one in f.samples if "window" in one.labels
    ]
    assert windows == ["2026-05", "2026-06"]


def test_a_file_that_cannot_be_written_stops_no_loop(grown: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = grown.ask("loop", "loop.until=2026-05", f"track.openmetrics={tmp_path}/file/x.prom", "decide=never")
    assert answer.code == 0
    assert f"{tmp_path}/file" in answer.err.replace("\n", "")
    assert "2026-05" in grown.cycles()


# ---- parts --------------------------------------------------------------------------------------------------------


def test_a_source_counts_what_is_read(new: World) -> None:
    source = ParquetSource(new.config()[0].need_data)
    counted = Counted(source)
    assert counted.names() == source.names()
    table = counted.read(WINDOWS[0], labelled=True).table
    labels = counted.labels(WINDOWS[0])
    assert counted.rows == table.num_rows + labels.num_rows
    assert counted.bytes == table.nbytes + labels.nbytes


def uses(*found: DeviceUse | None) -> DeviceUse:
    made = attempt(1.0)
    trials = tuple(replace(trial(made.trials[0].state), use=use) for use in found)
    return used(replace(made, trials=trials))


def test_utilisation_is_weighted_by_the_time_of_each_trial() -> None:
    found = uses(
        DeviceUse(cpu_seconds=1.0, gpu_seconds=30.0, gpu_utilisation=0.9, gpu_memory_bytes=5.0, samples=3),
        DeviceUse(cpu_seconds=2.0, gpu_seconds=10.0, gpu_utilisation=0.5, gpu_memory_bytes=7.0, samples=1),
    )
    assert (found.cpu_seconds, found.gpu_seconds, found.gpu_memory_bytes, found.samples) == (3.0, 40.0, 7.0, 4)
    assert found.gpu_utilisation == pytest.approx(0.8)


def test_trials_on_the_cpu_used_no_gpu_and_one_unmeasured_trial_leaves_all_unknown() -> None:
    cpu = DeviceUse(cpu_seconds=1.0, gpu_seconds=0.0)
    assert (uses(cpu, cpu).gpu_seconds, uses(cpu, cpu).cpu_seconds) == (0.0, 2.0)
    assert math.isnan(uses(cpu, cpu).gpu_utilisation)
    assert math.isnan(uses(cpu, None).cpu_seconds)
    assert math.isnan(uses(cpu, None).gpu_seconds)


def test_a_cycle_of_an_earlier_release_has_none() -> None:
    old = to_plain(cycle())
    del old["pipeline"]
    assert from_plain(Cycle, old).pipeline is None
