"""How tests wait on a machine of unknown speed: for events, not for spans of time.

A span proves something only where it is long beside what may hold a process up. So a wait ends with its event and is
bounded by ENOUGH alone, and what must be quick may be tried again: what hangs does so each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

ENOUGH = 300.0  # seconds: whoever waits longer waits for what will not come
TRIES = 3

T = TypeVar("T")


def until(reached: Callable[[], object], what: object = "it did not come", *, every: float = 0.02) -> None:
    """Wait until `reached` says so; AssertionError with `what` (called, where it can be) after ENOUGH."""
    ends = time.monotonic() + ENOUGH
    while not reached():
        if time.monotonic() > ends:
            raise AssertionError(what() if callable(what) else what)
        time.sleep(every)


def timed(action: Callable[[], T], limit: float) -> tuple[T, float]:
    """What an action gives that can be repeated, and the seconds that it took: the first time within `limit`, of TRIES.

    A first import, or a machine that stands still for a while, is no hang.
    """
    for _ in range(TRIES):
        began = time.monotonic()
        given = action()
        seconds = time.monotonic() - began
        if seconds < limit:
            break
    return given, seconds
