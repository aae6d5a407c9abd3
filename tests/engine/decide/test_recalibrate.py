"""When keeping the network and mapping its scores is worth more than training; and what else it leaves as it was."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engine.decide import DecideConf, Evidence, decide
from engine.records import Action, Decision, Estimate, Option, from_plain, to_plain
from tests.engine.decide.evidence import UNKNOWN, attempt, estimate, evidence

CONF = DecideConf(recalibrate=True, planned=False)  # as earlier releases decided
PLAIN = DecideConf()


def won(points: float, error: float = 0.002, **more: Any) -> Estimate:
    """The paired gain of a map, of a loss: less is better."""
    return estimate(-0.01 * points, error, **{"name": "log_loss", **more})


def losing(points: float, calibration: Estimate | None, **more: Any) -> Evidence:
    """A champion whose log loss has risen by these points."""
    known = {"baseline": estimate(0.50), "realised": estimate(0.50 + 0.01 * points), "greater_is_better": False}
    return evidence(**{**known, "calibration": calibration, **more})


def offered(decision: Decision) -> Option:
    return next(option for option in decision.options if option.action is Action.RECALIBRATE)


def test_what_a_map_wins_is_in_closed_form() -> None:
    """10 points at 100 over 3 windows by a chance of a half; the review alone is paid."""
    decision = decide(losing(12, won(10)), CONF)
    found = offered(decision)
    assert found.gain.mean == pytest.approx(0.5 * 10 * 100 * 3)
    assert (found.cost.mean, found.cost.std) == (300, 0)
    assert decision.action is Action.RECALIBRATE
    assert (decision.acting, decision.probability) == (found.cost, found.probability)
    assert found.why == "a map of the champion's scores won +10.0 +- 0.2 points on rows it had not seen"
    assert found.why in decision.reason
    assert "the attempt costs 300 and brings back 1500 on average" in decision.counterfactual


def test_the_options_stand_in_the_order_of_what_they_change() -> None:
    actions = [option.action for option in decide(losing(12, won(10)), CONF).options]
    assert actions == [Action.KEEP, Action.RECALIBRATE, Action.RETRAIN, Action.RETUNE]


def test_training_is_chosen_where_it_leaves_more() -> None:
    """Of 40 points lost a retrain wins 20 back, a map 5."""
    assert decide(losing(40, won(5)), CONF).action is Action.RETRAIN
    assert decide(losing(40, won(25)), CONF).action is Action.RECALIBRATE


def test_a_map_that_does_not_pay_is_not_made() -> None:
    """Where training does not pay either, the model is kept."""
    assert decide(losing(2, won(1.9)), CONF).action is Action.KEEP
    assert decide(losing(2, won(2.5)), CONF).action is Action.RECALIBRATE


@pytest.mark.parametrize("points", [0.0, -5.0])
def test_a_map_that_wins_nothing_has_no_gain(points: float) -> None:
    decision = decide(losing(40, won(points)), CONF)
    assert offered(decision).gain.mean == 0
    assert decision.action is Action.RETRAIN


def test_a_ranking_is_not_moved_by_a_map_and_the_option_says_so() -> None:
    still = estimate(0.0, 0.0, method="a monotone map moves no ranking")
    decision = decide(evidence(realised=estimate(0.50), calibration=still), CONF)
    found = offered(decision)
    assert (found.gain.mean, found.gain.std, found.probability) == (0, 0, 0)
    assert found.why == "a monotone map moves no ranking"
    assert decision.action is Action.RETRAIN


def test_what_is_undecidable_is_not_chosen() -> None:
    decision = decide(losing(40, UNKNOWN), CONF)
    found = offered(decision)
    assert math.isnan(found.gain.mean)
    assert math.isnan(found.probability)
    assert found.why == "the labels are all the same"
    assert decision.action is Action.RETRAIN


def test_it_is_chosen_where_what_was_lost_is_undecidable() -> None:
    assert decide(losing(0, won(10), realised=UNKNOWN), CONF).action is Action.RECALIBRATE


def test_earlier_recalibrations_set_its_own_chance_and_cost_alone() -> None:
    mapped = [attempt(at, passed=False, hours=0.5, recalibrated=True, gain=estimate(-0.2), age=1) for at in (3, 5)]
    plain, decided = decide(losing(12, won(10)), CONF), decide(losing(12, won(10), attempts=tuple(mapped)), CONF)
    assert offered(decided).gain.mean == pytest.approx(0.25 * 3000)
    assert offered(decided).cost.mean == pytest.approx(301)
    for one, other in zip(plain.options[2:], decided.options[2:], strict=True):
        assert one == other


def test_learned_its_chance_follows_from_the_points_it_won() -> None:
    """Measured 50 standard errors above nothing, it passes for sure; 1 standard error above, seldom."""
    learned = DecideConf(recalibrate=True, planned=False, learned=True)
    assert offered(decide(losing(12, won(10)), learned)).gain.mean == pytest.approx(3000)
    assert offered(decide(losing(12, won(10, error=0.1)), learned)).gain.mean < 0.6 * 3000
    still = offered(decide(losing(12, won(0.0, 0.0)), learned))
    assert (still.gain.mean, still.probability) == (0, 0)


def test_guards_hold_it_and_who_asks_is_answered() -> None:
    assert decide(losing(12, won(10), frozen="by hand"), CONF).action is Action.KEEP
    spaced = losing(12, won(10), attempts=(attempt(9, recalibrated=True),))
    assert decide(spaced, DecideConf(recalibrate=True, planned=False, min_spacing=3)).action is Action.KEEP
    asked = decide(losing(12, won(10), asked="retune", asked_why="a rule"), CONF)
    assert asked.action is Action.RETUNE


def test_patience_and_hysteresis_hold_for_it_too() -> None:
    patient = DecideConf(recalibrate=True, planned=False, patience=2)
    waits = decide(losing(12, won(10)), patient)
    assert (waits.action, waits.wanted) == (Action.KEEP, 1)
    assert decide(losing(12, won(10), wanted=1), patient).action is Action.RECALIBRATE
    near = losing(2, won(1.9), wanted=1)
    assert decide(near, CONF).action is Action.KEEP
    assert decide(near, DecideConf(recalibrate=True, planned=False, hysteresis=0.2)).action is Action.RECALIBRATE


@pytest.mark.parametrize("policy", ["calendar", "never", "performance", "upf", "drift"])
def test_other_policies_do_not_choose_it(policy: str) -> None:
    assert decide(losing(12, won(10)), DecideConf(recalibrate=True, policy=policy)).action is not Action.RECALIBRATE


@pytest.mark.parametrize("learned", [False, True])
def test_off_nothing_is_offered_and_no_id_changes(learned: bool) -> None:
    conf = DecideConf(learned=learned)
    decision = decide(losing(12, None), conf)
    assert Action.RECALIBRATE not in [option.action for option in decision.options]
    assert to_plain(decide(losing(12, won(10)), conf).options) == to_plain(decision.options)
    recalibrated = DecideConf(learned=learned, recalibrate=True)
    assert decide(losing(12, won(10)), recalibrated).action is Action.RECALIBRATE
    assert decide(losing(12, None), recalibrated).action is decision.action


def test_the_same_inputs_from_json_give_the_same_decision() -> None:
    seen = losing(12, won(10))
    again = decide(from_plain(Evidence, to_plain(seen)), from_plain(DecideConf, to_plain(CONF)))
    assert to_plain(again) == to_plain(decide(seen, CONF))
    assert decide(seen, CONF).id != decide(losing(12, won(11)), CONF).id
    assert decide(losing(12, None), PLAIN).id != decide(losing(12, None), CONF).id
