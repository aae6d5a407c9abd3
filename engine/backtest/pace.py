"""How long a piece of work may still take, by what its parts have taken so far."""

from __future__ import annotations

from collections.abc import Mapping


class Pace:
    """Work of several kinds, each part with a weight. What was found and not made counts as done, and for no pace."""

    def __init__(self, total: Mapping[str, float]) -> None:
        self._left = dict(total)
        self._seconds = dict.fromkeys(total, 0.0)
        self._weight = dict.fromkeys(total, 0.0)

    def done(self, kind: str, weight: float, seconds: float | None = None) -> None:
        """A part is done; `seconds` is what it took, None where it was found."""
        self._left[kind] -= weight
        if seconds is not None:
            self._seconds[kind] += seconds
            self._weight[kind] += weight

    @property
    def left(self) -> float | None:
        """Seconds; None while a kind is left of which none was made yet."""
        total = 0.0
        for kind, left in self._left.items():
            if left > 0 and self._weight[kind] == 0:
                return None
            total += left * self._seconds[kind] / self._weight[kind] if left > 0 else 0.0
        return total
