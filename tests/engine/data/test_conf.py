from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue

from engine.data.conf import DataConf
from engine.errors import ConfigError
from engine.records import Task

GOOD: dict[str, Any] = {
    "path": "windows",
    "id": "id",
    "time": "at",
    "label": "y",
    "task": "binary",
    "numeric": ["a", "b"],
    "categorical": ["c"],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": ""}, "data.path: is empty - name it"),
        ({"label": ""}, "data.label: is empty - name it"),
        (
            {"task": "ranking"},
            "data.task: 'ranking' is not a task - use one of binary, multiclass, regression",
        ),
        (
            {"numeric": [], "categorical": []},
            "data.numeric: there is no feature - name columns here or in data.categorical",
        ),
        ({"label_lag": -1}, "data.label_lag: is -1 - use 0 or more windows"),
        ({"classes": 1}, "data.classes: is 1 - use 2 or more classes"),
        (
            {"classes": "churned"},
            "data.classes: is 'churned', neither a number nor a list - list the classes: data.classes=[stayed,churned]",
        ),
        ({"classes": ["a"]}, "data.classes: is ['a'] - use 2 or more classes"),
        ({"classes": ["a", "b", "c"]}, "data.classes: has 3 classes, and the task is binary - list two"),
        ({"classes": ["a", 1.5]}, "data.classes: 1.5 is no label - name words, whole numbers or booleans"),
        ({"classes": ["a", "a"]}, "data.classes: names a class twice - name it once"),
        ({"classes": ["a", "b"], "positive": "c"}, "data.positive: 'c' is not in data.classes - name one of them"),
        ({"positive": ""}, "data.positive: '' is no label - name words, whole numbers or booleans"),
        (
            {"positive": "a", "task": "multiclass"},
            "data.positive: is for binary labels, and the task is multiclass - leave it out",
        ),
        (
            {"classes": ["a", "b"], "task": "regression"},
            "data.classes: regression has no classes - leave it out, or choose another data.task",
        ),
        ({"min_category_rows": 0}, "data.min_category_rows: is 0 - use 1 or more rows"),
        ({"time": "id"}, "data.time: 'id' is data.id too - name two different columns"),
        ({"label": "at"}, "data.label: 'at' is data.time too - name two different columns"),
        ({"numeric": ["a", "y"]}, "data.numeric: 'y' is in data.label too - name it once"),
        ({"numeric": ["a", "a"]}, "data.numeric: 'a' is in data.numeric too - name it once"),
        ({"categorical": ["a"]}, "data.categorical: 'a' is in data.numeric too - name it once"),
        ({"slices": ["a"]}, "data.slices: 'a' is in data.numeric - slice by a categorical column"),
        ({"slices": ["y"]}, "data.slices: 'y' is in data.label - slice by a categorical column"),
        (
            {"cluster": "a"},
            "data.cluster: 'a' is in data.numeric - use a categorical column or one of hour, day, week",
        ),
        ({"slices": ["c", "c"]}, "data.slices: names a column twice - name it once"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DataConf(**GOOD | change)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_a_slice_need_not_be_a_feature() -> None:
    conf = DataConf(**GOOD, slices=["c", "protected"])
    assert conf.categories == ["c", "protected"]
    assert conf.categorical == ["c"]
    assert DataConf(**GOOD, cluster="household").categories == ["c", "household"]
    assert DataConf(**GOOD, cluster="day").categories == ["c"]
    assert conf.kind is Task.BINARY


def test_it_serves_as_a_structured_config() -> None:
    merged = OmegaConf.merge(OmegaConf.structured(DataConf), GOOD, {"labels": None, "slices": ["c"]})
    conf = OmegaConf.to_object(merged)
    assert conf == DataConf(**GOOD, slices=["c"])
    named = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConf), GOOD, {"classes": ["no", "yes"]}))
    assert named == DataConf(**GOOD, classes=["no", "yes"])
    with pytest.raises(ConfigKeyError):
        OmegaConf.merge(OmegaConf.structured(DataConf), {"numerics": ["a"]})
    with pytest.raises(MissingMandatoryValue):
        OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConf), {"path": "x"}))
