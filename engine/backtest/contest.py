"""Policies side by side on one past: each tuned on an earlier stretch of it, all played on a later one.

Every policy begins the later stretch with a fresh champion, and with the attempts that it made in the earlier one: what
it may have learned there. Regret is its cost minus the oracle's.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.backtest.hindsight import Hindsight
from engine.backtest.oracle import oracle
from engine.backtest.play import Played, Span, play, policy
from engine.backtest.tuning import named, parameters, tuned
from engine.decide import DecideConf
from engine.records import record

ORACLE = "oracle"
DEGRADED = 1.0  # points below the best model: what counts as a degraded window


@record
class Line:
    """What one policy came to. Amounts in the currency of the config."""

    policy: str
    parameters: str  # as tuned; empty: it has none, or they are those of the config
    cost: float
    regret: float
    lost: float  # by models worse than the best that could have served
    spent: float  # on attempts
    attempts: int
    promoted: int
    degraded: int  # windows
    windows: int
    below: tuple[float, ...]  # points below the best model, window by window
    acted: tuple[int, ...]  # places in time of its attempts


def contest(
    past: Hindsight, conf: DecideConf, span: Span, names: Sequence[str], earlier: Span | None = None
) -> tuple[Line, ...]:
    """The policies, the cheapest first, and the oracle before them.

    They are tuned on `earlier`; without it they take their parameters from the config as it is.
    """
    best = oracle(past, conf, span)
    lines = [_line(name, "", played, best) for name, played in [(ORACLE, best)]]
    found = []
    for name in names:
        if earlier is None:
            own = named(name, conf)
            found.append(_line(name, "", play(past, own, span, policy(own)), best))
        else:
            own, before = tuned(past, conf, earlier, name)
            played = play(past, own, span, policy(own), before.attempts)
            found.append(_line(name, parameters(name, own), played, best))
    return (*lines, *sorted(found, key=lambda line: line.cost))


def _line(name: str, parameters: str, played: Played, best: Played) -> Line:
    return Line(
        policy=name,
        parameters=parameters,
        cost=played.cost,
        regret=played.cost - best.cost,
        lost=played.lost,
        spent=played.spent,
        attempts=len(played.attempts),
        promoted=played.promoted,
        degraded=played.degraded(DEGRADED),
        windows=len(played.below),
        below=played.below,
        acted=tuple(attempt.index for attempt in played.attempts),
    )
