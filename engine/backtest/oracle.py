"""The best that any policy could have done, knowing everything: dynamic programming over (window, champion).

    V(t, c) = loss(c, t) + min(V(t + 1, c), price + loss of the shadow + V(t + 1 + shadow, model made at t))

An attempt that would fail its gate is never worth its price, so only those that pass are looked at. The oracle keeps
the spacing between attempts, as everybody must, and always starts warm. After Mahadevan and Mathioudakis
(arXiv:2310.04216), with gates, label delay, shadow and spacing added.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from engine.backtest.hindsight import Hindsight
from engine.backtest.play import Played, Span, play, points_below_best, price
from engine.decide import Choice, DecideConf, Evidence
from engine.records import Action


def oracle(past: Hindsight, conf: DecideConf, span: Span) -> Played:
    """The cheapest plan, played. Cost: windows^2 / 2 states, each once."""
    plan = best_plan(past, conf, span)
    return play(past, conf, span, lambda evidence: scripted(evidence, plan))


def scripted(evidence: Evidence, plan: frozenset[int]) -> Choice:
    """Attempts in the windows of a plan, whatever the evidence."""
    action = Action.RETRAIN if evidence.index in plan else Action.KEEP
    return Choice(action=action, reason="as planned")


def best_plan(past: Hindsight, conf: DecideConf, span: Span) -> frozenset[int]:
    """The windows in which the oracle retrains."""
    wait = past.shadow

    def loss(champion: int, window: int) -> float:
        return points_below_best(past, conf, span, champion, window) * conf.point_value

    @functools.cache
    def best(window: int, champion: int, earliest: int) -> tuple[float, tuple[int, ...]]:
        """The least cost from a window on, and the attempts that give it; none before window `earliest`."""
        if window > span.last:
            return 0.0, ()
        here = loss(champion, window)
        cost, plan = best(window + 1, champion, earliest if earliest > window else 0)
        model = span.mature(window, past.lag) - 1
        if window >= earliest and model > champion and past.passes(model, champion):
            shadowed = range(window + 1, min(window + wait, span.last) + 1)
            after, later = best(window + 1 + wait, model, window + conf.min_spacing)
            paid = price(past.hours(model, retuned=False), conf) + sum(loss(champion, w) for w in shadowed) + after
            if paid < cost:
                cost, plan = paid, (window, *later)
        return here + cost, plan

    with _deep(4 * (span.last - span.first) + 1000):
        return frozenset(best(span.first, span.founder, 0)[1])


@contextmanager
def _deep(depth: int) -> Iterator[None]:
    """Room for a recursion as deep as the span is long."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, depth))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
