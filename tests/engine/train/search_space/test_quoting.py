from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.train.search_space import parse, quote

KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_ :=,()\[\]{}\\]*[A-Za-z_]", fullmatch=True).filter(
    lambda key: key.lower() not in ("null", "true", "false", "inf", "nan")
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="$")).filter(lambda t: "\r" not in t)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


@given(VALUES)
def test_a_quoted_value_is_read_back_as_it_was(value: Any) -> None:
    domain_value = parse("k", quote(value)).values[0]
    assert domain_value == value
    assert type(domain_value) is type(value)


def test_nan_is_quoted() -> None:
    assert math.isnan(parse("k", quote(math.nan)).values[0])


@pytest.mark.parametrize(("value", "text"), [("mlp", "mlp"), ("null", "'null'"), ("Inf", "'Inf'"), ("a-b", "'a-b'")])
def test_words_stand_bare_where_they_stay_words(value: str, text: str) -> None:
    assert quote(value) == text
