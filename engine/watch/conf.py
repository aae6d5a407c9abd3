"""WatchConf: how often to look, and how long to wait."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import ConfigError
from engine.system.timing import duration

SEQUENCES = ("auto", "none")


@dataclass(kw_only=True, slots=True)
class WatchConf:
    """How `tidegate watch` follows the windows. Durations are written 30s, 10m, 12h or 7d."""

    every: str = "60s"
    """Between two looks at the folder or bucket."""
    settle: str = "10s"
    """A file has landed once its size and time have stood still for so long, and it can be read to its end."""
    marker: str | None = None
    """Ending of a marker file beside a window, such as `._SUCCESS`: the window has landed once
    `<name>.parquet._SUCCESS` or `<name>._SUCCESS` is there. Null: by `settle` alone."""
    grace: str = "1h"
    """How long a window waits, from its own landing, for one before it that is missing or cannot be read."""
    sequence: str = "auto"
    """auto: which windows are missing is told by the names (hours, days, weeks, months, numbers), by the step that most
    of them keep. none: whatever comes next is next."""
    until: str | None = None
    """End once this window is behind us; null: never."""
    idle_exit: str | None = None
    """End after so long with nothing to do; null: never."""
    release: str = "10m"
    """Give Ray, its workers and the tracker back after so long with nothing to do; the next window starts them anew."""

    metrics_port: int | None = None
    """Serve the loop's numbers to Prometheus on this port while the watch lives, such as 9464; null: do not."""
    metrics_host: str = "127.0.0.1"
    """The address that it is served on; whoever reaches it can read, there is no password."""

    def __post_init__(self) -> None:
        for key in ("every", "settle", "grace", "release"):
            duration(getattr(self, key), f"watch.{key}")
        if self.idle_exit is not None:
            duration(self.idle_exit, "watch.idle_exit")
        if not self.seconds("every"):
            raise ConfigError("watch.every", "is no time at all", "choose 1s or more")
        if self.metrics_port is not None and not 1 <= self.metrics_port <= 65535:
            raise ConfigError("watch.metrics_port", f"{self.metrics_port} is no port", "choose one such as 9464")
        if not self.metrics_host:
            raise ConfigError("watch.metrics_host", "is empty", "name an address, such as 127.0.0.1")
        if self.sequence not in SEQUENCES:
            what = f"{self.sequence!r} is unknown"
            raise ConfigError("watch.sequence", what, f"choose one of {', '.join(SEQUENCES)}")
        if self.marker is not None and (not self.marker or "/" in self.marker or self.marker.endswith(".parquet")):
            cure = "write an ending such as ._SUCCESS or .done, or null"
            raise ConfigError("watch.marker", f"{self.marker!r} is no ending of a marker", cure)

    def seconds(self, key: str) -> float:
        """One of the durations in seconds."""
        return duration(getattr(self, key), f"watch.{key}").total_seconds()
