"""What every choice is worth, the sentence for who answers for it, and the bar that hysteresis lowers."""

from __future__ import annotations

import dataclasses
import math

import pytest

from engine.decide import DecideConf, decide
from engine.decide.costs import acting
from engine.decide.expected import expected
from engine.records import Action, Decision, from_plain, to_plain
from tests.engine.decide.evidence import UNKNOWN, attempt, estimate, evidence

BAD = evidence(realised=estimate(0.60), attempts=(attempt(2, hours=100.0, retuned=True), attempt(5, hours=1.0)))
CONF = DecideConf(planned=False)  # as earlier releases decided


def test_every_option_has_its_cost_and_its_gain() -> None:
    kept, retrain, retune = decide(BAD, CONF).options
    assert (kept.action, retrain.action, retune.action) == (Action.KEEP, Action.RETRAIN, Action.RETUNE)
    assert (kept.cost, kept.gain.mean) == (expected(BAD, CONF).waiting, 0)
    assert math.isnan(kept.probability)
    assert (retrain.cost.mean, retune.cost.mean) == (pytest.approx(302), pytest.approx(500))
    assert retrain.gain == retune.gain == expected(BAD, CONF).gain
    assert retrain.probability > retune.probability > 0.5


def test_without_a_champion_there_is_one_option() -> None:
    decision = decide(evidence(model="", baseline=None, realised=None, tuned_at=None), CONF)
    assert [option.action for option in decision.options] == [Action.RETUNE]
    assert decision.counterfactual == "without an attempt there would be no model at all"


def test_the_sentence_after_an_attempt_says_what_keeping_would_lose() -> None:
    """20 points lost, half of them won back, at 100 over 3 windows; a Beta(3, 1) chance to pass."""
    decision = decide(BAD, CONF)
    assert decision.action is Action.RETRAIN
    assert decision.counterfactual == (
        "kept, the model is expected to lose 3000 EUR over 3 windows; "
        "the attempt costs 302 and brings back 2250 on average, failed gates included"
    )


def test_the_sentence_after_keeping_says_from_where_on_it_would_pay() -> None:
    """2 points lost, a chance of a half: 300 EUR a point over the horizon, and half of it on average."""
    seen = evidence()
    decision = decide(seen, CONF)
    assert decision.action is Action.KEEP
    cost = acting(seen, CONF, retune=False).mean
    assert decision.counterfactual == (
        f"an attempt now would cost {cost:.0f} EUR and bring back 150 on average over 3 windows; "
        f"it pays from {cost / 150:.1f} points to win on, and 1.0 are expected"
    )
    free = decide(seen, DecideConf(planned=False, point_value=0.0)).counterfactual
    assert free.endswith("no number of points would make it pay")


def test_what_is_undecidable_is_said() -> None:
    decision = decide(evidence(realised=UNKNOWN), CONF)
    assert decision.counterfactual == "what the other choice would have come to is undecidable"
    assert all(math.isnan(option.probability) for option in decision.options)
    assert to_plain(from_plain(Decision, to_plain(decision))) == to_plain(decision)


def test_hysteresis_lowers_the_bar_once_it_wanted_to() -> None:
    """Wants from 0.7 on, and goes on wanting down to 0.4."""
    seen = evidence(realised=estimate(0.748))
    probability = decide(seen, CONF).probability
    assert 0.4 < probability < 0.7
    conf = DecideConf(planned=False, confidence=0.7, hysteresis=0.3)
    assert decide(seen, conf).action is Action.KEEP
    assert decide(dataclasses.replace(seen, wanted=1), conf).action is Action.RETRAIN
    assert decide(dataclasses.replace(seen, wanted=1), DecideConf(planned=False, confidence=0.7)).action is Action.KEEP
