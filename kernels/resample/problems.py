"""A metric as a problem that can be estimated, resampled and differentiated, and the sums that families
share.

Shapes: N rows, S segments (slices), R replicates, B bins, K columns. A problem holds one model or two on the
same rows; every method returns one array a model. Rows and orders stay on their device; statistics by segment
and replicate are small and come to the host (one synchronisation a call). The families are in cells, sums and
ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kernels.dispatch import load
from kernels.primitives import POISSON
from kernels.resample.inputs import host


@dataclass(frozen=True, slots=True)
class Draw:
    """Which weights to draw: replicates start to stop of a seed, keyed by ids (N,)."""

    ids: Any
    seed: int
    start: int
    stop: int
    kind: int = POISSON


@dataclass(frozen=True, slots=True)
class Segments:
    """Rows by slice: codes (N,) int64 in [0, count) or -1 for none; codes None means all rows are segment
    0."""

    codes: Any
    count: int


class Problem(Protocol):
    """What every family can do."""

    def estimate(self, segments: Segments) -> list[Any]:
        """The metric of each segment, (S,) float64 a model."""

    def replicates(self, segments: Segments, draw: Draw) -> list[Any]:
        """The metric under each replicate's weights, (S, R) float64 a model."""

    def influence(self) -> list[Any]:
        """N times the change of the metric per unit of weight on each row, (N,) float64 a model, on the
        host."""

    def take(self, rows: Any) -> Problem:
        """The same problem on some rows (an index array)."""


def binned_sums(
    values: Any, bins: Any, n_bins: int, segments: Segments, draw: Draw, backend: str, flips: Any = None
) -> Any:
    """Weighted integer sums by segment and bin: values (N, K) int64 -> host int64 (S, B, K + 1, R)."""
    ids = draw.ids
    count = segments.count * n_bins
    if bins is None and segments.codes is None:
        offsets = np.asarray([0, values.shape[0]], like=values)
    else:
        codes, _ = keys_of(bins, n_bins, segments, values)
        order = np.argsort(codes, kind="stable")
        inside = codes >= 0
        skipped = int((~inside).sum())  # synchronises
        order = order[skipped:]
        values, ids = values[order], ids[order]
        offsets = np.zeros_like(codes, shape=(count + 1,), dtype=np.int64)
        offsets[1:] = np.cumsum(np.bincount(codes[inside], minlength=count))
    out = load("resample", backend).sums(
        ids, values, offsets, start=draw.start, stop=draw.stop, seed=draw.seed, kind=draw.kind, flips=flips
    )
    return host(out).reshape(segments.count, n_bins, values.shape[1] + 1, draw.stop - draw.start)


def keys_of(bins: Any, n_bins: int, segments: Segments, values: Any) -> tuple[Any, int]:
    """Segment and bin of each row as one code, -1 for rows in no segment, and the number of codes."""
    bins = np.zeros_like(values, shape=(values.shape[0],), dtype=np.int64) if bins is None else bins
    if segments.codes is None:
        return bins, n_bins
    return np.where(segments.codes >= 0, segments.codes * n_bins + bins, -1), segments.count * n_bins
