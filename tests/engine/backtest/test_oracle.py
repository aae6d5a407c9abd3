"""The dynamic programme against every plan there is, and against the economic order quantity."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from engine.backtest.oracle import best_plan, oracle, scripted
from engine.backtest.play import Played, Span, play, policy
from engine.backtest.streams import KINDS, Stream, StreamConf
from engine.decide import POLICIES, DecideConf
from tests.engine.backtest.matrix import Matrix, decaying

CONF = DecideConf(review_cost=150, hour_price=2, point_value=100)


def cheapest(past: Matrix, conf: DecideConf, span: Span) -> Played:
    """Every subset of windows, played; those that break the spacing or retrain during a shadow are no plans."""
    found = []
    windows = range(span.first, span.last + 1)
    for size in range(len(windows) + 1):
        for plan in itertools.combinations(windows, size):
            gaps = [b - a for a, b in itertools.pairwise(plan)]
            if all(gap >= max(conf.min_spacing, past.shadow + 1) for gap in gaps):
                found.append(play(past, conf, span, lambda evidence, plan=plan: scripted(evidence, frozenset(plan))))  # type: ignore[misc]
    return min(found, key=lambda played: played.cost)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("lag", "shadow", "spacing"), [(1, 0, 1), (2, 0, 1), (1, 1, 1), (1, 0, 3), (2, 2, 2)])
def test_no_plan_is_cheaper(seed: int, lag: int, shadow: int, spacing: int) -> None:
    rng = np.random.default_rng(seed)
    walk = rng.normal(0, 0.02, (11, 11)).cumsum(1) + rng.normal(0, 0.01, (11, 11))
    past = Matrix((0.8 + walk).tolist(), lag=lag, shadow=shadow, fails=frozenset(rng.choice(11, 2).tolist()))
    conf, span = replace(CONF, min_spacing=spacing), Span(first=2, last=10)
    found = oracle(past, conf, span)
    assert found.cost == pytest.approx(cheapest(past, conf, span).cost)
    assert found.promoted == len(found.attempts)


@pytest.mark.parametrize("review", [148.0, 448.0, 798.0])
def test_a_steady_decay_is_met_at_the_economic_order_quantity(review: float) -> None:
    """Losses grow by c a window, an attempt costs K: the best period is near sqrt(2 K / c) (Harris 1913)."""
    span = Span(first=2, last=121)
    plan = sorted(best_plan(decaying(122), replace(CONF, review_cost=review), span))
    gaps = np.diff(plan)[1:-1]
    assert np.mean(gaps) == pytest.approx(math.sqrt(2 * (review + 2) / 100), abs=0.35)


def test_where_nothing_decays_nothing_is_done() -> None:
    assert best_plan(decaying(30, 0.0), CONF, Span(first=2, last=29)) == frozenset()


@pytest.mark.parametrize("kind", KINDS)
def test_no_policy_beats_the_oracle(kind: str) -> None:
    past, span = Stream(StreamConf(kind=kind, windows=40), 5), Span(first=3, last=39)
    best = oracle(past, CONF, span).cost
    for name in POLICIES:
        conf = replace(CONF, policy=name)
        assert play(past, conf, span, policy(conf)).cost >= best - 1e-6
