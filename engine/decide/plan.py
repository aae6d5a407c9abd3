"""What an attempt saves: the oracle's dynamic program, over what is believed instead of what came.

    V(j, m) = loss of model m in the j-th window from now
              + (1 - hazard) min(V(j + 1, m), cost + V(j + 1, model made in window j))

In each story of the belief (changes.py) the losses of every model that could be made are known, and so is the cheapest
plan. An attempt now saves V(1, champion) - V(1, its model): what one window of waiting loses, after which the better
of acting and keeping is done. So where it is doubtful whether anything happened, waiting loses what the doubt is worth,
and no more; and an attempt whose rows are not in yet saves nothing. The next change ends a plan: what a model saves
after it does not count. In a story an attempt passes its gate where its gain, measured as exactly as those before,
would lie beyond `CRITICAL` of its standard errors; and as often as challengers that were better have passed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from engine.decide import changes
from engine.decide.changes import Belief, Story
from engine.decide.conf import DecideConf
from engine.decide.costs import points_lost, sign_of
from engine.decide.evidence import Evidence
from engine.decide.learning import CRITICAL, FIRST_ERROR
from engine.decide.scope import cost_now
from engine.records import Money, standard_error

AHEAD = 18  # windows that are planned
FIRST = 2  # attempts that are made as the config believes
LIKELY = 0.01  # stories that are less likely are not planned for
UNKNOWN = Money(mean=math.nan, std=math.nan)
UNIT = NormalDist()


def plans(evidence: Evidence, conf: DecideConf) -> bool:
    """Does the plan decide? Before `FIRST` attempts were measured nothing tells what age costs here and what a retrain
    cures: they are made as the config believes (costs.py), for nothing else teaches it.
    """
    measured = [a for a in evidence.attempts if a.gain is not None and math.isfinite(a.gain.value)]
    return conf.planned and len(measured) >= FIRST


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Of an attempt made now."""

    points: Money  # that it wins in the next window, if it serves
    saved: Money  # what waiting a window loses, gates left out
    gained: Money  # the same, its chance to fail included
    chance: Money  # that it passes its gate: a probability, without spread
    changed: float  # probability that the world has changed and the champion has not learned it
    stays: float  # that the level has risen or fallen since the champion was trained, whatever is trained


NOTHING_KNOWN = Outlook(points=UNKNOWN, saved=UNKNOWN, gained=UNKNOWN, chance=UNKNOWN, changed=math.nan, stays=math.nan)


@dataclass(frozen=True)
class _Part:
    """What one story says."""

    weight: float
    points: float
    spread: float  # of the points within the story
    saved: float
    passes: float
    changed: bool


def outlook(evidence: Evidence, conf: DecideConf) -> Outlook:
    """What an attempt made now is expected to bring; NaN where what was lost is undecidable."""
    lost = points_lost(evidence, conf)
    if not (math.isfinite(lost.mean) and math.isfinite(lost.std)):
        return NOTHING_KNOWN
    belief = changes.believed(evidence, conf)
    cost = cost_now(evidence, conf).mean
    error, chance = _gate_error(evidence, conf), _chance_of_better(evidence)
    parts = [
        _part(story, belief, evidence.index, conf, cost, error) for story in belief.stories if story.weight >= LIKELY
    ]
    return Outlook(
        points=_mixed([(p.weight, p.points, p.spread) for p in parts]),
        saved=_mixed([(p.weight, p.saved, p.saved * _relative(p)) for p in parts]),
        gained=_mixed([(p.weight, p.saved * p.passes * chance, p.saved * _relative(p)) for p in parts]),
        chance=Money(mean=chance * _mixed([(p.weight, p.passes, 0.0) for p in parts]).mean, std=0.0),
        changed=_mixed([(p.weight, float(p.changed), 0.0) for p in parts]).mean,
        stays=sum(s.weight for s in belief.stories if s.risen is not None and s.risen > belief.champion),
    )


def worth_of(points: float, evidence: Evidence, conf: DecideConf) -> float:
    """What it saves that the champion itself becomes better by so many points: of a map behind it (recalibrate.py)."""
    belief = changes.believed(evidence, conf)
    cost = cost_now(evidence, conf).mean
    known = [story for story in belief.stories if story.weight >= LIKELY]
    gains = [_values(story, belief, evidence.index, conf, cost) for story in known]
    mapped = [_values(story, belief, evidence.index, conf, cost, mapped=points) for story in known]
    total = sum(story.weight for story in known)
    return sum(s.weight * (a[0] - b[0]) for s, a, b in zip(known, gains, mapped, strict=True)) / total


def _part(story: Story, belief: Belief, index: int, conf: DecideConf, cost: float, error: float) -> _Part:
    new, held = belief.mature - 1, belief.champion
    behind = belief.left(story, held) > 0 and story.size > 0
    if new <= held:
        return _Part(story.weight, 0.0, 0.0, 0.0, UNIT.cdf(-CRITICAL), behind)
    cured = belief.left(story, held) - belief.left(story, new)
    next_ = belief.stale(held, index + 1) - belief.stale(new, index + 1)
    size, rate = max(0.0, story.size), max(0.0, story.rate)
    _, _, _, ss, sr, rr = story.covariance
    spread = math.sqrt(max(0.0, cured * cured * ss + 2 * cured * next_ * sr + next_ * next_ * rr))
    judged = size * cured + rate * (belief.stale(held, new + 1) - belief.stale(new, new + 1))
    passes = UNIT.cdf(judged / error - CRITICAL) if error > 0 else float(judged > 0)
    kept, acted = _values(story, belief, index, conf, cost)
    return _Part(story.weight, size * cured + rate * next_, spread, kept - acted, passes, behind)


def _values(
    story: Story, belief: Belief, index: int, conf: DecideConf, cost: float, mapped: float = 0.0
) -> tuple[float, float]:
    """V(1, champion) and V(1, the model of an attempt now); the champion is better by `mapped` points."""
    models = [belief.champion, *range(belief.mature - 1, belief.mature + AHEAD)]  # model 1 + j is made in window j
    size, rate = max(0.0, story.size) * conf.point_value, max(0.0, story.rate) * conf.point_value
    losses = [size * belief.left(story, model) for model in models]
    losses[0] -= mapped * conf.point_value
    goes_on = 1 - belief.hazard
    after = [0.0] * (AHEAD + 2)
    for ahead in range(AHEAD, 0, -1):
        fresh = cost + after[ahead + 1] if ahead < AHEAD else math.inf
        after = [
            losses[m] + rate * belief.stale(models[m], index + ahead) + goes_on * min(after[m], fresh)
            for m in range(ahead + 1)
        ]
        after.append(0.0)
    return after[0], after[1]


def _gate_error(evidence: Evidence, conf: DecideConf) -> float:
    """Standard error with which a gate measures a gain, in points: the mean of those before."""
    found = [standard_error(a.gain) / conf.point for a in evidence.attempts if a.gain is not None]
    known = [error for error in found if math.isfinite(error)]
    return sum(known) / len(known) if known else FIRST_ERROR * conf.staleness_std


def _chance_of_better(evidence: Evidence) -> float:
    """How often challengers have passed that were better beyond doubt, or were never compared: what else than their
    gain may stop one.
    """
    decided = [attempt for attempt in evidence.attempts if attempt.passed is not None]
    up = sign_of(evidence) > 0
    fit = [a.passed for a in decided if a.gain is None or (a.gain.low > 0 if up else a.gain.high < 0)]
    return (1 + sum(map(bool, fit))) / (1 + len(fit))


def _relative(part: _Part) -> float:
    """Spread of the points within a story, as a share of them."""
    return min(1.0, part.spread / part.points) if part.points > 0 else 0.0


def _mixed(parts: list[tuple[float, float, float]]) -> Money:
    """Mean and standard deviation of a mixture of (weight, mean, standard deviation)."""
    total = sum(weight for weight, _, _ in parts)
    mean = sum(weight * value for weight, value, _ in parts) / total
    variance = sum(weight * (spread * spread + (value - mean) * (value - mean)) for weight, value, spread in parts)
    return Money(mean=mean, std=math.sqrt(max(0.0, variance / total)))
