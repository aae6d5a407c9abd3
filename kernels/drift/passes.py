"""Work over the batches of a window that does not fit in memory, one pass of them each.

A scan runs one work over all batches and gives its results, one for each part that the batches were divided into:
one in a single process, many where workers share the window. Works are plain data that travel, and results merge, so
who scans, in how many parts and in which order, changes no number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple, Protocol

import numpy as np

from kernels.arrays import common_working
from kernels.drift import window
from kernels.drift.stream import LiveCounts, live_column

Batches = Callable[[], Iterable[Any]]
"""Yields the batches of one window anew each time it is called."""


class Work(Protocol):
    """What one part does with its batches."""

    def __call__(self, batches: Iterable[Any]) -> Any: ...


Scan = Callable[[Work], Iterable[Any]]


def in_one_piece(batches: Batches) -> Scan:
    """The scan of one process."""
    return lambda work: [work(batches())]


@dataclass(frozen=True, slots=True)
class Count:
    """The rows of every column, counted from `start` on; gives LiveCounts."""

    start: LiveCounts

    def __call__(self, batches: Iterable[Any]) -> LiveCounts:
        counts = self.start
        for batch in batches:
            counts = counts.update(batch)
        return counts


def count(scan: Scan, start: LiveCounts) -> LiveCounts:
    """The counts of all batches, `start` being empty."""
    return reduce(LiveCounts.merge, scan(Count(start)), start)


class Intervals(NamedTuple):
    """Ranges of values: those between the first edge and the second, the third and the fourth, and so on to the end;
    with `below` those up to the first edge, between the second and the third, and so on."""

    edges: Any
    below: bool

    def __bool__(self) -> bool:
        return self.below or self.edges.size > 0

    def of(self, values: Any) -> Any:
        """The values that lie in one of the ranges: from <= value < to."""
        edges, joint = common_working(self.edges, values)
        if edges.size > 2:
            return values[((edges.searchsorted(joint, side="right") + self.below) & 1).astype(bool)]
        wanted = np.full(values.shape, self.below)  # the rule: one range, told by two comparisons
        for edge in edges:
            wanted ^= joint >= edge
        return values[wanted]


@dataclass(frozen=True, slots=True)
class Gather:
    """The rows of each column that lie in its intervals; gives column -> array, in no order.

    With a share below 1 every such row is kept with that probability, under a fixed seed.
    """

    names: tuple[str, ...]
    wanted: Mapping[str, Intervals]
    share: Mapping[str, float]

    def __call__(self, batches: Iterable[Any]) -> dict[str, Any]:
        rng = np.random.default_rng(len(self.wanted))
        found: dict[str, list[Any]] = {name: [] for name in self.wanted}
        for batch in batches:
            sources = window.live_sources(batch, self.names)
            for name, intervals in self.wanted.items():
                rows = intervals.of(host_column(sources[name], name)[0])
                share = self.share.get(name, 1.0)
                found[name].append(rows if share >= 1.0 else rows[rng.random(rows.size) < share])
        return {name: joined(rows) for name, rows in found.items() if rows}


def gather(
    scan: Scan, names: tuple[str, ...], intervals: Mapping[str, Intervals], share: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """The wanted rows of all batches, ascending; no pass where nothing is wanted."""
    wanted = {name: each for name, each in intervals.items() if each}
    found = list(scan(Gather(names, wanted, share or {}))) if wanted else []
    ordered = {name: each.edges[:0] for name, each in intervals.items()}
    for name in wanted:
        parts = [part.pop(name) for part in found if name in part]
        if parts:
            ordered[name] = joined(parts)
            ordered[name].sort()
    return ordered


def host_column(raw: Any, name: str) -> tuple[Any, int]:
    """The values of a numeric column on the host, those that are missing left out, and how many these were."""
    values, nulls = live_column(raw, name)
    values = values if isinstance(values, np.ndarray) else values.get()
    kept = values[values == values] if values.dtype.kind == "f" else values
    return kept, nulls + values.size - kept.size


def joined(parts: Sequence[Any]) -> Any:
    """All parts as one array of a dtype that rounds none of them; DTypeError where there is none."""
    if len(parts) == 1:
        return parts[0]
    kinds: dict[str, list[Any]] = {}
    for part in parts:
        kinds.setdefault(str(part.dtype), []).append(part)
    return reduce(lambda a, b: np.concatenate(common_working(a, b)), (np.concatenate(same) for same in kinds.values()))
