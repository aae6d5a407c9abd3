"""The values that one key may take."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.train.search_space.quoting import quote


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

    @property
    def size(self) -> int | None:
        """How many values there are; None for an interval of real numbers."""
        if self.values:
            return len(self.values)
        return int(self.high) - int(self.low) + 1 if self.integer else None

    @property
    def listed(self) -> Sequence[Any]:
        """All values, where they can be counted; empty for an interval of real numbers."""
        if self.values or not self.integer:
            return self.values
        return range(int(self.low), int(self.high) + 1)

    @property
    def ends(self) -> tuple[Any, ...]:
        """What breaks a limit first: the least and the greatest number, or each value of a list that holds others."""
        if self.values:
            numbers = all(type(v) in (int, float) and v == v for v in self.values)
            return tuple(dict.fromkeys((min(self.values), max(self.values)))) if numbers else self.values
        return (int(self.low), int(self.high)) if self.integer else (self.low, self.high)

    @property
    def expression(self) -> str:
        """In Hydra's sweep grammar: `parse(key, domain.expression) == domain`."""
        if self.values:
            text = f"choice({', '.join(quote(v) for v in self.values)})"
            return f"tag(grid, {text})" if self.grid else text
        text = "interval({}, {})".format(*map(quote, self.ends))
        text = f"int({text})" if self.integer else text
        return f"tag(log, {text})" if self.log else text

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
