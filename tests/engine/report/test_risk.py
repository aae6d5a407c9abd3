"""Two readings of the risk on the page: by labels, and before them; each is called what it is."""

from __future__ import annotations

import dataclasses
import math
import xml.etree.ElementTree as ET
from typing import Any

from engine.records import Cycle, ExpectedRisk, RiskOutcome
from engine.report import html, risk
from tests.engine import cycles
from tests.engine.cycles import cycle, estimate


def told(window: str, labelled: str, by_labels: RiskOutcome, ahead: ExpectedRisk | None, **more: Any) -> Cycle:
    seen = cycle().monitor
    assert seen is not None
    own = cycles.risk(by_labels, windows=(labelled,) if labelled else (), **more)
    return cycle(window=window, monitor=dataclasses.replace(seen, risk=own, expected_risk=ahead))


def section(*shown: Cycle) -> str:
    page = str(risk.section(shown))
    ET.fromstring(page)  # well-formed
    return page


def test_a_loop_without_a_risk_says_so() -> None:
    assert "No risk is tracked yet" in section(cycle(monitor=None))


def test_labels_and_what_is_expected_are_two_marks() -> None:
    page = section(
        told("w1", "", RiskOutcome.UNDECIDABLE, None, reason="no labels have come in since",
             risk=estimate(math.nan, "brier", n=0)),
        told("w2", "w1", RiskOutcome.NO_ALARM, cycles.expected_risk()),
    )  # fmt: skip
    assert page.count('class="dot"') == 1  # w1, once its labels were in
    assert page.count('class="diamond inconclusive"') == 1
    assert "w1: risk so far 0.160 [0.150, 0.170] by labels, no alarm" in page
    assert "w2: 0.1580 expected without labels, give or take 0.0040, no alarm" in page
    assert page.count('class="bound"') == 1
    assert "They see no change of what labels mean" in page
    assert "no labels have come in since" in page


def test_a_risk_that_has_moved_is_shown_without_bounds_that_no_longer_hold_it() -> None:
    """Bounds at any time looked are those of one mean; after a jump the mean so far lies outside of them."""
    outside = estimate(0.19, "brier", low=0.175, high=0.183)
    page = section(told("w2", "w2", RiskOutcome.NO_ALARM, None, risk=outside))
    assert "w2: risk so far 0.1900, has moved by labels, no alarm" in page
    assert "0.183" not in page
    assert 'class="whisker champion"' not in page
    assert page.count('class="dot"') == 1


def test_an_alarm_of_either_is_said_by_its_name() -> None:
    late = told("w3", "w2", RiskOutcome.ALARM, cycles.expected_risk(), since="w2", reason="brier is above 0.17")
    ahead = cycles.expected_risk(RiskOutcome.ALARM, since="w3", reason="brier is expected above")
    soon = told("w3", "w2", RiskOutcome.NO_ALARM, ahead)
    assert list(risk.attention(late)) == ["w3: the risk is too high since w2: brier is above 0.17."]
    assert list(risk.attention(soon)) == ["w3: the risk is expected to be too high since w3: brier is expected above."]
    assert "\u25b2" in section(told("w2", "w1", RiskOutcome.NO_ALARM, None), late)
    assert "\u25b3" in section(told("w2", "w1", RiskOutcome.NO_ALARM, None), soon)


def test_what_is_undecidable_is_drawn_nowhere_and_says_why() -> None:
    lost = cycles.expected_risk(RiskOutcome.UNDECIDABLE, newest=math.nan, error=math.nan, reason="rows <lie> elsewhere")
    page = section(told("w2", "w1", RiskOutcome.NO_ALARM, lost))
    assert 'class="diamond inconclusive"' not in page
    assert "rows &lt;lie&gt; elsewhere" in page
    assert "nan" not in page
    assert not list(risk.attention(told("w2", "w1", RiskOutcome.NO_ALARM, lost)))


def test_the_page_has_it_behind_performance() -> None:
    page = html.render(
        [told("w2", "w1", RiskOutcome.NO_ALARM, cycles.expected_risk())], title="t", primary="roc_auc_score", config={}
    )
    assert page.index('id="performance"') < page.index('id="risk"') < page.index('id="windows"')
