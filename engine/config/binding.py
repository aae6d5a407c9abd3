"""Which searched keys exist under which option of a searched config group: found by composing each option.

`model=mlp,resnet model.blocks=choice(2,4)` makes two cells: the points of one carry no `model.blocks`. A group may hold
groups of its own (`model/head=flat,deep`); they are asked for only where a chosen config has them in its defaults.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from engine.config import explain
from engine.config.checks import check_space
from engine.config.schema import Composer
from engine.errors import ConfigError
from engine.train.search_space import Cell, Domain, Point, Space, parse

MOST = 256  # choices of groups; each is composed by Hydra, which takes tens of milliseconds


def bind(texts: Mapping[str, str], composer: Composer) -> Space:
    """The space of key to expression, bound to the config groups that it chooses among.

    Raises:
        ConfigError: an expression that cannot be read, an option or key that does not exist (with the nearest that
            does), or groups whose choices cannot be composed.
    """
    check_space(texts)
    domains = {key: parse(key, texts[key], composer.options) for key in texts}
    groups = sorted((d for d in domains.values() if _is_group(d, composer)), key=lambda d: (d.key.count("/"), d.key))
    rest = sorted((d for d in domains.values() if d not in groups), key=lambda d: d.key.lstrip("+"))
    choices = _choices(groups, composer)
    cells = tuple(_cell(choice, rest, composer) for choice in choices)
    for domain in (*groups, *rest):
        if not any(domain.key in cell.keys for cell in cells):
            raise _unknown(domain.key, choices, composer)
    return Space((*groups, *rest), cells)


def _is_group(domain: Domain, composer: Composer) -> bool:
    return bool(composer.options(domain.key)) and not any(isinstance(value, dict) for value in domain.values)


def _choices(groups: Iterable[Domain], composer: Composer) -> list[Point]:
    """Every choice of the groups, each with those groups alone that its configs have."""
    choices: list[Point] = [{}]
    for group in groups:
        grown: list[Point] = []
        for choice in choices:
            there = group.key.startswith("+") or group.key in composer.composition(choice).choices
            grown += [{**choice, group.key: option} for option in group.values] if there else [choice]
        if len(grown) > MOST:
            what = f"the groups have {len(grown)} choices or more, and {MOST} is the most"
            raise ConfigError(f"search.space:{group.key}", what, "search fewer options at once")
        for choice in grown:
            if group.key in choice:
                _compose(choice, group.key, composer)
        choices = grown
    return choices


def _compose(choice: Point, group: str, composer: Composer) -> None:
    """Compose a choice; ConfigError where Hydra cannot."""
    try:
        composer.composition(choice)
    except Exception as error:
        line = explain.one_line(error)
        if line is None:
            raise
        what = f"{choice[group]!r} cannot be composed ({line.partition(' - ')[0]})"
        cure = "leave the option out; a key that only some options have is searched, as choice(...), not set"
        raise ConfigError(f"search.space:{group}", what, cure) from error


def _cell(choice: Point, rest: Sequence[Domain], composer: Composer) -> Cell:
    composed = composer.composition(choice)
    return Cell(tuple(choice.items()), frozenset(choice) | {d.key for d in rest if composed.has(d.key)})


def _unknown(key: str, choices: Sequence[Point], composer: Composer) -> ConfigError:
    """No config of this space has the key."""
    where, bare = f"search.space:{key}", key.lstrip("+")
    if composer.options(key):
        return ConfigError(where, "no config of this space has this group in its defaults", f"write +{bare} to add it")
    known = sorted({name for choice in choices for name in composer.composition(choice).known_keys()})
    place, _, name = bare.rpartition(".")
    beside = [other.rpartition(".")[2] for other in known if other.rpartition(".")[0] == place]
    near = difflib.get_close_matches(name, beside, 1)
    last = {other.rpartition(".")[2]: other for other in reversed(known)}
    anywhere = [last[found] for found in difflib.get_close_matches(name, last, 1)]
    if near:
        cure = f"did you mean {near[0]!r}?"
    elif anywhere:
        cure = f"did you mean {anywhere[0]!r}?"
    else:
        cure = f"choose one of {', '.join(beside)}" if beside else "see --cfg job for every key"
        cure += "; search=none brings no space of its own" if place == "model" else ""
    return ConfigError(where, f"there is no key {name!r}", cure)
