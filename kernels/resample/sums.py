"""Metrics of sums over rows: losses, R^2, calibration error.

Shapes: N rows, S segments, R replicates, B bins, K columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernels.measures import moments
from kernels.resample.calibration import Gaps
from kernels.resample.inputs import host
from kernels.resample.problems import Draw, Segments, binned_sums, keys_of


@dataclass(frozen=True, slots=True)
class Columns:
    """One model's columns (N, K) float64, the bin of each row, and the metric of sums (..., B, K), (...,
    B)."""

    values: Any
    bins: Any
    n_bins: int
    score: Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Sums:
    """Metrics of sums over rows."""

    models: list[Columns]
    backend: str

    def estimate(self, segments: Segments) -> list[Any]:
        return [model.score(*totals(model, model.values, segments)) for model in self.models]

    def replicates(self, segments: Segments, draw: Draw) -> list[Any]:
        result = []
        for fixed, scale, model in zip(*self.fixed_point(), self.models, strict=True):
            out = binned_sums(fixed, model.bins, model.n_bins, segments, draw, self.backend)
            result.append(score_fixed(model, out, scale))
        return result

    def fixed_point(self) -> tuple[list[Any], list[Any]]:
        """Columns as integers (N, K), one scale a column, so that weighted sums are exact in any order.

        The scale is the largest power of two at which no sum can leave 63 bits: the rounding is below
        2^-36 of the column's largest value for a million rows. NaN or infinite columns get scale NaN.
        """
        fixed, scales = [], []
        for model in self.models:
            rows = max(int(model.values.shape[0]), 1)
            room = 62 - 3 - (rows - 1).bit_length()  # a weight is at most 8
            largest = host(np.abs(model.values).max(axis=0)) if model.values.shape[0] else np.zeros(1)
            usable = np.isfinite(largest)
            exponent = room - np.frexp(np.where(usable, largest, 1.0))[1]
            exponent = np.where(usable & (largest > 0), np.clip(exponent, -1000, 1000), 0)
            scale = np.ldexp(1.0, exponent)
            whole = np.where(np.asarray(usable, like=model.values), model.values, 0.0)
            fixed.append(np.rint(whole * np.asarray(scale, like=model.values)).astype(np.int64))
            scales.append(np.where(usable, scale, np.nan))
        return fixed, scales

    def influence(self) -> list[Any]:
        return [_leave_one_out(model) for model in self.models]

    def take(self, rows: Any) -> Sums:
        return Sums(
            [replace(m, values=m.values[rows], bins=None if m.bins is None else m.bins[rows]) for m in self.models],
            self.backend,
        )


@dataclass(frozen=True, slots=True)
class Calibration(Sums):
    """The calibration error: columns are outcome and confidence, by bin of the confidence."""

    norm: str

    def gaps(self, segments: Segments, draws: list[Draw]) -> list[Gaps]:
        """What calibration.intervals needs of each model."""
        result = []
        for fixed, scale, model in zip(*self.fixed_point(), self.models, strict=True):
            confidence = model.values[:, 1]
            spread = (confidence * (1.0 - confidence))[:, None]
            sums, rows = totals(model, np.concatenate([model.values, spread], axis=1), segments)
            n = np.maximum(rows.sum(axis=1), 1.0)[:, None]
            gap = (sums[:, :, 0] - sums[:, :, 1]) / n
            parts = []
            for draw in draws:
                out = binned_sums(fixed, model.bins, model.n_bins, segments, draw, self.backend)
                weight = out[:, :, 2, :].sum(axis=1)[:, None, :].astype(np.float64)
                drawn = out[:, :, 0, :] / scale[0] - out[:, :, 1, :] / scale[1]
                parts.append(moments.mean(drawn, weight) - gap[:, :, None])
            noise = np.concatenate(parts, axis=2)
            result.append(Gaps(gap, rows / n, sums[:, :, 2] / n**2, noise, self.norm))
        return result


def totals(model: Columns, values: Any, segments: Segments) -> tuple[Any, Any]:
    """Sums of values (N, K) and rows by segment and bin: float64 (S, B, K) and (S, B) on the host. # synchronises"""
    codes, count = keys_of(model.bins, model.n_bins, segments, model.values)
    if segments.codes is not None:
        kept = codes >= 0
        codes, values = codes[kept], values[kept]
    sums = [host(np.bincount(codes, weights=values[:, k], minlength=count)) for k in range(values.shape[1])]
    rows = host(np.bincount(codes, minlength=count)).astype(np.float64)
    shape = (segments.count, model.n_bins)
    return np.stack(sums, axis=-1).reshape(*shape, -1), rows.reshape(shape)


def score_fixed(model: Columns, out: Any, scale: Any) -> Any:
    """The metric (S, R) of integer sums (S, B, K + 1, R), whose last column is the weight."""
    sums = np.moveaxis(out[:, :, :-1, :], (1, 2, 3), (2, 3, 1)) / scale
    return model.score(sums, np.moveaxis(out[:, :, -1, :], 1, 2).astype(np.float64))


def _leave_one_out(model: Columns, chunk: int = 4096) -> Any:
    """(n - 1) (metric of all rows - metric without the row), exact, a chunk of rows at a time."""
    values = host(model.values)
    rows, columns = values.shape
    bins = np.zeros(rows, np.int64) if model.bins is None else host(model.bins)
    sums = np.stack([np.bincount(bins, weights=values[:, k], minlength=model.n_bins) for k in range(columns)], axis=-1)
    weight = np.bincount(bins, minlength=model.n_bins).astype(np.float64)
    whole = model.score(sums, weight)
    out = np.empty(rows)
    for first in range(0, rows, chunk):
        part = slice(first, min(first + chunk, rows))
        size = part.stop - first
        less = np.broadcast_to(sums, (size, *sums.shape)).copy()
        less_weight = np.broadcast_to(weight, (size, *weight.shape)).copy()
        index = np.arange(size)
        less[index, bins[part]] -= values[part]
        less_weight[index, bins[part]] -= 1.0
        out[part] = (rows - 1.0) * (whole - model.score(less, less_weight))
    return out
