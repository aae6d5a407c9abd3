"""A past written by hand: every number of it is in the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.records import Estimate
from tests.engine.decide.evidence import estimate


@dataclass
class Matrix:
    """Truth is what is measured; a model passes where it is better on its hold-out, unless told otherwise."""

    values: Sequence[Sequence[float]]  # model x window
    lag: int = 1
    shadow: int = 0
    training: int = 1
    fails: frozenset[int] = frozenset()  # models that never pass
    greater_is_better: bool = True
    asked: list[tuple[int, int]] = field(default_factory=list)  # (model, window) that was measured
    price: Mapping[bool, float] = field(default_factory=lambda: {False: 1.0, True: 4.0})

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"w{i}" for i in range(len(self.values)))

    def truth(self, model: int, window: int) -> float:
        return self.values[model][window]

    def measured(self, model: int, window: int) -> Estimate:
        self.asked.append((model, window))
        return estimate(self.truth(model, window), 0.001)

    def gain(self, model: int, champion: int) -> Estimate:
        return estimate(self.truth(model, model + 1) - self.truth(champion, model + 1), 0.001)

    def passes(self, model: int, champion: int) -> bool:
        sign = 1 if self.greater_is_better else -1
        return model not in self.fails and sign * self.gain(model, champion).value > 0

    def moved(self, model: int, window: int) -> tuple[int, int]:
        return min(4, window - model), 8

    def hours(self, model: int, *, retuned: bool) -> float:
        return self.price[retuned]


def decaying(windows: int, a_window: float = 0.01, **more: object) -> Matrix:
    """Every model is at 0.80 in the window after its last one, and a point worse in each window of age."""
    values = [[0.80 - a_window * (window - model - 1) for window in range(windows)] for model in range(windows)]
    return Matrix(values, **more)  # type: ignore[arg-type]
