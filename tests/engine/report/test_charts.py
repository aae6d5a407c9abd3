from __future__ import annotations

import dataclasses
import math
import re
import xml.etree.ElementTree as ET

import pytest

from engine.records import Action, ColumnDrift, DriftOutcome, Outcome, RuleResult
from engine.report import charts, heat, marks
from engine.report.markup import Markup
from tests.engine.report.fixtures import FIRST, PRIMARY, SECOND, WINDOWS, decision, drift, estimate, rule

NAN = math.nan


def parsed(drawn: Markup | None) -> ET.Element:
    """Every drawing is well-formed XML; what is not finite would have raised."""
    assert drawn is not None
    return ET.fromstring(drawn)


def titles(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter("title")]


def test_the_timeline_puts_better_higher_and_later_further_right() -> None:
    points = [
        charts.Point(0, estimate(PRIMARY, 0.70, 0.01), FIRST),
        charts.Point(1, estimate(PRIMARY, 0.75, 0.01), FIRST),
        charts.Point(1, estimate(PRIMARY, 0.72, 0.01), SECOND, Outcome.PASS),
    ]
    root = parsed(charts.timeline(WINDOWS[:2], points, [charts.Tenure(FIRST, 0, 1)], {}, PRIMARY))
    circles = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in root.iter("circle")]
    assert circles[0][0] < circles[1][0] < circles[2][0]
    assert circles[0][1] > circles[2][1] > circles[1][1]
    assert any("0.750 [0.740, 0.760], 95 % interval by delong on 26,000 rows" in title for title in titles(root))


def test_a_new_model_starts_a_new_line_and_a_new_tenure() -> None:
    points = [charts.Point(i, estimate(PRIMARY, 0.7, 0.01), FIRST if i < 2 else SECOND) for i in range(4)]
    tenures = [charts.Tenure(FIRST, 0, 1), charts.Tenure(SECOND, 2, 3)]
    root = parsed(charts.timeline(WINDOWS[:4], points, tenures, {3: "auroc is low"}, PRIMARY))
    lines = [line.get("points", "").split() for line in root.iter("polyline")]
    assert [len(line) for line in lines] == [2, 2]
    assert len([line for line in root.iter("line") if line.get("class") == "change"]) == 1
    assert f"{SECOND} in production from {WINDOWS[2]} to {WINDOWS[3]}" in titles(root)
    assert "auroc is low" in titles(root)


def test_undecidable_points_are_not_drawn_and_open_intervals_have_no_whisker() -> None:
    lost = charts.Point(0, estimate(PRIMARY, NAN, NAN), FIRST)
    bare = charts.Point(1, estimate(PRIMARY, 0.7, NAN), FIRST)
    assert charts.timeline(WINDOWS[:2], [lost], [], {}, PRIMARY) is None
    root = parsed(charts.timeline(WINDOWS[:2], [lost, bare], [], {}, PRIMARY))
    assert len(list(root.iter("circle"))) == 1
    assert [p for p in root.iter("path") if "whisker" in p.get("class", "")] == []


def test_outcomes_differ_in_shape_not_only_in_colour() -> None:
    drawn = {outcome: marks.shape(outcome, 10.0, 10.0) for outcome in Outcome}
    shapes = {re.sub(r'class="[^"]*"', "", mark) for mark in drawn.values()}
    assert len(shapes) == 3


def test_the_heat_map_marks_drift_floor_and_undecidable() -> None:
    report = drift(WINDOWS[4], 4)
    rows = {column.column: {0: column} for column in report.columns}
    root = parsed(heat.heat_map(WINDOWS[:1], rows, "k"))
    cells = [g for g in root.iter("g") if g.find("rect") is not None]
    assert len(cells) == 20
    for cell, column in zip(cells, report.columns, strict=True):
        classes = [rect.get("class") for rect in cell.iter("rect")]
        assert ("moved" in classes) == (column.outcome is DriftOutcome.DRIFT)
        shown = [t.text for t in cell.iter("text")]
        if column.outcome is DriftOutcome.UNDECIDABLE:
            assert shown == ["?"]
            assert "heat" not in classes
        else:
            assert shown == [f"{abs(column.effect) / column.floor:.1f}"]
            opacity = float(next(r.get("fill-opacity", "") for r in cell.iter("rect") if r.get("class") == "heat"))
            assert opacity == pytest.approx(min(1.0, column.effect / column.floor / 3), abs=0.006)


def test_a_floor_of_zero_is_no_division() -> None:
    column = dataclasses.replace(drift(WINDOWS[2], 2).columns[0], floor=0.0, effect=0.4)
    parsed(heat.heat_map(WINDOWS[:1], {column.column: {0: column}}, "k"))


def test_money_bars_are_as_long_as_their_means() -> None:
    made = {
        0: decision(WINDOWS[0], Action.RETUNE, 400.0, 100.0, 0.9),
        1: decision(WINDOWS[1], Action.KEEP, NAN, 50.0, NAN),
    }
    root = parsed(charts.money_bars(WINDOWS[:2], made))
    bars = {
        title.text: float(rect.get("height", ""))
        for rect in root.iter("rect")
        if (title := rect.find("title")) is not None
    }
    assert len(bars) == 3
    waiting = bars[f"{WINDOWS[0]}: waiting 400 \u00b1\u00a0133 EUR"]
    acting = bars[f"{WINDOWS[0]}: acting 100 \u00b1\u00a020 EUR"]
    assert waiting == pytest.approx(4 * acting, rel=0.01)
    assert "?" in [t.text for t in root.iter("text")]
    assert charts.money_bars(WINDOWS[:1], {0: decision(WINDOWS[0], Action.KEEP, NAN, NAN, NAN)}) is None


def test_a_gain_is_drawn_below_zero() -> None:
    made = {0: decision(WINDOWS[0], Action.KEEP, -50.0, 100.0, 0.1)}
    root = parsed(charts.money_bars(WINDOWS[:1], made))
    (axis,) = [float(line.get("y1", "")) for line in root.iter("line") if line.get("class") == "axis"]
    tops = [float(r.get("y", "")) for r in root.iter("rect")]
    assert min(tops) < axis
    assert max(tops) == pytest.approx(axis, abs=0.01)


def test_stacked_seconds_stack() -> None:
    timings = [{"train": 6.0, "read": 3.0}, {"read": 1.0, "idle": 0.0}]
    root = parsed(charts.stacked_seconds(WINDOWS[:2], ["train", "read", "idle"], timings))
    bars = {t.text: r for r in root.iter("rect") if (t := r.find("title")) is not None}
    assert len(bars) == 3
    train, read = (bars[f"{WINDOWS[0]}: {name}"] for name in ("train 6.00 s", "read 3.00 s"))
    assert float(train.get("height", "")) == pytest.approx(2 * float(read.get("height", "")), rel=0.01)
    assert float(read.get("y", "")) + float(read.get("height", "")) == pytest.approx(
        float(train.get("y", "")), abs=0.02
    )
    assert charts.stacked_seconds(WINDOWS[:1], [], [{}]) is None


@pytest.mark.parametrize(("value", "bound"), [(0.01, 0.0), (-0.01, 0.0), (0.72, 0.65)])
def test_the_forest_puts_the_estimate_on_its_side_of_the_bound(value: float, bound: float) -> None:
    root = parsed(marks.forest(rule("r", Outcome.PASS, value, 0.004, bound, "")))
    (dashed,) = [float(line.get("x1", "")) for line in root.iter("line") if line.get("class") == "bound"]
    (dot,) = [float(c.get("cx", "")) for c in root.iter("circle")]
    assert (dot > dashed) == (value > bound)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (rule("r", Outcome.INCONCLUSIVE, NAN, NAN, 0.0, ""), "undecidable"),
        (
            dataclasses.replace(rule("r", Outcome.FAIL, 0.1, 0.1, 0.0, ""), estimate=None),
            "no number was compared",
        ),
    ],
)
def test_the_forest_says_when_there_is_nothing_to_draw(result: RuleResult, said: str) -> None:
    assert said in [t.text for t in parsed(marks.forest(result)).iter("text")]


def test_the_forest_survives_a_missing_bound_and_an_open_interval() -> None:
    bare = dataclasses.replace(rule("r", Outcome.PASS, 0.1, 0.1, NAN, ""), estimate=estimate(PRIMARY, 0.1, NAN))
    root = parsed(marks.forest(bare))
    assert len(list(root.iter("circle"))) == 1
    assert [line for line in root.iter("line") if line.get("class") == "bound"] == []


def test_the_sparkline_leaves_gaps_and_says_undecidable() -> None:
    root = parsed(marks.sparkline([0.6, NAN, 0.7], "curve"))
    (line,) = root.iter("polyline")
    assert len(line.get("points", "").split()) == 2
    assert "undecidable" in marks.sparkline([NAN], "curve")
    assert "undecidable" in marks.sparkline([], "curve")


def test_every_drawing_is_named_for_those_who_cannot_see_it() -> None:
    column: ColumnDrift = drift(WINDOWS[2], 2).columns[0]
    for drawn in (
        marks.forest(rule("r", Outcome.PASS, 0.1, 0.1, 0.0, "")),
        marks.sparkline([0.6, 0.7], "curve"),
        heat.heat_map(WINDOWS[:1], {column.column: {0: column}}, "k"),
        charts.stacked_seconds(WINDOWS[:1], ["read"], [{"read": 1.0}]),
    ):
        root = parsed(drawn)
        (svg,) = [root] if root.tag == "svg" else root.iter("svg")
        assert svg.get("role") == "img"
        assert svg.find("title") is not None


def test_a_model_that_comes_back_does_not_draw_a_line_through_the_one_between() -> None:
    models = (FIRST, FIRST, SECOND, SECOND, FIRST, FIRST)
    points = [charts.Point(i, estimate(PRIMARY, 0.7, 0.01), model) for i, model in enumerate(models)]
    root = parsed(charts.timeline(WINDOWS[:6], points, [], {}, PRIMARY))
    assert [len(line.get("points", "").split()) for line in root.iter("polyline")] == [2, 2, 2]
