"""The recursive regression against one solved in matrices, and what passes the gate against simulation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from engine.decide import Attempt, DecideConf, decide
from engine.decide.expected import expected
from engine.decide.learning import CRITICAL, believed, passing, predicted
from engine.records import Action
from tests.engine.decide.evidence import UNKNOWN, attempt, estimate, evidence

CONF = DecideConf(planned=False, learned=True, recovered=0.5, recovered_std=0.25, staleness=1.0, staleness_std=1.5)


def made(lost: float | None, age: int, points: float, error: float = 0.003) -> Attempt:
    """An attempt at `lost` points that won these points."""
    won = estimate(points / 100, error)
    return attempt(5, lost=None if lost is None else lost / 100, age=age, gain=won, passed=points > 1)


SIX = (made(6, 2, 3.5), made(0.5, 1, 2.0), made(-1, 3, 0.2), made(4, 1, -0.5), made(8, 4, 6.0, 0.008), made(2, 2, 1.0))


def test_the_coefficients_are_the_posterior_of_a_linear_model() -> None:
    """Worked in matrices; the third regressor is the gain of the attempt before, at least 0."""
    x = np.array([[6, 2, 0], [0.5, 1, 3.5], [0, 3, 2], [4, 1, 0.2], [8, 4, 0], [2, 2, 6]], float)
    y = np.array([3.5, 2.0, 0.2, -0.5, 6.0, 1.0])
    own = (x**2) @ np.array([0.25, 1.5, 0.3]) ** 2
    weight = np.diag(1 / (own + np.array([0.3, 0.3, 0.3, 0.3, 0.8, 0.3]) ** 2))
    prior = np.diag(1 / np.array([0.25, 1.5, 0.3]) ** 2)
    precision = prior + x.T @ weight @ x
    mean = np.linalg.solve(precision, prior @ np.array([0.5, 1.0, 0.3]) + x.T @ weight @ y)
    found = believed(evidence(attempts=SIX), CONF)
    assert found.mean == pytest.approx(mean)
    assert np.array(found.covariance) == pytest.approx(np.linalg.inv(precision))
    now = np.array([2.0, 1.0, 1.0])  # two points lost, one window old, the last attempt won one
    told = predicted(evidence(attempts=SIX), CONF)
    assert told.mean == pytest.approx(now @ mean)
    apart = now**2 @ np.array([0.25, 1.5, 0.3]) ** 2
    assert told.std == pytest.approx(math.sqrt(now @ np.linalg.inv(precision) @ now + apart))


def test_errors_are_better_downwards() -> None:
    won = [dataclasses.replace(a, lost=-(a.lost or 0), gain=estimate(-a.gain.value, 0.003)) for a in SIX if a.gain]
    turned = evidence(greater_is_better=False, attempts=tuple(won), baseline=estimate(0.78), realised=estimate(0.80))
    same = [dataclasses.replace(a, gain=estimate(a.gain.value, 0.003)) for a in SIX if a.gain]
    assert believed(turned, CONF).mean == pytest.approx(believed(evidence(attempts=tuple(same)), CONF).mean)
    assert predicted(turned, CONF).mean == pytest.approx(predicted(evidence(attempts=tuple(same)), CONF).mean)


def test_an_attempt_whose_gain_or_loss_is_unknown_teaches_nothing() -> None:
    blind = (made(None, 2, 9.0), attempt(5, lost=0.05, age=2, gain=UNKNOWN), attempt(5, lost=math.nan, age=2))
    assert believed(evidence(attempts=blind), CONF) == believed(evidence(), CONF)


def test_what_an_attempt_brings_is_that_of_a_simulated_gate() -> None:
    seen = evidence(attempts=SIX)
    points, error = predicted(seen, CONF), np.mean([0.3, 0.3, 0.3, 0.3, 0.8, 0.3])
    rng = np.random.default_rng(0)
    won = rng.normal(points.mean, points.std, 2_000_000)
    brings = np.where(won + rng.normal(0, error, won.size) > CRITICAL * error, won, 0.0)
    found = passing(seen, CONF)
    assert found.chance.mean == pytest.approx((brings != 0).mean(), abs=0.002)
    assert found.points.mean == pytest.approx(brings.mean(), abs=0.005)
    assert found.points.std == pytest.approx(brings.std(), rel=0.005)
    assert expected(seen, CONF).gain.mean == pytest.approx(found.points.mean * 300)
    assert expected(seen, CONF).chance == found.chance
    assert expected(seen, CONF).waiting.mean == pytest.approx(expected(seen, CONF).points.mean * 300)


def test_it_learns_that_losses_of_hard_windows_are_not_brought_back() -> None:
    """Six points lost: worth an attempt, also after one that brought nothing, after five of them not any more."""
    conf = dataclasses.replace(CONF, staleness=0.2, staleness_std=0.2, breaker=9)
    seen = evidence(realised=estimate(0.74), age=3, tuned_at=9)
    taught = {n: dataclasses.replace(seen, attempts=tuple(made(6, 3, 0.0) for _ in range(n))) for n in (0, 1, 5)}
    after = {n: decide(told, conf) for n, told in taught.items()}
    assert {n: decision.action is Action.KEEP for n, decision in after.items()} == {0: False, 1: False, 5: True}
    assert after[5].counterfactual.endswith("points to win are expected")


def test_an_attempt_that_cannot_be_told_from_nothing_teaches_nothing() -> None:
    """Nothing was lost, nothing has aged, and the gain is exact: there is nothing to divide by."""
    exact = (made(0, 0, 0.0, 0.0),)
    assert believed(evidence(attempts=exact), CONF) == believed(evidence(), CONF)
    fresh = evidence(age=0, realised=estimate(0.82), attempts=exact)
    assert decide(fresh, CONF).action is Action.KEEP


@pytest.mark.parametrize("unknown", [{"realised": None}, {"baseline": UNKNOWN}, {"realised": estimate(math.inf)}])
def test_undecidable_evidence_never_acts(unknown: dict[str, object]) -> None:
    decision = decide(evidence(age=50, **unknown), DecideConf(planned=False, learned=True, confidence=0.01))
    assert decision.action is Action.KEEP
    assert math.isnan(decision.probability)
