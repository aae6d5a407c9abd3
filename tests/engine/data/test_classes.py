from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from engine.data.classes import Classes, learn, spelled
from engine.data.conf import DataConf
from engine.errors import ClassError, ConfigError, DataError

Conf = Callable[..., DataConf]


def chunked(values: object, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (chunked(["stayed", None, "churned"]), ["stayed", None, "churned"]),
        (chunked(["stayed", None, "churned"]).dictionary_encode(), ["stayed", None, "churned"]),
        (chunked([True, False, None]), ["true", "false", None]),
        (chunked([10, 20]), ["10", "20"]),
        (chunked([10.0, float("nan")]), ["10", None]),
        (chunked([None, None], pa.null()), [None, None]),
    ],
)
def test_labels_are_spelled_as_words(column: pa.ChunkedArray, words: list[str | None]) -> None:
    assert spelled(column, "f:y").to_pylist() == words


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (chunked(["a", ""]), "f:y: 1 rows have an empty label - store null where the label is not known"),
        (chunked([0.5]), "f:y: holds a fraction, not a class - store words or whole numbers"),
        (chunked([[1]]), "f:y: is list<item: int64>, not a label - store words, whole numbers or booleans"),
    ],
)
def test_what_is_no_word_is_refused(column: pa.ChunkedArray, message: str) -> None:
    with pytest.raises(DataError) as caught:
        spelled(column, "f:y")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("change", "found", "words"),
    [
        ({"positive": "churned"}, ["stayed", "churned"], ("stayed", "churned")),
        ({"positive": "stayed"}, ["stayed", "churned"], ("churned", "stayed")),
        ({"positive": "churned"}, ["stayed"], ("stayed", "churned")),
        ({"positive": True}, ["true", "false"], ("false", "true")),
        ({"positive": 2}, ["1", "2"], ("1", "2")),
        ({}, ["Yes", "No"], ("No", "Yes")),
        ({}, ["False", "True"], ("False", "True")),
        ({"task": "multiclass"}, ["up", "down", "same"], ("down", "same", "up")),
        ({"task": "multiclass", "classes": 3}, ["up", "down", "same"], ("down", "same", "up")),
    ],
)
def test_classes_are_learnt_from_labels(
    make_conf: Conf, change: dict[str, Any], found: list[str], words: tuple[str, ...]
) -> None:
    columns = [chunked([None, word]) for word in found]  # each in another window
    assert learn(columns, make_conf(**change), "f:y") == Classes(words)


@pytest.mark.parametrize(
    ("change", "found", "message"),
    [
        (
            {},
            ["stayed", "churned"],
            "data.positive: the labels are 'churned' and 'stayed', and which one is the positive class is not said - "
            "set data.positive=churned or =stayed",
        ),
        (
            {"positive": "left"},
            ["stayed", "churned"],
            "data.positive: 'left' is none of the labels 'churned', 'stayed' - name one of them",
        ),
        (
            {"positive": "a"},
            ["a", "b", "c"],
            "f:y: has 3 labels ('a', 'b', 'c'), and the task is binary - use data.task=multiclass, or mend the labels",
        ),
        (
            {"positive": "a"},
            ["a"],
            "f:y: every label is 'a' - name both, the positive one last: data.classes=[...]",
        ),
        (
            {"task": "multiclass", "classes": 4},
            ["a", "b", "c"],
            "data.classes: is 4, and the founding windows have 3 labels: 'a', 'b', 'c' - list the classes: "
            "data.classes=[...]",
        ),
        (
            {"task": "multiclass"},
            ["a"],
            "f:y: every label is 'a' - list all of them: data.classes=[...]",
        ),
        (
            {"task": "multiclass"},
            [f"{n:04}" for n in range(1001)],
            "f:y: has 1001 different labels, such as '0000', '0001', '0002', '0003', '0004' and 996 more - list the "
            "classes in data.classes, or check data.label",
        ),
    ],
)
def test_what_labels_do_not_say_is_asked_for(
    make_conf: Conf, change: dict[str, Any], found: list[str], message: str
) -> None:
    with pytest.raises((ConfigError, DataError)) as caught:
        learn([chunked(found)], make_conf(**change), "f:y")
    assert str(caught.value) == message


def test_codes_follow_the_order_and_a_strange_class_is_named() -> None:
    classes = Classes(("stayed", "churned"))
    assert classes.codes(chunked(["churned", None, "stayed"]), "f:y").to_pylist() == [1, None, 0]
    with pytest.raises(ClassError) as caught:
        classes.codes(chunked(["churned", "paused", "paused", "Stayed"]), "f:y")
    assert str(caught.value) == (
        "f:y: 3 rows have the label 'paused', 'Stayed', none of the classes 'stayed', 'churned' - mend the labels, or "
        "found a new loop with data.task=multiclass data.classes=[stayed,churned,paused,Stayed]"
    )
    three = Classes(("a", "b", "on time"))
    for new, cure in (("c", "data.classes=[a,b,'on time',c]"), ("c" * 30, "it in data.classes")):
        with pytest.raises(ClassError) as caught:
            three.codes(chunked([new]), "f:y")
        assert caught.value.cure == f"mend the labels, or found a new loop with {cure}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": ["stayed", "churned"]}, ("stayed", "churned")),
        ({"classes": ["churned", "stayed"], "positive": "churned"}, ("stayed", "churned")),
        ({"classes": ["stayed", "churned"], "positive": "stayed"}, ("churned", "stayed")),
        ({"classes": [False, True]}, ("false", "true")),
        ({"classes": [10, 20, 30], "task": "multiclass"}, ("10", "20", "30")),
        ({"classes": 3, "task": "multiclass"}, ()),
    ],
)
def test_classes_of_the_config(make_conf: Conf, change: dict[str, Any], words: tuple[str, ...]) -> None:
    conf = make_conf(**change)
    assert conf.words == words
    assert conf.n_classes == (len(words) or 3)
