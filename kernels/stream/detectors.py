"""Online detectors of change. Alarms are those of River 0.26 on the same stream, where River has the detector.

Shapes: F streams. After an alarm a stream begins anew. Every option may be one number or (F,) numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from kernels.arrays import check_option
from kernels.errors import OptionError
from kernels.stream.streams import CHANCE, COUNT, FINITE, NOT_NEGATIVE, POSITIVE, Rule, Streams

Option = float | Sequence[float]
LEVELS = 40  # of ADWIN's buckets: 5 * 2**40 values
MODES = ("down", "both", "up")


class CUSUM(Streams):
    """Two-sided tabular CUSUM (Page 1954) of a change of the mean. O(1) a value.

    mean, std   of the stream in control, std above 0
    slack       half the change, in std, that should be found soonest
    threshold   of either sum, in std; 5 gives about 465 values between false alarms of independent normal values
    """

    KIND = "cusum"
    STATE: ClassVar[Mapping[str, float]] = {"up": 0.0, "down": 0.0}
    RULES: ClassVar[Mapping[str, Rule]] = {
        "mean": FINITE, "std": POSITIVE, "slack": NOT_NEGATIVE, "threshold": POSITIVE,
    }  # fmt: skip

    def __init__(
        self, columns: int = 1, *, mean: Option = 0.0, std: Option = 1.0, slack: Option = 0.5, threshold: Option = 5.0,
        backend: str = "cpu",
    ) -> None:  # fmt: skip
        super().__init__(columns, backend, {"mean": mean, "std": std, "slack": slack, "threshold": threshold})


class PageHinkley(Streams):
    """Page-Hinkley test of a change of the mean, about the running mean, with fading sums. O(1) a value.

    warm_start  values before the first look (River: min_instances)
    delta       change that is tolerated, in the unit of the values
    threshold   of the distance between the sum and its extreme
    fading      factor on the sum at each value (River: alpha)
    mode        "up", "down" or "both"
    """

    KIND = "page_hinkley"
    STATE: ClassVar[Mapping[str, float]] = {
        "n": 0.0, "mean": 0.0, "rise": 0.0, "fall": 0.0, "lowest": math.inf, "highest": -1.0,
    }  # fmt: skip
    RULES: ClassVar[Mapping[str, Rule]] = {
        "warm_start": COUNT, "delta": FINITE, "threshold": POSITIVE,
        "fading": ("a number above 0, up to 1", lambda v: 0 < v <= 1),
    }  # fmt: skip

    def __init__(
        self, columns: int = 1, *, warm_start: Option = 30, delta: Option = 0.005, threshold: Option = 50.0,
        fading: Option = 1 - 0.0001, mode: str = "both", backend: str = "cpu",
    ) -> None:  # fmt: skip
        check_option(mode, "mode", MODES)
        options = {"warm_start": warm_start, "delta": delta, "threshold": threshold, "fading": fading, "mode": mode}
        super().__init__(columns, backend, options)

    def _params(self) -> Any:
        side = MODES.index(self.options["mode"]) - 1
        return np.column_stack([super()._params(), np.full(self.columns, side)])


class DDM(Streams):
    """DDM (Gama et al. 2004) over 0 (right) and 1 (error): the error rate against its lowest. O(1) a value."""

    KIND = "ddm"
    STATE: ClassVar[Mapping[str, float]] = {
        "n": 0.0, "rate": 0.0, "lowest": math.inf, "deviation": 0.0, "warning": 0.0,
    }  # fmt: skip
    RULES: ClassVar[Mapping[str, Rule]] = {
        "warm_start": COUNT, "warning_threshold": POSITIVE, "threshold": POSITIVE,
    }  # fmt: skip
    SPAN = (0.0, 1.0)

    def __init__(
        self, columns: int = 1, *, warm_start: Option = 30, warning_threshold: Option = 2.0, threshold: Option = 3.0,
        backend: str = "cpu",
    ) -> None:  # fmt: skip
        options = {"warm_start": warm_start, "warning_threshold": warning_threshold, "threshold": threshold}
        super().__init__(columns, backend, options)

    @property
    def warning(self) -> Any:
        """(F,) bool: the rate lies above its warning threshold now."""
        return self._named("warning") > 0


class EDDM(Streams):
    """EDDM (Baena-Garcia et al. 2006) over 0 (right) and 1 (error): the distance between errors. O(1) a value.

    warm_start      values and errors before the first look
    warning_level   share of the largest distance below which it warns (River: alpha)
    level           share below which it alarms (River: beta)
    """

    KIND = "eddm"
    STATE: ClassVar[Mapping[str, float]] = {
        "n": 0.0, "last": 0.0, "errors": 0.0, "mean": 0.0, "square": 0.0, "largest": -1.0, "warning": 0.0,
    }  # fmt: skip
    RULES: ClassVar[Mapping[str, Rule]] = {"warm_start": COUNT, "warning_level": CHANCE, "level": CHANCE}
    SPAN = (0.0, 1.0)

    def __init__(
        self, columns: int = 1, *, warm_start: Option = 30, warning_level: Option = 0.95, level: Option = 0.9,
        backend: str = "cpu",
    ) -> None:  # fmt: skip
        options = {"warm_start": warm_start, "warning_level": warning_level, "level": level}
        super().__init__(columns, backend, options)

    @property
    def warning(self) -> Any:
        """(F,) bool: the distance lay below its warning level at the newest error."""
        return self._named("warning") > 0


class ADWIN(Streams):
    """ADWIN (Bifet and Gavalda 2007): the mean of the older against that of the younger values at every border of an
    exponential histogram. O(log W) state and work a value, for W values since the last change.

    delta         confidence of one look
    clock         values between two looks
    max_buckets   of each size; 2 or more, one number for all streams
    min_window    values on either side of a border (River: min_window_length)
    grace         values before the first look (River: grace_period)
    """

    KIND = "adwin"
    STATE: ClassVar[Mapping[str, float]] = {"total": 0.0, "variance": 0.0, "width": 0.0, "since": 0.0, "levels": 0.0}
    RULES: ClassVar[Mapping[str, Rule]] = {
        "delta": CHANCE, "clock": COUNT, "max_buckets": ("2 or more", lambda v: 2 <= v == int(v)), "min_window": COUNT,
        "grace": COUNT,
    }  # fmt: skip

    def __init__(
        self, columns: int = 1, *, delta: Option = 0.002, clock: Option = 32, max_buckets: int = 5,
        min_window: Option = 5, grace: Option = 10, backend: str = "cpu",
    ) -> None:  # fmt: skip
        if not isinstance(max_buckets, int | float):
            raise OptionError("max_buckets: pass one number for all streams")
        options = {
            "delta": delta, "clock": clock, "max_buckets": max_buckets, "min_window": min_window, "grace": grace,
        }  # fmt: skip
        super().__init__(columns, backend, options)

    def _initial(self) -> Any:
        room = int(self.options["max_buckets"]) + 1
        return np.concatenate([super()._initial(), np.zeros(LEVELS * (1 + 2 * room))])

    @property
    def width(self) -> Any:
        """(F,) values since the last change, as far as ADWIN can tell."""
        return self._named("width")


class KSWIN(Streams):
    """KSWIN (Raab, Heusinger and Schleif 2020): the `recent` youngest values of a window against as many drawn from
    its older ones, by the exact two-sample Kolmogorov-Smirnov test. O(window) state, O(recent**2) a value at worst.

    What is drawn is a function of (seed, row, stream) by Philox4x32-10, so it does not depend on chunks; River draws
    others. With window = 2 * recent all of the older values are drawn and the alarms are River's.

    alpha     level of one test; the distance must also be above 0.1, as in River
    window, recent, seed   one number for all streams
    """

    KIND = "kswin"
    STATE: ClassVar[Mapping[str, float]] = {"held": 0.0, "first": 0.0}
    RULES: ClassVar[Mapping[str, Rule]] = {
        "alpha": CHANCE, "window": COUNT, "recent": COUNT, "seed": ("0 up to 2**53", lambda v: 0 <= v <= 2**53),
    }  # fmt: skip

    def __init__(
        self, columns: int = 1, *, alpha: Option = 0.005, window: int = 100, recent: int = 30, seed: int = 0,
        backend: str = "cpu",
    ) -> None:  # fmt: skip
        for name, value in (("window", window), ("recent", recent), ("seed", seed)):
            if not isinstance(value, int | float):
                raise OptionError(f"{name}: pass one number for all streams")
        if window < 2 * recent:
            raise OptionError(f"window: {window} holds fewer than 2 * {recent} values - choose a larger one")
        options = {"alpha": alpha, "window": window, "recent": recent, "seed": seed}
        super().__init__(columns, backend, options)

    def _initial(self) -> Any:
        return np.concatenate([super()._initial(), np.zeros(int(self.options["window"]))])

    def _params(self) -> Any:
        alpha, window, recent, seed = super()._params().T
        critical = [critical_gap(level, int(recent[0])) for level in alpha.tolist()]
        return np.column_stack([critical, window, recent, seed % 2**32, seed // 2**32])


def critical_gap(alpha: float, n: int) -> int:
    """Smallest n D of two samples of n values whose exact two-sided p-value is at most alpha, and D above 0.1.

    P(n D >= h) = 2 sum_j (-1)**(j + 1) C(2 n, n - j h) / C(2 n, n), Gnedenko and Korolyuk 1951; n + 1: there is none.
    """
    middle = math.comb(2 * n, n)
    for h in range(n // 10 + 1, n + 1):
        terms = (math.comb(2 * n, n - j * h) * (-1) ** (j + 1) for j in range(1, n // h + 1))
        if 2 * sum(terms) / middle <= alpha:
            return h
    return n + 1
