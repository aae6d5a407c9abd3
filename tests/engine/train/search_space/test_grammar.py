from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.train.search_space import Domain, parse

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
        ("int(range(0.5, 4.5, 2.0))", (0, 2)),  # Hydra casts the ends and the step
        ("float(range(1,3))", (1.0, 2.0)),
        ("float(1,2)", (1.0, 2.0)),
        ("str(choice(1,true))", ("1", "true")),
        ("bool(0,1)", (False, True)),
        ("sort(3,1,2,reverse=true)", (3, 2, 1)),
        ("sort(range(3, 0, -1))", (1, 2, 3)),
        ("range(0.0, 0.5, 0.25)", (0.0, 0.25)),
        ("choice('tag(a', 'shuffle(b)')", ("tag(a", "shuffle(b)")),
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
        ("int(interval(1.5, 9.5))", Domain(KEY, low=1.0, high=9.0, integer=True)),
        ("float(int(interval(1, 9)))", Domain(KEY, low=1.0, high=9.0)),
        ("tag(int, interval(1, 9))", Domain(KEY, low=1.0, high=9.0, integer=True)),
        ("tag(log, int(interval(1, 512)))", Domain(KEY, low=1.0, high=512.0, log=True, integer=True)),
        ("tag(grid, choice(1, 2))", Domain(KEY, values=(1, 2), grid=True)),
        ("tag(grid, range(2))", Domain(KEY, values=(0, 1), grid=True)),
    ],
)
def test_intervals_and_tags(expression: str, domain: Domain) -> None:
    assert parse(KEY, expression) == domain
    assert parse(KEY, domain.expression) == domain


def models(key: str) -> Sequence[str]:
    return ("mlp", "resnet", "res_deep", "7") if key == "model" else ()


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("glob(*)", ("mlp", "resnet", "res_deep", "7")),
        ("glob([m*, res*], exclude=*deep)", ("mlp", "resnet")),
        ("tag(grid, choice(mlp, resnet))", ("mlp", "resnet")),
        ("mlp,7", ("mlp", "7")),
        ("choice({a: 1}, {a: 2})", ({"a": 1}, {"a": 2})),
    ],
)
def test_options_of_a_group(expression: str, values: tuple[Any, ...]) -> None:
    assert parse("model", expression, models).values == values


OUTSIDE = "write tag outside: tag(grid, int(...))"
SHUFFLE = (
    "shuffle would order the values anew in every process - "
    "leave it out: points are drawn in an order that search.seed gives"
)
CURE = "write it in Hydra's sweep grammar, such as choice(64,128) or tag(log,interval(1e-4,1e-2))"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("interval(1,5", f"'interval(1,5' cannot be read (no viable alternative at input 'interval(1,5') - {CURE}"),
        ("range(5, 1)", f"'range(5, 1)' names no values - {CURE}"),
        ("range(1, 5, 0)", f"'range(1, 5, 0)' names no values - {CURE}"),
        (
            "glob(*)",
            "glob chooses among the options of a config group, and this is none - "
            "list the values of a key with choice(...)",
        ),
        (
            "range(1000000000)",
            "'range(1000000000)' names 1000000000 values, and 100000 is the most - "
            "widen the step, or use int(interval(...))",
        ),
        ("range(0, inf)", f"'range(0, inf)' names no values - {CURE}"),
        ("1,2,1", "1 is there twice - leave one out: all values are equally likely"),
        ("int(tag(grid, choice(1,2)))", f"a tag inside another function is lost - {OUTSIDE}"),
        ("tag(grid, tag(int, choice(1,2)))", f"a tag inside another function is lost - {OUTSIDE}"),
        ("shuffle(1,2)", SHUFFLE),
        ("tag(grid, shuffle(range(3)))", SHUFFLE),
        ("shuffle([1,2])", SHUFFLE),
        ("a,choice(1,2)", "a sweep inside a value - write all values in one choice(...)"),
        ("[1,interval(1,2)]", "a sweep inside a value - write all values in one choice(...)"),
        (
            "str(interval(1,2))",
            "'str(interval(1,2))' cannot be read (ValueError while evaluating 'str(interval(1,2))': "
            f"Intervals cannot be cast to str) - {CURE}",
        ),
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


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("mlp,resnt", "there is no option 'resnt' - did you mean 'resnet'?"),
        ("mlp,zzz", "there is no option 'zzz' - choose one of mlp, resnet, res_deep, 7"),
        ("glob(x*)", "'glob(x*)' matches no option - choose among mlp, resnet, res_deep, 7"),
        ("range(7,9)", "there is no option '8' - choose one of mlp, resnet, res_deep, 7"),
    ],
)
def test_what_is_no_option_of_a_group_is_refused(expression: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse("model", expression, models)
    assert str(error.value) == f"search.space:model: {message}"
