"""What is kept of Hydra's composing is what Hydra composes; a file that changed is read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import MissingConfigException
from omegaconf import Container, DictConfig

from engine.config.composition import Composition
from engine.config.schema import register
from tests.composing import composed_once, from_nothing
from tests.engine.world import World, configure, write

WORDS = [
    [],
    ["decide=never", "train.lr=0.25"],
    ["gate=guarded", "gate.rules.floor.threshold=0.6"],
    ["search.space={train.lr: 'interval(0, 1)'}", "~gate.shadow.holds"],
]


@pytest.fixture
def world(tmp_path: Path) -> World:
    register()
    return configure(tmp_path)


def composed(world: World, words: Sequence[str] = ()) -> DictConfig:
    return Composition(["experiment=world", f"out={world.out}", *words], [f"file://{world.folder}/conf"]).root


def nodes(node: Any, path: str = "") -> Iterator[tuple[str, str, str, object]]:
    """All of a tree: where, what it is, its type and flags, its value before anything is resolved."""
    content = node._content if isinstance(node, Container) else node._value()
    parts = dict(enumerate(content)) if isinstance(content, list) else content
    about = {name: value for name, value in vars(node._metadata).items() if name != "resolver_cache"}  # the time of day
    yield path, type(node).__name__, repr(about), None if isinstance(parts, dict) else content
    if isinstance(parts, dict):
        for key, inner in parts.items():
            assert inner._get_parent() is node
            yield from nodes(inner, f"{path}.{key}")


@pytest.mark.parametrize("words", WORDS, ids=str)
def test_it_is_what_hydra_composes(world: World, words: list[str]) -> None:
    with from_nothing():
        expected = list(nodes(composed(world, words)))
    assert len(expected) > 300
    for _ in range(2):  # made, and taken from what was made
        assert list(nodes(composed(world, words))) == expected


def test_it_is_composed_once_and_nobody_sees_what_others_did_to_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    load = ConfigLoaderImpl._load_single_config

    def counted(self: ConfigLoaderImpl, default: object, repo: object) -> object:
        read.append(str(default))
        return load(self, default, repo)  # type: ignore[arg-type]

    monkeypatch.setattr(ConfigLoaderImpl, "_load_single_config", counted)
    first = composed(world)
    assert read
    read.clear()
    first.train.lr = 9.0
    assert composed(world).train.lr == 0.02
    assert not read
    with from_nothing():
        composed(world)
    assert read


def test_a_file_that_changed_is_read_again(world: World) -> None:
    path = world.folder / "conf" / "experiment" / "world.yaml"
    text = path.read_text()
    for rate in ("0.02", "0.03", "0.04"):
        write(path, text.replace("lr: 0.02}", f"lr: {rate}}}"))
        assert composed(world).train.lr == float(rate)
    with pytest.raises(MissingConfigException):
        composed(world, ["decide=mine"])
    write(world.folder / "conf" / "decide" / "mine.yaml", "policy: calendar\n")
    assert composed(world, ["decide=mine"]).decide.policy == "calendar"


def test_an_error_is_an_error_each_time(world: World) -> None:
    write(world.folder / "conf" / "decide" / "mine.yaml", "policy: [\n")
    for _ in range(2):
        with pytest.raises(Exception, match=r"mine\.yaml"):
            composed(world, ["decide=mine"])


def test_hydra_is_left_as_it_was() -> None:
    before = ConfigLoaderImpl._compose_config_from_defaults_list
    with composed_once():
        assert ConfigLoaderImpl._compose_config_from_defaults_list is not before
    assert ConfigLoaderImpl._compose_config_from_defaults_list is before
