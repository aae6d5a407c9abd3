"""Where the wall time went: a stopwatch with one lap a stage. And durations as people write them."""

from __future__ import annotations

import contextlib
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from engine.errors import ConfigError

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def duration(text: str, key: str) -> timedelta:
    """`7d`, `12h`, `90m`, `30s`, `2w`; ConfigError naming `key` where `text` is none."""
    found = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if not found:
        raise ConfigError(key, f"{text[:40]!r} is no duration", "write 7d, 12h, 90m or 30s")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


class Stopwatch:
    """Seconds by name. Of nested laps the inner one takes its time away from the outer one, so that no second counts
    twice. For one thread.
    """

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.laps: dict[str, float] = defaultdict(float)
        self._running: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Count the block under `name`."""
        self._switch()
        self._running.append((name, time.perf_counter()))
        try:
            yield
        finally:
            self._switch()
            self._running.pop()
            if self._running:
                self._running[-1] = (self._running[-1][0], time.perf_counter())

    def _switch(self) -> None:
        """Credit the running lap up to now."""
        if self._running:
            name, since = self._running[-1]
            now = time.perf_counter()
            self.laps[name] += now - since
            self._running[-1] = (name, now)

    def move(self, seconds: float, source: str, target: str) -> None:
        """Credit part of one lap to another: what a stage learned only afterwards. The sum stays as it is."""
        self.laps[source] -= seconds
        self.laps[target] += seconds

    def since(self, before: dict[str, float]) -> dict[str, float]:
        """Seconds of each lap that ended since `before`, a copy of `laps`; laps without any are left out."""
        return {name: t - before.get(name, 0.0) for name, t in self.laps.items() if t > before.get(name, 0.0)}

    @property
    def wall(self) -> float:
        """Seconds since this stopwatch was made."""
        return time.perf_counter() - self.began
