"""Shares, costs and the return, on ledgers written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.pipeline.lasting import lasting
from engine.pipeline.moments import replaced
from engine.pipeline.money import costs
from engine.records import Estimate, Look, Outcome, Route, TrialState, to_plain
from tests.engine.cycles import cycle, estimate
from tests.engine.pipeline.made import PRICES, STILL, TERMS, Book, attempt, founded, gained, metered, named


def told(book: Book) -> dict[str, Estimate]:
    """What a book says; its last cycle is the one at hand."""
    assert book.rows[-1].kind == "cycle"
    return named(lasting(book.rows[:-1], book.rows[-1].payload, TERMS).measures)


# ---- gates and trials ---------------------------------------------------------------------------------------------


def judged(*fates: str) -> Book:
    """A challenger a window: promoted, failed, or still waiting."""
    book = founded()
    for number, fate in enumerate(fates, 1):
        model = f"m{number}"
        book.open()
        if fate == "waits":
            look = to_plain(Look(number=1, most=3, spending="pocock", futility=0.0))
            book.judge(model, Outcome.PASS).judge(model, Outcome.INCONCLUSIVE, "shadow", look=look)
        elif fate == "promoted":
            book.judge(model, Outcome.PASS).judge(model, Outcome.PASS, "cold").promote(model)
        else:
            book.judge(model, Outcome(fate))
        book.close(STILL)
    return book


def test_the_pass_rate_counts_challengers_whose_gates_have_decided() -> None:
    found = told(judged("fail", "promoted", "waits", "inconclusive", "promoted"))["gate_pass_rate"]
    truth = stats.binomtest(2, 4).proportion_ci(0.95, method="wilson")
    assert (found.value, found.n) == (0.5, 4)
    assert (found.low, found.high) == pytest.approx((truth.low, truth.high))


def test_the_first_model_of_all_is_no_challenger() -> None:
    assert "gate_pass_rate" not in told(judged())
    assert told(judged("fail"))["gate_pass_rate"].value == 0.0


def test_one_whose_last_gate_refused_it_has_not_passed_where_a_person_promoted_it() -> None:
    book = founded().open().judge("m1", Outcome.PASS).judge("m1", Outcome.FAIL, "shadow")
    book.promote("m1", Route.MANUAL).close(STILL)
    assert told(book)["gate_pass_rate"].value == 0.0


def test_sweeps_without_a_usable_trial_were_refused_each_by_itself() -> None:
    book = founded()
    for _ in range(2):
        book.open().judge("", Outcome.FAIL).close(STILL)
    assert told(book)["gate_pass_rate"].n == 2


def test_the_rate_of_failed_trials_is_of_all_sweeps() -> None:
    ok, bad = TrialState.FINISHED, TrialState.FAILED
    book = founded().open().close(STILL, candidate=attempt(1.0, ok, bad, ok))
    book.open().close(STILL, candidate=attempt(1.0, bad))
    assert (told(book)["failed_trials_rate"].value, told(book)["failed_trials_rate"].n) == (0.5, 4)
    assert "failed_trials_rate" not in told(founded())


# ---- money --------------------------------------------------------------------------------------------------------


def test_the_cost_of_a_window_is_training_review_and_the_rest_of_its_time() -> None:
    plain = to_plain(cycle(candidate=attempt(5.0), timings={"read": 1800.0, "train": 7200.0, "ray": 1800.0}))
    found = costs(plain, PRICES)
    assert (found.training, found.review, found.running) == (5.0, 300.0, 2.0)
    assert (found.attempt, found.all) == (305.0, 307.0)


def test_no_challenger_needs_no_review() -> None:
    assert costs(to_plain(cycle(candidate=None, timings={})), PRICES).all == 0.0
    assert costs(to_plain(cycle(candidate=attempt(5.0, model=""), timings={})), PRICES).review == 0.0


def test_a_recorded_cost_stands_whatever_prices_are_now() -> None:
    known = metered("w2", training_cost=1.0, review_cost=2.0, running_cost=4.0)
    assert costs(to_plain(cycle(pipeline=known)), replace(PRICES, hour=999.0, review=999.0)).all == 7.0


def paid(book: Book, **known: Any) -> Book:
    """A window whose attempt cost 10, and which ran for 1."""
    costs_ = {"training_cost": 4.0, "review_cost": 6.0, "running_cost": 1.0}
    return book.close(STILL, candidate=attempt(4.0), pipeline=metered(book.name, **(costs_ | known)))


def idle(book: Book, **known: Any) -> Book:
    """A window that ran for 1, and what it tells of a gain."""
    return book.open().close(STILL, pipeline=metered(f"w{book.window:02d}", running_cost=1.0, **known))


def test_what_was_spent_and_what_a_promotion_cost() -> None:
    book = founded()
    paid(book.open())  # its challenger failed, and is paid for by the next
    paid(book.open().promote("m1"))
    found = told(idle(book))
    assert (found["spent"].value, found["spent"].low, found["spent"].n) == (23.0, 23.0, 4)
    assert found["cost_per_promotion"].value == 20.0
    assert found["cost_per_window"].value == pytest.approx(23 / 4)


def test_without_a_promotion_it_has_no_cost() -> None:
    assert "cost_per_promotion" not in told(paid(founded().open()))


def test_the_return_is_gains_times_their_value_minus_what_attempts_cost() -> None:
    book = founded()
    paid(book.open().promote("m1"))  # w01
    for _ in range(3):  # m1 serves w02, w03, w04; labels come a window later
        idle(book, gain=None if book.window == 1 else gained(book.name, 2.0, 0.5))
    found = told(book)["return_on_retraining"]
    half = math.sqrt(2) * 0.5 * PRICES.point
    assert (found.value, found.n) == (2 * 2.0 * 100.0 - 10.0, 2)
    assert (found.low, found.high) == pytest.approx((390.0 - half, 390.0 + half))
    assert found.method == "paired gains of 2 labelled windows, 1 that were served not in yet"


def test_the_return_is_undecidable_while_no_label_is_in() -> None:
    book = founded()
    paid(book.open().promote("m1"))
    for _ in range(2):
        found = told(book)["return_on_retraining"]
        assert math.isnan(found.value)
        assert math.isnan(found.low)
        assert found.reason == "no label is in of the windows that promoted models served"
        idle(book)


def test_a_gain_that_is_undecidable_counts_as_not_in() -> None:
    book = founded()
    paid(book.open().promote("m1"))
    idle(book)
    unknown = replace(
        gained("w02", 0.0, 0.0), points=estimate(math.nan, "gain_points", low=math.nan, high=math.nan, reason="no")
    )
    found = told(idle(book, gain=unknown))["return_on_retraining"]
    assert math.isnan(found.value)


def test_attempts_that_never_passed_have_cost_what_they_cost() -> None:
    book = founded()
    paid(book.open())
    found = told(paid(book.open()))["return_on_retraining"]
    assert (found.value, found.low, found.high, found.n) == (-20.0, -20.0, -20.0, 0)


def test_founding_is_no_retraining() -> None:
    book = Book().open().promote("m0")
    assert "return_on_retraining" not in told(paid(book))


def test_a_gain_of_a_model_that_did_not_serve_that_window_is_not_counted() -> None:
    book = founded()
    paid(book.open().promote("m1"))
    idle(book)
    found = told(idle(book, gain=gained("w02", 2.0, 0.5, model="m7")))["return_on_retraining"]
    assert math.isnan(found.value)


def test_a_larger_gain_returns_more_by_its_value_and_by_nothing_else() -> None:
    def returned(points: float) -> Estimate:
        book = founded()
        paid(book.open().promote("m1"))
        idle(book)
        return told(idle(book, gain=gained("w02", points, 0.5)))["return_on_retraining"]

    one, two = returned(1.0), returned(3.0)
    assert two.value - one.value == pytest.approx(2.0 * PRICES.point)
    assert two.high - two.low == pytest.approx(one.high - one.low)


def test_the_interval_of_a_return_holds_the_truth_as_often_as_it_says(
    record_property: Callable[[str, object], None],
) -> None:
    rng = np.random.default_rng(5)
    z = stats.norm.ppf(0.975)
    book = founded()
    paid(book.open().promote("m1"))
    for _ in range(5):
        idle(book)
    rows = book.rows
    held = []
    for _ in range(400):
        drawn = rng.normal(1.0, 0.4, 4)
        gains = {f"w{w:02d}": gained(f"w{w:02d}", float(g), z * 0.4) for w, g in zip(range(2, 6), drawn, strict=True)}
        changed = []
        for row in rows:
            if row.kind == "cycle" and row.window in gains:
                plain = row.payload | {"pipeline": to_plain(metered(row.window, gain=gains[row.window]))}
                row = replace(row, payload=plain)
            changed.append(row)
        e = named(lasting(changed[:-1], changed[-1].payload, TERMS).measures)["return_on_retraining"]
        held.append(e.low <= 4 * 1.0 * PRICES.point - 10.0 <= e.high)
    said = f"{np.mean(held):.1%} of {len(held)} ledgers with 4 labelled windows"
    record_property("the return on retraining lies in its interval (asked: 95 %)", said)
    assert np.mean(held) == pytest.approx(0.95, abs=4 * math.sqrt(0.05 * 0.95 / 400))


# ---- who replaced whom --------------------------------------------------------------------------------------------


def test_who_replaced_whom() -> None:
    book = founded().open().promote("m1").close(STILL)
    book.open().promote("m2", Route.MANUAL).close(STILL)
    book.open().promote("m1", Route.ROLLBACK).close(STILL)
    assert replaced(book.rows) == {"m1": "m0", "m2": "m1"}
    assert replaced(book.open().promote("m3").close(STILL).rows) == {"m1": "m0", "m2": "m1", "m3": "m1"}


# ---- metamorphic --------------------------------------------------------------------------------------------------


def test_a_window_in_which_nothing_happens_changes_the_windows_cost_alone() -> None:
    book = judged("fail", "promoted")
    before = told(book)
    after = told(idle(book))
    changed = {name for name in before if before[name] != after[name]}
    assert set(after) == set(before)
    assert changed == {"spent", "cost_per_window"}


def test_rows_of_other_kinds_change_nothing() -> None:
    book = judged("fail", "promoted")
    before = told(book)
    other = judged("fail", "promoted")
    other.rows.insert(3, replace(other.rows[3], kind="landed", id="x"))
    assert told(other) == before


def test_each_measure_names_rows_that_are_there() -> None:
    book = judged("fail", "promoted", "waits")
    paid(book.open().promote("m9"))
    for measure in lasting(book.rows[:-1], book.rows[-1].payload, TERMS).measures:
        kinds = {book.rows[seq - 1].kind for seq in measure.rows}
        assert kinds <= {"verdict", "cycle", "candidate"}
        assert kinds, measure.estimate.name


def test_a_ledger_of_an_earlier_release_is_read() -> None:
    book = judged("promoted", "fail")
    for row in book.rows:
        if row.kind == "cycle":
            row.payload.pop("pipeline")
            row.payload["candidate"] = None
    found = told(book)
    assert (found["spent"].value, found["gate_pass_rate"].value) == (0.0, 0.5)
