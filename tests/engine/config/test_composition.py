"""Setting keys in a composed config gives what Hydra gives when it composes anew: values, and lines of refusal."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra._internal import defaults_list
from omegaconf import OmegaConf

from engine.config import composition, explain
from engine.config.composition import Composition, options
from engine.config.schema import Composer, compose_config, register
from engine.errors import ConfigError
from tests.composing import from_nothing
from tests.engine.groups import make_composer, make_groups
from tests.engine.world import write

Record = Callable[[str, object], None]


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives, or the line of its refusal."""
    try:
        return call()
    except Exception as error:
        return str(error) if isinstance(error, ConfigError) else explain.one_line(error)


def anew(composer: Composer, point: dict[str, Any]) -> Any:
    """Hydra composes all of it."""
    words = [f"{key}={value}" for key, value in point.items()]
    config = compose_config([*composer.overrides, *words], composer.searchpath, composer.name)
    return config.train, config.model


@pytest.fixture(autouse=True, scope="module")
def composing() -> Iterator[None]:
    """Hydra composes anew, each time: it is the truth here."""
    with from_nothing():
        yield


GOOD: list[dict[str, Any]] = [
    {"train.lr": 0.25, "model.width": 7},
    {"train.lr": "1e-3", "train.schedule": "constant"},
    {"model": "mlp", "model.width": "null"},
    {"model": "mlp", "model.width": "[1,2]"},
    {"model": "mlp", "model.width": "{a: 1}", "train.seed": 3},
    {"model": "mlp", "+model.extra": 2},
    {"model": "mlp", "model.width": "${train.batch_size}"},
    {"model": "net", "model/head": "deep", "model.cells": 1, "model.head.size": 9, "model.head.shape": "{rows: 4}"},
]
BAD: list[dict[str, Any]] = [
    {"train.lr": -1},
    {"train.lr": "fast"},
    {"train.max_epochs": 1.5},
    {"model.width": 0},
    {"model.width": "null"},
    {"model.wdth": 1},
    {"+train.lr": 1},
    {"+train.lrr": 1},
    {"model": "mlp", "model.width": "${nowhere}"},
    {"model": "mlp", "model.width": "???"},
    {"model": "mlp", "+model.width": 3},
    {"model": "mlp", "model.width": "x" * 1001},
    {"model": "net"},  # cells has no value
]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Composer:
    composer = make_composer(tmp_path_factory.mktemp("groups"))
    for groups in ({}, {"model": "mlp"}, {"model": "net", "model/head": "deep", "model.cells": 1}):
        composer(groups)  # from here on keys are set
    return composer


@pytest.mark.parametrize("point", [*GOOD, *BAD], ids=lambda point: f"{point}"[:60])
def test_a_point_is_what_hydra_composes(mine: Composer, point: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {key: yaml_value(value) for key, value in point.items()}
    expected = outcome(lambda: anew(mine, point))
    monkeypatch.setattr("engine.config.schema.compose_config", refuse)  # the short way alone
    assert outcome(lambda: mine(plain)) == expected
    monkeypatch.setattr(mine, "_sound", set())  # the first point of its groups, checked with the rest of the config
    assert outcome(lambda: mine(plain)) == expected
    assert isinstance(expected, str) == (point in BAD)


def yaml_value(value: Any) -> Any:
    from engine.train.search_space import parse

    return parse("k", str(value)).values[0]


def refuse(*_: object) -> None:
    raise AssertionError("composed anew")


def test_a_refused_point_leaves_nothing_behind(mine: Composer) -> None:
    before = mine({})
    for point in ({"train.lr": 0.5, "model.width": 0}, {"train.lr": -1}, {"train.seed": 5, "model.nope": 1}):
        assert isinstance(outcome(lambda point=point: mine(point)), str)
    assert mine({}) == before


def test_what_refers_to_a_key_of_a_trial_is_composed_anew(tmp_path: Path) -> None:
    """The rest of such a config depends on the point: whether it is sound can be told only of the whole."""
    composer = make_composer(tmp_path, "evaluate.seed='${train.seed}'")
    assert not composer.composition({}).alone
    composer({"train.seed": 1})
    assert outcome(lambda: composer({"train.seed": 2**40})) == outcome(lambda: anew(composer, {"train.seed": 2**40}))


@pytest.mark.parametrize("key", ["evaluate.seed", "model.there.x", "model.led.a", "model.list.0", "model"])
def test_keys_that_are_not_set_in_a_copy(tmp_path: Path, key: str) -> None:
    """They lie outside, lead outside, or are a matter of Hydra's own."""
    make_groups(tmp_path)
    write(tmp_path / "model" / "odd.yaml", "_target_: a.B\nthere: ${evaluate}\nled: {a: 1}\nlist: [1]\n")
    register()
    composed = Composition(["experiment=flights", "model=odd", "model.led=${evaluate}"], [f"file://{tmp_path}"])
    assert composed.lies_within(key) == (key == "model")
    assert composed.lies_within("train.lr")
    assert composed.lies_within("model._target_")
    OmegaConf.update(composed.root, "train", "${nowhere}")
    assert not composed.lies_within("train.lr")


def test_options_of_a_group(tmp_path: Path) -> None:
    paths = [f"file://{make_groups(tmp_path)}"]
    register()
    assert options("model", paths) == ["broken", "custom", "digits", "mlp", "net", "resnet", "tabular"]
    assert options("model/head", paths) == ["deep", "flat"]
    assert options("model/head") == options("model.width", paths) == options("nope") == []


def test_an_entry_of_a_defaults_list_may_refer_to_a_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra's map of choices is made where an entry refers to one, and only there."""
    register()
    write(tmp_path / "mine.yaml", "defaults:\n  - config\n  - of_gate@decide: ${gate}\n  - _self_\n")
    for option in ("binary", "regression"):
        write(tmp_path / "of_gate" / f"{option}.yaml", f"calendar: {len(option)}\n")
    made: list[int] = []
    real = composition._map_of_choices
    monkeypatch.setattr(composition, "_map_of_choices", lambda *rest: made.append(1) or real(*rest))
    paths = [f"file://{tmp_path}"]
    cases = [("mine", ["gate=regression"]), ("config", ["gate=regression"]), ("config", ["experiment=flights"])]
    found = [Composition([*words, "out=x"], paths, name) for name, words in cases]
    assert found[0].root.decide.calendar == len("regression")
    assert len(made) == 1
    monkeypatch.setattr(defaults_list, "_create_interpolation_map", real)  # as Hydra has it
    for (name, words), short in zip(cases, found, strict=True):
        whole = Composition([*words, "out=x"], paths, name)
        assert (whole.root, whole.choices) == (short.root, short.choices)


def points(n: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(0)
    for _ in range(n):
        model = rng.choice(["tabular", "resnet"])
        own = {"model.depth": rng.randint(0, 5)} if model == "tabular" else {"model.blocks": rng.randint(0, 5)}
        yield {"model": model, "train.lr": rng.uniform(1e-4, 1e-1), "model.width": rng.randint(1, 512), **own}


def test_a_thousand_points_are_composed_within_seconds(record_property: Record) -> None:
    composer = Composer(["experiment=flights"])
    every = list(points(1000))
    began = time.process_time()
    made = [composer(point) for point in every]
    seconds = time.process_time() - began
    record_property("search space: points composed and checked", f"1000 in {seconds:.1f} s of one core")
    for index in random.Random(1).sample(range(1000), 5):
        assert made[index] == anew(composer, every[index])
    assert seconds < 25  # a slow machine; Hydra alone would take a minute on a fast one
