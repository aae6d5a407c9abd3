from __future__ import annotations

import math

import pytest

from engine.report.markup import Markup, join, tag


def test_text_is_escaped_and_markup_is_not() -> None:
    made = tag("td", "<b>&\"'", tag("i", "x"))
    assert made == "<td>&lt;b&gt;&amp;&quot;&#x27;<i>x</i></td>"
    assert isinstance(made, Markup)


def test_attributes_are_escaped_and_renamed() -> None:
    made = tag("a", title='"><script>', class_="c", aria_label="l", stroke_width=1.25, open=True, hidden=False)
    assert made == '<a title="&quot;&gt;&lt;script&gt;" class="c" aria-label="l" stroke-width="1.25" open></a>'


def test_children_may_be_nested_numbers_or_nothing() -> None:
    assert tag("p", ["a", (1, None, [Markup("<br>")])]) == "<p>a1<br></p>"
    assert tag("br") == "<br>"
    assert join(None) == ""


def test_control_characters_do_not_pass() -> None:
    assert tag("p", "a\x00b\x1b", title="c\x07") == '<p title="c ">a b </p>'


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_place_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not a place in a drawing"):
        tag("line", x1=value)


def test_a_float_must_be_formatted_first() -> None:
    with pytest.raises(TypeError, match="format it first"):
        tag("p", 0.5)


def test_coordinates_are_short() -> None:
    assert tag("line", x1=1 / 3, x2=2.0) == '<line x1="0.33" x2="2"></line>'
