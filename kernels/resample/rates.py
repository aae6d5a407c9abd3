"""Shares of hits by group with their replicates: what differences between groups are made of.

Shapes: N rows, G groups, R replicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.arrays import Array
from kernels.resample.inputs import check_resamples, distinct, host, paired
from kernels.resample.problems import Draw, Segments, binned_sums

TILE = 2048
"""Replicates drawn at a time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupRates:
    """Arrays of the host, one entry a group in the order of `values`."""

    values: Any
    """The distinct group codes, ascending."""
    n: Any
    """Rows of each group, int64 (G,)."""
    hits: Any
    """Rows of each group that are hits, int64 (G,)."""
    units: Any
    """Resampled units that each group has rows of, int64 (G,): its clusters, or its rows."""
    replicates: Any
    """hits / n under the weights of each replicate, float64 (G, R); NaN where the group drew no row."""

    @property
    def rate(self) -> Any:
        """Shares (G,) float64."""
        return self.hits / np.maximum(self.n, 1)


def group_rates(
    hits: Array, groups: Array, cluster: Array | None = None, n_resamples: int = 2000, seed: int = 0,
    row_ids: Array | None = None, *, backend: str | None = None,
) -> GroupRates:  # fmt: skip
    """The share of hits in each group, and how it varies when rows, or whole clusters, are resampled.

    hits (N,) of bool or 0 and 1, groups (N,) integer codes; cluster and row_ids (N,) integers as for `bootstrap`,
    whose Poisson weights these are: a cluster that has rows in several groups has one weight in all of them, so that
    the replicates of a difference between groups are right. Sums are integers, exact and equal on every backend.

    Cost: 0.5 ns a row and replicate; memory O(N) and 16 bytes a group and replicate. On CUDA the sums come to the host
    (synchronises). Hits are not floats, so there is no NaN policy. Errors: OptionError, ShapeError, DTypeError,
    DeviceError, BackendUnavailable.
    """
    check_resamples(n_resamples, seed)
    rows = paired(hits, hits, slices=groups, cluster=cluster, row_ids=row_ids, backend=backend)
    codes = rows.slices["slice"]
    values, index, n = distinct(codes, rows.xp)
    count = int(values.shape[0])
    column = rows.y_true.astype(np.int64)[:, None]
    parts = []
    for start in range(0, n_resamples, TILE):
        draw = Draw(rows.ids, seed, start, min(start + TILE, n_resamples))
        out = binned_sums(column, index, count, Segments(None, 1), draw, rows.backend)[0]
        drawn = out[:, 1, :]
        parts.append(np.where(drawn > 0, out[:, 0, :] / np.maximum(drawn, 1), np.nan))
    place = host(index)
    units = n
    if rows.clustered:
        _, own = np.unique(host(rows.ids), return_inverse=True)
        pairs = np.unique(place * (int(own.max(initial=0)) + 1) + own.reshape(-1))
        units = np.bincount(pairs // (int(own.max(initial=0)) + 1), minlength=count)
    return GroupRates(
        values=values, n=n, hits=np.bincount(place, weights=host(column)[:, 0], minlength=count).astype(np.int64),
        units=units.astype(np.int64), replicates=np.concatenate(parts, axis=1),
    )  # fmt: skip
