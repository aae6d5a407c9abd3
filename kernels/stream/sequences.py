"""Inference about the mean of values in [0, 1] that holds at any time looked, without a model of the values.

Valid wherever every value, given the past, has the mean that is asked about: independent values, or whole clusters of
them as one value each. Where that mean moves, ConfidenceSequence covers the mean of the means, weighted by the bets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from kernels.arrays import Array, as_native, check_ndim, missing_rows, refuse_missing
from kernels.errors import OptionError
from kernels.primitives import MEMORIES
from kernels.stream.detectors import Option
from kernels.stream.streams import CHANCE, COUNT, Rule, Streams


class Bounds(NamedTuple):
    """Of F streams, float64 (F,) each."""

    mean: Any
    """Of the values so far; NaN where there is none."""
    low: Any
    high: Any


class ConfidenceSequence(Streams):
    """Predictable plug-in empirical Bernstein confidence sequence (Waudby-Smith and Ramdas 2024, theorem 2; arXiv
    2010.09686). O(1) a value.

    With probability 1 - delta the mean lies within the bounds at every row at once. The bounds are the running
    intersection, so low may exceed high where the mean has moved.
    cap  largest bet, below 1
    """

    KIND = "bernstein"
    STATE: ClassVar[Mapping[str, float]] = {
        "n": 0.0, "total": 0.0, "square": 0.0, "bets": 0.0, "gains": 0.0, "terms": 0.0, "low": 0.0, "high": 1.0,
    }  # fmt: skip
    RULES: ClassVar[Mapping[str, Rule]] = {"delta": CHANCE, "cap": CHANCE}
    SPAN = (0.0, 1.0)

    def __init__(self, columns: int = 1, *, delta: Option = 0.05, cap: Option = 0.5, backend: str = "cpu") -> None:
        super().__init__(columns, backend, {"delta": delta, "cap": cap})

    def _params(self) -> Any:
        delta, cap = super()._params().T
        return np.column_stack([np.log(2.0 / delta), cap])

    @property
    def bounds(self) -> Bounds:
        """Mean and bounds after the newest row; 0 and 1 before the first."""
        n, total = self._named("n"), self._named("total")
        mean = np.divide(total, n, out=np.full(self.columns, np.nan), where=n > 0)
        return Bounds(mean, self._named("low"), self._named("high"))


class Betting(Streams):
    """Alarms, once, where the mean of a stream has been above `bound`: a test by betting. O(1) a value.

    The chance that a stream whose mean, given the past, never exceeds `bound` ever alarms is at most `delta`, however
    long it is (Ville 1939). The mean may move below the bound as it likes. Bets are aGRAPA's (Waudby-Smith and Ramdas
    2024, appendix B), at three paces of forgetting; a fresh bettor begins after every `every` values, so that a rise
    after a long calm is found as fast as one at the start, but for the logarithm of how late it comes.

    To reject "the mean is at most bound" is to have a lower confidence bound above it (by duality).
    cap  largest loss of one bet, as a share of the wealth
    """

    KIND = "betting"
    STATE: ClassVar[Mapping[str, float]] = {"n": 0.0, "alarm": 0.0, "evidence": 0.0} | {
        f"{name}_{pace}": 0.0 for pace in range(len(MEMORIES)) for name in ("wealth", "mean", "variance")
    }
    RULES: ClassVar[Mapping[str, Rule]] = {"bound": CHANCE, "delta": CHANCE, "every": COUNT, "cap": CHANCE}
    SPAN = (0.0, 1.0)
    RESTARTS = False

    def __init__(
        self, columns: int = 1, *, bound: Option, delta: Option = 0.05, every: Option = 100, cap: Option = 0.5,
        backend: str = "cpu",
    ) -> None:  # fmt: skip
        super().__init__(columns, backend, {"bound": bound, "delta": delta, "every": every, "cap": cap})

    def _params(self) -> Any:
        bound, delta, every, cap = super()._params().T
        return np.column_stack([bound, -np.log(delta), every, cap])

    @property
    def evidence(self) -> Any:
        """(F,) float64: natural logarithm of the largest wealth so far; an alarm at -log(delta)."""
        return self._named("evidence")

    @property
    def alarm(self) -> Any:
        """(F,) bool: has it alarmed."""
        return self._named("alarm") > 0


def upper_bound(x: Array, *, delta: float = 0.05, cap: float = 0.75) -> float:
    """Upper confidence bound at level 1 - delta of the mean of n values in [0, 1], in their order; 1 if n is 0.

    Betting against each candidate mean with predictable plug-in bets sqrt(2 log(1 / delta) / (n variance)), Waudby-
    Smith and Ramdas 2024, section 4: never wider than what bounded values allow, for any n. The wealth falls as the
    candidate rises, so one bisection finds the bound, to 1e-9. O(n). NaN are refused.
    """
    values = np.asarray(as_native(x, "x"), np.float64)
    check_ndim(values, "x", 1)
    if np.any(missing := missing_rows(values)):
        refuse_missing(int(np.sum(missing)), "x")
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise OptionError("x: holds values outside 0 to 1 - clip or scale them first")
    if not CHANCE[1](delta):
        raise OptionError(f"delta: {delta:g} - choose {CHANCE[0]}")
    n, needed = values.size, -math.log(delta)
    if not n:
        return 1.0
    falls = 1.0 - values  # a lower bound of their mean is an upper bound of ours
    count = np.arange(1, n + 1)
    means = (0.5 + np.cumsum(falls)) / (count + 1)
    variances = (0.25 + np.cumsum((falls - means) ** 2)) / (count + 1)
    bets = np.sqrt(2 * needed / (n * np.concatenate([[0.25], variances[:-1]])))

    def rejected(mean: float) -> bool:
        gains = np.log1p(np.minimum(bets, cap / mean) * (falls - mean))
        return bool(np.cumsum(gains).max() >= needed)

    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return 1.0 - low
