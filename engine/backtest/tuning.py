"""The parameters of a policy, chosen on a past: those that would have been cheapest there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.backtest.hindsight import Hindsight
from engine.backtest.play import Played, Span, play, policy
from engine.decide import DecideConf

Change = Mapping[str, Any]
NEVER = 10_000  # windows: further than any past

# What is tried, the quietest first: it wins a tie. Amounts of money are multiples of an attempt's review.
GRIDS: Mapping[str, Sequence[Change]] = {
    "calendar": [{"calendar": k} for k in (NEVER, 24, 12, 8, 6, 4, 3, 2, 1)],
    "cara_periodic": [{"cara_period": k} for k in (NEVER, 24, 12, 8, 6, 4, 3, 2, 1)],
    "drift": [{"drift_share": share} for share in (0.99, 0.6, 0.4, 0.3, 0.2, 0.1)],
    "performance": [{"points": p} for p in (20.0, 12.0, 8.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0)],
    "cusum": [
        {"cusum_slack": slack, "cusum_limit": limit}
        for limit in (40.0, 16.0, 8.0, 4.0, 2.0)
        for slack in (4.0, 2.0, 1.0, 0.0)
    ],
    "upf": [{"quantile": q} for q in (0.05, 0.2, 0.35, 0.5, 0.65, 0.8)],
    "cost_aware": [{"confidence": c} for c in (0.95, 0.8, 0.65, 0.5, 0.35, 0.2)],
    "never": [{}],
}
SHARES = (8.0, 4.0, 3.0, 2.0, 1.5, 1.0, 0.5, 0.25)  # of the cost of a review, for both thresholds of CARA


def named(name: str, conf: DecideConf) -> DecideConf:
    """The config of a policy with its parameters as they are."""
    return replace(conf, policy=name)


def grid(name: str, conf: DecideConf) -> list[DecideConf]:
    """The configs of a policy that are tried, the quietest first."""
    if name in ("cara_threshold", "cara_cumulative"):
        changes: Sequence[Change] = [{name: share * conf.review_cost} for share in SHARES]
    else:
        changes = GRIDS[name]
    return [replace(named(name, conf), **change) for change in changes]


def tuned(past: Hindsight, conf: DecideConf, span: Span, name: str) -> tuple[DecideConf, Played]:
    """The config of a policy that was cheapest over a span, and what it came to there."""
    played = [(one, play(past, one, span, policy(one))) for one in grid(name, conf)]
    return min(played, key=lambda pair: pair[1].cost)


def parameters(name: str, conf: DecideConf) -> str:
    """What the grid of a policy has set, in words."""
    keys = [name] if name in ("cara_threshold", "cara_cumulative") else list(GRIDS[name][0])
    return ", ".join(f"{key}={getattr(conf, key):g}" for key in keys)
