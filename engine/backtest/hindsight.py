"""What is known afterwards: how every model that could have been made did on every window.

A model is named by the place in time of the newest window that it was trained on; its hold-out is the window after it.
"""

from __future__ import annotations

from typing import Protocol

from engine.records.estimates import Estimate


class Hindsight(Protocol):
    """The performance matrix of a past, with what a loop would have measured of it."""

    @property
    def greater_is_better(self) -> bool:
        """Which way the primary metric is better."""

    @property
    def lag(self) -> int:
        """Windows until labels are in."""

    @property
    def shadow(self) -> int:
        """Windows that a challenger waits beside the champion after it passed its gate."""

    @property
    def training(self) -> int:
        """Windows that a model is trained on, at most."""

    @property
    def names(self) -> tuple[str, ...]:
        """The windows, in the order of time."""

    def truth(self, model: int, window: int) -> float:
        """The primary metric of a model on a later window: what its service was worth."""

    def measured(self, model: int, window: int) -> Estimate:
        """The same as the loop would have seen it."""

    def gain(self, model: int, champion: int) -> Estimate:
        """Model minus champion on the model's hold-out, paired."""

    def passes(self, model: int, champion: int) -> bool:
        """Would the gate have let the model through."""

    def moved(self, model: int, window: int) -> tuple[int, int]:
        """(columns that a monitor would have found drifted against the model's training rows, columns compared)."""

    def hours(self, model: int, *, retuned: bool) -> float:
        """Compute of the attempt that makes this model."""
