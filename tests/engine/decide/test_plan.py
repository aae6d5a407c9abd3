"""The plan against all plans written out, and what it makes of rows that are not in, of remainders, and of gates."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

from engine.backtest.play import Span, play, policy
from engine.backtest.streams import Stream, StreamConf
from engine.backtest.tuning import grid
from engine.decide import DecideConf, decide, plan
from engine.decide.changes import Belief, Story
from engine.decide.expected import expected
from engine.records import Action, Money
from tests.engine.decide.evidence import UNKNOWN, attempt, estimate, evidence, tracked

CONF = DecideConf()
DOUBTING = DecideConf(incurable=0.03)
FLAT = (1.0, 0.0, 0.0, 1.0, 0.0, 1.0)


@pytest.mark.parametrize("since", [None, 8, 10])
@pytest.mark.parametrize("cost", [10.0, 300.0, 900.0])
def test_the_value_is_that_of_the_best_of_all_plans(
    since: int | None, cost: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six windows ahead, every choice of windows to act in."""
    monkeypatch.setattr(plan, "AHEAD", 6)
    story = Story(1.0, since, True, 0.0, 7.0, 0.4, FLAT)
    belief = Belief(stories=(story,), champion=6, mature=10, training=3, scale=7.0, hazard=0.1)

    def costs(first: int, acts: tuple[int, ...]) -> float:
        """Windows 12 to 17 of a champion or of the model of an attempt at 11; later attempts at the ends of `acts`."""
        total, model = 0.0, first
        for ahead in range(1, 7):
            loss = 7.0 * belief.left(story, model) + 0.4 * belief.stale(model, 11 + ahead)
            total += 0.9 ** (ahead - 1) * loss * 100
            if ahead in acts:
                total += 0.9**ahead * cost
                model = 10 + ahead - 1
        return total

    plans = [acts for n in range(6) for acts in itertools.combinations(range(1, 6), n)]
    found = plan._values(story, belief, 11, CONF, cost)
    assert found == pytest.approx([min(costs(first, acts) for acts in plans) for first in (6, 9)])


def test_an_attempt_whose_rows_are_not_in_saves_nothing_and_a_window_later_it_does() -> None:
    """Twenty points lost in the newest labelled window, which is the hold-out; then one of them can be trained on."""
    fresh = tracked(0.80, 0.80, 0.80, 0.80, 0.60, age=4)
    seen = tracked(0.80, 0.80, 0.80, 0.60, 0.60, age=4)
    assert plan.outlook(fresh, CONF).changed > 0.95
    assert plan.outlook(fresh, CONF).saved.mean < 60
    assert plan.outlook(seen, CONF).saved.mean > 1000


def test_a_model_made_in_the_middle_of_a_change_is_known_to_be_worth_another() -> None:
    """Trained on three windows, one of them new, it won 15 points of 20 and fell to 7 below; all is quiet since."""
    won = attempt(9, gain=estimate(0.11), age=4, passed=True)
    past = tracked(0.80, 0.80, 0.80, 0.60, index=8, age=3).track
    aged = tuple(replace(one, age=k + 1) for k, one in enumerate(past))
    seen = tracked(0.71, 0.71, 0.71, index=11, lag=1, age=1, baseline=estimate(0.71), past=aged, training=3)
    told = replace(seen, attempts=(won,))
    assert plan.outlook(told, CONF).gained.mean > 300
    # The same level, and no attempt or past to tell that it was ever better.
    assert plan.outlook(replace(seen, past=()), CONF).gained.mean < 100


def test_what_brings_nothing_new_saves_nothing() -> None:
    found = plan.outlook(evidence(age=0, realised=estimate(0.5)), CONF)
    assert (found.points.mean, found.saved.mean, found.gained.mean) == (0, 0, 0)


def test_other_gates_that_stop_better_challengers_lower_the_chance() -> None:
    """(1 + passed) / (1 + better ones): one that won too little to tell is not counted."""
    seen = tracked(0.80, 0.80, 0.60, 0.60, 0.60, age=4)
    free = plan.outlook(seen, CONF).chance.mean
    stopped = [attempt(2, passed=False, gain=estimate(0.05), age=1), attempt(4, passed=False)]
    doubtful = attempt(5, passed=False, gain=estimate(0.001), age=1)
    pending = attempt(6, passed=None, gain=estimate(0.05), age=1)
    for count, attempts in ((0, (doubtful, pending)), (1, stopped[:1]), (2, stopped)):
        told = replace(seen, attempts=tuple(attempts))
        assert plan.outlook(told, CONF).chance.mean == pytest.approx(free / (1 + count), rel=0.03)


@pytest.mark.parametrize("unknown", [{"realised": None}, {"baseline": UNKNOWN}, {"realised": estimate(math.inf)}])
def test_what_rests_on_an_undecidable_number_is_undecidable(unknown: dict[str, object]) -> None:
    won = attempt(3, gain=estimate(0.01), age=1)
    seen = evidence(attempts=(won, won), **unknown)
    for found in (expected(seen, CONF).waiting, expected(seen, CONF).gain):
        assert math.isnan(found.mean)
    assert plan.outlook(seen, CONF) == plan.NOTHING_KNOWN


def test_waiting_is_never_a_gain() -> None:
    worse = attempt(7, gain=estimate(-0.05), age=2, passed=False)
    found = expected(tracked(0.80, 0.81, 0.82, 0.82, age=3, attempts=(worse, worse)), CONF).waiting
    assert found.mean >= 0
    assert found == Money(mean=found.mean, std=found.std)


def test_what_a_map_saves_grows_with_its_points_up_to_what_an_attempt_would() -> None:
    seen = tracked(0.80, 0.80, 0.60, 0.60, 0.60, age=4)
    saved = [plan.worth_of(points, seen, CONF) for points in (0.0, 1.0, 2.0, 19.0)]
    assert saved[0] == pytest.approx(0)
    assert saved == sorted(saved)
    assert saved[1] == pytest.approx(100, rel=0.1)  # the champion is replaced a window later, so it serves one


def test_it_is_cheaper_than_any_calendar_where_the_world_jumps_and_quiet_where_it_does_not() -> None:
    """Untuned, against the best period known afterwards, on the same windows of four pasts."""
    span = Span(first=4, last=63)
    own, rivals, spent = 0.0, [0.0] * len(grid("calendar", CONF)), 0.0
    for seed in range(100, 104):
        past = Stream(StreamConf(kind="abrupt", windows=64), seed)
        own += play(past, CONF, span, policy(CONF)).cost
        for k, conf in enumerate(grid("calendar", CONF)):
            rivals[k] += play(past, conf, span, policy(conf)).cost
        spent += play(Stream(StreamConf(kind="benign", windows=64), seed), CONF, span, policy(CONF)).spent
    assert own < 0.7 * min(rivals)
    assert spent <= 4 * 3 * 310  # the first two attempts and one more in sixty windows, at most, on average


def test_the_first_attempts_are_made_as_the_config_believes() -> None:
    """A gain that was measured twice, of whatever size, makes the plan decide; a missing one does not."""
    old, seen = replace(CONF, planned=False), tracked(0.80, 0.79, 0.78, age=2)
    won, blind = attempt(5, gain=estimate(0.01), age=1), attempt(6, gain=UNKNOWN, age=1)
    for attempts, plans in (((), False), ((won, blind), False), ((won, won), True)):
        told = replace(seen, attempts=attempts)
        assert plan.plans(told, CONF) is plans
        assert (expected(told, CONF).waiting == expected(told, old).waiting) is not plans
        assert not plan.plans(told, old)


def test_where_attempts_won_nothing_the_plan_waits_and_says_why() -> None:
    """Six points were lost and stayed lost through two attempts that had the rows to cure them."""
    useless = tuple(attempt(at, gain=estimate(0.0, 0.003), age=at - 6, passed=False) for at in (10, 11))
    seen = tracked(0.80, 0.80, 0.74, 0.74, 0.74, 0.74, 0.74, index=12, age=6, attempts=useless, training=3)
    decision = decide(seen, DOUBTING)
    assert decision.action is Action.KEEP
    assert "that training does not bring back what was lost, with 0.9" in decision.reason
    hopeful = replace(seen, attempts=tuple(replace(one, gain=estimate(0.06, 0.003)) for one in useless))
    assert plan.outlook(hopeful, DOUBTING).gained.mean > 5 * plan.outlook(seen, DOUBTING).gained.mean
    assert "does not bring back" not in decide(hopeful, DOUBTING).reason


def test_where_nothing_helps_it_attempts_less_and_where_something_does_as_often() -> None:
    """Labels that became noisier, for good; and jumps of the concept. Against a belief in cures alone."""
    span, spent, costs = Span(first=4, last=63), {}, {}
    for conf in (DOUBTING, CONF):
        known = conf.incurable
        harder, abrupt = (
            [
                play(Stream(StreamConf(kind=kind, windows=64), seed), conf, span, policy(conf))
                for seed in range(200, 202)
            ]
            for kind in ("harder", "abrupt")
        )
        spent[known] = sum(one.spent for one in harder)
        costs[known] = sum(one.cost for one in abrupt)
    assert spent[0.03] < 0.8 * spent[0.0]
    assert costs[0.03] < 1.1 * costs[0.0]
