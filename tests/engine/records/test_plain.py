"""The JSON form: there and back without loss, one text for one value."""

from __future__ import annotations

import enum
import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.records import record
from engine.records.plain import canonical, digest, from_plain, to_plain


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@record
class Leaf:
    number: float
    count: int
    text: str
    flag: bool
    colour: Colour
    maybe: Colour | None = None


@record
class Tree:
    leaf: Leaf | None
    leaves: tuple[Leaf, ...]
    names: tuple[str, ...]
    by_name: dict[str, float]
    anything: dict[str, Any] = field(default_factory=dict)


FINITE = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.builds(
    Leaf,
    number=FINITE,
    count=st.integers(),
    text=st.text(),
    flag=st.booleans(),
    colour=st.sampled_from(Colour),
    maybe=st.none() | st.sampled_from(Colour),
)
TREES = st.builds(
    Tree,
    leaf=st.none() | LEAVES,
    leaves=st.lists(LEAVES, max_size=3).map(tuple),
    names=st.lists(st.text(), max_size=3).map(tuple),
    by_name=st.dictionaries(st.text(), FINITE, max_size=3),
    anything=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | FINITE | st.text(), max_size=3),
)


@given(TREES)
def test_records_come_back(tree: Tree) -> None:
    plain = to_plain(tree)
    assert from_plain(Tree, plain) == tree
    assert from_plain(Tree, json.loads(canonical(tree))) == tree
    assert digest(from_plain(Tree, json.loads(json.dumps(plain)))) == digest(tree)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan"), np.float32("inf")])
def test_what_is_not_finite_becomes_null_and_then_nan(value: float) -> None:
    leaf = Leaf(number=value, count=1, text="", flag=True, colour=Colour.RED)
    assert to_plain(leaf)["number"] is None
    assert "NaN" not in canonical(leaf)
    assert math.isnan(from_plain(Leaf, to_plain(leaf)).number)
    tree = Tree(leaf=None, leaves=(leaf,), names=(), by_name={"a": value}, anything={"a": value})
    back = from_plain(Tree, json.loads(canonical(tree)))
    assert math.isnan(back.by_name["a"])
    assert back.anything["a"] is None


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (Colour.BLUE, "blue"),
        ((1, (2, 3)), [1, [2, 3]]),
        ({1: "a"}, {"1": "a"}),
        (None, None),
    ],
)
def test_plain_values(value: object, plain: object) -> None:
    found = to_plain(value)
    assert found == plain
    assert type(found) is type(plain)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", Leaf, 1j])
def test_what_has_no_json_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no JSON form"):
        canonical(value)


def test_an_old_reader_does_not_guess() -> None:
    plain = to_plain(Leaf(number=1.0, count=1, text="", flag=True, colour=Colour.RED))
    with pytest.raises(KeyError, match="Leaf has no field 'shape'"):
        from_plain(Leaf, plain | {"shape": 1})
    with pytest.raises(ValueError, match="green"):
        from_plain(Leaf, plain | {"colour": "green"})
    with pytest.raises(TypeError, match="number"):
        from_plain(Leaf, {k: v for k, v in plain.items() if k != "number"})


def test_a_new_reader_fills_in_defaults() -> None:
    plain = to_plain(Leaf(number=1.0, count=1, text="", flag=True, colour=Colour.RED, maybe=Colour.BLUE))
    del plain["maybe"]
    assert from_plain(Leaf, plain).maybe is None


def test_whole_numbers_come_back_as_floats_where_floats_belong() -> None:
    plain = to_plain(Leaf(number=1.0, count=1, text="", flag=True, colour=Colour.RED)) | {"number": 2}
    assert isinstance(from_plain(Leaf, plain).number, float)


def test_the_canonical_text_is_one_for_one_value() -> None:
    assert canonical({"b": 1, "a": [1.5, None, "é"]}) == '{"a":[1.5,null,"\\u00e9"],"b":1}'
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})


def test_the_digest_is_that_of_the_text() -> None:
    assert digest("a", 1) == hashlib.sha256(b'["a",1]').hexdigest()
    assert len(digest()) == 64
    assert digest("a", "b") != digest("ab")
    assert digest("a", ["b"]) != digest("a", "b")
    assert digest(1) != digest("1")


@dataclass
class Mutable:
    a: int


def test_any_dataclass_has_a_plain_form() -> None:
    assert to_plain(Mutable(3)) == {"a": 3}
