"""What Hydra composes, kept: groups are chosen by Hydra, once; keys of a point are set in what it composed.

The last thing that Hydra does with a config is to set, one after the other, the keys that the overrides name, in the
tree that the groups gave (`ConfigLoaderImpl._apply_overrides_to_config`). So a point whose groups are composed already
needs no files, no defaults list and no merging: its keys are set in a copy of that tree by the same function. A point
costs milliseconds instead of tens of them, and gives the same (tests/engine/config/test_composition.py holds both
against each other).
"""

from __future__ import annotations

import copy
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any

from hydra import compose, initialize_config_module
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core.config_search_path import SearchPathElement
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from engine.config.checks import OF_A_TRIAL

CONF = "engine.conf"
_map_of_choices = defaults_list._create_interpolation_map


def _map_where_needed(overrides: Any, defaults: list[Any], self_added: bool) -> DictConfig | None:
    """What was chosen so far. Hydra makes this map for each config, and reads it only where an
    entry of that config's defaults list refers to a choice, as `- model: ${data}` does.
    """
    refers = any(not default.is_self() and default.is_interpolation() for default in defaults)
    return _map_of_choices(overrides, defaults, self_added) if refers else None


defaults_list._create_interpolation_map = _map_where_needed  # type: ignore[assignment]


class Composition:
    """One config as Hydra composed it from `overrides`, to be looked at and to be set further."""

    def __init__(self, overrides: Sequence[str], searchpath: Sequence[str] = (), name: str = "config") -> None:
        """`searchpath` holds folders of a user's own configs as URLs (`file:///home/ada/conf`); `name` is the primary
        config. Raises what Hydra raises.
        """
        with _hydra(searchpath):
            self._take(compose(name, overrides=list(overrides), return_hydra_config=True))

    @classmethod
    def of(cls, root: DictConfig) -> Composition:
        """What Hydra has composed already; Hydra's own part of it is taken out."""
        made = cls.__new__(cls)
        made._take(root)
        return made

    def _take(self, root: DictConfig) -> None:
        self.root = root
        with open_dict(root):
            self.choices: dict[str, Any] = dict(root.pop("hydra").runtime.choices)  # of all groups, nested ones too

    @cached_property
    def alone(self) -> bool:
        """Does the rest of the config stay as it is, whatever a point sets."""
        return not any(_refers(self.root._get_node(key)) for key in self.root if key not in OF_A_TRIAL)

    def has(self, key: str) -> bool:
        """Can an override set this key: is it there, or may it be added, where it begins with +."""
        bare = key.lstrip("+")
        parent, _, name = bare.rpartition(".")
        if not key.startswith("+"):
            node = self._node(parent)
            return (
                isinstance(node, DictConfig)
                and not node._is_none()
                and node._get_node(name, validate_access=False) is not None
            )
        while parent and self._node(parent) is None:
            parent, _, name = parent.rpartition(".")
        node = self._node(parent) if parent else self.root
        kind = OmegaConf.get_type(node)
        known = {f.name for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {name}
        return isinstance(node, DictConfig) and name in known

    def known_keys(self) -> list[str]:
        """Every key of a trial, groups of keys among them."""
        return [key for part in OF_A_TRIAL for key in _keys(self._node(part), part)]

    def lies_within(self, key: str) -> bool:
        """Does setting this key change nodes of a trial alone: no reference on its way leads out of them."""
        node: Any = self.root
        for name in key.lstrip("+").split("."):
            if not isinstance(node, DictConfig) or node._is_interpolation():
                return False
            node = _child(node, name)
            if node is None:
                return True
        return key.lstrip("+").partition(".")[0] in OF_A_TRIAL

    def _node(self, key: str) -> Any:
        """The node at a key; None where there is none."""
        try:
            return OmegaConf.select(self.root, key, throw_on_missing=False)
        except OmegaConfBaseException:  # a reference that leads nowhere
            return None

    @contextmanager
    def having(self, words: Sequence[str]) -> Iterator[DictConfig]:
        """The config with these overrides, for as long as the context lasts; not for two threads.

        It is what Hydra composes where each key `lies_within` and the rest of the config is `alone`. Raises what Hydra
        raises.
        """
        nodes: dict[str, Any] = self.root.__dict__["_content"]
        kept = {key: nodes[key] for key in OF_A_TRIAL}
        try:
            nodes.update({key: copy.deepcopy(node) for key, node in kept.items()})
            ConfigLoaderImpl._apply_overrides_to_config([_parsed(word) for word in words], self.root)
            yield self.root
        finally:
            nodes.update(kept)


def options(group: str, searchpath: Sequence[str] = (), name: str = "config") -> list[str]:
    """The options of a config group, without the schemas of our own; empty where there is no such group."""
    with _hydra(searchpath):
        loader = GlobalHydra.instance().config_loader()
        found = loader.get_group_options(group, ObjectType.CONFIG, config_name=name, overrides=[])
    return [option for option in found if not option.endswith("_schema")]


@contextmanager
def _hydra(searchpath: Sequence[str]) -> Iterator[None]:
    """Hydra over our own configs and these folders; works also while Hydra's main is not running.

    As --config-dir has it, and not as hydra.searchpath: the primary config itself may lie there.
    """
    GlobalHydra.instance().clear()
    with initialize_config_module(config_module=CONF, version_base="1.3"):
        loader: Any = GlobalHydra.instance().config_loader()
        for path in searchpath:  # what the schemas are in stays last
            loader.config_search_path.get_path().insert(-1, SearchPathElement("command-line", path))
        loader.repository = ConfigRepository(loader.config_search_path)
        yield


class Shown(Exception):
    """Hydra has shown what was asked for and would end the process."""


@contextmanager
def main_of_hydra(argv: list[str]) -> Iterator[None]:
    """Hydra's main reads the command line from sys.argv, and hands errors on to us only if the environment says so.

    It would compose the whole config once more to learn its own mode: there is one, for we refuse --multirun. And it
    would copy what it composed, twice, to make a job of it, with a folder and a log: a fifth of a short command. So its
    task is handed what was composed, Hydra's own part included.
    """

    def run(hydra: Hydra, config_name: str, task_function: Callable[[DictConfig], Any], overrides: list[str]) -> None:
        task_function(hydra.compose_config(config_name, overrides, RunMode.RUN))

    before, told, ways = sys.argv, os.environ.get("HYDRA_FULL_ERROR"), (Hydra.get_mode, Hydra.run)
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = argv, "1"
    Hydra.get_mode, Hydra.run = lambda *_, **__: RunMode.RUN, run  # type: ignore
    try:
        yield
    except SystemExit as ended:  # how Hydra ends after --help
        if ended.code:
            raise
        raise Shown from None
    finally:
        sys.argv = before
        Hydra.get_mode, Hydra.run = ways  # type: ignore[method-assign]
        if told is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = told


@lru_cache(4096)
def _parsed(word: str) -> Override:
    return OverridesParser.create().parse_override(word)


def _child(node: DictConfig, name: str) -> Any:
    """The node below a node; None where there is none."""
    empty = node._is_none() or node._is_missing()
    return None if empty else node._get_node(name, validate_access=False)


def _keys(node: Any, path: str) -> Iterator[str]:
    yield path
    if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
        for name in node:
            yield from _keys(node._get_node(name), f"{path}.{name!s}")


def _refers(node: Any) -> bool:
    """May anything in this part of the config depend on a key of a trial."""
    plain = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node._value()
    return any("${" in text and ("${." in text or any(key in text for key in OF_A_TRIAL)) for text in _texts(plain))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
