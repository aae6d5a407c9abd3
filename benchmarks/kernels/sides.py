"""Both sides of a ratio in one run: ours by pytest-benchmark, the peer by the clock beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def seconds(action: Callable[[], Any], rounds: int) -> float:
    """The median of `rounds` calls, after one that warms caches (and compiles) when there is more than
    one."""
    if rounds > 1:
        action()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        taken.append(time.perf_counter() - started)
    return sorted(taken)[rounds // 2]


def compare(
    benchmark: Any, ours: Callable[[], Any], peer: Callable[[], Any], *, floor: float, rounds: int = 7,
    peer_rounds: int = 3, scale: float = 1.0, note: str = "",
) -> float:  # fmt: skip
    """Time both, print one line, and hold the ratio to its floor. scale: the peer's calls that ours
    replaces."""
    peer_seconds = seconds(peer, peer_rounds) * scale
    benchmark.pedantic(ours, rounds=rounds, warmup_rounds=1)
    mine = benchmark.stats.stats.median
    ratio = peer_seconds / mine
    benchmark.extra_info.update(peer_seconds=peer_seconds, ratio=ratio, floor=floor)
    scaled = f" (peer's median turn x {scale:g})" if scale != 1.0 else ""
    print(f"\n{note}: ours {mine * 1e3:.1f} ms, peer {peer_seconds * 1e3:.1f} ms{scaled}")
    print(f"{note}: {ratio:.1f} x, floor {floor:g} x")
    assert ratio >= floor
    return float(mine)
