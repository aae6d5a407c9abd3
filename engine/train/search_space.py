"""Hydra's sweep grammar as a search space: expressions in, points out.

    choice(a, b) or a,b     one of these            tag(grid, choice(a, b))  each of these
    range(1, 9, 2)          one of 1 3 5 7          interval(0.1, 0.5)       uniform between
    tag(log, interval(..))  log-uniform             int(interval(1, 9))      a whole number, both ends possible

All points are drawn before the first worker starts, from one seed: the same space and seed name the same trials, and a
sweep that was killed goes on with the ones it lacks.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import ConfigError

Point = dict[str, Any]

LISTED = 10_000  # a finite space up to this size gives its last points as well
CURE = "write it in Hydra's sweep grammar, such as choice(64,128) or tag(log,interval(1e-4,1e-2))"


@dataclass(frozen=True)
class Domain:
    """The values one key may take: a list of them, or an interval."""

    key: str
    values: tuple[Any, ...] = ()  # empty: an interval
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    grid: bool = False

    def draw(self, rng: random.Random) -> Any:
        """One value."""
        if self.values:
            return rng.choice(self.values)
        if not self.integer:
            if not self.log:
                return rng.uniform(self.low, self.high)
            drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            return min(max(drawn, self.low), self.high)  # exp(log(0.1)) is above 0.1
        if self.log:  # half a step beyond either end, so that both ends are as likely as their neighbours
            value = round(math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5))))
            return min(max(value, int(self.low)), int(self.high))
        return rng.randint(int(self.low), int(self.high))


def parse(key: str, expression: str) -> Domain:
    """The domain that `key=expression` names; ConfigError where it names none."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep
    from hydra.errors import HydraException

    where = f"search.space:{key}"
    try:
        override = OverridesParser.create().parse_override(f"{key}={expression}")
    except HydraException as error:
        raise ConfigError(where, f"{expression!r} cannot be read ({str(error).splitlines()[0]})", CURE) from error
    value = override.value()
    if not override.is_sweep_override():
        return Domain(key, values=(_plain(value),))
    tags = set(getattr(value, "tags", ()))
    if unknown := tags - {"log", "int", "grid"}:
        raise ConfigError(where, f"unknown tag {min(unknown)!r}", "use the tags log, int or grid")
    if isinstance(value, IntervalSweep):
        return _interval(where, key, value, tags)
    if "log" in tags:
        raise ConfigError(where, f"{expression!r} has no scale", "use tag(log, ...) with an interval")
    values: tuple[Any, ...] = ()
    if isinstance(value, ChoiceSweep):
        values = tuple(_plain(v) for v in value.list)
    elif isinstance(value, RangeSweep) and value.step:
        values = tuple(value.range())
    if not values:
        raise ConfigError(where, f"{expression!r} names no values", CURE)
    return Domain(key, values=values, grid="grid" in tags)


def _interval(where: str, key: str, value: Any, tags: set[str]) -> Domain:
    low, high = float(value.start), float(value.end)
    integer = "int" in tags or (isinstance(value.start, int) and isinstance(value.end, int))
    if "grid" in tags:
        raise ConfigError(where, "an interval has no grid", "use range or choice with tag(grid, ...)")
    if math.isinf(low) or math.isinf(high):
        raise ConfigError(where, "an interval needs finite ends", "choose both ends")
    if not low < high:
        raise ConfigError(where, f"the interval ends at {high:g}, at or below its start", "swap or widen the ends")
    if "log" in tags and low <= 0:
        raise ConfigError(where, f"a log interval cannot start at {low:g}", "start it above 0")
    if integer and (low % 1 or high % 1):
        raise ConfigError(where, "an int interval needs whole ends", "round both ends")
    return Domain(key, low=low, high=high, log="log" in tags, integer=integer)


def _plain(value: Any) -> Any:
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    return value


def draw(space: Mapping[str, str], num_samples: int, seed: int, first: Point | None = None) -> list[Point]:
    """`num_samples` points for each cell of the grid; no point comes twice, so a small space may give fewer.

    `first` (the last promoted trial) is tried before the drawn ones where it has just the keys of the space and the
    space has no grid. ConfigError as for `parse`.
    """
    domains = [parse(key, expression) for key, expression in space.items()]
    grids = [[(d.key, v) for v in d.values] for d in domains if d.grid]
    rng = random.Random(seed)
    points: list[Point] = []
    for cell in itertools.product(*grids):
        for sample in range(num_samples):
            warm = first if first and sample == 0 and set(first) == set(space) and not grids else None
            point = warm or _unseen(dict(cell), domains, rng, points)
            if point is not None:
                points.append(point)
    return points


def _unseen(cell: Point, domains: list[Domain], rng: random.Random, points: list[Point]) -> Point | None:
    """A point not drawn yet; None when there is none left."""
    for _ in range(100):
        drawn = {d.key: cell[d.key] if d.grid else d.draw(rng) for d in domains}
        if drawn not in points:
            return drawn
    free = [d for d in domains if not d.grid]
    if not all(d.values for d in free) or math.prod(len(d.values) for d in free) > LISTED:
        return None
    listed = ({d.key: v for d, v in zip(free, values, strict=True)} for values in itertools.product(*_values(free)))
    left = [point for point in ({d.key: (cell | p)[d.key] for d in domains} for p in listed) if point not in points]
    return rng.choice(left) if left else None


def _values(domains: list[Domain]) -> list[tuple[Any, ...]]:
    return [d.values for d in domains]


def quote(value: Any) -> str:
    """`value` as Hydra's override grammar reads it back."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ",".join(quote(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_key(k)}:{quote(v)}" for k, v in value.items()) + "}"
    return _quote_text(str(value))


def _key(key: Any) -> str:
    """A key of a dictionary, which the grammar wants bare: what would end it is escaped."""
    return re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", key) if isinstance(key, str) else quote(key)


def _quote_text(text: str) -> str:
    """In single quotes; only backslashes that stand before a quote or at the end are doubled, as the grammar wants."""
    parts, slashes = [], 0
    for char in text:
        if char == "\\":
            slashes += 1
            continue
        parts.append("\\" * (2 * slashes + 1) + "'" if char == "'" else "\\" * slashes + char)
        slashes = 0
    return "'" + "".join(parts) + "\\" * (2 * slashes) + "'"
