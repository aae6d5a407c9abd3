from __future__ import annotations

import itertools
import math
import re

import pytest

from engine.report.axes import Scale, band, grid, spread, ticks, window_names


def test_a_scale_is_linear_and_may_point_upwards() -> None:
    scale = Scale(0.0, 10.0, 200.0, 0.0)
    assert [scale(v) for v in (0.0, 5.0, 10.0)] == [200.0, 100.0, 0.0]


def test_spread_holds_all_finite_values_with_a_margin() -> None:
    scale = spread([1.0, math.nan, 3.0, math.inf], 0.0, 100.0, margin=0.1)
    assert scale is not None
    assert (scale.low, scale.high) == pytest.approx((0.8, 3.2))
    assert spread([math.nan], 0.0, 1.0) is None
    assert spread([], 0.0, 1.0) is None


@pytest.mark.parametrize("value", [0.0, 5.0, -1e-6, 1e12])
def test_a_single_value_still_has_a_scale(value: float) -> None:
    scale = spread([value], 0.0, 100.0)
    assert scale is not None
    assert scale.low < value < scale.high
    assert scale(value) == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.691, 0.739), (-3.0, 7.0), (0.0, 1234.0), (1e-7, 9e-7), (99.0, 101.0)]
)
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    marks = ticks(Scale(low, high, 0.0, 1.0))
    assert 3 <= len(marks) <= 11
    assert all(low - 1e-12 <= t <= high + 1e-12 for t in marks)
    steps = {round((b - a) / (high - low), 6) for a, b in itertools.pairwise(marks)}
    assert len(steps) == 1


def test_labels_of_ticks_are_all_different() -> None:
    for low, high in ((0.0, 1.0), (0.70, 0.71), (0.0, 0.0012), (0.0, 12.5)):
        labels = re.findall(r">([^<]+)</text>", "".join(grid(Scale(low, high, 100.0, 0.0), 0.0, 10.0)))
        assert len(labels) == len(set(labels)) >= 3


def test_a_band_fills_the_room_between_its_limits() -> None:
    few, many, crowd = (band([str(i) for i in range(n)], 60.0) for n in (3, 20, 500))
    assert few.step == 90.0
    assert many.right == pytest.approx(980.0)
    assert crowd.step == 16.0
    assert few.middle(0) == 105.0


@pytest.mark.parametrize("n", [1, 10, 30, 120])
def test_names_never_overlap(n: int) -> None:
    columns = band([f"2013-{i:03d}" for i in range(n)], 60.0)
    places = [float(x) for x in re.findall(r'<text x="([0-9.]+)"', "".join(window_names(columns, 10.0)))]
    assert places
    assert all(b - a >= 8 * 7.0 - 1 for a, b in itertools.pairwise(places))
