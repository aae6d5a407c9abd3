"""Metrics of counts, and resampling by cell: a bootstrap sample of rows is a multinomial sample of cell
counts.

The draws are NumPy's, on the host, whatever the backend: cells are few. They are keyed by (seed, name of the
slicing column, code of the slice), so that they depend neither on chunks nor on the other slices. Calibration
error adds, to the counts of (bin, outcome), the sum of the confidences drawn in each cell; given the count k
it has mean k m and variance k v exactly, and is drawn as normal, which a bin's width makes harmless even for
small k.

Shapes: N rows, S segments, R replicates, J joint cells, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernels.cpu.threads import map_columns
from kernels.dispatch import load
from kernels.measures import moments
from kernels.primitives import CalibrationSums
from kernels.resample.calibration import Gaps
from kernels.resample.inputs import host
from kernels.resample.problems import Draw, Problem, Segments, binned_sums

MANY_ROWS = 50_000
"""From here a calibration error without slices is resampled by cell; below, row weights are quick and
exact."""
PART = 512
"""Replicates of a calibration error that one stream draws; parts run in threads, and their size is fixed."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Metrics of counts. Joint cells hold the true class and each model's predicted class.

    matrix_of[m] (J,) is the place in model m's flat confusion matrix (C * C) of each joint cell.
    """

    codes: Any  # int64 (N,): joint cell of each row
    matrix_of: list[Any]
    classes: int
    score: Callable[[Any], Any]  # (..., C, C) -> (...)
    backend: str

    def counts(self, segments: Segments) -> Any:
        """Rows by segment and joint cell: int64 (S, J) on the host. # synchronises"""
        cells = int(self.matrix_of[0].shape[0])
        codes = self.codes
        if segments.codes is not None:
            kept = segments.codes >= 0
            codes = (segments.codes * cells + codes)[kept]
        counted = load("scores", self.backend).cell_counts(codes, segments.count * cells)
        return host(counted).reshape(segments.count, cells)

    def values(self, counts: Any) -> list[Any]:
        """The metric of each model for joint counts (..., J)."""
        return [self.score(self.matrix(counts, m)) for m in range(len(self.matrix_of))]

    def matrix(self, counts: Any, model: int) -> Any:
        """Joint counts (..., J) as the confusion matrix (..., C, C) of one model."""
        flat = np.zeros((*counts.shape[:-1], self.classes * self.classes), counts.dtype)
        order = np.argsort(self.matrix_of[model], kind="stable")
        places = self.matrix_of[model][order]
        first = np.flatnonzero(np.append(True, places[1:] != places[:-1]))
        flat[..., places[first]] = np.add.reduceat(counts[..., order], first, axis=-1)
        return flat.reshape(*counts.shape[:-1], self.classes, self.classes)

    def estimate(self, segments: Segments) -> list[Any]:
        return self.values(self.counts(segments))

    def replicates(self, segments: Segments, draw: Draw) -> list[Any]:
        """By row weights, as every other family: used with clusters, or on request."""
        cells = int(self.matrix_of[0].shape[0])
        nothing = np.zeros_like(draw.ids, shape=(self.codes.shape[0], 0), dtype=np.int64)
        out = binned_sums(nothing, self.codes, cells, segments, draw, self.backend)
        return self.values(np.moveaxis(out[:, :, 0, :], 1, 2))

    def influence(self) -> list[Any]:
        counts = self.counts(Segments(None, 1))[0].astype(np.float64)
        n = counts.sum()
        present = np.flatnonzero(counts > 0)
        without = counts - np.eye(counts.shape[0])[present]
        codes = host(self.codes)
        result = []
        for whole, less in zip(self.values(counts), self.values(without), strict=True):
            by_cell = np.zeros(counts.shape[0])
            by_cell[present] = (n - 1.0) * (whole - less)
            result.append(by_cell[codes])
        return result

    def take(self, rows: Any) -> Cells:
        return replace(self, codes=self.codes[rows])


@dataclass(frozen=True, slots=True)
class CalibrationCells:
    """One model's calibration error by cell (bin, outcome); all rows are one segment."""

    sums: CalibrationSums  # on the host
    norm: str

    def estimate(self, segments: Segments) -> list[Any]:
        rows, confidence = self.sums.rows, self.sums.confidence.sum(axis=1)
        error = moments.calibration_error(rows[:, 1], confidence, rows.sum(axis=1), norm=self.norm)
        return [error.reshape(1)]

    def gaps(self, n_resamples: int, seed: int) -> list[Gaps]:
        """What calibration.intervals needs, with multinomial counts by cell."""
        rows, confidence, square, _ = self.sums
        n = int(rows.sum())
        # Rows of one cell share their outcome, and their confidences lie within a bin: this difference cancels little.
        mean = confidence / np.maximum(rows, 1)
        variance = np.maximum(square / np.maximum(rows, 1) - mean * mean, 0.0)
        apart, share = np.array([0.0, 1.0]) - mean, rows.ravel() / n

        def drawn(part: int) -> Any:
            """Noisy sums of outcome - confidence (B, replicates of the part), from a stream of its own."""
            generator = generator_of(seed, (0, part))
            size = min(PART, n_resamples - part * PART)
            counts = generator.multinomial(n, share, size=size).T.astype(np.float64).reshape(*rows.shape, size)
            spread = np.sqrt((counts * variance[:, :, None]).sum(axis=1))
            return (counts * apart[:, :, None]).sum(axis=1) + spread * generator.standard_normal(spread.shape)

        parts = -(-n_resamples // PART)
        noise = np.concatenate(map_columns(drawn, parts, n_resamples * rows.size), axis=1)
        gap = (rows * apart).sum(axis=1) / n
        floor = (confidence - square).sum(axis=1) / n**2
        by_bin = rows.sum(axis=1) / n
        return [Gaps(gap[None], by_bin[None], floor[None], (noise / n - gap[:, None])[None], self.norm)]


def cell_replicates(
    problem: Problem, segments: Segments, n_resamples: int, seed: int, keys: list[tuple[int, int]]
) -> list[Any]:
    """The metric under each multinomial replicate, (S, R) float64 a model; keys (column, slice) of each
    segment."""
    assert isinstance(problem, Cells)
    counts = problem.counts(segments)
    result = [np.empty((segments.count, n_resamples)) for _ in problem.matrix_of]
    for s in range(segments.count):
        present = np.flatnonzero(counts[s])
        n = int(counts[s].sum())
        drawn = np.zeros((n_resamples, counts.shape[1]), np.int64)
        if n:
            share = counts[s, present] / n
            drawn[:, present] = generator_of(seed, keys[s]).multinomial(n, share, size=n_resamples)
        for out, values in zip(result, problem.values(drawn), strict=True):
            out[s] = values
    return result


def generator_of(seed: int, key: tuple[int, int]) -> np.random.Generator:
    """The stream of one segment: key is (slicing column, code of the slice), (0, 0) for all rows."""
    words = [seed, key[0], key[1] & 0xFFFFFFFFFFFFFFFF]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
