"""What a person sets about a backtest."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from engine.decide.conf import POLICY_NAMES
from engine.errors import ConfigError

KINDS = ("abrupt", "gradual", "seasonal", "benign", "mixed", "still", "harder", "partly")  # of simulated pasts


@dataclass(kw_only=True, slots=True)
class BacktestConf:
    """Which policies `tidegate backtest` plays, over which past."""

    policies: list[str] = field(
        default_factory=lambda: ["cost_aware", "calendar", "drift", "performance", "cusum", "upf", "never"]
    )
    """Names of decide.policy."""
    tune: int = 0
    """So many windows, the first ones, choose the parameters of every policy, which then play over the others; 0: the
    parameters are those of the config."""
    retune: bool = False
    """Make every model by a full sweep over search.space, as RETUNE does; false: by one trial with the config as it
    is."""
    degraded: float = 1.0
    """Points below the best model from which on a window counts as degraded."""
    streams: list[str] = field(default_factory=list)
    """Simulated pasts with known truth instead of the windows of data: abrupt, gradual, seasonal, benign (features
    move, nothing is harmed), mixed, still, harder (labels become noisier, which no model cures), partly
    (abrupt and harder, each at times of its own)."""
    seeds: int = 20
    """Pasts of each kind of stream."""
    windows: int = 60
    """Windows of each simulated past that are played; as many before them choose the parameters."""
    confidence_level: float = 0.95
    """Of all intervals of one table together."""
    seed: int = 0
    """Simulated pasts have the seeds from here on."""

    def __post_init__(self) -> None:
        _check_names("policies", self.policies, POLICY_NAMES)
        _check_names("streams", self.streams, KINDS)
        if len(self.policies) < 2:
            raise ConfigError("backtest.policies", "there is nothing to compare", "name two policies or more")
        for name, least in (("tune", 0), ("seeds", 2), ("windows", 4), ("seed", 0)):
            value = getattr(self, name)
            if not least <= value <= 1_000_000:
                raise ConfigError(f"backtest.{name}", f"{value} is out of range", f"choose {least} or more")
        if not 0 < self.degraded < float("inf"):
            raise ConfigError("backtest.degraded", f"{self.degraded} is no number of points", "choose one such as 1.0")
        if not 0.5 <= self.confidence_level < 1:
            cure = "choose one from 0.5 up to 0.999"
            raise ConfigError("backtest.confidence_level", f"{self.confidence_level} is no level", cure)


def _check_names(key: str, names: list[str], known: tuple[str, ...]) -> None:
    """Each name is known, and stands once."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            cure = f"did you mean {near[0]!r}?" if near else f"choose among {', '.join(known)}"
            raise ConfigError(f"backtest.{key}", f"{name!r} is unknown", cure)
    if len(set(names)) < len(names):
        raise ConfigError(f"backtest.{key}", "names one twice", "name each once")
