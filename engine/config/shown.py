"""The space that will be searched, put into the composed config; and `sweep --cfg job`, which shows it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from engine.config.binding import bind
from engine.config.schema import Composer
from engine.errors import ConfigError
from engine.records.plain import to_plain
from engine.system.redact import redact
from engine.train.search_space import Space


def put_space(composed: DictConfig, composer: Composer, space: Mapping[str, str]) -> DictConfig:
    """A copy with the space that is searched: what the command line says goes before what the config says, other keys
    to search, or one value for a key. The composer goes on from the config as it was.
    """
    composed = copy.deepcopy(composed)
    if space:
        found = dict(space)
    else:
        texts: Any = OmegaConf.to_container(composed.search.space, resolve=False)
        found = {key: text for key, text in texts.items() if not composer.sets(str(key))}
    with open_dict(composed):
        composed.search.space = found
    return composed


def as_yaml(composed: DictConfig, composer: Composer, package: str | None, *, follow: bool) -> str:
    """The config, or one package of it, as Hydra prints it. The space is bound to its groups: globs are listed, every
    expression is in one form, and comments say what a mapping of texts cannot. ConfigError as for `bind`.
    """
    space = _bound(composed, composer)
    node = _node(composed, package, follow=follow)
    lines = [] if package is None else [f"# @package {package}"]
    if package is None or package.partition(".")[0] == "search":
        lines += [f"# {line}" for line in remarks(space)]
    body = OmegaConf.to_yaml(node).rstrip("\n") if OmegaConf.is_config(node) else str(node)
    return "\n".join([*lines, body])


def as_json(composed: DictConfig, composer: Composer, package: str | None, *, follow: bool) -> str:
    """The same for programs: one object, secrets hidden."""
    space = _bound(composed, composer)
    node = _node(composed, package, follow=follow)
    config = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node
    told = {d.key: space.where(d.key) for d in space.domains}
    where = {key: groups for key, groups in told.items() if groups}
    answer = {"config": redact(to_plain(config)), "space": space.texts, "where": where, "points": space.size}
    return json.dumps(to_plain(answer), allow_nan=False)


def remarks(space: Space) -> list[str]:
    """How many points there are, and which keys exist in some of them alone."""
    if not space.domains:
        return ["nothing is searched"]
    told = [f"{space.size} points" if space.size is not None else "points without end"]
    for domain in space.domains:
        where = " and ".join(f"{group} is {' or '.join(names)}" for group, names in space.where(domain.key).items())
        told += [f"{domain.key}: where {where}"] if where else []
    return told


def _bound(composed: DictConfig, composer: Composer) -> Space:
    texts: Any = OmegaConf.to_container(composed.search.space, resolve=True)
    space = bind(texts, composer)
    with open_dict(composed):
        composed.search.space = space.texts
    return space


def _node(composed: DictConfig, package: str | None, *, follow: bool) -> Any:
    node: Any = composed if package in (None, "_global_") else OmegaConf.select(composed, str(package))
    if node is None:
        raise ConfigError(f"command line:--package {package}", "there is no such package", "see --cfg job")
    if follow and OmegaConf.is_config(node):
        OmegaConf.resolve(node)
    return node
