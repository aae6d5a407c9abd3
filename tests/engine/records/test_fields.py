from __future__ import annotations

import pyarrow as pa
import pytest

from engine.records.fields import TEXT_IDS, classes_of, named, quoted, said, were_text, word

PLAIN = pa.field("y", pa.int64())
LABEL = pa.field("y", pa.int64(), metadata=named(["stayed", "churned"]))


def test_what_a_field_says() -> None:
    assert (classes_of(LABEL), classes_of(PLAIN)) == (("stayed", "churned"), ())
    assert (word(LABEL, 1), word(PLAIN, 1), word(LABEL, None)) == ("churned", 1, None)
    assert were_text(pa.field("id", pa.int64(), metadata=TEXT_IDS))
    assert not were_text(PLAIN)


@pytest.mark.parametrize(
    "changed",
    [
        lambda t: t.filter(t["y"].is_valid()),
        lambda t: t.take([1, 0]),
        lambda t: t.slice(1),
        lambda t: t.select(["y"]),
        lambda t: t.sort_by("x"),
        lambda t: pa.concat_tables([t, t], promote_options="permissive").combine_chunks(),
        lambda t: t.set_column(0, "x", pa.array([0.5, 1.5])),
    ],
)
def test_it_stays_with_a_table_that_is_changed(changed: object) -> None:
    table = pa.table([pa.array([2, 1]), pa.array([0, None])], schema=pa.schema([pa.field("x", pa.int64()), LABEL]))
    assert callable(changed)
    assert classes_of(changed(table).schema.field("y")) == ("stayed", "churned")


def test_classes_are_said_in_one_sentence() -> None:
    assert said(["stayed", "churned"]) == "churned is the positive class, stayed the other"
    assert said(["a", "b", "c"]) == "the 3 classes are a, b, c"


def test_a_class_is_quoted_where_an_override_needs_it() -> None:
    words = {"churned": "churned", "a_1": "a_1", "on time": "'on time'", "it's": r"'it\'s'"}
    assert {word: quoted(word) for word in words} == words
