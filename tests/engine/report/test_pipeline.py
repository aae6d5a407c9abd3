"""The section on the pipeline: sentences that a manager reads, and every number with interval and source."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engine.records import Cycle, PipelineMetrics
from engine.records.measured import LASTING, Measure
from engine.report.pipeline import UNMEASURED, section, sentences
from tests.engine.cycles import cycle, estimate, measure, pipeline
from tests.engine.report.test_html import WORDS_OF_NAN, Reader, page

NAMES = "freshness_hours queue_seconds drift_open_windows degraded_windows training_cost gpu_hours gpu_utilisation"
UNKNOWN = dict.fromkeys([*NAMES.split(), "label_lag_windows"], math.nan)


def shown(*told: PipelineMetrics | None) -> str:
    cycles: list[Cycle] = [cycle(window=f"w{n}", pipeline=one) for n, one in enumerate(told)]
    return " ".join(Reader(str(section(cycles))).words).replace("\u00a0", " ")


def said(*lasting: Measure, **known: Any) -> str:
    return " ".join(sentences([pipeline(lasting=lasting, **(UNKNOWN | known))]))


def paid(value: float, half: float, n: int = 4, **more: Any) -> Measure:
    return measure("return_on_retraining", value, "EUR", low=value - half, high=value + half, n=n, **more)


def test_a_ledger_that_measured_nothing_says_so() -> None:
    assert UNMEASURED in shown(None, None)
    assert UNMEASURED in shown()
    assert UNMEASURED in " ".join(Reader(page()).words)


def test_it_is_a_section_of_the_page_with_its_place_in_the_navigation() -> None:
    reader = Reader(page((cycle(pipeline=pipeline()),)))
    assert "pipeline" in reader.values("id")
    assert "#pipeline" in reader.values("href")


def test_what_was_spent_and_returned_stands_on_top_beside_what_was_forecast() -> None:
    """A forecast of what promotions avoid must not be the only money that a manager reads first."""
    spent = measure("spent", 1_200.0, "EUR", method="counted")
    told = Reader(page((cycle(pipeline=pipeline(lasting=(spent, paid(-376.0, 45.0)))),)))
    top = " ".join(told.words).replace("\u00a0", " ").partition("Look at this")[0].partition("higher is better")[0]
    assert "Retraining has not paid: -376 [-421, -331] EUR after its costs, on 4 labelled windows" in top
    assert "return on retraining -376 [-421, -331] EUR measured on 4 windows" in top
    assert "spent so far 1,200 EUR" in top
    assert "spent on training" not in top
    unmeasured = " ".join(Reader(page()).words).replace("\u00a0", " ")
    assert "spent on training 126 EUR" in unmeasured
    assert "spent so far" not in unmeasured


def test_every_measure_has_its_words_value_method_and_rows() -> None:
    text = shown(pipeline())
    for name, words in LASTING.items():
        if name != "gain_points":
            assert name.removesuffix("_windows").removesuffix("_hours").replace("_", " ") in text
            assert words in text
    assert "median, 95 % interval" in text
    assert "3, 5" in text


@pytest.mark.parametrize(
    ("value", "half", "verdict"),
    [
        (900.0, 100.0, "has paid: 900 [800, 1,000] EUR"),
        (-900.0, 100.0, "has not paid"),
        (50.0, 100.0, "may have paid or not"),
    ],
)
def test_the_return_is_judged_by_its_interval(value: float, half: float, verdict: str) -> None:
    assert f"Retraining {verdict}" in said(paid(value, half))
    assert "on 4 labelled windows" in said(paid(value, half))


def test_an_undecidable_return_says_why_and_judges_nothing() -> None:
    text = said(paid(math.nan, math.nan, 0, reason="no label is in"))
    assert text == "What retraining has returned is undecidable: no label is in."


def test_attempts_without_a_new_model_have_cost_what_they_cost() -> None:
    assert said(paid(-40.0, 0.0, 0)) == "Retraining has brought no new model that served yet, and cost 40 EUR."


def test_costs_are_told_with_their_currency() -> None:
    spent = measure("spent", 900.0, "EUR", method="counted", low=900.0, high=900.0)
    window = measure("cost_per_window", 150.0, "EUR", low=20.0, high=280.0)
    each = measure("cost_per_promotion", 600.0, "EUR", method="counted", low=600.0, high=600.0)
    assert said(spent, window) == "The loop has cost 900 EUR, 150 EUR a window."
    assert said(spent, window, each).endswith("; each model that its gates let into production cost 600 EUR.")
    text = shown(pipeline(lasting=(spent, window, each)))
    assert "150 [20, 280] EUR" in text
    assert "900 EUR" in text  # a sum has no interval
    assert "[900" not in text


def test_delays_and_what_is_open_now() -> None:
    text = said(
        measure("drift_to_detection_windows", 1.0),
        measure("drift_to_promotion_windows", 3.0),
        drift_open_windows=2.0,
        degraded_windows=1.0,
    )
    assert text == (
        "In the median drift was detected after 1 window, a new model was in production after 3 windows."
        " Inputs have drifted for 2 windows, and nothing was promoted since."
        " The champion has been below its floor for 1 window."
    )


def test_what_is_quiet_is_not_mentioned() -> None:
    assert said(drift_open_windows=0.0, degraded_windows=0.0) == ""


def test_the_age_of_the_data() -> None:
    assert said(freshness_hours=5.0) == "When w2 was opened, its newest row was 5 h 00 min old."
    assert said(freshness_hours=240.0, queue_seconds=7.5) == (
        "When w2 was opened, its newest row was 10 days old and it waited 7.50 s."
    )


def test_shares_are_percents_and_nothing_reads_nan() -> None:
    share = measure("gate_pass_rate", 0.5, "share", low=0.1, high=0.9, method="Wilson", n=4)
    unknown = paid(math.nan, math.nan, 0, reason="no label is in")
    one = estimate(2.0, "drift_to_promotion_windows", low=math.nan, high=math.nan, n=1, method="median")
    alone = Measure(estimate=one, unit="windows", rows=(), n_rows=0)
    text = shown(pipeline(lasting=(share, unknown, alone), gain=None, flows={}, **UNKNOWN))
    assert "50 % [10 %, 90 %]" in text
    assert "undecidable" in text
    assert "2 windows" in text
    hours = estimate(1.5, "drift_to_promotion_hours", low=0.5, high=100.0)
    assert "drift to promotion, by the clock" in shown(pipeline())
    assert "1 h 30 min [30 min 00 s, 4 days]" in shown(
        pipeline(lasting=(Measure(estimate=hours, unit="hours", rows=(), n_rows=0),))
    )
    assert WORDS_OF_NAN.search(text) is None


def test_many_sources_name_the_newest_and_count_the_others() -> None:
    many = Measure(estimate=estimate(0.5, "gate_pass_rate"), unit="share", rows=(8, 9), n_rows=30)
    assert "28 older, 8, 9" in shown(pipeline(lasting=(many,)))


def test_each_window_has_its_line_and_the_newest_its_stages() -> None:
    text = shown(pipeline(window="a", freshness_hours=1.0), pipeline(window="b", freshness_hours=2.0))
    assert "1 h 00 min" in text
    assert "2 h 00 min" in text
    assert "Rows through the stages of b" in text
    assert "500" in text  # rows a second


def test_the_same_numbers_give_the_same_text() -> None:
    cycles = [cycle(pipeline=pipeline())]
    assert str(section(cycles)) == str(section(cycles))


def test_names_are_escaped() -> None:
    text = str(section([cycle(pipeline=pipeline(window="<script>", currency="<b>"))]))
    assert "<script>" not in text
    assert "<b>" not in text
