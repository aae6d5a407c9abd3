"""What a gate is told: its rules and limits. One value alone is checked here; engine/checks.py holds them together."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from engine.errors import ConfigError
from engine.gate.spending import SPENDING

WAYS = ("refuse", "spend", "ladder")
KINDS = ("floor", "superiority", "noninferiority")


@dataclass(kw_only=True, slots=True)
class RuleConf:
    """One rule."""

    kind: str
    """floor, superiority or noninferiority."""
    metric: str
    """A metric that evaluate computes."""
    threshold: float | None = None
    """floor: the value that must be reached."""
    margin: float = 0.0
    """superiority: how much better at least; noninferiority: how much worse at most. Not negative."""
    slice: str | None = None
    """noninferiority: judge every level of this column; `metric` must be the primary one, for slices know no other."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError("gate.rules:kind", f"{self.kind!r} is unknown", f"choose one of {', '.join(KINDS)}")
        if self.kind == "floor" and self.threshold is None:
            raise ConfigError("gate.rules:threshold", f"the floor of {self.metric} has none", "set threshold")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ConfigError("gate.rules:threshold", f"{self.threshold} is no value", "choose a finite number")
        if self.kind != "floor" and self.threshold is not None:
            raise ConfigError("gate.rules:threshold", f"{self.kind} has none", "set margin, or use kind: floor")
        if self.kind == "floor" and self.margin != 0:
            raise ConfigError("gate.rules:margin", "a floor has none", "move its threshold")
        if self.margin < 0 or not math.isfinite(self.margin):
            raise ConfigError("gate.rules:margin", f"{self.margin} is not a margin", "choose 0 or more")
        if self.slice is not None and self.kind != "noninferiority":
            raise ConfigError("gate.rules:slice", f"{self.kind} has no slices", "use kind: noninferiority")


@dataclass(kw_only=True, slots=True)
class GateConf:
    """What a challenger must show."""

    rules: dict[str, RuleConf] = field(default_factory=dict)
    """Offline, on the hold-out rows. The first model of all is judged by its floors alone."""
    shadow: dict[str, RuleConf] = field(default_factory=dict)
    """In shadow, on the next labelled window."""
    max_holdout_uses: int = 5
    """How often the same rows may decide before they are worn out."""
    spending: str = "obrien_fleming"
    """How the looks at promote.shadow_windows windows share alpha: obrien_fleming (late) or pocock (evenly)."""
    futility: float = 0.05
    """Give a challenger up whose chance to pass by its last shadow window is below this, shared by the rules; 0:
    never."""
    wear: str = "refuse"
    """What rows that decided before are worth: refuse (nothing after max_holdout_uses), spend (alpha divided by
    max_holdout_uses) or ladder (as much as by which the best seen on them is exceeded)."""

    def __post_init__(self) -> None:
        if self.max_holdout_uses < 1:
            cure = "choose 1 or more"
            raise ConfigError("gate.max_holdout_uses", f"{self.max_holdout_uses} lets no rows decide", cure)
        if self.wear not in WAYS:
            raise ConfigError("gate.wear", f"{self.wear!r} is unknown", f"choose one of {', '.join(WAYS)}")
        if self.spending not in SPENDING:
            cure = f"choose one of {', '.join(SPENDING)}"
            raise ConfigError("gate.spending", f"{self.spending!r} is unknown", cure)
        if not 0 <= self.futility < 0.5:
            raise ConfigError("gate.futility", f"{self.futility} is no small chance", "choose 0 up to 0.499")
