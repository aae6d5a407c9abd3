from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.train.search_space import Domain, draw, parse, quote

KEY = "train.lr"


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("choice(64, 128)", (64, 128)),
        ("64,128", (64, 128)),
        ("choice(relu, 'leaky relu', \"it's\")", ("relu", "leaky relu", "it's")),
        ("'a b','c,d'", ("a b", "c,d")),
        ("choice([1,'x y'],{a:1,b:[2]})", ([1, "x y"], {"a": 1, "b": [2]})),
        ("null,true,1.5", (None, True, 1.5)),
        ("range(1, 9, 2)", (1, 3, 5, 7)),
        ("range(3)", (0, 1, 2)),
        ("range(3, 0, -1)", (3, 2, 1)),
        ("sort(choice(3,1,2))", (1, 2, 3)),
        ("int(choice(1.5,2))", (1, 2)),
        ("64", (64,)),
        ("null", (None,)),
        ("'x y'", ("x y",)),
    ],
)
def test_lists_of_values(expression: str, values: tuple[Any, ...]) -> None:
    domain = parse(KEY, expression)
    assert domain.values == values
    assert [type(v) for v in domain.values] == [type(v) for v in values]
    assert not domain.grid


@pytest.mark.parametrize(
    ("expression", "domain"),
    [
        ("interval(0.1, 0.5)", Domain(KEY, low=0.1, high=0.5)),
        ("interval(1, 9)", Domain(KEY, low=1.0, high=9.0)),
        ("tag(log, interval(1e-4, 1e-2))", Domain(KEY, low=1e-4, high=1e-2, log=True)),
        ("int(interval(1, 9))", Domain(KEY, low=1.0, high=9.0, integer=True)),
        ("tag(int, interval(1, 9))", Domain(KEY, low=1.0, high=9.0, integer=True)),
        ("tag(log, int(interval(1, 512)))", Domain(KEY, low=1.0, high=512.0, log=True, integer=True)),
        ("tag(grid, choice(1, 2))", Domain(KEY, values=(1, 2), grid=True)),
        ("tag(grid, range(2))", Domain(KEY, values=(0, 1), grid=True)),
    ],
)
def test_intervals_and_tags(expression: str, domain: Domain) -> None:
    assert parse(KEY, expression) == domain


CURE = "write it in Hydra's sweep grammar, such as choice(64,128) or tag(log,interval(1e-4,1e-2))"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("interval(1,5", f"'interval(1,5' cannot be read (no viable alternative at input 'interval(1,5') - {CURE}"),
        ("range(5, 1)", f"'range(5, 1)' names no values - {CURE}"),
        ("range(1, 5, 0)", f"'range(1, 5, 0)' names no values - {CURE}"),
        ("glob(*)", f"'glob(*)' names no values - {CURE}"),
        ("tag(lin, interval(1, 2))", "unknown tag 'lin' - use the tags log, int or grid"),
        ("tag(log, choice(1, 2))", "'tag(log, choice(1, 2))' has no scale - use tag(log, ...) with an interval"),
        ("tag(grid, interval(1, 2))", "an interval has no grid - use range or choice with tag(grid, ...)"),
        ("interval(2, 1)", "the interval ends at 1, at or below its start - swap or widen the ends"),
        ("interval(1, 1)", "the interval ends at 1, at or below its start - swap or widen the ends"),
        ("interval(0, inf)", "an interval needs finite ends - choose both ends"),
        ("tag(log, interval(0, 1))", "a log interval cannot start at 0 - start it above 0"),
        ("tag(int, interval(0.5, 2))", "an int interval needs whole ends - round both ends"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(expression: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(KEY, expression)
    assert str(error.value) == f"search.space:{KEY}: {message}"


def test_an_empty_choice_is_refused_in_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r"^search\.space:train\.lr: 'choice\(\)' cannot be read \(.*\) - .*$"
    ) as error:
        parse(KEY, "choice()")
    assert "\n" not in str(error.value)


def test_one_seed_names_one_list_of_points() -> None:
    space = {
        KEY: "tag(log, interval(1e-4, 1e-1))",
        "model.width": "choice(64,128)",
        "model.depth": "int(interval(1,4))",
    }
    points = draw(space, 8, seed=3)
    assert draw(space, 8, seed=3) == points
    assert draw(space, 8, seed=4) != points
    assert draw(space, 5, seed=3) == points[:5]  # more samples go on where fewer ended
    for point in points:
        assert list(point) == list(space)
        assert 1e-4 <= point[KEY] <= 1e-1
        assert point["model.width"] in (64, 128)
        assert point["model.depth"] in (1, 2, 3, 4)
        assert type(point["model.depth"]) is int


def test_a_grid_is_walked_in_full_with_samples_in_each_cell() -> None:
    space = {"model.width": "tag(grid, choice(8,16,32))", "model.depth": "tag(grid, range(2))", KEY: "interval(0, 1)"}
    points = draw(space, 2, seed=0)
    cells = [(p["model.width"], p["model.depth"]) for p in points]
    assert cells == [(w, d) for w in (8, 16, 32) for d in (0, 1) for _ in range(2)]
    assert len({p[KEY] for p in points}) == len(points)


def test_a_finite_space_gives_each_of_its_points_once() -> None:
    space = {"model.width": "range(20)", "model.depth": "range(15)"}
    points = draw(space, 300, seed=0)
    assert len(points) == 300
    assert {(p["model.width"], p["model.depth"]) for p in points} == {(w, d) for w in range(20) for d in range(15)}
    assert draw(space, 301, seed=0) == points
    assert draw({}, 6, seed=0) == [{}]


def test_the_last_promoted_point_comes_first() -> None:
    space = {KEY: "interval(0, 1)", "model.width": "choice(64,128)"}
    first = {KEY: 0.5, "model.width": 256}
    points = draw(space, 4, seed=0, first=first)
    assert points[0] == first
    assert len(points) == 4
    assert first not in points[1:]
    assert draw(space, 4, seed=0, first={KEY: 0.5}) == draw(space, 4, seed=0)  # of another space
    grid = {KEY: "tag(grid, choice(0.1,0.2))"}
    assert draw(grid, 1, seed=0, first={KEY: 0.5}) == [{KEY: 0.1}, {KEY: 0.2}]


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


@settings(deadline=None)
@given(st.floats(1e-12, 1e6), st.floats(1.0001, 1e6), st.integers(0, 2**32))
def test_a_draw_lies_within_the_interval(low: float, ratio: float, seed: int) -> None:
    rng = random.Random(seed)
    for log in (False, True):
        assert low <= Domain("k", low=low, high=low * ratio, log=log).draw(rng) <= low * ratio


KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_ :=,()\[\]{}\\]*[A-Za-z_]", fullmatch=True).filter(
    lambda key: key.lower() not in ("null", "true", "false", "inf", "nan")
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="$")).filter(lambda t: "\r" not in t)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


@settings(deadline=None)
@given(VALUES)
def test_a_quoted_value_is_read_back_as_it_was(value: Any) -> None:
    domain_value = parse("k", quote(value)).values[0]
    assert domain_value == value
    assert type(domain_value) is type(value)


def test_nan_is_quoted() -> None:
    assert math.isnan(parse("k", quote(math.nan)).values[0])
