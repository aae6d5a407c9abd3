"""What has happened to the champion: a belief over stories, each a time at which the world last changed, or none.

    points below its best = level + size x left of the change + rate x staleness + noise      of a model on a window
    gain of an attempt    = the same of the champion minus that of the challenger, paired: the level falls out

A change at window u leaves a model that was trained up to window i, on the share f of rows since u, with (1 - f)^2 of
its size: to second order in the shift this is what a fit to a mixture of both worlds loses. So a model made in the
middle of a change is known to be worth another attempt, and one made before its rows are in is known to be worth none.
Staleness is the square of the distance between a window and the middle of a model's training windows, in units in which
it grows by about one a window. Half of the prior says that age costs nothing at all.

Each story holds a Gaussian over (level, size, rate), updated by every labelled window and every attempt of the ledger,
in order. In each window every story may end in a new change: with a hazard of its own, learned from the changes that it
counts. This is the exact filter for one change point (Adams and MacKay, arXiv:0710.3742; Fearnhead and Liu, JRSS B 69,
2007), with the stories that end merged by moments, and the least likely ones dropped. What the last change did before
it was cured is forgotten with it.

A change may also be one that no training cures, because labels became noisier or a column is gone: then the level
rises, or falls, by what a change would bring, and no attempt wins it back. In windows both look alike. Attempts tell
them apart, for what a change left is part of the gain that is awaited of each: one that was cured wins its size, one
that stays wins nothing. How often the latter is so begins at `incurable`, and is learned from changes that were tried.
So after few attempts that won nothing the plan waits, until a window looks like another change.

All in points, more is worse. Cost: the windows in view times at most STORIES updates of three numbers, milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from engine.decide.conf import DecideConf
from engine.decide.costs import sign_of
from engine.decide.evidence import Evidence
from engine.records import Estimate, standard_error

VIEW = 80  # labelled windows that are looked back on
STORIES, MORE, LEAST = 8, 4, 0.002  # as many stories are kept, and more where levels rise, of at least this weight
TRIED = 2.0  # attempts that the prior of what no training cures is worth
RECENT = 2  # windows: stories whose levels have risen at different times before these are told together
AGEING = 0.5  # prior that age costs anything
CHANGES, HORIZONS = 0.5, 2.0  # prior of the hazard: so many changes in so many horizons
SIZE, DEAR = 8.0, 2.5  # of a change: so many staleness_std, or what loses so many reviews in a window, if that is more
SIZE_SPREAD, SIZE_WEIGHT = 0.5, 2.0  # relative; and worth so many changes
LEVEL = 20.0  # spread of the level, in staleness_std or standard errors of a window
ALIKE = 0.3  # no two attempts are alike: spread of a gain, in staleness_std, and relative to what is expected
NOISE_WEIGHT = 3.0  # windows that the prior of the noise between windows is worth
CHI_SQUARE_MEDIAN = 0.4549364  # of one degree of freedom


@dataclass(slots=True)
class Story:
    """One way it may have been; the numbers are those after everything that was seen."""

    weight: float
    since: int | None  # the window of the last change
    ageing: bool
    level: float
    size: float
    rate: float
    covariance: tuple[float, float, float, float, float, float]  # ll, ls, lr, ss, sr, rr
    changes: float = 0.0  # counted so far
    sizes: float = 0.0  # and the sum of their sizes
    risen: int | None = None  # the window in which the level last rose or fell, whatever is trained
    cured: float = 0.0  # changes that an attempt had the rows to cure, counted so far
    stayed: float = 0.0  # and rises that an attempt was made after

    def update(self, x: tuple[float, float, float], seen: float, noise: float) -> float:
        """Take in `seen = x . (level, size, rate) + noise` of this variance; the log likelihood, up to a constant."""
        a, b, c = x
        ll, ls, lr, ss, sr, rr = self.covariance
        u, v, w = ll * a + ls * b + lr * c, ls * a + ss * b + sr * c, lr * a + sr * b + rr * c
        total = noise + a * u + b * v + c * w
        miss = seen - (a * self.level + b * self.size + c * self.rate)
        pull = miss / total
        self.level += u * pull
        self.size += v * pull
        self.rate += w * pull
        self.covariance = (
            ll - u * u / total,
            ls - u * v / total,
            lr - u * w / total,
            ss - v * v / total,
            sr - v * w / total,
            rr - w * w / total,
        )
        return -0.5 * (miss * pull + math.log(total))


@dataclass(frozen=True, kw_only=True)
class Belief:
    """What is believed at the newest labelled window."""

    stories: tuple[Story, ...]  # weights sum to 1
    champion: int  # the newest window that it was trained on
    mature: int  # the newest labelled window
    training: int
    scale: float
    hazard: float  # of another change, a window

    def left(self, story: Story, model: int) -> float:
        """Share of the last change's size that a model trained up to this window still loses."""
        return left(model, story.since, self.training)

    def stale(self, model: int, window: int) -> float:
        """Staleness of a model on a window."""
        return staleness(model, window, self.training, self.scale)


@dataclass(frozen=True, slots=True)
class _Window:
    """A labelled window as its champion did on it."""

    at: int
    model: int  # the newest window that the champion was trained on
    points: float
    error: float


@dataclass(frozen=True, slots=True)
class _Gain:
    """An attempt as its hold-out judged it."""

    at: int  # the hold-out
    model: int
    champion: int
    points: float
    error: float


def left(model: int, since: int | None, training: int) -> float:
    """Share of a change's size that a model keeps, trained on so many windows up to `model`."""
    if since is None:
        return 0.0
    share = (model - since + 1) / max(1, min(training, model + 1))
    kept = 1.0 - min(1.0, max(0.0, share))
    return kept * kept


def staleness(model: int, window: int, training: int, scale: float) -> float:
    """Squared distance from the middle of the training windows."""
    away = window - model + (min(training, model + 1) - 1) / 2
    return away * away / scale


def believed(evidence: Evidence, conf: DecideConf) -> Belief:
    """The belief after all evidence; an estimate that is not finite teaches nothing."""
    training = max(1, evidence.training)
    champion, windows = _windows(evidence, conf)
    scale = min(training, max(1, champion + 1)) + 1.0 + conf.horizon  # as many as there were to train on
    mature = _mature(evidence)
    first = windows[0].at if windows else mature
    spread = conf.staleness_std
    noise = _noise(windows, conf)
    stories = _prior(windows[0].points, windows[0].error, conf) if windows else _prior(0.0, 0.0, conf)
    now, tried = first, -1
    told_of: list[_Window | _Gain] = [*windows, *_gains(evidence, conf, mature, first)]
    for seen in sorted(told_of, key=_order):
        for window in range(now + 1, seen.at + 1):
            since = window - first
            stories += [*_changed(stories, window, since, conf), *_risen(stories, window, since, conf)]
        now = max(now, seen.at)
        for story in stories:
            if isinstance(seen, _Window):
                begun = 1.0 if story.since is None or seen.at >= story.since else 0.0
                x = (1.0, begun * left(seen.model, story.since, training), staleness(seen.model, now, training, scale))
                told = story.update(x, seen.points, seen.error * seen.error + noise)
            else:
                cured = left(seen.champion, story.since, training) - left(seen.model, story.since, training)
                aged = staleness(seen.champion, now, training, scale) - staleness(seen.model, now, training, scale)
                awaited = story.size * cured + story.rate * aged
                apart = ALIKE * ALIKE * (spread * spread + awaited * awaited)
                told = story.update((0.0, cured, aged), seen.points, seen.error * seen.error + apart)
                if story.since is not None and tried < story.since <= seen.model:
                    story.cured += 1
                if story.risen is not None and tried < story.risen <= seen.at:
                    story.stayed += 1
            story.weight = math.log(story.weight) + told if story.weight > 0 else -math.inf
        tried = seen.at if isinstance(seen, _Gain) else tried
        stories = _kept(stories, now, STORIES + (MORE if conf.incurable else 0))
    changes = sum(story.weight * story.changes for story in stories)
    return Belief(
        stories=tuple(stories),
        champion=champion,
        mature=mature,
        training=training,
        scale=scale,
        hazard=_hazard(changes, mature - first, conf),
    )


def _size(conf: DecideConf) -> float:
    """Of a change, before one was seen: none that is much smaller can matter."""
    worth = DEAR * conf.review_cost / conf.point_value if conf.point_value > 0 else 0.0
    return max(SIZE * conf.staleness_std, worth)


def _prior(level: float, error: float, conf: DecideConf) -> list[Story]:
    """No change yet: with ageing, and without."""
    spread, size = conf.staleness_std, _size(conf)
    apart = LEVEL * max(spread, error)
    wide, broad = apart * apart, size * size
    ageing = Story(AGEING, None, True, level, size, conf.staleness, (wide, 0.0, 0.0, broad, 0.0, spread * spread))
    still = Story(1 - AGEING, None, False, level, size, 0.0, (wide, 0.0, 0.0, broad, 0.0, 0.0))
    return [ageing, still]


def _hazard(changes: float, windows: int, conf: DecideConf) -> float:
    """Of a change, a window; the posterior mean of a rate under a gamma prior."""
    return min(0.5, (CHANGES + changes) / max(1.0, HORIZONS * conf.horizon + windows))


def _changed(stories: Sequence[Story], window: int, windows: int, conf: DecideConf) -> list[Story]:
    """The stories in which the world changes at this window, those of a kind merged; what they take is taken away."""
    found = []
    for ageing in (True, False):
        kind = [story for story in stories if story.ageing is ageing]
        parts = [story.weight * _hazard(story.changes, windows, conf) for story in kind]
        total = sum(parts)
        if not total > 0:
            continue
        shares = [part / total for part in parts]
        for story, part in zip(kind, parts, strict=True):
            story.weight -= part
        before = _merged([replace(story, sizes=story.sizes + _ended(story)) for story in kind], shares)
        size, broad = _next_size(before.sizes, before.changes, conf)
        ll, _, lr, _, _, rr = before.covariance
        covariance = (ll, 0.0, lr, broad * broad, 0.0, rr)
        changes = before.changes + 1
        found.append(
            replace(
                before,
                weight=total,
                since=window,
                size=size,
                covariance=covariance,
                changes=changes,
                risen=None,
            )
        )
    return found


def _ended(story: Story) -> float:
    """Size of the change that ends with this story."""
    return max(0.0, story.size) if story.since is not None else 0.0


def _merged(stories: Sequence[Story], shares: Sequence[float]) -> Story:
    """One story with the moments of several, whose shares sum to 1."""
    rows = [(s.level, s.size, s.rate, s.changes, s.sizes, s.cured, s.stayed) for s in stories]
    level, size, rate, changes, sizes, cured, stayed = (
        sum(share * value for share, value in zip(shares, column, strict=True)) for column in zip(*rows, strict=True)
    )
    found = [0.0] * 6
    for share, story in zip(shares, stories, strict=True):
        up, on, away = story.level - level, story.size - size, story.rate - rate
        for place, apart in enumerate((up * up, up * on, up * away, on * on, on * away, away * away)):
            found[place] += share * (story.covariance[place] + apart)
    a, b, c, d, e, f = found
    return replace(
        stories[0],
        level=level,
        size=size,
        rate=rate,
        covariance=(a, b, c, d, e, f),
        changes=changes,
        sizes=sizes,
        cured=cured,
        stayed=stayed,
    )


def _risen(stories: Sequence[Story], window: int, windows: int, conf: DecideConf) -> list[Story]:
    """The stories in which the level rises or falls at this window, whatever is trained; what they take is taken away.
    By as much as a change would bring: what they look like until an attempt tells them apart.
    """
    found = []
    for story in stories:
        share = (conf.incurable * TRIED + story.stayed) / (TRIED + story.stayed + story.cured)
        part = story.weight * min(0.5, share / max(1 - share, 0.1) * _hazard(story.changes, windows, conf)) / 2
        if not part > 0:
            continue
        size, broad = _next_size(story.sizes + _ended(story), story.changes, conf)
        covariance = (story.covariance[0] + broad * broad, *story.covariance[1:])
        for way in (size, -size):
            found.append(replace(story, weight=part, level=story.level + way, covariance=covariance, risen=window))
            story.weight -= part
    return found


def _next_size(sizes: float, changes: float, conf: DecideConf) -> tuple[float, float]:
    """Of another change, after so many whose sizes sum to `sizes`: mean and spread."""
    size = (_size(conf) * SIZE_WEIGHT + sizes) / (SIZE_WEIGHT + changes)
    return size, max(conf.staleness_std, SIZE_SPREAD * size)


def _kept(stories: list[Story], now: int, room: int) -> list[Story]:
    """The likeliest stories, their log weights made weights again; those that differ by old rises alone are one."""
    most = max(story.weight for story in stories)
    for story in stories:  # where all are impossible, none is told from another
        story.weight = math.exp(story.weight - most) if math.isfinite(most) else 1.0
    alike: dict[tuple[bool, int | None, int | None], list[Story]] = {}
    for story in stories:
        recent = story.risen is not None and now - story.risen < RECENT
        alike.setdefault((story.ageing, story.since, story.risen if recent else None), []).append(story)
    stories = sorted(map(_one, alike.values()), key=lambda story: -story.weight)
    total = sum(story.weight for story in stories)
    kept = [story for story in stories[:room] if story.weight > LEAST * total]
    total = sum(story.weight for story in kept)
    for story in kept:
        story.weight /= total
    return kept


def _one(alike: list[Story]) -> Story:
    """Stories that say the same of the last change, merged; `risen` of the likeliest."""
    total = sum(story.weight for story in alike)
    if len(alike) == 1 or not total > 0:
        return alike[0]
    alike.sort(key=lambda story: -story.weight)
    return replace(_merged(alike, [story.weight / total for story in alike]), weight=total)


def _mature(evidence: Evidence) -> int:
    """The newest labelled window."""
    known = [seen.window for seen in (*evidence.past[-1:], *evidence.track[-1:])]
    return max(known) if known else evidence.index - 1


def _windows(evidence: Evidence, conf: DecideConf) -> tuple[int, list[_Window]]:
    """What the champion was trained up to, and every labelled window once, as the model did that was first seen on it;
    oldest first.
    """
    mature = _mature(evidence)
    champion = mature - 1 - evidence.age
    seen: list[tuple[int, int, Estimate | None]] = []
    seen += [(one.window, one.window - one.age, one.estimate) for one in evidence.past if one.age > 0]
    seen += [(champion + 1, champion, evidence.baseline)]
    seen += [(one.window, champion, one.estimate) for one in evidence.track if one.window > champion]
    seen += [(mature, champion, evidence.realised)]
    found: dict[int, _Window] = {}
    for at, model, estimate in seen:
        if at in found or estimate is None:
            continue
        points, error = -sign_of(evidence) * estimate.value / conf.point, standard_error(estimate) / conf.point
        if math.isfinite(points) and math.isfinite(error):
            found[at] = _Window(at, model, points, error)
    return champion, sorted(found.values(), key=lambda window: window.at)[-VIEW:]


def _gains(evidence: Evidence, conf: DecideConf, mature: int, first: int) -> Iterator[_Gain]:
    """The attempts in view. The delay of labels is taken to be what it is now."""
    for attempt in evidence.attempts:
        if attempt.gain is None or attempt.age < 1:
            continue
        holdout = attempt.index - (evidence.index - mature)
        points = sign_of(evidence) * attempt.gain.value / conf.point
        error = standard_error(attempt.gain) / conf.point
        if first <= holdout <= mature and math.isfinite(points) and math.isfinite(error):
            yield _Gain(holdout, holdout - 1, holdout - 1 - attempt.age, points, error)


def _order(seen: _Window | _Gain) -> tuple[int, bool]:
    return seen.at, isinstance(seen, _Gain)


def _noise(windows: Sequence[_Window], conf: DecideConf) -> float:
    """Variance between windows beyond that of their estimates, from neighbours that one model served.

    The median of their squared differences, which a change does not move, over that of a chi-square with one degree of
    freedom; the prior is staleness_std.
    """
    pairs = ((windows[k], later) for k, later in enumerate(windows[1:]))
    apart = [later.points - one.points for one, later in pairs if later.at == one.at + 1 and later.model == one.model]
    prior = conf.staleness_std * conf.staleness_std
    if not apart:
        return prior
    known = fmean(window.error * window.error for window in windows)
    seen = max(0.0, median(d * d for d in apart) / (2 * CHI_SQUARE_MEDIAN) - known)
    return (NOISE_WEIGHT * prior + len(apart) * seen) / (NOISE_WEIGHT + len(apart))
