"""Resampling by cell: a bootstrap sample of rows is a multinomial sample of cell counts.

The draws are NumPy's, on the host, whatever the backend: cells are few. They are keyed by (seed, name of the
slicing column, code of the slice), so that they depend neither on chunks nor on the other slices. Calibration
error adds, to the counts of (bin, outcome), the sum of the confidences drawn in each cell; given the count k
it has mean k m and variance k v exactly, and is drawn as normal, which a bin's width makes harmless even for
small k.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.resample.inputs import host
from kernels.resample.problems import Cells, Columns, Problem, Segments, Sums

MANY_ROWS = 50_000
"""From here a calibration error without slices is resampled by cell; below, row weights are quick and
exact."""


def resamples_by_cell(problem: Problem, clustered: bool, sliced: bool, n: int) -> bool:
    """Whether "auto" resamples by cell: counts of unclustered rows, or one model's calibration error."""
    if clustered:
        return False
    if isinstance(problem, Cells):
        return True
    return isinstance(problem, Sums) and _calibrated(problem) and not sliced and n >= MANY_ROWS


def cell_replicates(
    problem: Problem, segments: Segments, n_resamples: int, seed: int, keys: list[tuple[int, int]]
) -> list[Any]:
    """The metric under each multinomial replicate, (S, R) float64 a model; keys (column, slice) of each
    segment."""
    if isinstance(problem, Sums):
        return [_calibration_replicates(problem.models[0], n_resamples, _generator(seed, keys[0]))]
    assert isinstance(problem, Cells)
    counts = problem.counts(segments)
    result = [np.empty((segments.count, n_resamples)) for _ in problem.matrix_of]
    for s in range(segments.count):
        present = np.flatnonzero(counts[s])
        n = int(counts[s].sum())
        drawn = np.zeros((n_resamples, counts.shape[1]), np.int64)
        if n:
            share = counts[s, present] / n
            drawn[:, present] = _generator(seed, keys[s]).multinomial(n, share, size=n_resamples)
        for out, values in zip(result, problem.values(drawn), strict=True):
            out[s] = values
    return result


def _calibrated(problem: Sums) -> bool:
    return len(problem.models) == 1 and problem.models[0].bins is not None


def _calibration_replicates(model: Columns, n_resamples: int, generator: np.random.Generator) -> Any:
    outcome, confidence = model.values[:, 0], model.values[:, 1]
    cell = model.bins * 2 + outcome.astype(np.int64)
    cells = 2 * model.n_bins
    counts = host(np.bincount(cell, minlength=cells))
    first = host(np.bincount(cell, weights=confidence, minlength=cells))
    mean = first / np.maximum(counts, 1)
    apart = confidence - np.asarray(mean, like=confidence)[cell]
    deviation = np.sqrt(
        host(np.bincount(cell, weights=apart * apart, minlength=cells)) / np.maximum(counts, 1)
    )
    n = int(counts.sum())
    drawn = generator.multinomial(n, counts / n, size=n_resamples).astype(np.float64)
    noise = generator.standard_normal(drawn.shape) * np.sqrt(drawn) * deviation
    total = (drawn * mean + noise).reshape(n_resamples, model.n_bins, 2).sum(axis=2)
    rows = drawn.reshape(n_resamples, model.n_bins, 2)
    return model.score(np.stack([rows[:, :, 1], total], axis=-1), rows.sum(axis=2))[None, :]


def _generator(seed: int, key: tuple[int, int]) -> np.random.Generator:
    words = [seed, key[0], key[1] & 0xFFFFFFFFFFFFFFFF]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
