"""What a person sets about the loop itself. Apart from loop.py, so that the command line can read it without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class LoopConf:
    """The loop itself."""

    name: str = "default"
    """Of its ledger chain, its folder runs/<name> and its group in the tracker."""
    founding_windows: int = 2
    """The first windows, labelled when the loop starts, that found the first champion; the last one is its hold-out."""
    until: str | None = None
    """Stop after this window; null: at the last one there is."""
    lease: float = 60.0
    """Seconds without a sign of life after which another process may take this loop over."""
    wait: float | None = None
    """Seconds to wait for another process that runs this loop; 0: none; null: until it ends."""

    def __post_init__(self) -> None:
        if self.founding_windows < 2:
            cure = "use at least 2: one to train on, one to judge on"
            raise ConfigError("loop.founding_windows", f"{self.founding_windows} is below 2", cure)
        if not 0 < self.lease < math.inf:
            raise ConfigError("loop.lease", f"{self.lease} is no time", "choose seconds, such as 60")
        if self.wait is not None and not 0 <= self.wait < math.inf:
            raise ConfigError("loop.wait", f"{self.wait} is no time", "choose seconds, 0 not to wait, or null")
