"""All keys of a search, and which of them exist under which option of a config group.

`model=mlp,resnet model.blocks=choice(2,4)`: where only resnet has blocks, a point of mlp does not carry the key. Which
key exists where is found by composing each option (engine/config/binding.py); here it is a table: one `Cell` for each
choice of the groups, with the keys that exist under it.

Keys stand in one order whatever order they were given in: groups from the outside in, then keys by name. So the same
space and the same seed name the same points.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from engine.errors import ConfigError
from engine.train.search_space.domain import Domain
from engine.train.search_space.grammar import parse

Point = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One choice of the searched groups, and the searched keys that exist under it, those groups among them."""

    choice: tuple[tuple[str, str], ...]
    keys: frozenset[str]

    def agrees(self, chosen: Point) -> bool:
        """Is each option of these groups the one of this cell, as far as it has them."""
        return all(chosen.get(group, option) == option for group, option in self.choice)


@dataclass(frozen=True)
class Space:
    """Domains in order, and the cells. Build it with `Space.of`, or by engine/config/binding.py where groups vary.

    A point holds a value for each key of its cell, and for no other.
    """

    domains: tuple[Domain, ...] = ()
    cells: tuple[Cell, ...] = (Cell((), frozenset()),)

    @classmethod
    def of(cls, space: Mapping[str, str]) -> Space:
        """A space without groups: every key exists in every point. ConfigError as for `parse`."""
        domains = tuple(parse(key, space[key]) for key in sorted(space))
        return cls(domains, (Cell((), frozenset(space)),))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The searched config groups, from the outside in."""
        chosen = {group for cell in self.cells for group, _ in cell.choice}
        return tuple(d.key for d in self.domains if d.key in chosen)

    @property
    def texts(self) -> dict[str, str]:
        """Key to expression: what stands under `space:` of a conf/search file."""
        return {d.key: d.expression for d in self.domains}

    @property
    def size(self) -> int | None:
        """How many points there are; None where an interval of real numbers is searched."""
        total = 0
        for cell in self.cells:
            sizes = [d.size for d in self._of(cell) if d.key not in dict(cell.choice)]
            if None in sizes:
                return None
            total += math.prod(size or 1 for size in sizes)
        return total

    def active(self, point: Point) -> tuple[Domain, ...]:
        """The domains of the keys that a point with these groups has; of a point whose groups are not all chosen yet,
        those that it has in any case. Empty where no cell has these groups.
        """
        cells = self._agreeing(point)
        return tuple(d for d in self.domains if cells and all(d.key in cell.keys for cell in cells))

    def fits(self, point: Point) -> bool:
        """Has `point` just the keys of its cell. Its values may lie beyond the domains, its groups may not."""
        return bool(point) and {d.key for d in self.active(point)} == set(point)

    def point(self, pick: Callable[[Domain], Any]) -> Point:
        """The point whose values `pick` gives, asked in order: groups before the keys that exist under them."""
        point: Point = {}
        for domain in self.domains:
            if self._exists(domain, point):
                point[domain.key] = pick(domain)
        return point

    def points(self) -> Iterator[Point]:
        """All points, the last key changing fastest. ValueError where an interval of real numbers is searched."""
        if self.size is None:
            raise ValueError("the points of an interval of real numbers cannot be listed")
        return self._products(lambda domain: domain.listed)

    def corners(self) -> Iterator[Point]:
        """Every combination of the ends of all domains (`Domain.ends`): there may be very many."""
        return self._products(lambda domain: domain.ends)

    def extremes(self) -> Iterator[Point]:
        """Each end of each domain under each choice of the groups, with every other key at its first end."""
        for cell in self.cells:
            domains = [d for d in self._of(cell) if len(d.ends) and d.key not in dict(cell.choice)]
            first = dict(cell.choice) | {d.key: d.ends[0] for d in domains}
            yield self._ordered(first)
            for domain in domains:
                yield from (self._ordered(first | {domain.key: end}) for end in domain.ends[1:])

    def where(self, key: str) -> dict[str, tuple[str, ...]]:
        """Group to the options under which `key` exists; empty where it exists in every point."""
        having = [dict(cell.choice) for cell in self.cells if key in cell.keys]
        options = {g: tuple(dict.fromkeys(c[g] for c in having if g in c)) for g in self.groups if g != key}
        size = {d.key: d.size for d in self.domains}
        told = {g: names for g, names in options.items() if names and len(names) != size[g]}
        told_of = [c for c in map(dict, (cell.choice for cell in self.cells)) if all(c.get(g) in told[g] for g in told)]
        return told if len(told_of) == len(having) else {g: names for g, names in options.items() if names}

    def grid(self) -> list[Point]:
        """The cells of the grid: a value for each key with tag(grid, ...), and for the groups that it exists under."""
        walked = {d.key for d in self.domains if d.grid}
        walked |= {group for key in tuple(walked) for group in self.where(key)}
        cells: list[Point] = [{}]
        for domain in (d for d in self.domains if d.key in walked):
            cells = [
                cell | picked
                for cell in cells
                for picked in ([{domain.key: v} for v in domain.listed] if self._exists(domain, cell) else [{}])
            ]
        return cells

    def as_grid(self) -> Space:
        """The same space, walked in full; ConfigError where an interval of real numbers is searched."""
        for domain in self.domains:
            if domain.size is None:
                cure = "list its values with choice(...) or range(...)"
                raise ConfigError(f"search.space:{domain.key}", "an interval has no grid", cure)
        return replace(self, domains=tuple(replace(d, values=tuple(d.listed), grid=True) for d in self.domains))

    def _of(self, cell: Cell) -> list[Domain]:
        return [d for d in self.domains if d.key in cell.keys]

    def _agreeing(self, point: Point) -> list[Cell]:
        """The cells that the groups of `point` leave open."""
        chosen = {group: point[group] for group in self.groups if group in point}
        return [cell for cell in self.cells if cell.agrees(chosen) and cell.keys.issuperset(chosen)]

    def _exists(self, domain: Domain, point: Point) -> bool:
        return all(domain.key in cell.keys for cell in self._agreeing(point))

    def _products(self, values: Callable[[Domain], Any]) -> Iterator[Point]:
        for cell in self.cells:
            fixed = dict(cell.choice)
            domains = self._of(cell)
            lists = [(fixed[d.key],) if d.key in fixed else values(d) for d in domains]
            for picked in itertools.product(*lists):
                yield {d.key: value for d, value in zip(domains, picked, strict=True)}

    def _ordered(self, point: Point) -> Point:
        return {d.key: point[d.key] for d in self.domains if d.key in point}
