"""Without a champion: after an attempt that failed the next one waits for windows that could change the verdict."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from engine.decide import DecideConf, Evidence, Failed, decide, shortfall
from engine.decide.founding import chance, waits
from engine.records import Action, from_plain, to_plain
from tests.engine.decide.evidence import UNKNOWN, attempt, estimate, evidence

CONF = DecideConf()


def failed(z: float = 0.0, **more: Any) -> Failed:
    """So many standard errors above its floor of 0.6."""
    known: dict[str, Any] = {"estimate": estimate(0.6 + 0.01 * z, 0.01), "bound": 0.6, "better": 1}
    return Failed(window="w9", reason="floor: too low", **(known | more))


def alone(*tries: Failed, fresh: int = 0, **more: Any) -> Evidence:
    known: dict[str, Any] = {"model": "", "baseline": None, "realised": None, "failed": tries, "fresh": fresh}
    return evidence(**(known | {"tuned_at": None} | more))


def due(*tries: Failed, **more: Any) -> int:
    """Labelled windows until an attempt is made."""
    return next(k for k in range(200) if not waits(alone(*tries, fresh=k, **more), CONF))


def test_the_first_attempt_is_made_whatever_it_costs() -> None:
    dear = DecideConf(review_cost=1e9)
    decision = decide(alone(), dear)
    assert (decision.action, decision.reason) == (Action.RETUNE, "there is no champion; and none to start from")


def test_never_the_same_rows_twice() -> None:
    for conf in (CONF, DecideConf(review_cost=0, hour_price=0), DecideConf(policy="calendar", calendar=1)):
        decision = decide(alone(failed(1.9)), conf)
        assert decision.action is Action.KEEP
        assert decision.reason == (
            "there is no champion, and the attempt of w9 failed: floor: too low; "
            "no labelled window has come since, and the same rows would say the same"
        )


def test_how_long_it_waits_is_how_far_it_fell_short() -> None:
    found = [due(failed(z)) for z in (1.9, 0.0, -3.0, -10.0)]
    assert found == sorted(found)
    assert found == [3, 5, 12, 37]
    held = decide(alone(failed(0.0), fresh=4), CONF)
    assert held.action is Action.KEEP
    assert held.reason.endswith(
        "; 4 labelled windows since, another one passes with 0.21: "
        "it is made once windows without a model, times that, are worth its cost (0.85)"
    )
    assert held.waiting.mean == pytest.approx(4 * held.acting.mean)
    made = decide(alone(failed(0.0), fresh=5), CONF)
    assert (made.action, made.reason) == (Action.RETUNE, "there is no champion; and none to start from")


def test_the_chance_is_that_of_two_measurements_with_their_errors() -> None:
    """A simulation: the truth moves by a standard error a window, both hold-outs have their own."""
    rng = np.random.default_rng(4)
    for z, fresh, rows in ((0.5, 2, 1000), (-1.0, 4, 4000), (1.5, 1, 250)):
        told = chance(alone(failed(z), fresh=fresh, holdout_rows=rows))
        ratio = math.sqrt(1000 / rows)
        truth = z + rng.normal(0, 1, 200_000)  # what is known of it after one measurement
        seen = truth + math.sqrt(fresh) * rng.normal(0, 1, 200_000) + ratio * rng.normal(0, 1, 200_000)
        assert told == pytest.approx(float((seen > 1.96 * ratio).mean()), abs=0.005)


def test_more_rows_are_sooner_worth_an_attempt() -> None:
    assert due(failed(1.0), holdout_rows=16_000) < due(failed(1.0), holdout_rows=1000)


def test_less_is_better_where_it_is() -> None:
    loss = failed(estimate=estimate(0.7, 0.01), better=-1)
    assert shortfall(loss) == pytest.approx(-10.0)
    assert due(loss) == 37


def test_what_was_not_measured_counts_as_attempts_did() -> None:
    """No trial ended, say: Beta(1, 1 + failed)."""
    for unknown in (failed(estimate=None), failed(estimate=UNKNOWN), failed(better=0)):
        assert math.isnan(shortfall(unknown))
        assert due(unknown) == 3
        assert due(failed(), unknown) == 4


def test_where_attempts_cost_nothing_each_new_window_has_one() -> None:
    free = DecideConf(review_cost=0, hour_price=0)
    assert decide(alone(failed(-10.0), fresh=1), free).action is Action.RETUNE


def test_it_is_no_word_on_a_champion() -> None:
    with_one = evidence(failed=(failed(),), fresh=0)
    assert "no champion" not in decide(with_one, CONF).reason
    assert decide(alone(failed(), fresh=9, pending="x" * 64), CONF).reason.endswith("is still in shadow")


def test_ids_and_replay() -> None:
    told = alone(failed(), fresh=2, holdout_rows=900, attempts=(attempt(9, passed=False),))
    assert decide(from_plain(Evidence, to_plain(told)), CONF) == decide(told, CONF)
    bare = dataclasses.replace(told, failed=(), fresh=0, holdout_rows=0)
    plain = {k: v for k, v in to_plain(bare).items() if k not in ("failed", "fresh", "holdout_rows")}
    assert decide(from_plain(Evidence, plain), CONF).id == decide(bare, CONF).id
