"""Does the primary metric of the model in production hold its reference: a test that may be looked at every window.

The risk of the model (risk.py) is a mean loss, and a ranking can break while it stays. Here stands what the loop is
judged by: the primary metric on each labelled window since the hold-out, against what it was when the model was
promoted, the errors of both counted. A window is never better known than `decay_between`, by which windows differ
though nothing has happened.

In each window a drop may begin. The test that begins there holds the windows from there on against the reference: the
hold-out, and the windows before it. With D the points by which windows are below the reference and the tolerance, their
covariance is r^2 + diag(1 / w), for all of them share the reference's error r; then S = sum(w D) / (1 + r^2 sum(w)) has
variance V = sum(w) / (1 + r^2 sum(w)), and the evidence is the likelihood ratio of a lasting drop, half normal with
spread g, in closed form (one-sided normal mixture, Robbins 1970):

    E = 2 / sqrt(1 + g^2 V) exp(S^2 / 2K) Phi(S / sqrt(K))        K = V + 1 / g^2

By Ville's inequality E ever reaches 1 / alpha with a chance of at most alpha, where no window truly lies further below
an earlier level than the tolerance: E rises with each D, so metrics that are better make it smaller. The test that
begins in the n-th window has alpha = delta / (n (n + 1)); these sum to delta, whenever one looks and however long.
It is exact for normal estimates whose errors are known; simulated with real ones in tests/engine/monitor/test_decay.py.

An alarm lasts as long as its evidence: where windows are good again it ends. In points; pure, without arrays. The
newest `VIEW` windows are held one by one, those before them as two sums. Cost: VIEW likelihood ratios a window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from engine.monitor.conf import MonitorConf
from engine.records import Estimate, standard_error
from engine.records.estimates import points
from engine.records.observed import Decay, Level, RiskOutcome

VIEW = 60  # windows in each of which a drop may have begun; of those before them, only with the first
SPREAD = 5.0  # g: points of a drop that is looked for
CERTAIN = 1e-6  # of a variance: nothing is known better
FAR = -20.0  # standard deviations below which a normal tail is told by its expansion
NOT_FINITE = "it is not finite"


@dataclass(frozen=True, slots=True)
class _Start:
    """The windows from one on, against what was before it."""

    number: int  # of its first window, from 1
    window: str
    reference: float  # points, as `_points` counts: more is better
    lack: float  # r^2
    weight: float  # sum(w)
    total: float  # sum(w x points)

    @property
    def information(self) -> float:
        """V."""
        return self.weight / (1.0 + self.lack * self.weight)

    @property
    def drop(self) -> float:
        """Points that the windows are below the reference, the tolerance not taken off."""
        return self.reference - self.total / self.weight

    def evidence(self, tolerance: float) -> float:
        """log E."""
        return mixture((self.drop - tolerance) * self.information, self.information)

    @property
    def price(self) -> float:
        """What its share of delta costs: log(n (n + 1))."""
        return math.log(self.number * (self.number + 1.0))


def mixture(s: float, v: float) -> float:
    """log E of a sum S with variance V, for drops above 0."""
    k = v + 1.0 / SPREAD**2
    z = s / math.sqrt(k)
    if z > FAR:
        tail = z * z / 2.0 + math.log(0.5 * math.erfc(-z / math.sqrt(2.0)))
    else:
        tail = -math.log(-z * math.sqrt(2.0 * math.pi))
    return math.log(2.0) - 0.5 * math.log1p(SPREAD**2 * v) + tail


def begin(
    metric: str, source: Estimate | None, window: str, conf: MonitorConf, *, point: float, greater_is_better: bool
) -> Decay:
    """Before the first window: `source` is the metric on the hold-out, as the model was promoted."""
    known = source or _unknown(metric, "it was not measured on its hold-out")
    reason = _undecidable(known, conf)
    return Decay(
        metric=metric,
        greater_is_better=greater_is_better,
        source=known,
        source_window=window,
        point=point,
        tolerance=conf.decay_tolerance,
        between=conf.decay_between,
        delta=conf.decay_delta,
        outcome=RiskOutcome.UNDECIDABLE,
        reason=f"{window}: {reason}" if reason else "no labels have come in since",
        drop=_unknown(metric, "no labels have come in since", 1 - conf.decay_delta),
    )


def settings(decay: Decay) -> tuple[object, ...]:
    """What must be the same for a record to go on: other settings begin anew."""
    told = (decay.metric, decay.source_window, str(decay.source.value), decay.point)  # two NaN are one
    return (*told, decay.tolerance, decay.between, decay.delta)


def follow(decay: Decay, window: str, found: Estimate, conf: MonitorConf) -> Decay:
    """With the metric on the next labelled window. What cannot be known of it adds nothing, and says so."""
    reason = _undecidable(decay.source, conf)
    if reason:
        return replace(decay, newest=found, windows=_newest(decay, window))
    reason = _undecidable(found, conf)
    if reason:
        outcome = RiskOutcome.ALARM if decay.since else RiskOutcome.UNDECIDABLE
        said = f"{window}: {reason}"
        return replace(decay, outcome=outcome, reason=said, newest=found, windows=_newest(decay, window))
    levels = (*decay.levels, _level(decay, window, found))
    before = decay
    if len(levels) > VIEW:
        gone, levels = levels[0], levels[1:]
        weight = 1.0 / gone.variance
        before = replace(
            decay,
            older=decay.older + 1,
            older_weight=decay.older_weight + weight,
            older_total=decay.older_total + weight * gone.points,
            older_from=decay.older_from or gone.window,
        )
    return _judged(replace(before, levels=levels, newest=found, windows=_newest(decay, window)))


def _judged(decay: Decay) -> Decay:
    starts = list(_starts(decay))
    best = max(starts, key=lambda start: start.evidence(decay.tolerance) - start.price)
    evidence = best.evidence(decay.tolerance) - best.price
    alarm = evidence >= decay.limit
    drop = _drop(decay, best, alarm=alarm)
    newest = decay.levels[-1].window
    way = "below" if decay.greater_is_better else "above"
    said = (
        f"{decay.metric} is {drop.value * decay.point:.4g} {way} its reference "
        f"{_metric(decay, best.reference):.4g} since {best.window}, shown beyond {points(decay.tolerance)}"
    )
    return replace(
        decay,
        outcome=RiskOutcome.ALARM if alarm else RiskOutcome.NO_ALARM,
        reason=said if alarm else "",
        drop=drop,
        reference=_metric(decay, best.reference),
        evidence=evidence,
        began=best.window,
        since=(decay.since or newest) if alarm else "",
        detectable=min(_detectable(decay, start) for start in starts),
    )


def _starts(decay: Decay) -> Iterator[_Start]:
    """Every test that goes on, each with the windows from its own to the newest."""
    origin = _level(decay, decay.source_window, decay.source)
    weight, total = 1.0 / origin.variance, origin.points / origin.variance
    known = [(1.0 / level.variance, level.points / level.variance) for level in decay.levels]
    weights, totals = ([*accumulate(reversed(side))][::-1] for side in zip(*known, strict=True))  # from each one on
    if decay.older:  # what began with the first window is held on to
        every = weights[0] + decay.older_weight, totals[0] + decay.older_total
        yield _Start(1, decay.older_from, total / weight, 1.0 / weight, *every)
    weight, total = weight + decay.older_weight, total + decay.older_total
    for k, (level, (w, x)) in enumerate(zip(decay.levels, known, strict=True)):
        yield _Start(decay.older + k + 1, level.window, total / weight, 1.0 / weight, weights[k], totals[k])
        weight, total = weight + w, total + x


def _drop(decay: Decay, start: _Start, *, alarm: bool) -> Estimate:
    """Points below the reference, with bounds that hold at any time looked (two-sided normal mixture)."""
    v, level = start.information, decay.delta / (start.number * (start.number + 1.0))
    far = math.sqrt((v + 1.0 / SPREAD**2) * (math.log1p(SPREAD**2 * v) + 2.0 * math.log(1.0 / level))) / v
    low = max(start.drop - far, decay.tolerance) if alarm else start.drop - far
    return Estimate(
        name=decay.metric,
        value=start.drop,
        low=min(low, start.drop),
        high=start.drop + far,
        n=len(decay.levels) + decay.older - start.number + 1,
        confidence_level=1 - decay.delta,
        method="normal mixture, windows",
    )


def _detectable(decay: Decay, start: _Start) -> float:
    """Points that these windows would have had to be below the reference for an alarm: S / V where E reaches its limit.
    Phi, which is next to 1 there, is left out.
    """
    v = start.information
    needed = decay.limit + start.price - math.log(2.0) + 0.5 * math.log1p(SPREAD**2 * v)
    return decay.tolerance + math.sqrt(2.0 * max(0.0, needed) * (v + 1.0 / SPREAD**2)) / v


def _level(decay: Decay, window: str, found: Estimate) -> Level:
    sign = 1.0 if decay.greater_is_better else -1.0
    variance = max((standard_error(found) / decay.point) ** 2 + decay.between**2, CERTAIN)
    return Level(window=window, points=sign * found.value / decay.point, variance=variance)


def _metric(decay: Decay, points: float) -> float:
    return (1.0 if decay.greater_is_better else -1.0) * points * decay.point


def _newest(decay: Decay, window: str) -> tuple[str, ...]:
    return (*decay.windows, window)[-VIEW:]


def _undecidable(found: Estimate, conf: MonitorConf) -> str:
    """Why the metric of a window says nothing; empty where it does."""
    if not all(map(math.isfinite, (found.value, found.low, found.high))):
        return found.reason or NOT_FINITE
    return f"too few rows ({found.n} of {conf.min_rows})" if found.n < conf.min_rows else ""


def _unknown(metric: str, reason: str, level: float = 0.95) -> Estimate:
    nan = math.nan
    return Estimate(
        name=metric, value=nan, low=nan, high=nan, n=0, confidence_level=level, method="", reason=reason
    )  # fmt: skip
