"""A past of real models: what was measured of each on every later window, as a Hindsight.

The truth of a window is what was measured on its labelled rows, noise included: it is the same noise for all policies,
for each window has one figure a model. A model that fails in its shadow is taken to fail at once: a policy may try
again a shadow earlier than in the loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.records.estimates import Estimate

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Tables of a past; see engine/backtest/hindsight.py for what its methods answer.

    A model and a window are named by their place in time; a pair of models by (model, champion).
    """

    names: tuple[str, ...]
    greater_is_better: bool
    lag: int
    shadow: int
    training: int
    scores: Mapping[Pair, Estimate]  # (model, window): the primary metric
    gains: Mapping[Pair, Estimate]
    passed: frozenset[Pair]
    drifted: Mapping[Pair, Pair]  # (model, window): columns that moved, columns compared
    compute: Mapping[int, tuple[float, float]]  # hours of one trial, and of a sweep

    def truth(self, model: int, window: int) -> float:
        """As measured."""
        return self.scores[model, window].value

    def measured(self, model: int, window: int) -> Estimate:
        """With its interval."""
        return self.scores[model, window]

    def gain(self, model: int, champion: int) -> Estimate:
        """The paired difference on the model's hold-out."""
        return self.gains[model, champion]

    def passes(self, model: int, champion: int) -> bool:
        """The gates of the config, as they are."""
        return (model, champion) in self.passed

    def moved(self, model: int, window: int) -> tuple[int, int]:
        """By the loop's own monitor."""
        return self.drifted[model, window]

    def hours(self, model: int, *, retuned: bool) -> float:
        """As measured when the model was made."""
        return self.compute[model][retuned]
