"""What the next attempt will bring, learned from those before: a Bayesian regression, attempt by attempt.

    gain = r x points lost + b x windows of age + m x gain of the attempt before + noise

r says how much of a loss a retrain brings back here (of a season that is merely hard, nothing), b what age costs beyond
the loss that is seen, m that gains come in runs: a model that was made in the middle of a change is outdone by the
next. Prior: r ~ N(recovered, recovered_std^2), b ~ N(staleness, staleness_std^2), m ~ N(0.3, 0.3^2). No two attempts
are alike, so those spreads are also what the coefficients of one attempt lie apart from their mean: one that came too
early must not end all hope. The noise of an attempt is that, and the standard error of its paired gain (a random
coefficient model; Bishop, Pattern Recognition and Machine Learning, 3.3, as a recursive update). All in points; a loss
below 0 counts as none.

The gate passes what is measured to be better beyond `CRITICAL` of its standard errors. What an attempt brings is then
the mean of a normal where a noisy copy of it lies above a threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

from engine.decide.conf import DecideConf
from engine.decide.costs import points_lost, sign_of
from engine.decide.evidence import Attempt, Evidence
from engine.records import Money, standard_error

RUNS, RUNS_STD = 0.3, 0.3
CRITICAL = NormalDist().inv_cdf(0.975)
FIRST_ERROR = 0.5  # of a gain, in units of staleness_std, until one was measured
UNIT = NormalDist()
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Belief:
    """The three coefficients: mean (3,) and covariance (3, 3)."""

    mean: Vector
    covariance: tuple[Vector, Vector, Vector]

    def predict(self, x: Vector) -> Money:
        """Mean and standard deviation of x . coefficients."""
        variance = _dot(x, self._times(x))
        return Money(mean=_dot(self.mean, x), std=math.sqrt(variance) if not variance < 0 else 0.0)

    def update(self, x: Vector, gain: float, noise: float) -> Belief:
        """After one attempt whose gain was measured with this variance."""
        towards = self._times(x)
        total = noise + _dot(x, towards)
        if total <= 0:  # nothing was lost, nothing aged, and the gain was exact
            return self
        miss = (gain - _dot(self.mean, x)) / total
        a, b, c = (
            _vector(row[j] - towards[i] * towards[j] / total for j in range(3)) for i, row in enumerate(self.covariance)
        )
        return Belief(_vector(m + t * miss for m, t in zip(self.mean, towards, strict=True)), (a, b, c))

    def _times(self, x: Vector) -> Vector:
        return _vector(_dot(row, x) for row in self.covariance)


@dataclass(frozen=True)
class Passing:
    """Of an attempt made now."""

    chance: Money  # that it passes its gate: a probability, without spread
    points: Money  # that it brings, 0 where it fails


def believed(evidence: Evidence, conf: DecideConf) -> Belief:
    """The coefficients after every attempt. One whose gain or loss is undecidable teaches nothing."""
    a, b, c = (_vector(s * s if i == j else 0.0 for j in range(3)) for i, s in enumerate(_spreads(conf)))
    belief = Belief((conf.recovered, conf.staleness, RUNS), (a, b, c))
    before = 0.0
    for attempt in evidence.attempts:
        gain = _gain(attempt, evidence, conf)
        if not (math.isfinite(gain.mean) and math.isfinite(gain.std)):
            continue
        if attempt.lost is not None and math.isfinite(attempt.lost):
            x = (max(0.0, sign_of(evidence) * attempt.lost / conf.point), float(attempt.age), before)
            belief = belief.update(x, gain.mean, own_spread(x, conf) ** 2 + gain.std**2)
        before = max(0.0, gain.mean)
    return belief


def own_spread(x: Vector, conf: DecideConf) -> float:
    """Standard deviation of what one attempt wins beyond what all of its kind do on average."""
    return math.hypot(*(spread * value for spread, value in zip(_spreads(conf), x, strict=True)))


def _spreads(conf: DecideConf) -> Vector:
    return conf.recovered_std, conf.staleness_std, RUNS_STD


def _now(evidence: Evidence, conf: DecideConf) -> Vector:
    """Points lost, windows of age and the gain before, of an attempt made now; NaN where they are undecidable."""
    lost = points_lost(evidence, conf)
    if not (math.isfinite(lost.mean) and math.isfinite(lost.std)):
        return math.nan, math.nan, math.nan
    known = [gain for attempt in evidence.attempts if math.isfinite((gain := _gain(attempt, evidence, conf)).mean)]
    return max(0.0, lost.mean), float(evidence.age), max(0.0, known[-1].mean) if known else 0.0


def predicted(evidence: Evidence, conf: DecideConf) -> Money:
    """Points that an attempt made now would win; NaN where the points lost are undecidable."""
    x = _now(evidence, conf)
    mean = believed(evidence, conf).predict(x)
    return Money(mean=mean.mean, std=math.hypot(mean.std, own_spread(x, conf)))


def passing(evidence: Evidence, conf: DecideConf) -> Passing:
    """Its chance at the gate, and what it brings: E[g; g + e > c] and its spread, g the gain and e its measurement."""
    points = predicted(evidence, conf)
    errors = [gain.std for attempt in evidence.attempts if math.isfinite((gain := _gain(attempt, evidence, conf)).std)]
    return passed(points, sum(errors) / len(errors) if errors else FIRST_ERROR * conf.staleness_std)


def passed(points: Money, error: float) -> Passing:
    """The same of an attempt that is expected to win these points, measured at its gate with this standard error."""
    spread, total = points.std, math.hypot(points.std, error)
    if not (math.isfinite(points.mean) and math.isfinite(total)) or total == 0:
        return Passing(Money(mean=math.nan, std=math.nan), Money(mean=math.nan, std=math.nan))
    z = (points.mean - CRITICAL * error) / total
    chance, density, pull = UNIT.cdf(z), UNIT.pdf(z), spread * spread / total
    mean = points.mean * chance + pull * density
    square = (points.mean**2 + spread**2 - pull**2) * chance + 2 * points.mean * pull * density
    square += pull**2 * (chance - z * density)
    return Passing(Money(mean=chance, std=0.0), Money(mean=mean, std=math.sqrt(max(0.0, square - mean * mean))))


def _gain(attempt: Attempt, evidence: Evidence, conf: DecideConf) -> Money:
    """Points that an attempt has won on its hold-out; NaN where that is not known."""
    if attempt.gain is None:
        return Money(mean=math.nan, std=math.nan)
    return Money(
        mean=sign_of(evidence) * attempt.gain.value / conf.point, std=standard_error(attempt.gain) / conf.point
    )


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _vector(values: Iterable[float]) -> Vector:
    a, b, c = values
    return a, b, c
