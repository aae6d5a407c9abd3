"""Student's t: its tail and its quantile, where means of few rows or clusters are judged; and the beta function that
both are made of. Standard library only."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

_NORMAL = NormalDist()


def sf(t: float, df: int) -> float:
    """P(T > t), to a part in 1e8: the regularised incomplete beta function by its continued fraction (Lentz;
    Numerical Recipes, section 6.4). df: 1 or more.
    """
    far = df / (df + t * t)
    if far > (df / 2 + 1) / (df / 2 + 2.5):  # near the middle, where the other half of the function is the small one
        return 0.5 - math.copysign(0.5 * _beta(0.5, df / 2, t * t / (df + t * t)), t)
    tail = 0.5 * _beta(df / 2, 0.5, far)
    return tail if t > 0 else 1.0 - tail


@functools.lru_cache(maxsize=4096)
def ppf(level: float, df: int) -> float:
    """The t below which a share `level`, between 0 and 1, of the distribution lies; to 1e-8.

    Newton's method on the logarithm of the tail, which is concave in the logarithm of t, from the quantile of the
    normal law. Cost: four or five tails.
    """
    if level <= 0.5:
        return 0.0 if level == 0.5 else -ppf(1.0 - level, df)
    tail = 1.0 - level
    log_t = math.log(_NORMAL.inv_cdf(level))
    for _ in range(100):
        t = math.exp(log_t)
        found = sf(t, df)
        step = math.log(found / tail) * found / (t * _pdf(t, df))
        log_t += max(-1.0, min(1.0, step))
        if abs(step) < 1e-12:
            break
    return math.exp(log_t)


def within(level: float, df: int) -> float:
    """The t within which, on both sides of 0, a share `level` of the distribution lies."""
    return ppf(0.5 + level / 2, df)


def beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for x from 0 to 1; to a part in 1e10."""
    if x >= 1.0:
        return 1.0
    return _beta(a, b, x) if x <= (a + 1) / (a + b + 2) else 1.0 - _beta(b, a, 1.0 - x)


def _pdf(t: float, df: int) -> float:
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    return scale * math.exp(-(df + 1) / 2 * math.log1p(t * t / df))


def _beta(a: float, b: float, x: float) -> float:
    """I_x(a, b) for x up to (a + 1) / (a + b + 2), where the fraction is short."""
    if x == 0.0:
        return 0.0
    scale = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    tiny = 1e-300
    c, d = 1.0, 1.0 / max(1 - (a + b) * x / (a + 1), tiny)
    total = d
    for m in range(1, 1000):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + factor * d
            c = 1 + factor / c
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            total *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return scale * total / a
