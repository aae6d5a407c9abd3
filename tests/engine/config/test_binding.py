"""Which keys exist where, found in configs of a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.binding import bind
from engine.config.schema import Composer, compose_config
from engine.errors import ConfigError
from engine.train.search_space import Space, draw
from tests.engine.groups import make_composer

LR = "tag(log, interval(1e-4, 1e-2))"
BUILT_IN = Composer(["experiment=flights"])


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Composer:
    """Remembers what it has composed."""
    return make_composer(tmp_path_factory.mktemp("groups"))


def test_a_point_carries_only_the_keys_of_its_group() -> None:
    texts = {
        "train.lr": LR,
        "model.depth": "1,2",
        "model.blocks": "1,2",
        "model.width": "8,16",
        "model": "tabular,resnet",
    }
    space = bind(texts, BUILT_IN)
    assert list(space.texts) == ["model", "model.blocks", "model.depth", "model.width", "train.lr"]
    assert space.groups == ("model",)
    for point in draw(space, 20, seed=0):
        assert set(point) == {"model", "train.lr", "model.width"} | (
            {"model.depth"} if point["model"] == "tabular" else {"model.blocks"}
        )
        train, model = BUILT_IN(point)
        assert (train.lr, model["width"]) == (point["train.lr"], point["model.width"])
        assert model.get("blocks") == point.get("model.blocks")


def test_both_built_in_networks_at_once() -> None:
    composer = Composer(["experiment=flights", "search=models"])
    texts = compose_config(composer.overrides).search.space
    space = bind(texts, composer)
    assert space.where("model.depth") == {"model": ("tabular",)}
    assert space.where("model.blocks") == {"model": ("resnet",)}
    assert {point["model"] for point in draw(space, 12, seed=0)} == {"tabular", "resnet"}


def test_a_group_inside_a_group_is_asked_for_where_it_is(mine: Composer) -> None:
    texts = {
        "model.head.size": "4,8",
        "model.head.shape.rows": "1,2",
        "model/head": "glob(*)",
        "model.blocks": "1,2",
        "model": "mlp,net",
        "model.cells": "choice(3)",
        "train": "default,fast",
    }
    space = bind(texts, mine)
    assert list(space.texts)[:3] == ["model", "train", "model/head"]
    assert space.texts["model/head"] == "choice(deep, flat)"
    told = {key: space.where(key) for key in texts}
    deep = {"model": ("net",), "model/head": ("deep",)}
    assert told == {
        "model": {},
        "train": {},
        "model/head": {"model": ("net",)},
        "model.head.size": deep,
        "model.head.shape.rows": deep,
        "model.blocks": {"model": ("net",)},
        "model.cells": {"model": ("net",)},
    }
    assert space.size == 2 * (1 + 2 * (1 + 4))
    points = list(space.points())
    heads = [mine(point)[1].get("head") for point in points if point["model"] == "net" and point["train"] == "fast"]
    assert {"kind": "deep", "size": 8, "shape": {"rows": 2}} in heads
    assert {"kind": "flat"} in heads


def test_one_model_alone_needs_no_group(mine: Composer) -> None:
    assert bind({"model.width": "1,2"}, mine) == Space.of({"model.width": "1,2"})
    assert bind({}, mine).size == 1


def test_a_key_that_is_added_exists_where_it_may(mine: Composer) -> None:
    """A config without types takes any key, a dataclass takes its own alone."""
    space = bind({"model": "tabular,mlp", "+model.extra": "1,2", "++model.depth": "1,2", "+model.new.one": "3"}, mine)
    assert space.where("+model.extra") == space.where("+model.new.one") == {"model": ("mlp",)}
    assert space.where("++model.depth") == {}
    assert mine({"model": "mlp", "+model.extra": 2, "+model.new.one": 3})[1]["new"] == {"one": 3}


def test_a_mapping_is_merged_into_a_group(mine: Composer) -> None:
    space = bind({"model": "choice({width: 1}, {width: 2})"}, mine)
    assert space.groups == ()
    assert [mine(point)[1]["width"] for point in space.points()] == [1, 2]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"model": "mlp,nett"}, "model: there is no option 'nett' - did you mean 'net'?"),
        ({"model": "glob(z*)"}, "model: 'glob(z*)' matches no option - choose among broken, custom, digits, mlp, net,"),
        ({"model.width": "glob(*)"}, "model.width: glob chooses among the options of a config group, and this is none"),
        ({"model": "mlp,net", "model.blcks": "1,2"}, "model.blcks: there is no key 'blcks' - did you mean 'blocks'?"),
        ({"model": "mlp", "model.blocks": "1,2"}, "model.blocks: there is no key 'blocks' - choose one of _target_, "),
        ({"train.widht": "1,2"}, "train.widht: there is no key 'widht' - did you mean 'model.width'?"),
        ({"+train.lrr": "1,2"}, "+train.lrr: there is no key 'lrr' - did you mean 'lr'?"),
        (
            {"model": "mlp", "model/head": "flat,deep"},
            "model/head: no config of this space has this group in its defaul",
        ),
        ({"model/hed": "flat,deep"}, "model/hed: there is no key 'model/hed' - "),
        ({"model": "mlp,broken"}, "model: 'broken' cannot be composed ("),
        ({"data": "flights,digits"}, "data: this is no key of a trial - search keys of train and model;"),
        ({"train.windows": "1,2"}, "train.windows: all trials of a sweep share their rows - compare values of it"),
        ({"train.lr": "interval(2,1)"}, "train.lr: the interval ends at 1, at or below its start - swap or widen"),
    ],
)
def test_what_does_not_exist_is_told_with_the_nearest(mine: Composer, texts: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        bind(texts, mine)
    assert str(error.value).startswith(f"search.space:{message}"), error.value


def test_a_key_that_is_set_for_all_models_is_told(tmp_path: Path) -> None:
    composer = make_composer(tmp_path, "model=mlp", "model.dropout=0.2")
    with pytest.raises(
        ConfigError, match=r"search\.space:model: 'net' cannot be composed \(config:model\.dropout: there"
    ) as error:
        bind({"model": "mlp,net"}, composer)
    assert str(error.value).endswith("a key that only some options have is searched, as choice(...), not set")


def test_too_many_choices_of_groups_are_refused(mine: Composer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.config.binding.MOST", 3)
    with pytest.raises(ConfigError, match=r"search\.space:train: the groups have 4 choices or more, and 3 is the most"):
        bind({"model": "mlp,tabular", "train": "default,fast"}, mine)
