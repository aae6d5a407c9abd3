"""From drift to promotion and from an outage to its end, on ledgers written by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from engine.pipeline.delays import Floor, degraded, delays, drift_open, episodes, outages
from engine.pipeline.moments import Moment, moments
from engine.records import Estimate, Outcome, Route
from tests.engine.pipeline.made import LOST, MOVED, STILL, Book, founded, named

FLOOR = Floor(0.6, True)


def seen(book: Book) -> list[Moment]:
    """All windows but the last, which is the one at hand."""
    last = book.rows[-1]
    assert last.kind == "cycle"
    return moments(book.rows[:-1], last.payload, "roc_auc_score")


def medians(book: Book, floor: Floor | None = FLOOR) -> dict[str, Estimate]:
    return named(delays(seen(book), floor, 0.95))


def drifted_and_replaced() -> Book:
    """Drift in w02, an alert in w03, a decision in w04, a new model in w06; each window takes an hour."""
    book = founded().quiet()
    book.open().close(MOVED, score=0.7)
    book.open().close(MOVED, score=0.7)
    book.alert()  # an alert is recorded at the end of its window
    book.open().decide("retune").close(MOVED, score=0.7)
    book.open().close(MOVED, score=0.7)
    return book.open().promote("m1").close(MOVED, score=0.7)


def test_an_episode_from_its_onset_to_a_new_model() -> None:
    found = medians(drifted_and_replaced())
    windows = {name: e.value for name, e in found.items() if name.endswith("_windows")}
    assert windows == {
        "drift_to_detection_windows": 1.0,
        "detection_to_promotion_windows": 3.0,
        "drift_to_promotion_windows": 4.0,
    }
    hours = {name: e.value for name, e in found.items() if name.endswith("_hours")}
    assert hours == pytest.approx(
        {  # rows come a minute after each other: opened 0, cycle 1, alert 2; opened 0, stage 1
            "drift_to_detection_hours": 1 + 2 / 60,
            "detection_to_promotion_hours": 3 - 1 / 60,
            "drift_to_promotion_hours": 4 + 1 / 60,
        }
    )
    assert all(e.n == 1 and math.isnan(e.low) for e in found.values())


def test_the_sources_are_the_rows_of_both_ends() -> None:
    book = drifted_and_replaced()
    (measure,) = [m for m in delays(seen(book), FLOOR, 0.95) if m.estimate.name == "drift_to_detection_hours"]
    assert [book.rows[seq - 1].kind for seq in measure.rows] == ["opened", "action"]
    assert measure.unit == "hours"


def test_a_decision_to_act_detects_as_well_as_an_alert_and_a_decision_to_keep_does_not() -> None:
    book = founded().open().decide("keep").close(MOVED)
    book.open().decide("retrain").close(MOVED)
    assert medians(book)["drift_to_detection_windows"].value == 1.0


def test_a_decision_after_the_promotion_of_who_waited_detected_nothing_before_it() -> None:
    book = founded().open().close(MOVED)
    book.open().promote("m1").decide("retrain").close(MOVED)
    found = medians(book)
    assert found["drift_to_promotion_windows"].value == 1.0
    assert not [name for name in found if "detection" in name]


@pytest.mark.parametrize("metric", ["pipeline.seconds", "data.blocked"])
def test_an_alert_on_something_else_detects_no_drift(metric: str) -> None:
    book = founded().open().alert(metric).close(MOVED)
    assert medians(book) == {}


def test_an_alert_that_could_not_be_computed_detects_nothing() -> None:
    assert medians(founded().open().alert("drift.share", math.nan).close(MOVED)) == {}


@pytest.mark.parametrize(("event", "n"), [("raised", 1), ("escalated", 1), ("open", 0), ("resolved", 0)])
def test_an_alert_detects_when_it_alarms(event: str, n: int) -> None:
    assert len(medians(founded().open().alert(event=event).close(MOVED))) == 2 * n


def test_drift_that_passes_by_itself_ends_its_episode() -> None:
    book = founded().quiet(2, MOVED).quiet(1, STILL).quiet(3, MOVED)
    told = seen(book)
    assert [(e.onset.index, e.over) for e in episodes(told)] == [(1, True), (4, False)]
    assert drift_open(told) == 3.0
    assert drift_open(told[:3]) == 2.0
    assert drift_open(told[:4]) == 0.0


def test_a_window_that_cannot_be_judged_ends_no_episode_and_begins_none() -> None:
    told = seen(founded().quiet(1, LOST).quiet(1, MOVED).quiet(1, LOST))
    assert math.isnan(drift_open(told[:2]))
    assert drift_open(told) == 2.0


def test_drift_in_the_founding_window_is_none() -> None:
    book = Book().open().promote("m0").close(MOVED)
    assert episodes(seen(book)) == []


def test_what_is_open_is_left_out_of_a_median_and_said() -> None:
    book = drifted_and_replaced().quiet(1, STILL).quiet(2, MOVED)
    found = medians(book)["drift_to_promotion_windows"]
    assert (found.n, found.method) == (1, "median, 1 without an end left out")


def test_an_outage_ends_when_a_champion_is_above_the_floor_again() -> None:
    book = founded().quiet(2).quiet(3, score=0.5).quiet(1, score=0.6)
    told = seen(book)
    assert [degraded(told[:n], FLOOR) for n in range(1, 8)] == pytest.approx(
        [math.nan, 0.0, 0.0, 1.0, 2.0, 3.0, 0.0], nan_ok=True
    )
    found = medians(book)
    assert (found["restore_windows"].value, found["restore_hours"].value) == (3.0, pytest.approx(3.0))


def test_a_metric_that_should_be_small_is_below_its_floor_when_it_is_large() -> None:
    told = seen(founded().quiet(1, score=0.7).quiet(1, score=0.5))
    assert [degraded(told[:n], Floor(0.6, False)) for n in (2, 3)] == [1.0, 0.0]


def test_an_undecidable_metric_neither_begins_nor_ends_an_outage() -> None:
    book = founded().quiet(1, score=math.nan).quiet(1, score=0.5).quiet(2, score=math.nan)
    told = seen(book)
    assert math.isnan(degraded(told[:2], FLOOR))
    assert degraded(told, FLOOR) == 3.0


def test_a_rollback_begins_an_outage_that_only_a_later_window_ends() -> None:
    book = founded().quiet(1).open().promote("m9", Route.ROLLBACK).close(STILL, score=0.7)
    assert [o.restored for o in outages(seen(book), FLOOR)] == [None]
    found = medians(book.quiet(1))["restore_windows"]
    assert (found.value, found.n) == (1.0, 1)


def test_without_a_floor_nobody_knows_of_an_outage() -> None:
    told = seen(founded().quiet(2, score=0.1))
    assert math.isnan(degraded(told, None))
    assert "restore_windows" not in named(delays(told, None, 0.95))


def test_a_rollback_is_no_promotion() -> None:
    book = founded().open().decide("retrain").promote("m9", Route.ROLLBACK).close(MOVED)
    assert [(e.over, e.promoted) for e in episodes(seen(book))] == [(False, None)]


def several(delays_: Sequence[int]) -> Book:
    """One episode for each: so many windows to a new model."""
    book = founded()
    for number, wait in enumerate(delays_, 1):
        book.quiet(1, STILL).quiet(wait, MOVED)
        book.open().promote(f"m{number}").close(MOVED, score=0.7)
    return book


def test_several_episodes_have_a_median_with_its_interval() -> None:
    found = medians(several([1, 5, 2, 2, 3, 9]))["drift_to_promotion_windows"]
    assert (found.value, found.low, found.high, found.n) == (2.5, 1.0, 9.0, 6)
    assert found.confidence_level == 0.95


def test_a_window_more_changes_only_what_it_must() -> None:
    book = several([1, 2])
    before = medians(book)
    assert medians(book.quiet(1, STILL)) == before
    assert medians(book.quiet(1, STILL, score=0.5)) == before  # an outage that is open has no delay yet
    after = medians(book.quiet(1, STILL))
    assert {name for name, e in after.items() if before.get(name) != e} == {"restore_windows", "restore_hours"}


def test_the_order_of_judging_within_a_window_changes_no_delay() -> None:
    one = founded().open().decide("retrain").judge("m1", Outcome.PASS).promote("m1").close(MOVED)
    two = founded().open().judge("m1", Outcome.PASS).decide("retrain").promote("m1").close(MOVED)
    assert {k: v.value for k, v in medians(one).items() if k.endswith("windows")} == {
        k: v.value for k, v in medians(two).items() if k.endswith("windows")
    }
