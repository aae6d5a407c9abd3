"""The primary metric against its reference on the page: an alarm says since when, how much and what it costs."""

from __future__ import annotations

import dataclasses
import math
import xml.etree.ElementTree as ET
from typing import Any

from engine.records import Cycle, RiskOutcome
from engine.report import decay, html, story
from tests.engine import cycles
from tests.engine.cycles import cycle, estimate

SHOWN = {"since": "w2", "reason": "roc_auc_score is 0.2 below its reference 0.76 since w1"}


def told(window: str, outcome: RiskOutcome = RiskOutcome.NO_ALARM, **more: Any) -> Cycle:
    seen = cycle().monitor
    assert seen is not None
    return cycle(window=window, monitor=dataclasses.replace(seen, decay=cycles.decay(outcome, **more)))


def section(*shown: Cycle) -> str:
    page = str(decay.section(shown))
    ET.fromstring(page)  # well-formed
    return page


def test_without_a_model_it_says_so() -> None:
    assert "Nothing is held against a reference yet" in section(cycle(monitor=None))


def test_a_quiet_window_says_what_would_be_seen() -> None:
    page = section(told("w2"))
    assert "0.730 [0.720, 0.740]" in page
    assert "3.0 [1.5, 4.5] from w1" in page or "3.00 [1.50, 4.50] from w1" in page
    assert ">6.0<" in page  # points that would be seen
    assert "no alarm" in page
    assert "EUR" not in page  # nothing is shown, so nothing is said to be lost
    assert not list(decay.attention(told("w2")))


def test_an_alarm_asks_for_attention_with_its_price() -> None:
    late = told("w3", RiskOutcome.ALARM, **SHOWN)
    said = (
        "w3: the model decays since w1: roc_auc_score is 0.2 below its reference 0.76 since w1; a window costs 300 EUR."
    )
    assert list(decay.attention(late)) == [said]
    assert said.removeprefix("w3: ") in " ".join(story.tell([late], "roc_auc_score").attention)
    assert "300 EUR" in section(told("w2"), late)
    free = told("w3", RiskOutcome.ALARM, **SHOWN, point_value=0.0)
    assert "costs" not in next(decay.attention(free))


def test_what_is_undecidable_says_why() -> None:
    nothing = estimate(math.nan, low=math.nan, high=math.nan, n=0)
    page = section(
        told("w1", RiskOutcome.UNDECIDABLE, reason="w1: too few rows <30>", drop=nothing, newest=nothing,
             reference=math.nan, detectable=math.nan, windows=())
    )  # fmt: skip
    assert "w1: too few rows &lt;30&gt;" in page
    assert "nan" not in page


def test_the_page_has_it_between_performance_and_risk() -> None:
    page = html.render([told("w2")], title="t", primary="roc_auc_score", config={})
    assert page.index('id="performance"') < page.index('id="decay"') < page.index('id="risk"')
