"""What a backtest says, on the terminal and on its page."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from engine.records.contested import Contested, Line, Margin
from engine.report import contest_words as said
from engine.report.contest_page import contest_page
from engine.report.contest_table import contest_table
from engine.report.tables import plain


def line(policy: str, cost: float, acted: tuple[int, ...] = (), passed: tuple[bool, ...] = ()) -> Line:
    return Line(
        policy=policy,
        parameters="calendar=3" if policy == "calendar" else "",
        cost=cost,
        regret=cost - 900,
        lost=cost - 300 * len(acted),
        spent=300.0 * len(acted),
        attempts=len(acted),
        promoted=sum(passed),
        degraded=1,
        windows=4,
        below=(0.0, 1.5, 0.25, 3.0),
        acted=acted,
        passed=passed,
        costs=(cost / 4,) * 4,
    )


LINES = (
    line("oracle", 900, (3,), (True,)),
    line("calendar", 1200, (3, 5), (True, False)),
    line("cost_aware", 1510),
    line("drift", 4000),
)
FOUND = Contested(
    past="flights",
    names=("w2", "w3", "w4", "w5"),
    first=2,
    tuned_on=(),
    unit="windows",
    units=4,
    freedom=3,
    confidence_level=0.95,
    currency="EUR",
    lines=LINES,
    margins=(
        Margin(policy="cost_aware", more=310, low=-120.4, high=740),
        Margin(policy="drift", more=2800, low=1900, high=3700),
    ),
    pictured=LINES,
    left_out=("w9",),
)


def test_the_sentences() -> None:
    assert said.headline(FOUND) == (
        "flights: calendar (calendar=3) would have been cheapest, 1,200 EUR over 4 windows; knowing the future, 900 EUR"
    )
    assert said.verdict(FOUND) == (
        "cost_aware, the next, would have cost 310 EUR more [-120, 740]; "
        "more than noise separates it from drift, and not from cost_aware"
    )
    assert said.configured(FOUND, "calendar") == "calendar, the policy of this config, is the cheapest"
    assert said.configured(FOUND, "drift") == (
        "drift, the policy of this config, would have cost 2,800 EUR more [1,900, 3,700]: more than noise"
    )
    assert said.configured(FOUND, "upf") == ""
    assert said.promise(FOUND) == (
        "intervals: paired, Student's t over 4 windows of one past with 3 degrees of freedom, alike as windows are in "
        "time, 95 % for all of them together; what another past would have made the policies do is not in them"
    )
    assert said.aside(FOUND) == [
        "windows w2 to w5; the parameters are those of the config",
        "not fit for use, and left out: w9",
    ]


def test_what_cannot_be_told_apart_is_said_so() -> None:
    equal = Margin(policy="cost_aware", more=0, low=0, high=0)
    none = replace(FOUND, margins=(equal,), lines=LINES[:3])
    assert said.verdict(none) == "cost_aware, the next, would have cost as much; no difference is more than noise"
    clear = replace(FOUND, margins=(FOUND.margins[1],))
    assert said.verdict(clear).endswith("; it is cheaper than every other one, by more than noise")
    undecidable = Margin(policy="drift", more=float("nan"), low=float("nan"), high=float("nan"))
    assert not undecidable.told_apart


def test_too_few_windows_have_no_intervals_and_nothing_is_said_of_noise() -> None:
    margins = tuple(replace(margin, low=float("nan"), high=float("nan")) for margin in FOUND.margins)
    few = replace(FOUND, freedom=0, margins=margins)
    assert said.verdict(few) == (
        "cost_aware, the next, would have cost 310 EUR more; whether that is more than noise cannot be told"
    )
    assert said.configured(few, "drift") == (
        "drift, the policy of this config, would have cost 2,800 EUR more: "
        "whether that is more than noise cannot be told"
    )
    assert said.promise(few) == "intervals: none, 4 windows of one past are too few to tell noise by"
    rows = [row.split() for row in plain(contest_table(few), width=220).splitlines()]
    assert any(row[:5] == ["drift", "4,000", "3,100", "2,800", "4,000"] for row in rows)


def test_the_table_has_a_row_a_policy() -> None:
    text = plain(contest_table(FOUND), width=220)
    rows = [row.split() for row in text.splitlines()]
    assert ["oracle", "900", "0", "600", "300", "1", "1", "1"] in rows
    calendar = next(row for row in rows if row and row[0] == "calendar")
    assert calendar == ["calendar", "calendar=3", "1,200", "300", "600", "600", "2", "1", "1"]
    assert any(row[:5] == ["drift", "4,000", "3,100", "2,800", "[1,900,"] for row in rows)
    assert "parameters" in said.columns(FOUND)
    assert "parameters" not in said.columns(replace(FOUND, lines=(LINES[0], *LINES[2:])))


def test_the_page_draws_each_window_and_each_attempt() -> None:
    text = contest_page("flights", [FOUND], "drift")
    assert text == contest_page("flights", [FOUND], "drift")
    assert text.count('class="bar waiting"') == 4 * len(LINES)
    assert "oracle retrains in w3: promoted" in text
    assert "calendar retrains in w5: not promoted" in text
    assert "calendar, w5: 3.00 points below the best" in text
    assert "points below the best model that could have served; the tallest bar is 3.00</li>" in text
    assert text.count('class="cross"') == 1
    assert "the policy of this config, would have cost" in text
    assert not re.search(r"<script|https?://(?!www\.w3\.org)", text)


@pytest.mark.parametrize("name", ["<b>x</b>", "a&b"])
def test_nothing_of_the_data_becomes_an_element(name: str) -> None:
    text = contest_page(name, [replace(FOUND, past=name, names=(name, "w3", "w4", "w5"))], "drift")
    assert name not in text.replace("&amp;", "\0")


def test_two_pasts_have_sections_of_their_own_and_one_that_costs_nothing_is_drawn() -> None:
    still = tuple(replace(one, below=(0.0,) * 4) for one in LINES)
    text = contest_page("streams", [replace(FOUND, past="abrupt streams"), replace(FOUND, pictured=still)], "never")
    assert 'id="abrupt-streams"' in text
    assert 'id="flights"' in text
