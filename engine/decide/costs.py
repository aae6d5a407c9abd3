"""What waiting loses and what acting costs, each a mean and a standard deviation in the currency of the config.

    lost    = (baseline - realised) / point x share recovered   points that left since the champion was gated
    stale   = windows of age x points a window of age costs     learned: paired gains of earlier attempts over their age
    waiting = the larger of both x value of a point x horizon
    acting  = compute hours x price + review                    hours from the attempts of the same kind so far
    gain    = chance to pass x waiting                          chance: Beta(1 + passes, 1 + fails), from the ledger

A point is a stated amount of the primary metric, 0.01 unless told. A champion that has not lost points may still be
stale: the month may have been an easy one. The cost of age starts from the config and is updated by every attempt, as
the mean of a normal with known spread (a conjugate update; Gelman et al., Bayesian Data Analysis, 2.5). Products of
independent quantities have the variance of Goodman (1960). Nothing here raises on NaN: what rests on an undecidable
number is NaN, and NaN never acts.

Acting pays on average when the mean of the gain exceeds the mean of the cost, which is what `confidence` 0.5 asks of
the normal approximation. The chance to pass and the points are taken as independent; as better challengers pass more
often, the gain is understated rather than overstated.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from engine.decide.conf import DecideConf
from engine.decide.evidence import Evidence
from engine.records import Estimate, Money, standard_error


def points_lost(evidence: Evidence, conf: DecideConf) -> Money:
    """Points of the primary metric lost since the champion was gated; NaN where either side is undecidable."""
    return points_below(evidence.baseline, evidence.realised, evidence, conf)


def points_below(better: Estimate | None, worse: Estimate | None, evidence: Evidence, conf: DecideConf) -> Money:
    """Points between two independent estimates of the primary metric; NaN where either is undecidable or missing."""
    if better is None or worse is None:
        return Money(mean=math.nan, std=math.nan)
    lost = sign_of(evidence) * (better.value - worse.value) / conf.point
    return Money(mean=lost, std=math.hypot(standard_error(better), standard_error(worse)) / conf.point)


def sign_of(evidence: Evidence) -> float:
    return 1.0 if evidence.greater_is_better else -1.0


def cost_of_age(evidence: Evidence, conf: DecideConf) -> Money:
    """Points that one window of age costs: the belief of the config, updated by every attempt's paired gain over its
    age. An attempt counts whether it passed or not; one whose gain or interval is undecidable does not.
    """
    precision = 1 / conf.staleness_std**2
    weighted = conf.staleness * precision
    for attempt in evidence.attempts:
        if attempt.gain is None or attempt.age < 1:
            continue
        rate = sign_of(evidence) * attempt.gain.value / conf.point / attempt.age
        spread = standard_error(attempt.gain) / conf.point / attempt.age
        if not (math.isfinite(rate) and math.isfinite(spread)):
            continue
        weight = 1 / (conf.staleness_std**2 + spread**2)
        weighted += weight * rate
        precision += weight
    return Money(mean=weighted / precision, std=math.sqrt(1 / precision))


def points_to_win(evidence: Evidence, conf: DecideConf) -> Money:
    """Points that a retrain would bring back: what was lost or what age costs, whichever is more; NaN if
    undecidable.
    """
    lost = points_lost(evidence, conf)
    recovered = product(Money(mean=conf.recovered, std=conf.recovered_std), lost)
    rate = cost_of_age(evidence, conf)
    stale = Money(mean=rate.mean * evidence.age, std=rate.std * evidence.age)
    known = math.isfinite(lost.mean) and math.isfinite(lost.std)
    return stale if known and stale.mean >= recovered.mean else recovered


def acting(evidence: Evidence, conf: DecideConf, *, retune: bool = True) -> Money:
    """Expected cost of one attempt: people's time, and compute as measured on earlier attempts of the same kind (a
    full sweep where `retune`, else a warm start), of either kind where there is none.
    """
    measured = [a for a in evidence.attempts if a.hours > 0]
    hours = [a.hours for a in measured if a.retuned is retune] or [a.hours for a in measured]
    mean = sum(hours) / len(hours) if hours else conf.first_hours
    variance = sum((h - mean) ** 2 for h in hours) / (len(hours) - 1) if len(hours) > 1 else (mean / 2) ** 2
    return Money(mean=mean * conf.hour_price + conf.review_cost, std=math.sqrt(variance) * conf.hour_price)


def chance_to_pass(evidence: Evidence) -> Money:
    """Probability that a challenger passes its gates: mean and standard deviation of Beta(1 + passes, 1 + fails)."""
    decided = [a.passed for a in evidence.attempts if a.passed is not None]
    a, b = 1 + sum(decided), 1 + len(decided) - sum(decided)
    return Money(mean=a / (a + b), std=math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1))))


def product(*factors: Money) -> Money:
    """Product of independent quantities; NaN where one of them is."""
    mean = math.prod(f.mean for f in factors)
    variance = math.prod(f.mean * f.mean + f.std * f.std for f in factors) - mean * mean
    return Money(mean=mean, std=math.sqrt(0.0 if variance < 0 else variance))  # below 0 by rounding alone


def probability_of_paying(gained: Money, cost: Money) -> float:
    """P(gain > cost) under a normal approximation; NaN where either is not finite."""
    spread = math.hypot(gained.std, cost.std)
    difference = gained.mean - cost.mean
    if not (math.isfinite(spread) and math.isfinite(difference)):
        return math.nan
    if spread == 0:
        return float(difference > 0)
    return NormalDist().cdf(difference / spread)
