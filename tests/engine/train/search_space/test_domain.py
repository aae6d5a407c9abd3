from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.train.search_space import Domain


@pytest.mark.parametrize(
    ("domain", "size", "listed", "ends"),
    [
        (Domain("k", values=(8, "a", [1])), 3, [8, "a", [1]], (8, "a", [1])),
        (Domain("k", low=2, high=4, integer=True), 3, [2, 3, 4], (2, 4)),
        (Domain("k", low=0.5, high=4.0), None, [], (0.5, 4.0)),
    ],
)
def test_what_a_domain_holds(domain: Domain, size: int | None, listed: list[object], ends: tuple[object, ...]) -> None:
    assert (domain.size, list(domain.listed), domain.ends) == (size, listed, ends)
    assert [type(end) for end in domain.ends] == [type(end) for end in ends]


def test_both_ends_of_a_whole_interval_are_as_likely_as_their_neighbours() -> None:
    rng = random.Random(0)
    linear = Domain("k", low=1, high=4, integer=True)
    counts = [sum(linear.draw(rng) == v for _ in range(4000)) for v in range(1, 5)]
    assert min(counts) > 850  # 1000 expected, five standard deviations below
    log = Domain("k", low=1, high=4, integer=True, log=True)
    drawn = [log.draw(rng) for _ in range(8000)]
    assert all(type(v) is int for v in drawn)
    for value in range(1, 5):  # log-uniform on [0.5, 4.5]
        expected = 8000 * math.log((value + 0.5) / (value - 0.5)) / math.log(9)
        assert abs(drawn.count(value) - expected) < 5 * math.sqrt(expected)


@given(st.floats(1e-12, 1e6), st.floats(1.0001, 1e6), st.integers(0, 2**32))
def test_a_draw_lies_within_the_interval(low: float, ratio: float, seed: int) -> None:
    rng = random.Random(seed)
    for log in (False, True):
        assert low <= Domain("k", low=low, high=low * ratio, log=log).draw(rng) <= low * ratio
