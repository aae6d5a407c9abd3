"""Intervals of few rows, of skewed losses and of rankings near their end: where percentiles and the normal law err.

A percentile of resamples takes the law of the estimate for the law of its error, the wrong way round where it is
skewed, and knows no Student's t. On 100 rows with three that are sought, or with losses of a long tail, a one-sided
2.5 % became 5 to 10 %. What the rows contribute (kernels.resample.influence) tells the law of the estimate's error:

    Student's t       the variance is itself an estimate; its freedom follows from the kurtosis of the contributions
    Hall's transform  of means, counts and sums: g(T) = T + a T^2 / 3 + a^2 T^3 / 27 + a / 6 is normal up to
                      1 / N, where `a` is the skewness of the estimate (Hall 1992, "On the removal of skewness by
                      transformation", JRSS B 54); monotone, so that bounds are those of t sent back through it
    Johnson's t       of rankings, whose rows contribute no more than so much: T + a (2 T^2 + 1) / 6, its first order
                      (Johnson 1978, "Modified t tests and confidence intervals for asymmetrical populations", JASA
                      73). Hall's cube is nearly flat where 1 + a T / 3 is near 0, and its bounds are then far beyond
                      what any ranking can be: 0.96 of an AUROC of 0.66 on thirty days
    logit             a ranking of one model ends at 1, and its error is skewed there: bounds of log(p / (1 - p))
                      (Pepe 2003, "The Statistical Evaluation of Medical Tests", 5.2.4)

An interval is widened to these bounds and never narrowed. What none of them can tell is undecidable: see `heavy`.
"""

from __future__ import annotations

import math

from engine.scoring import student
from kernels.resample import Moments

RESTS_ON = 4.0
"""Rows that an estimate must rest on, or a few make it by themselves; see `effective` in kernels.resample.Moments."""
CLUSTERS = 2.5
"""The same of clusters, whose few degrees of freedom the bounds know: means of thirty lognormal ones err as often
with 4, and are undecidable twice as often (tests/engine/scoring/test_studentized.py)."""
OF_UNITS = 5.0
"""Where units are few, a share of them instead: 1 / OF_UNITS, a kurtosis above 5."""
NO_VARIANCE = 2.0
"""Contributions with a tail index below it have no variance, and their mean no interval."""
ENOUGH = 50
"""Units from which a tail is looked at, and freedom is cautious."""
CAUTION = 1.4
"""Degrees of freedom a unit that the estimate rests on. Two in theory; but rows of a long tail that did not come are
missing in the variance and in what is said of it (measured: 4 instead of 5 % for lognormal errors of 100 rows)."""
SHY = 5.0
"""A sample of n shows less skewness than there is, about n / (n + SHY) of it."""


def student_ends(value: float, known: Moments, level: float) -> tuple[float, float]:
    """value +- t se."""
    half = _far(known.freedom, level) * known.error
    return value - half, value + half


def skewed_ends(value: float, known: Moments, level: float) -> tuple[float, float]:
    """Bounds by Hall's transform, with the quantiles of Student's t."""
    freedom = min(known.freedom, CAUTION * known.effective) if known.units >= ENOUGH else known.freedom
    t, a = _far(freedom, level), _skewness(known)
    return value - known.error * _back(t, a), value - known.error * _back(-t, a)


def tilted_ends(value: float, known: Moments, level: float) -> tuple[float, float]:
    """Bounds by Johnson's t, and no narrower than Student's."""
    t, a = _far(known.freedom, level), _skewness(known)
    shift, half = a / 6.0 * (2.0 * t * t + 1.0) * known.error, t * known.error
    return value - half + min(shift, 0.0), value + half + max(shift, 0.0)


def logit_ends(value: float, known: Moments, level: float) -> tuple[float, float]:
    """Bounds in (0, 1) of a share; the value itself at 0 and 1, where nothing can be said this way."""
    if not 0.0 < value < 1.0:
        return value, value
    middle, half = math.log(value / (1.0 - value)), _far(known.freedom, level) * known.error / (value * (1.0 - value))
    low, high = (1.0 / (1.0 + math.exp(-max(min(x, 700.0), -700.0))) for x in (middle - half, middle + half))
    return low, high


def heavy(known: Moments, *, tails: bool, least: float = RESTS_ON) -> bool:
    """Do so few of the contributions make the estimate that no interval of it holds.

    Either it rests on fewer than `least` of them, or, with `tails`, their tail index is below NO_VARIANCE by more than
    its own standard error. Squares of errors with a Student's t of 3 degrees of freedom are such: their mean has no
    variance, and its intervals miss in a quarter of all cases with any number of rows.
    """
    if known.error == 0.0:
        return False
    if known.effective < min(least, known.units / OF_UNITS):
        return True
    sure = 1.0 + 1.0 / math.sqrt(math.isqrt(known.units))
    return tails and known.units >= ENOUGH and known.tail * sure < NO_VARIANCE


def _skewness(known: Moments) -> float:
    """Of the estimate, as it truly is on average."""
    return known.skewness * (1.0 + SHY / known.units)


def _far(freedom: float, level: float) -> float:
    return student.ppf(0.5 + level / 2.0, max(int(freedom), 1))


def _back(y: float, a: float) -> float:
    """The T that Hall's transform sends to y."""
    return 3.0 / a * (math.cbrt(1.0 + a * (y - a / 6.0)) - 1.0) if abs(a) > 1e-9 else y
