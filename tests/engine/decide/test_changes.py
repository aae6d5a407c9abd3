"""The belief against matrices, against the simulator's closed form, and against truth that is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from engine.backtest.streams import Stream, StreamConf
from engine.decide import DecideConf, Evidence, Seen
from engine.decide.changes import CHI_SQUARE_MEDIAN, Belief, Story, _merged, believed, left, staleness
from engine.decide.plan import outlook
from tests.engine.decide.evidence import UNKNOWN, attempt, estimate, evidence, tracked

CONF = DecideConf()
CURABLE = DecideConf(incurable=0.0)  # every change is cured by rows of its own


def served(past: Stream, champion: int, newest: int) -> Evidence:
    """A champion of a simulated past, seen up to a window."""
    seen = [
        Seen(at=w + 1, window=w, estimate=past.measured(champion, w), age=w - champion)
        for w in range(champion + 1, newest + 1)
    ]
    return evidence(
        index=newest + 1,
        greater_is_better=False,
        baseline=past.measured(champion, champion + 1),
        realised=seen[-1].estimate,
        track=tuple(seen),
        age=newest - 1 - champion,
        training=past.training,
    )


def changed(belief: Belief) -> float:
    """Probability of a change that the champion has not learned."""
    return sum(story.weight for story in belief.stories if belief.left(story, belief.champion) > 0)


def quiet(seed: int, first: int, last: int, **more: float) -> tuple[Stream, list[int]]:
    """A past with jumps, and their windows in a stretch."""
    past = Stream(StreamConf(kind="abrupt", windows=40, **more), seed)  # type: ignore[arg-type]
    moved = np.abs(np.diff(past.concept, axis=0)).sum(axis=1) > 0
    return past, [int(t) + 1 for t in np.flatnonzero(moved) if first <= t + 1 <= last]


def test_a_model_keeps_of_a_change_what_the_simulator_says() -> None:
    """One jump, models fitted on three windows, almost without noise."""
    past, jumps = next(
        (p, j) for p, j in (quiet(s, 1, 39, rows=10**9, hardness=0.0) for s in range(999)) if len(j) == 1
    )
    for model in range(2, 39):
        kept = (past.risk[model, 39] - 1) / past.conf.jump  # noise of 1
        assert kept == pytest.approx(left(model, jumps[0], 3), abs=1e-3)
    assert [left(k, 10, 3) for k in (9, 10, 11, 12)] == [1.0, pytest.approx(4 / 9), pytest.approx(1 / 9), 0.0]
    assert (left(9, None, 3), left(0, 0, 3)) == (0.0, 0.0)  # nothing changed; all rows there were are new


def test_staleness_is_what_a_steady_drift_costs() -> None:
    """A concept that moves at one speed: the excess risk is the speed squared times the squared distance."""
    past = Stream(StreamConf(kind="still", windows=30, rows=10**9, hardness=0.0), 0)
    line = past.concept[0] + np.outer(np.arange(30), np.eye(past.conf.features)[0]) * 0.05
    for model in (4, 9):
        fitted = line[model - 2 : model + 1].mean(axis=0)
        excess = ((fitted - line[20]) ** 2).sum()
        assert excess == pytest.approx(0.05**2 * staleness(model, 20, 3, 1.0))


def test_an_update_is_that_of_matrices() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((3, 3))
    prior, mean = root @ root.T, rng.standard_normal(3)
    x, seen, noise = np.array([1.0, 0.4, 2.0]), 1.3, 0.7
    packed = (prior[0, 0], prior[0, 1], prior[0, 2], prior[1, 1], prior[1, 2], prior[2, 2])
    story = Story(1.0, 3, True, *mean, packed)
    told = story.update((1.0, 0.4, 2.0), seen, noise)
    precision = np.linalg.inv(prior) + np.outer(x, x) / noise
    after = np.linalg.solve(precision, np.linalg.inv(prior) @ mean + x * seen / noise)
    assert (story.level, story.size, story.rate) == pytest.approx(after)
    found = np.linalg.inv(precision)[np.triu_indices(3)]
    assert story.covariance == pytest.approx(found)
    known = stats.norm(x @ mean, math.sqrt(x @ prior @ x + noise)).logpdf(seen)
    assert told == pytest.approx(known + 0.5 * math.log(2 * math.pi))


def test_the_odds_of_a_change_are_those_of_two_linear_models() -> None:
    """A hold-out and two windows after it: no change against one at the first of them, without ageing, in matrices."""
    seen = tracked(0.80, 0.74, 0.75, age=2)
    belief = believed(seen, CURABLE)
    weight = {story.since: story.weight for story in belief.stories if not story.ageing}
    noise = 0.2**2 + (3 + 2 * max(0, np.median([6.0**2, 1.0**2]) / (2 * CHI_SQUARE_MEDIAN) - 0.2**2)) / 5
    y, level = np.array([-80.0, -74.0, -75.0]), 20.0**2
    none = stats.multivariate_normal(np.full(3, -80.0), level + noise * np.eye(3))
    moved = np.array([0.0, 1.0, 1.0])
    one = stats.multivariate_normal(-80.0 + 8 * moved, level + 4.0**2 * np.outer(moved, moved) + noise * np.eye(3))
    # Half a change in six windows and those that have passed; after a change there is one more.
    odds = (one.pdf(y) * (0.5 / 7) * (1 - 1.5 / 8)) / (none.pdf(y) * (1 - 0.5 / 7) * (1 - 0.5 / 8))
    assert weight[9] / weight[None] == pytest.approx(odds, rel=1e-6)


def test_the_odds_of_what_stays_against_what_is_cured_are_stated_until_an_attempt_tells() -> None:
    """Two windows that a change explains as well as a level that rose: their odds are those of `incurable`, 0.1 to 0.9.
    Then two attempts on rows of after the change; of one alone another change in its hold-out may be the reason.
    """
    seen = tracked(0.80, 0.74, 0.75, age=2)
    rose, changed_ = (told_by(seen, kind) for kind in ("rose", "changed"))
    before = rose / changed_
    # Half of what stays is a fall. Windows of the changes may differ, each with a hazard of its own.
    assert before == pytest.approx(0.5 * 0.1 / 0.9, rel=0.25)
    later = tracked(0.80, 0.74, 0.75, 0.74, 0.75, 0.74, 0.75, age=6)
    for gain, least, most in ((0.0, 10.0, math.inf), (0.06, -1.0, 0.02)):
        both = [attempt(at, gain=estimate(gain, 0.003), age=at - 4, passed=False) for at in (8, 9)]
        tried = replace(later, attempts=tuple(both))
        assert least < told_by(tried, "rose") / max(1e-12, told_by(tried, "changed")) < most


def told_by(seen: Evidence, kind: str) -> float:
    """Weight of the stories without ageing in which the level rose and nothing changed, or the other way."""
    stories = [story for story in believed(seen, CONF).stories if not story.ageing]
    if kind == "rose":
        return sum(story.weight for story in stories if story.risen is not None and story.since is None)
    return sum(story.weight for story in stories if story.since is not None and story.risen is None)


def test_stories_that_are_merged_keep_their_moments() -> None:
    rng = np.random.default_rng(4)
    stories, means, seconds = [], [], []
    for _ in range(3):
        root, mean = rng.standard_normal((3, 3)), rng.standard_normal(3)
        full = root @ root.T
        stories.append(Story(0.1, 3, True, *mean, tuple(full[np.triu_indices(3)])))
        means.append(mean)
        seconds.append(full + np.outer(mean, mean))
    shares = [0.5, 0.3, 0.2]
    found = _merged(stories, shares)
    mean = np.average(means, axis=0, weights=shares)
    assert (found.level, found.size, found.rate) == pytest.approx(mean)
    second = np.average(seconds, axis=0, weights=shares) - np.outer(mean, mean)
    assert found.covariance == pytest.approx(second[np.triu_indices(3)])


def test_what_a_change_costs_is_seen_after_two_windows_and_nothing_before() -> None:
    """Jumps by ten points, told apart by windows with a noise of about three; a champion that was quiet for six."""
    early, late = [], []
    for seed in range(100):
        past, jumps = quiet(seed, 12, 34)
        if not jumps or len(quiet(seed, jumps[0] - 10, jumps[0] + 1)[1]) > 1:
            continue
        for newest, found in ((jumps[0] - 1, early), (jumps[0] + 1, late)):
            found.append(outlook(served(past, jumps[0] - 7, newest), CONF).points.mean)
    assert len(late) >= 30
    assert np.mean(early) < 1.5
    assert np.mean(late) > 3 * np.mean(early)
    assert np.mean(np.array(late) > 3) > 0.8  # three points a window are what an attempt costs


@pytest.mark.parametrize("bad", [UNKNOWN, estimate(math.inf), estimate(0.5, math.nan)])
def test_what_is_undecidable_teaches_nothing(bad: object) -> None:
    seen = tracked(0.80, 0.79, 0.80, age=2)
    holes = replace(seen, track=(*seen.track[:-2], replace(seen.track[-2], estimate=bad), seen.track[-1]))
    without = replace(seen, track=(*seen.track[:-2], seen.track[-1]))
    assert believed(holes, CONF) == believed(without, CONF)
    tried = replace(seen, attempts=(attempt(9, gain=bad, age=1),))
    assert believed(tried, CONF) == believed(seen, CONF)


@pytest.mark.parametrize("value", [1e308, -1e308, 5e-324])
def test_numbers_beyond_reason_break_nothing(value: float) -> None:
    seen = tracked(0.80, value, value, 0.80, age=3)
    assert sum(story.weight for story in believed(seen, CONF).stories) == pytest.approx(1)
