"""Hydra's composing, done once a process for the same files and groups: most commands of the tests share them.

Hydra makes what is kept, by its own functions; a file counts by its path, time, size and inode, so a changed one is
read again. Which groups a command chooses, and the keys that it sets, are Hydra's work each time. Processes that
a test starts know nothing of this.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig

MOST = 256  # composed trees that are kept, 40 kB each

read, merge = ConfigRepository.load_config, ConfigLoaderImpl._compose_config_from_defaults_list


@contextmanager
def composed_once() -> Iterator[None]:
    """While this lasts, what was read and merged before is taken from there."""
    files: dict[tuple[Any, ...], ConfigResult | None] = {}
    trees: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()

    @functools.wraps(read)
    def load_config(self: ConfigRepository, config_path: str) -> ConfigResult | None:
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is None:
            return None
        key = (source.scheme(), source.provider, source.path, config_path, *_stamp(source, config_path))
        if key not in files:
            files[key] = read(self, config_path)
        return files[key]

    @functools.wraps(merge)
    def compose(self: ConfigLoaderImpl, defaults: Sequence[Any], repo: CachingConfigRepository) -> DictConfig:
        key = tuple((*dataclasses.astuple(d), id(repo.load_config(d.config_path))) for d in defaults)
        if key not in trees:
            trees[key] = pickle.dumps(merge(self, list(defaults), _Copies(repo)))
        trees.move_to_end(key)
        if len(trees) > MOST:
            trees.popitem(last=False)
        tree: DictConfig = pickle.loads(trees[key])
        return tree

    with _hydra_with(load_config, compose):
        yield


@contextmanager
def from_nothing() -> Iterator[None]:
    """While this lasts, Hydra reads and merges every time, also inside of `composed_once`."""
    with _hydra_with(read, merge):
        yield


@contextmanager
def _hydra_with(load_config: Callable[..., Any], compose: Callable[..., Any]) -> Iterator[None]:
    before = ConfigRepository.load_config, ConfigLoaderImpl._compose_config_from_defaults_list
    ConfigRepository.load_config, ConfigLoaderImpl._compose_config_from_defaults_list = load_config, compose
    try:
        yield
    finally:
        ConfigRepository.load_config, ConfigLoaderImpl._compose_config_from_defaults_list = before


def _stamp(source: ConfigSource, config_path: str) -> tuple[int, ...]:
    """What tells a file from what it was before; nothing where configs do not change: in our package and in memory."""
    if source.scheme() != "file":  # Hydra's plugins are loaded twice, so their classes are no sign
        return ()
    found = os.stat(Path(source.path) / source._normalize_file_name(config_path))
    return found.st_mtime_ns, found.st_size, found.st_ino


class _Copies:
    """A repository whose configs may be merged into a tree, which takes their nodes over."""

    def __init__(self, repo: CachingConfigRepository) -> None:
        self._repo = repo

    def load_config(self, config_path: str) -> ConfigResult | None:
        return copy.deepcopy(self._repo.load_config(config_path))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repo, name)
