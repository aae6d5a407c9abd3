"""Policies side by side on one past: each tuned on an earlier stretch of it, all played on a later one.

Every policy begins the later stretch with a fresh champion, and with the attempts that it made in the earlier one: what
it may have learned there. Regret is its cost minus the oracle's.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.backtest.hindsight import Hindsight
from engine.backtest.oracle import oracle
from engine.backtest.play import Played, Span, play, policy, price
from engine.backtest.tuning import named, parameters, tuned
from engine.decide import DecideConf
from engine.records.contested import ORACLE as ORACLE
from engine.records.contested import Line as Line

DEGRADED = 1.0  # points below the best model: what counts as a degraded window


def contest(
    past: Hindsight,
    conf: DecideConf,
    span: Span,
    names: Sequence[str],
    earlier: Span | None = None,
    degraded: float = DEGRADED,
) -> tuple[Line, ...]:
    """The policies, the cheapest first, and the oracle before them.

    They are tuned on `earlier`; without it they take their parameters from the config as it is. Windows in which the
    champion is `degraded` points below the best model, or further, are counted.
    """
    best = oracle(past, conf, span)

    def line(name: str, said: str, played: Played) -> Line:
        return _line(name, said, played, best, conf, span, degraded)

    found = []
    for name in names:
        if earlier is None:
            own = named(name, conf)
            found.append(line(name, "", play(past, own, span, policy(own))))
        else:
            own, before = tuned(past, conf, earlier, name)
            found.append(line(name, parameters(name, own), play(past, own, span, policy(own), before)))
    return (line(ORACLE, "", best), *sorted(found, key=lambda line: line.cost))


def _line(
    name: str, parameters: str, played: Played, best: Played, conf: DecideConf, span: Span, degraded: float
) -> Line:
    costs = [below * conf.point_value for below in played.below]
    for attempt in played.attempts:
        costs[attempt.index - span.first] += price(attempt.hours, conf)
    return Line(
        policy=name,
        parameters=parameters,
        cost=played.cost,
        regret=played.cost - best.cost,
        lost=played.lost,
        spent=played.spent,
        attempts=len(played.attempts),
        promoted=played.promoted,
        degraded=played.degraded(degraded),
        windows=len(played.below),
        below=played.below,
        acted=tuple(attempt.index for attempt in played.attempts),
        passed=tuple(attempt.passed is True for attempt in played.attempts),
        costs=tuple(costs),
    )
