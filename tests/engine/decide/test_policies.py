"""Decisions: guards first, then the policy, then how; the same evidence gives the same decision."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import math
import pkgutil
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine.decide
from engine.decide import POLICIES, DecideConf, decide
from engine.decide.conf import POLICY_NAMES
from engine.decide.costs import acting, probability_of_paying
from engine.decide.expected import expected
from engine.records import Action, Decision, from_plain, to_plain
from tests.engine.decide.evidence import attempt, before, estimate, evidence, tracked
from tests.engine.decide.test_costs import UNKNOWNS

# Twenty points lost three windows ago: whoever may act, acts.
BAD = tracked(0.80, 0.80, 0.60, 0.60, 0.60, age=4)
TWICE = tuple(attempt(at, gain=estimate(0.001), age=1, passed=False) for at in (1, 2))  # from here on plans decide
OLD = DecideConf(planned=False)  # as earlier releases decided
FAILED = {"passed": False, "retuned": True}
MODULES = sorted(module.name for module in pkgutil.iter_modules(engine.decide.__path__))
ACTING = [name for name in POLICY_NAMES if name != "never"]
# Everything is as bad as can be: whoever may act, acts.
WORST = tracked(0.6, 0.6, 0.6, index=12, age=3, drifted=9, columns=9, tuned_at=2)


def test_every_policy_has_its_name_in_the_config() -> None:
    assert tuple(POLICIES) == POLICY_NAMES


# ---- guards -------------------------------------------------------------------------------------------------------

GUARDS: dict[str, tuple[dict[str, Any], str]] = {
    "pending": ({"pending": "a" * 64}, f"challenger {'a' * 12} is still in shadow"),
    "frozen": ({"frozen": "calibration broke"}, "promotions are frozen: calibration broke"),
    "spacing": ({"attempts": (attempt(10),)}, "the last attempt was 2 windows ago, the spacing is 3"),
    "breaker": (
        {"attempts": tuple(attempt(k, **FAILED) for k in (5, 7, 9))},
        "3 gates failed in a row: no attempt for 3 windows",
    ),
}


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("policy", ACTING)
@pytest.mark.parametrize("model", ["champion", ""])
def test_guards_hold_every_policy(guard: str, policy: str, model: str) -> None:
    changes, reason = GUARDS[guard]
    decision = decide(dataclasses.replace(WORST, model=model, **changes), DecideConf(policy=policy, min_spacing=3))
    assert (decision.action, decision.reason) == (Action.KEEP, reason)
    free = decide(dataclasses.replace(WORST, model=model), DecideConf(policy=policy, calendar=1))
    assert free.action is not Action.KEEP


@pytest.mark.parametrize("policy", ACTING)
def test_patience_holds_every_policy_and_counts(policy: str) -> None:
    conf = DecideConf(policy=policy, patience=3)
    seen, told = WORST, []
    for _ in range(3):
        told.append(decide(seen, conf))
        seen = dataclasses.replace(seen, wanted=told[-1].wanted)
    assert [decision.action is Action.KEEP for decision in told] == [True, True, False]
    assert [decision.wanted for decision in told] == [1, 2, 0]
    assert told[1].reason.endswith("; wanted in 2 windows in a row, the patience is 3")
    assert decide(dataclasses.replace(WORST, model=""), conf).action is Action.RETUNE


@pytest.mark.parametrize("policy", ACTING)
def test_a_guard_and_a_policy_that_is_content_end_the_count(policy: str) -> None:
    conf = DecideConf(policy=policy, patience=3)
    held = decide(dataclasses.replace(WORST, frozen="incident", wanted=2), conf)
    fine = tracked(0.8, 0.8, index=10, age=0, columns=9, wanted=2, tuned_at=9)
    assert (held.wanted, decide(fine, conf).wanted) == (0, 0)


def test_spacing_counts_from_the_last_attempt() -> None:
    acts = {
        since: decide(dataclasses.replace(BAD, attempts=(attempt(10 - since),)), DecideConf(min_spacing=2)).action
        for since in (0, 1, 2, 3)
    }
    assert {since for since, action in acts.items() if action is Action.KEEP} == {0, 1}


@pytest.mark.parametrize(
    ("outcomes", "open_"),
    [
        ([False, False, False], False),
        ([True, False, False], True),
        ([False, False, True], True),
        ([False, False, None], True),
        ([False, False, False, False, False], False),
    ],
)
def test_the_breaker_wants_failures_in_a_row(outcomes: list[bool | None], open_: bool) -> None:
    attempts = tuple(attempt(9 - len(outcomes) + k, passed=passed) for k, passed in enumerate(outcomes))
    decision = decide(dataclasses.replace(BAD, attempts=attempts), DecideConf(calendar=1, policy="calendar"))
    assert (decision.action is not Action.KEEP) is open_


def test_the_breaker_lets_go_after_its_windows() -> None:
    acts = []
    for last in (9, 8, 7, 6, 5):
        attempts = tuple(attempt(last - k, **FAILED) for k in (2, 1, 0))
        decision = decide(dataclasses.replace(BAD, attempts=attempts), DecideConf(calendar=1, policy="calendar"))
        acts.append(decision.action is not Action.KEEP)
    assert acts == [False, False, False, True, True]


# ---- how ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "action", "why"),
    [
        ({"tuned_at": 9}, Action.RETRAIN, "are 1 windows old and are kept"),
        ({"tuned_at": 7}, Action.RETRAIN, "are 3 windows old and are kept"),
        ({"tuned_at": 6}, Action.RETUNE, "are 4 windows old"),
        ({"tuned_at": None}, Action.RETUNE, "were never searched here"),
        ({"attempts": (attempt(8, passed=False),)}, Action.RETUNE, "failed their gate the last time"),
        ({"attempts": (attempt(8, passed=False, retuned=True),)}, Action.RETRAIN, "are kept"),
        ({"attempts": (attempt(7, passed=False), attempt(8))}, Action.RETRAIN, "are kept"),
        ({"model": ""}, Action.RETUNE, "there is no champion; and none to start from"),
    ],
)
def test_young_hyperparameters_are_kept_until_they_fail(changes: dict[str, Any], action: Action, why: str) -> None:
    decision = decide(dataclasses.replace(BAD, **changes), DecideConf())
    assert decision.action is action
    assert why in decision.reason


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_without_a_champion_one_is_searched_whatever_the_policy(policy: str) -> None:
    nothing = evidence(model="", baseline=None, realised=None, tuned_at=None)
    assert decide(nothing, DecideConf(policy=policy)).action is Action.RETUNE


# ---- cost_aware ---------------------------------------------------------------------------------------------------


def test_money_of_a_decision_is_that_of_the_attempt_it_would_make() -> None:
    attempts = (attempt(2, hours=100.0, retuned=True), attempt(5, hours=1.0))
    for tuned_at, retune in ((9, False), (2, True)):
        seen = dataclasses.replace(BAD, attempts=attempts, tuned_at=tuned_at)
        decision = decide(seen, DecideConf())
        cost = acting(seen, DecideConf(), retune=retune)
        assert decision.acting == cost
        assert decision.acting.mean == pytest.approx(500 if retune else 302)
        assert decision.waiting == expected(seen, DecideConf()).waiting
        assert decision.probability == probability_of_paying(expected(seen, DecideConf()).gain, cost)
        assert decision.currency == "EUR"


@pytest.mark.parametrize("confidence", [0.1, 0.5, 0.9])
def test_it_acts_when_the_probability_reaches_the_confidence(confidence: float) -> None:
    """After what was lost in two windows, of which a model made now has seen one."""
    worse = [tracked(0.80, 0.80, 0.80, *[0.80 - lost / 100] * 2, age=4, attempts=TWICE) for lost in range(21)]
    decisions = [decide(seen, DecideConf(confidence=confidence)) for seen in worse]
    probabilities = [d.probability for d in decisions]
    assert np.diff(probabilities).min() > -0.001
    assert [d.action is not Action.KEEP for d in decisions] == [p >= confidence for p in probabilities]
    assert decisions[0].action is Action.KEEP
    assert decisions[-1].action is not Action.KEEP


@pytest.mark.parametrize("confidence", [0.1, 0.5, 0.9])
def test_earlier_releases_acted_when_theirs_reached_it(confidence: float) -> None:
    worse = [evidence(realised=estimate(0.80 - lost / 100), age=0) for lost in range(21)]
    decisions = [decide(seen, DecideConf(confidence=confidence, planned=False)) for seen in worse]
    probabilities = [d.probability for d in decisions]
    assert probabilities == sorted(probabilities)
    assert [d.action is not Action.KEEP for d in decisions] == [p >= confidence for p in probabilities]
    assert decisions[0].action is Action.KEEP
    assert decisions[-1].action is Action.RETRAIN or confidence == 0.9


def test_at_half_confidence_it_weighs_expected_gain_against_expected_cost() -> None:
    for lost in range(21):
        seen = evidence(realised=estimate(0.80 - lost / 100))
        pays = expected(seen, DecideConf()).gain.mean >= acting(seen, DecideConf(), retune=False).mean
        assert (decide(seen, DecideConf()).action is not Action.KEEP) is pays


def test_a_dearer_attempt_a_cheaper_point_and_failed_gates_hold_it_back() -> None:
    assert decide(BAD, DecideConf()).action is Action.RETRAIN
    assert decide(BAD, DecideConf(review_cost=30_000)).action is Action.KEEP
    assert decide(BAD, DecideConf(point_value=1)).action is Action.KEEP
    failed = tuple(attempt(k, **FAILED) for k in (1, 3, 5))
    less = decide(dataclasses.replace(BAD, attempts=failed), DecideConf(breaker=9))
    assert less.probability < decide(BAD, DecideConf()).probability


@pytest.mark.parametrize("confidence", [0.1, 0.5, 0.9])
def test_it_goes_on_acting_where_more_is_lost_though_a_loss_may_stay(confidence: float) -> None:
    """With a belief in which some changes are cured by nothing."""
    worse = [tracked(0.80, 0.80, 0.80, *[0.80 - lost / 100] * 2, age=4, attempts=TWICE) for lost in range(41)]
    acts = [decide(seen, DecideConf(confidence=confidence, incurable=0.1)).action is not Action.KEEP for seen in worse]
    assert acts == sorted(acts)
    assert (acts[0], acts[-1]) == (False, True)


def test_age_alone_can_pay() -> None:
    easy = evidence(realised=estimate(0.82), age=8)
    assert decide(easy, OLD).action is Action.RETRAIN
    assert decide(dataclasses.replace(easy, age=1), OLD).action is Action.KEEP


def test_age_alone_can_pay_where_attempts_have_shown_that_it_costs() -> None:
    """Every third window an attempt won four points, and again three windows have passed, easy ones."""
    known = tuple(attempt(at, gain=estimate(0.04), age=3) for at in (13, 16, 19))
    seen = tracked(0.80, 0.81, 0.81, 0.82, index=22, age=2, attempts=known, past=before(12, 15, 18))
    assert decide(seen, DecideConf()).action is not Action.KEEP
    cheap = tuple(dataclasses.replace(one, gain=estimate(0.0)) for one in known)
    assert decide(dataclasses.replace(seen, attempts=cheap), DecideConf()).action is Action.KEEP


def test_the_reason_is_a_sentence_with_the_money() -> None:
    decision = decide(dataclasses.replace(BAD, attempts=TWICE), DecideConf(currency="CHF"))
    assert "a retrain would win +19.7 +-" in decision.reason
    assert "(+20.0 lost, 4 windows old, the world has changed since with 1.00)" in decision.reason
    once = decide(BAD, DecideConf(currency="CHF", planned=False))
    assert "a retrain would win +10.0 +-" in once.reason
    assert "(+20.0 lost, 4 windows old)" in once.reason
    assert f"waiting costs {decision.waiting.mean:.0f} +- {decision.waiting.std:.0f} CHF" in decision.reason
    assert f"it pays with {decision.probability:.2f}" in decision.reason


@pytest.mark.parametrize("unknown", UNKNOWNS)
@pytest.mark.parametrize("age", [0, 50])
def test_undecidable_evidence_never_acts(unknown: dict[str, Any], age: int) -> None:
    decision = decide(evidence(age=age, **unknown), DecideConf(confidence=0.01))
    assert decision.action is Action.KEEP
    assert decision.reason.startswith("what waiting costs is undecidable: ")
    assert math.isnan(decision.probability)


def test_the_reason_names_what_is_missing() -> None:
    assert decide(evidence(**UNKNOWNS[0]), DecideConf()).reason.endswith("no estimate of realised performance yet")
    assert decide(evidence(**UNKNOWNS[2]), DecideConf()).reason.endswith("(the labels are all the same)")


# ---- calendar and never -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tuned_at", "last", "acts"),
    [(None, None, True), (8, None, False), (7, None, True), (2, 8, False), (2, 7, True), (9, 5, False)],
)
def test_the_calendar_counts_from_the_last_training(tuned_at: int | None, last: int | None, acts: bool) -> None:
    attempts = () if last is None else (attempt(last),)
    fine = evidence(realised=estimate(0.9), tuned_at=tuned_at, attempts=attempts)
    decision = decide(fine, DecideConf(policy="calendar", calendar=3))
    assert (decision.action is not Action.KEEP) is acts
    assert "inf" not in decision.reason


def test_the_calendar_needs_no_labels() -> None:
    decision = decide(evidence(realised=None, tuned_at=6), DecideConf(policy="calendar"))
    assert decision.action is Action.RETUNE
    assert math.isnan(decision.waiting.mean)


def test_never_keeps() -> None:
    assert decide(BAD, DecideConf(policy="never")).action is Action.KEEP


# ---- purity -------------------------------------------------------------------------------------------------------


def test_the_same_evidence_gives_the_same_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = dataclasses.replace(BAD, attempts=(attempt(3, gain=estimate(0.01), age=2),))
    first = decide(seen, DecideConf())

    def forbidden(*_: object) -> float:
        raise AssertionError("a decision looked at the clock, or threw dice")

    for module, name in ((time, "time"), (time, "perf_counter"), (random, "random")):
        monkeypatch.setattr(module, name, forbidden)
    assert decide(dataclasses.replace(seen), DecideConf()) == first
    assert decide(from_plain(type(seen), to_plain(seen)), DecideConf()).id == first.id
    assert from_plain(Decision, to_plain(first)) == first


CHANGES: list[Callable[[], tuple[Any, DecideConf]]] = [
    lambda: (dataclasses.replace(BAD, window="w11"), DecideConf()),
    lambda: (dataclasses.replace(BAD, model="other"), DecideConf()),
    lambda: (dataclasses.replace(BAD, realised=estimate(0.61)), DecideConf()),
    lambda: (dataclasses.replace(BAD, drifted=1), DecideConf()),
    lambda: (dataclasses.replace(BAD, attempts=(attempt(),)), DecideConf()),
    lambda: (BAD, DecideConf(point_value=101)),
    lambda: (BAD, DecideConf(policy="never")),
]


def test_another_input_gives_another_id() -> None:
    ids = [decide(BAD, DecideConf()).id, *(decide(*change()).id for change in CHANGES)]
    assert len(set(ids)) == len(ids)
    assert all(len(id) == 64 for id in ids)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_impure_is_imported(module: str) -> None:
    tree = ast.parse(inspect.getsource(importlib.import_module(f"engine.decide.{module}")))
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    imported |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    allowed = {"__future__", "math", "collections.abc", "dataclasses", "statistics"}
    ours = {name for name in imported if name.split(".")[:2] == ["engine", "decide"]}
    assert imported - ours <= allowed | {"typing", "engine.errors", "engine.records"}
