"""Drift of the joint distribution of all columns.

Shapes: N reference rows, M live rows, F columns, R permutations, L directions; inputs (N, F) with (M, F),
results () float64. Rows with a NaN or an infinite value are left out and counted (`nan_policy` as in
`kernels.drift.univariate`). Columns enter in their own units: scale them first where the units differ. Work
is in float64. Left-out rows are selected by a mask, which is a device synchronisation on CUDA.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels import pvalues
from kernels.arrays import Array, refuse_missing
from kernels.drift.pairs import Pair, TestResult, paired
from kernels.errors import OptionError

_CHUNK = 1 << 16  # rows projected at once
_DIRECTIONS = 8  # directions sorted at once
_MEDIAN_ROWS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class ReconstructionError:
    """Mean Euclidean distance of rows from their projection on the principal components of the reference."""

    reference: Any
    """float64, mean over reference rows"""
    live: Any
    """float64, mean over live rows"""
    statistic: Any
    """float64, (live - reference) / standard error"""
    pvalue: Any
    """float64, two-sided, normal limit"""
    n_components: int
    n_reference: int
    n_live: int
    backend: str


def mmd(
    reference: Array,
    live: Array,
    *,
    n_resamples: int = 1000,
    bandwidth: float | None = None,
    seed: int = 0,
    blocks: int = 128,
    nan_policy: str = "omit",
    backend: str | None = None,
) -> TestResult:
    """Squared maximum mean discrepancy, unbiased, Gaussian kernel exp(-|a - b|**2 / (2 bandwidth**2)).

    bandwidth     None takes the median distance of 1000 reference rows, fixed by the reference alone
    n_resamples   permutations R; pvalue = (1 + hits) / (1 + R), never 0
    blocks        rows are dealt into this many equal blocks, and whole blocks change sides: as valid as
                  permuting rows (Domingo-Enrich, Dwivedi and Mackey, arXiv 2502.07672), R permutations cost R
                  blocks**2. At most one block's rows a side sit out the permutations; the statistic uses all
                  rows.
    Equal seeds give equal p-values. O((N + M)**2 F / 2) time; the kernel matrix is never stored.
    Source: Gretton et al. 2012.
    """
    if n_resamples < 1 or blocks < 4:
        raise OptionError("n_resamples, blocks: below 1 or 4 - use at least 1 permutation and 4 blocks")
    if bandwidth is not None and not 0 < bandwidth < np.inf:
        raise OptionError(f"bandwidth: {bandwidth!r} - use a positive number, or None for the median distance")
    with paired(reference, live, "pairwise", nan_policy, backend) as pair:
        x, y, lost = _complete_rows(pair)
        n, m = int(x.shape[0]), int(y.shape[0])
        statistic, p = np.nan, np.nan
        if n > 1 and m > 1:
            sigma = _median_distance(pair.xp, x) if bandwidth is None else bandwidth
            rng = np.random.default_rng(seed)
            dealt, offsets, dealt_x, dealt_y = _deal(pair.xp, x, y, blocks, rng)
            sums = pair.primitive.block_sums(dealt, offsets, 0.5 / (sigma * sigma))
            sums = sums if isinstance(sums, np.ndarray) else sums.get()  # (S, S): permutations are host work
            size = int(offsets[1] - offsets[0])
            statistic, p = _permute(sums, n, m, size, dealt_x, dealt_y, n_resamples, rng)
        on = pair.xp.asarray
        counts = [on(np.array([v], dtype=np.int64)) for v in (n, m, *lost)]
        known = on(np.array([n > 1 and m > 1]))
        one = dataclasses.replace(pair, single=True)
        return one.test(on(np.array([statistic])), on(np.array([p])), counts[0], counts[1], counts[2], counts[3], known)


def sliced_wasserstein_distance(
    reference: Array,
    live: Array,
    *,
    n_directions: int = 100,
    seed: int = 0,
    nan_policy: str = "omit",
    backend: str | None = None,
) -> Any:
    """Mean first Wasserstein distance over random directions of unit length, in the unit of the columns.

    Equal seeds give equal directions on every backend. L sorts of N + M projections, 8 at a time.
    Source: Rabin, Peyre, Delon and Bernot 2011; Bonneel et al. 2015.
    """
    if n_directions < 1:
        raise OptionError(f"n_directions: {n_directions!r} - use at least 1")
    with paired(reference, live, "rank", nan_policy, backend) as pair:
        x, y, lost = _complete_rows(pair)
        directions = np.random.default_rng(seed).normal(size=(pair.live.shape[1], n_directions))
        directions /= np.linalg.norm(directions, axis=0)
        xp, module = pair.xp, pair.primitive
        total = xp.zeros(1)
        for first in range(0, n_directions, _DIRECTIONS):
            some = xp.asarray(directions[:, first : first + _DIRECTIONS])
            ordered = [module.sort_columns(list(xp.ascontiguousarray((v @ some).T))) for v in (x, y)]
            total = total + module.rank_sums(*ordered).wasserstein.sum()
        counts = [xp.asarray(np.array([v], dtype=np.int64)) for v in lost]
        known = xp.asarray(np.array([x.shape[0] > 0 and y.shape[0] > 0]))
        one = dataclasses.replace(pair, single=True)
        return one.finish(total / n_directions, counts[0], counts[1], known)


def pca_reconstruction_error(
    reference: Array,
    live: Array,
    *,
    n_components: int | float = 0.65,
    nan_policy: str = "omit",
    backend: str | None = None,
) -> ReconstructionError:
    """How much worse the principal components of the reference describe the live rows: broken correlations.

    n_components   how many, or the share of variance (0 to 1) that they must reach
    Columns are standardised by the reference; a constant column is only centred. A row's error is
    sqrt(|z|**2 - |W' z|**2), so that no reconstruction is written. One read of each window beyond the fit,
    which is O(N F**2). Reading the number of components back synchronises on CUDA.
    """
    with paired(reference, live, "rank", nan_policy, backend) as pair:
        x, y, lost = _complete_rows(pair)
        _refuse(pair, lost)
        xp, columns = pair.xp, int(pair.live.shape[1])
        if isinstance(n_components, int) and not 1 <= n_components <= columns:
            raise OptionError(f"n_components: {n_components} of {columns} columns - use 1 to {columns}")
        if not isinstance(n_components, int) and not 0 < n_components < 1:
            raise OptionError(f"n_components: {n_components} - use a whole number, or a share between 0 and 1")
        n, m = int(x.shape[0]), int(y.shape[0])
        if n < 2 or m < 1:
            unknown = _scalar(pair, xp.nan)
            return ReconstructionError(unknown, unknown, unknown, unknown, 0, n, m, pair.backend)
        mean, deviation = x.mean(0), x.std(0)
        deviation = xp.where(deviation > 0, deviation, 1.0)
        scaled = (x - mean) / deviation
        variances, axes = xp.linalg.eigh(scaled.T @ scaled / n)
        ranked = variances[::-1]
        share = xp.cumsum(ranked) / xp.maximum(ranked.sum(), 1e-300)
        kept = n_components if isinstance(n_components, int) else min(int((share < n_components).sum()) + 1, columns)
        principal = axes[:, ::-1][:, :kept]
        first, second = (_residuals(xp, v, mean, deviation, principal) for v in (x, y))
        spread = xp.sqrt(first.var() / n + second.var() / m)
        gap = second.mean() - first.mean()
        z = xp.where(spread > 0, gap / xp.where(spread > 0, spread, 1.0), xp.where(gap == 0, 0.0, xp.inf))
        return ReconstructionError(
            reference=_scalar(pair, first.mean()),
            live=_scalar(pair, second.mean()),
            statistic=_scalar(pair, z),
            pvalue=_scalar(pair, pvalues.normal_two_sided(z)),
            n_components=kept,
            n_reference=n,
            n_live=m,
            backend=pair.backend,
        )


def _refuse(pair: Pair, lost: tuple[int, int]) -> None:
    if pair.nan_policy == "raise":
        refuse_missing(lost[0], "reference")
        refuse_missing(lost[1], "live")


def _scalar(pair: Pair, value: Any) -> Any:
    return pair.wrap(pair.xp.asarray(value, dtype="float64"))


def _residuals(xp: Any, rows: Any, mean: Any, deviation: Any, principal: Any) -> Any:
    """(N,) distances from the plane of the principal axes, a chunk of rows at a time."""
    distances = []
    for first in range(0, rows.shape[0], _CHUNK):
        z = (rows[first : first + _CHUNK] - mean) / deviation
        inside = z @ principal
        distances.append(xp.sqrt(xp.maximum((z * z).sum(1) - (inside * inside).sum(1), 0.0)))
    return xp.concatenate(distances)


def _complete_rows(pair: Pair) -> tuple[Any, Any, tuple[int, int]]:
    """Rows without NaN or infinity, float64, centred on the reference, and how many were left out of each."""
    sides = []
    for table in (pair.reference, pair.live):
        keep = pair.xp.isfinite(table).all(1)
        sides.append(table[keep])
    centre = sides[0][:1]  # integers are centred as integers, before they are rounded
    lost = tuple(int(a.shape[0] - b.shape[0]) for a, b in zip((pair.reference, pair.live), sides, strict=True))
    x, y = ((v - centre).astype("float64") if centre.shape[0] else v.astype("float64") for v in sides)
    if x.shape[0]:
        mean = x.mean(0)
        x, y = x - mean, y - mean
    return x, y, (lost[0], lost[1])


def _median_distance(xp: Any, x: Any) -> float:
    """Median distance between different rows of an even sample of the reference; 1 where it is 0."""
    sample = x[:: max(1, -(-x.shape[0] // _MEDIAN_ROWS))]
    squares = (sample * sample).sum(1)
    distances = xp.maximum(squares[:, None] + squares - 2.0 * (sample @ sample.T), 0.0)
    upper = distances[tuple(xp.asarray(index) for index in np.triu_indices(sample.shape[0], 1))]
    return float(xp.sqrt(xp.median(upper))) or 1.0  # one number read back: synchronises on CUDA


def _deal(xp: Any, x: Any, y: Any, blocks: int, rng: np.random.Generator) -> tuple[Any, Any, int, int]:
    """Rows of both sides in equal blocks, shuffled; remainders in two blocks at the end, of 0 or more rows.

    Returns the rows, the borders of the blocks that hold rows, and how many full blocks each side has.
    """
    n, m = int(x.shape[0]), int(y.shape[0])
    size = max(1, min(-(-(n + m) // blocks), n // 2, m // 2))
    shuffled_x, shuffled_y = x[xp.asarray(rng.permutation(n))], y[xp.asarray(rng.permutation(m))]
    full_x, full_y = n // size, m // size
    parts = (
        shuffled_x[: full_x * size],
        shuffled_y[: full_y * size],
        shuffled_x[full_x * size :],
        shuffled_y[full_y * size :],
    )
    borders = [*range(0, (full_x + full_y) * size + 1, size)]
    for rest in (n - full_x * size, m - full_y * size):
        if rest:
            borders.append(borders[-1] + rest)
    return xp.concatenate(parts), np.array(borders, dtype=np.int64), full_x, full_y


def _permute(
    sums: Any, n: int, m: int, size: int, full_x: int, full_y: int, n_resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Unbiased MMD**2 of all rows, and the permutation p-value of the rows in full blocks."""
    full = full_x + full_y
    side = np.zeros(sums.shape[0])
    side[full_x:full] = 1.0  # 1 for live; the remainders follow, reference first
    if sums.shape[0] > full:
        side[full + (1 if n > full_x * size else 0) :] = 1.0
    statistic = _unbiased(sums, side[None, :], n, m)[0]
    inner = sums[:full, :full]
    labels = np.zeros((n_resamples + 1, full))
    labels[0, full_x:] = 1.0
    for row in labels[1:]:
        row[rng.permutation(full)[:full_y]] = 1.0
    values = _unbiased(inner, labels, full_x * size, full_y * size)
    hits = int((values[1:] >= values[0] - 1e-12 * abs(values[0])).sum())
    return float(statistic), (1 + hits) / (1 + n_resamples)


def _unbiased(sums: Any, live: Any, n: int, m: int) -> Any:
    """MMD**2 for each row of `live` labels (0 reference, 1 live) from block sums without the diagonal."""
    to_live = live @ sums
    within_live = (to_live * live).sum(1)
    across = to_live.sum(1) - within_live
    within_reference = sums.sum() - 2.0 * across - within_live
    return within_reference / max(n * (n - 1), 1) + within_live / max(m * (m - 1), 1) - 2.0 * across / (n * m)
