"""What a person sets about deciding: prices, prudence, rhythm, and the parameters of each policy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.errors import ConfigError

POLICY_NAMES = (
    "calendar",
    "cara_cumulative",
    "cara_periodic",
    "cara_threshold",
    "cost_aware",
    "cusum",
    "drift",
    "never",
    "performance",
    "upf",
)


@dataclass(kw_only=True, slots=True)
class DecideConf:
    """Prices, prudence and rhythm of retraining."""

    policy: str = "cost_aware"
    """cost_aware, upf, cara_threshold, cara_cumulative, cara_periodic, cusum, performance, drift, calendar or never."""
    currency: str = "EUR"
    """Of every amount below."""
    point: float = 0.01
    """What one point is, in the unit of the primary metric: 0.01 of an AUROC, or 1.0 of an error in minutes."""
    point_value: float = 100.0
    """What a point is worth, a window."""
    horizon: float = 3.0
    """cost_aware: windows over which a retrained model is expected to earn, until the ledger tells how often the world
    changes; half a change in twice so many windows is what is believed first. upf: windows of its forecast."""
    recovered: float = 0.5
    """Share of the lost points that the first retrains are believed to bring back, on average."""
    recovered_std: float = 0.25
    """And its standard deviation."""
    staleness: float = 1.0
    """Points that a window of age costs, where it costs anything, until attempts have measured it."""
    staleness_std: float = 1.0
    """And its standard deviation, between windows and as a belief; a change is expected to cost eight of it."""
    hour_price: float = 2.0
    """Of one hour of compute."""
    first_hours: float = 0.05
    """Compute hours of an attempt, until one was measured."""
    review_cost: float = 300.0
    """People's time for one challenger, whether it passes or not."""
    confidence: float = 0.5
    """cost_aware: act when the probability that it pays is at least this; 0.5 weighs gains and losses alike."""
    min_spacing: int = 1
    """Windows from one attempt to the next, at least; 1 lets every window have one."""
    retune_after: int = 4
    """Hyperparameters older than this many windows are searched anew; younger ones are kept (RETRAIN)."""
    breaker: int = 3
    """This many failed gates in a row stop retraining ..."""
    breaker_windows: int = 3
    """... for this many windows."""
    calendar: int = 3
    """Policy calendar: act this many windows after the last attempt or full sweep."""
    patience: int = 1
    """Act when a policy has wanted to in this many windows in a row."""
    hysteresis: float = 0.0
    """cost_aware: once it wants to act, it goes on wanting until the probability is this far below `confidence`."""
    learned: bool = False
    """Of earlier releases, for replay: learn from every attempt what points lost, age and the last gain tell."""
    planned: bool = True
    """cost_aware: once two attempts were measured, weigh plans over what the ledger tells of changes; false: as earlier
    releases did, for replay."""
    incurable: float = 0.1
    """cost_aware: share of the changes that no training cures, as is believed until attempts tell (labels that become
    noisier, a column that is lost); 0: there are none, as earlier releases decided."""
    recalibrate: bool = False
    """cost_aware: weigh, beside attempts that train, to keep the network and to map its scores anew (RECALIBRATE). What
    that wins is measured on rows that the network has not seen; of a ranking it wins nothing."""
    drift_share: float = 0.3
    """Policy drift: act when this share of the compared columns has moved."""
    points: float = 3.0
    """Policy performance: act when this many points were lost since the champion was gated."""
    cusum_slack: float = 1.0
    """Policy cusum: points a window that the champion may lose without adding to the sum."""
    cusum_limit: float = 4.0
    """Policy cusum: act when the sum of points beyond the slack exceeds this."""
    cara_threshold: float = 300.0
    """Policy cara_threshold: act when a stale model costs at least this in one window."""
    cara_cumulative: float = 600.0
    """Policy cara_cumulative: act when a stale model has cost at least this since the last attempt."""
    cara_period: int = 3
    """Policy cara_periodic: act in every window whose place in time is a multiple of this."""
    quantile: float = 0.5
    """Policy upf: act when this quantile of what a retrain saves is at least its cost; lower is more prudent."""

    def __post_init__(self) -> None:
        if self.policy not in POLICY_NAMES:
            raise ConfigError(
                "decide.policy", f"{self.policy!r} is unknown", f"choose one of {', '.join(POLICY_NAMES)}"
            )
        for name in (
            "point_value",
            "horizon",
            "hour_price",
            "first_hours",
            "review_cost",
            "recovered_std",
            "staleness",
            "min_spacing",
            "breaker_windows",
            "points",
            "cusum_slack",
            "cusum_limit",
            "cara_threshold",
            "cara_cumulative",
        ):
            value = getattr(self, name)
            if value < 0:
                raise ConfigError(f"decide.{name}", f"{value} is negative", "choose 0 or more")
            if not math.isfinite(value):
                raise ConfigError(f"decide.{name}", f"{value} is no amount", "choose a finite number")
        for name in ("confidence", "recovered"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"decide.{name}", f"{getattr(self, name)} is not a share", "choose one up to 1")
        if not 0 <= self.incurable <= 1:
            raise ConfigError("decide.incurable", f"{self.incurable} is not a share", "choose one from 0 to 1")
        for name in ("drift_share", "quantile"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(
                    f"decide.{name}", f"{getattr(self, name)} is not a share", "choose one between 0 and 1"
                )
        if not 0 <= self.hysteresis < self.confidence:
            cure = f"choose 0 or more, below decide.confidence={self.confidence}"
            raise ConfigError("decide.hysteresis", f"{self.hysteresis} leaves nothing to fall below", cure)
        if not 0 < self.point < math.inf:
            raise ConfigError("decide.point", f"{self.point} is no amount", "choose one such as 0.01")
        if not 0 < self.staleness_std < math.inf:
            raise ConfigError("decide.staleness_std", f"{self.staleness_std} is no spread", "choose one such as 1.0")
        for name in ("retune_after", "breaker", "calendar", "patience", "cara_period"):
            if getattr(self, name) < 1:
                raise ConfigError(f"decide.{name}", f"{getattr(self, name)} is below 1", "choose 1 or more")
