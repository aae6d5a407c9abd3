"""What a person sets about the loop itself. Apart from loop.py, so that the command line can read it without torch."""

from __future__ import annotations

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

    def __post_init__(self) -> None:
        if self.founding_windows < 2:
            cure = "use at least 2: one to train on, one to judge on"
            raise ConfigError("loop.founding_windows", f"{self.founding_windows} is below 2", cure)
