"""How many rows a comparison needs, from the variance that was observed."""

from __future__ import annotations

import math
from typing import Protocol

from kernels.arrays import check_option
from kernels.errors import OptionError
from kernels.resample.intervals import NORMAL

ALTERNATIVES = ("two-sided", "greater", "less")


class Measured(Protocol):
    """Any record with a standard error and the number of rows that it came from."""

    @property
    def standard_error(self) -> float: ...

    @property
    def n(self) -> int: ...


def rows_needed(
    measured: Measured,
    effect: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    alternative: str = "two-sided",
) -> int | None:
    """Rows at which a test of size alpha finds a true difference of `effect` with the power asked for.

    measured is a record of the paired difference on some rows (BootstrapResult, DelongResult, McnemarResult);
    its variance a row is standard_error^2 * n. effect is in the units of the metric: the difference to
    detect, or for a non-inferiority question the distance from the true difference to the margin. The answer
    is ((z_(1 - alpha) + z_power) / effect)^2 times that variance, with alpha / 2 for "two-sided"; it holds
    where the difference is close to normal. None when the standard error is unknown, for then no number is
    honest.

    Example: SE 0.01 on 1000 rows, effect 0.02, power 0.8, alpha 0.05 -> 1963.
    """
    check_option(alternative, "alternative", ALTERNATIVES)
    if not 0.0 < alpha < 1.0 or not 0.0 < power < 1.0:
        raise OptionError(f"alpha, power: {alpha}, {power} - pass probabilities between 0 and 1")
    if not math.isfinite(effect) or effect == 0.0:
        raise OptionError(f"effect: {effect} - pass the difference to detect, not 0")
    error = float(measured.standard_error)
    if math.isnan(error) or measured.n < 1:
        return None
    tail = alpha / 2.0 if alternative == "two-sided" else alpha
    z = NORMAL.inv_cdf(1.0 - tail) + NORMAL.inv_cdf(power)
    return max(1, math.ceil((z * error / effect) ** 2 * measured.n))
