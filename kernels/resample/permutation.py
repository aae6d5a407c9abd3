"""Paired permutation test: under the null, which of two models gave which score is a coin flip by row.

Shapes: N rows, R replicates. The coin of a row is a function of (seed, row id, replicate) alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.arrays import Array, check_option
from kernels.dispatch import load
from kernels.measures.table import MetricOptions, metric_name
from kernels.primitives import COIN
from kernels.resample.build import build
from kernels.resample.cells import Cells
from kernels.resample.inputs import check_resamples, host, paired
from kernels.resample.problems import Draw, Problem, Segments, binned_sums
from kernels.resample.ranks import Ranks
from kernels.resample.records import PermutationResult
from kernels.resample.sums import Sums, score_fixed

ALTERNATIVES = ("two-sided", "greater", "less")
TILE = 2048


def permutation_test(
    metric: str | Callable[..., Any], y_true: Array, y_score: Array, other: Array,
    cluster: Array | None = None, n_resamples: int = 2000, seed: int = 0, row_ids: Array | None = None, *,
    alternative: str = "two-sided", options: MetricOptions | None = None,
    nan_policy: str = "raise", backend: str | None = None,
) -> PermutationResult:  # fmt: skip
    """Test metric(other) - metric(y_score) = 0 by swapping the two models' scores row by row (or by cluster).

    Arguments as for bootstrap. alternative "greater" is that `other` has the greater metric. p-value (1 +
    hits) / (1 + n_resamples), hits counting replicates at least as extreme as the data; under exchangeable
    models it is valid at any N. For AUROC and average precision each model's scores are first replaced by
    their midranks, so that both lie on one scale (Venkatraman and Begg 1996). Cost as for bootstrap; metrics
    of counts draw binomials by cell.

    NaN: nan_policy "raise" (default), or "omit", which leaves the row out of both models.
    """
    name = metric_name(metric)
    check_option(alternative, "alternative", ALTERNATIVES)
    check_resamples(n_resamples, seed)
    rows = paired(y_true, y_score, other, cluster=cluster, row_ids=row_ids, nan_policy=nan_policy, backend=backend)
    problem = build(name, rows, options or MetricOptions())
    first, second = (float(e[0]) for e in problem.estimate(Segments(None, 1)))
    observed = second - first
    swapped = _swapped(problem, rows.ids, n_resamples, seed, rows.clustered)
    return PermutationResult(
        metric=name, estimate=observed, pvalue=_pvalue(observed, swapped, alternative),
        alternative=alternative, estimates=(first, second), n=int(rows.y_true.shape[0]),
        n_resamples=n_resamples, seed=seed, backend=rows.backend,
    )  # fmt: skip


def _pvalue(observed: float, swapped: Any, alternative: str) -> float:
    """(1 + hits) / (1 + R); replicates equal up to rounding count as hits, undefined ones as well."""
    if np.isnan(observed):
        return float("nan")
    slack = 1e-12 * max(1.0, abs(observed))
    signed = {"greater": (swapped, observed), "less": (-swapped, -observed)}.get(
        alternative, (np.abs(swapped), abs(observed))
    )
    hits = int((~(signed[0] < signed[1] - slack)).sum())
    return (1 + hits) / (1 + int(swapped.shape[0]))


def _swapped(problem: Problem, ids: Any, n_resamples: int, seed: int, clustered: bool) -> Any:
    """metric(other) - metric(y_score) with the scores swapped by coins: (R,) float64."""
    if isinstance(problem, Cells) and not clustered:
        return _swapped_cells(problem, n_resamples, seed)
    parts = []
    for start in range(0, n_resamples, TILE):
        draw = Draw(ids, seed, start, min(start + TILE, n_resamples), COIN)
        if isinstance(problem, Ranks):
            parts.append(_swapped_ranks(problem, draw))
        elif isinstance(problem, Sums):
            parts.append(_swapped_sums(problem, draw))
        else:
            assert isinstance(problem, Cells)
            parts.append(_swapped_weights(problem, draw))
    return np.concatenate(parts)


def _swapped_cells(problem: Cells, n_resamples: int, seed: int) -> Any:
    """Of each joint cell's rows a Binomial(count, 1/2) swaps: the same law as a coin by row."""
    counts = problem.counts(Segments(None, 1))[0]
    generator = np.random.Generator(np.random.Philox(key=[seed, 1 << 63]))
    return _cell_difference(problem, counts, generator.binomial(counts, 0.5, size=(n_resamples, counts.shape[0])))


def _swapped_weights(problem: Cells, draw: Draw) -> Any:
    counts = problem.counts(Segments(None, 1))[0]
    cells = counts.shape[0]
    nothing = np.zeros_like(draw.ids, shape=(draw.ids.shape[0], 0), dtype=np.int64)
    out = binned_sums(nothing, problem.codes, cells, Segments(None, 1), draw, problem.backend)
    return _cell_difference(problem, counts, out[0, :, 0, :].T)


def _cell_difference(problem: Cells, counts: Any, moved: Any) -> Any:
    """Score both models after `moved` (R, J) rows of each joint cell have swapped."""
    stay = counts - moved
    first = problem.matrix(stay, 0) + problem.matrix(moved, 1)
    second = problem.matrix(stay, 1) + problem.matrix(moved, 0)
    return problem.score(second) - problem.score(first)


def _swapped_sums(problem: Sums, draw: Draw) -> Any:
    """Sums are linear: what the coin takes from one model it gives to the other, exactly."""
    (a, b), (scale_a, scale_b) = problem.fixed_point()
    model_a, model_b = problem.models
    scale = np.minimum(scale_a, scale_b)
    whole = Segments(None, 1)
    moved, total = [], []
    for fixed, own, model in ((a, scale_a, model_a), (b, scale_b, model_b)):
        # Both models' columns on the smaller of the two scales; they are powers of two, so this is exact
        # but for the last bits of the finer one.
        shift = np.asarray(np.where(np.isnan(own / scale), 1.0, own / scale).astype(np.int64), like=fixed)
        same = fixed // shift
        moved.append(binned_sums(same, model.bins, model.n_bins, whole, draw, problem.backend))
        total.append(_totals(same, model))
    first = score_fixed(model_a, total[0] - moved[0] + moved[1], scale)[0]
    second = score_fixed(model_b, total[1] - moved[1] + moved[0], scale)[0]
    return second - first


def _totals(fixed: Any, model: Any) -> Any:
    """Integer sums by bin and the rows: int64 (1, B, K + 1, 1)."""
    values = host(fixed)
    bins = np.zeros(values.shape[0], np.int64) if model.bins is None else host(model.bins)
    out = np.zeros((model.n_bins, values.shape[1] + 1), np.int64)
    np.add.at(out, bins, np.concatenate([values, np.ones((values.shape[0], 1), np.int64)], axis=1))
    return out[None, :, :, None]


def _swapped_ranks(problem: Ranks, draw: Draw) -> Any:
    """Both models' midranks in one order; a row's two entries carry opposite coins, so one model sees
    each."""
    ordering = load("ordering", problem.backend)
    values: list[list[Any]] = [[], []]
    shares = []
    for part, other in zip(*(m.parts for m in problem.models), strict=True):
        rows = part.rows()
        labels, part_ids = part.labels[rows], draw.ids[rows]
        both = np.concatenate([_midranks(ordering, p.scores[rows]) for p in (part, other)])
        doubled = np.concatenate([labels, labels])
        ordered = ordering.order(both)
        flags = ordering.flags(ordered, doubled)
        ids = np.concatenate([part_ids, part_ids])[ordered.rows]
        n = labels.shape[0]
        # A coin of 1 swaps. The first model then sees the entries of the second: weight = coin there, and the
        # other side of the coin on its own entries.
        own = (ordered.rows < n).astype(np.uint8)
        pair = part.member is not None
        value_a, share = problem.walk(ordered, flags, ids, draw, own, pair=pair)
        value_b, _ = problem.walk(ordered, flags, ids, draw, 1 - own, pair=pair)
        values[0].append(value_a)
        values[1].append(value_b)
        shares.append(share)
    first, second = (problem.combine(v, shares)[0] for v in values)
    return second - first


def _midranks(ordering: Any, scores: Any) -> Any:
    """Twice the midrank of each score (N,), int64, rising with the score."""
    ordered = ordering.order(scores)
    size = np.bincount(ordered.groups)
    twice = -(2 * np.cumsum(size) - size)
    out = np.zeros_like(ordered.rows)
    out[ordered.rows] = twice[ordered.groups]
    return out
