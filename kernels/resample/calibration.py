"""Intervals of the calibration error, by inverting a test along a path of possible truths.

The calibration error is a norm of the gaps of its bins, and a norm of noisy gaps is larger than the norm of the true
ones: the estimate is biased upwards, by about 0.8 standard errors a bin that is well calibrated. Its replicates carry
that bias twice, so that their percentiles miss the truth (at perfect calibration always). Instead, for a possible
truth d the noise of the replicates says how the estimate would be distributed; an interval holds every d under which
the estimate is no surprise (hybrid resampling, Chuang and Lai 2000). Of all d with one error the path takes the one
closest to the data: gaps that are clear (CLEAR standard errors) as observed, the others at their common size, both
moved in proportion to their variance (soft thresholding, the constrained maximum likelihood of a sum).

At the lower end of the path stands perfect calibration. Where the data cannot exclude it, the lower bound is 0 and the
upper bound is made with the ratio of tail probabilities (CLs, Read 2002), which never excludes what cannot be seen.

Shapes: S segments, B bins, R replicates. Gaps are shares of rows times (mean outcome - mean confidence).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernels.resample.intervals import UNDEFINED_SHARE, percentile, spread_of

CLEAR = 2.0
"""A gap of fewer standard errors may as well be any other such gap: they share their mean size."""
STEPS = 20
"""Halvings of the path: a bound is exact to a thousandth of a standard error."""
DOUBLINGS = 60
ONE_SIDED = "perfect calibration is not excluded: the interval is one-sided"
BONFERRONI = "perfect calibration of a model is not excluded: the interval is wider than its level"


@dataclass(frozen=True, slots=True)
class Gaps:
    """One model's gaps (S, B), and how the gaps of its replicates differ from them (S, B, R)."""

    gap: Any
    share: Any  # (S, B): share of rows
    floor: Any  # (S, B): variance of the gap if the confidences were true
    noise: Any
    norm: str

    def error(self, gap: Any) -> Any:
        """The calibration error (S, ...) of gaps (S, B, ...)."""
        share = self.share.reshape(*self.share.shape, *(1,) * (gap.ndim - 2))
        safe = np.where(share > 0, share, 1.0)
        if self.norm == "l2":
            return np.sqrt((gap * gap / safe).sum(axis=1))
        return (np.abs(gap) / safe).max(axis=1) if self.norm == "max" else np.abs(gap).sum(axis=1)


@dataclass(frozen=True, slots=True)
class Path:
    """Possible truths of one model: `at(place)` moves all gaps away from 0 as `place` (S,) falls."""

    gaps: Gaps
    sign: Any  # (S, B)
    size: Any  # (S, B): gaps that are clear, and the common size of the others
    variance: Any  # (S, B) of the gaps
    last: Any  # (S,): the place of perfect calibration
    observed: Any  # (S,)
    known: Any  # (S, R): replicates that are defined

    def at(self, place: Any) -> Any:
        """The gaps (S, B) at a place of the path."""
        return self.sign * np.maximum(self.size - place[:, None] * self.variance, 0.0)

    def below(self, place: Any) -> Any:
        """How often (S,) the estimate would be below the observed one, were the place true; ties count half."""
        drawn = self.replicates(place)
        seen = self.observed[:, None]
        less = ((drawn < seen) & self.known).sum(axis=1) + 0.5 * ((drawn == seen) & self.known).sum(axis=1)
        return less / np.maximum(self.known.sum(axis=1), 1)

    def replicates(self, place: Any) -> Any:
        """The error (S, R) of each replicate, were the place true."""
        return self.gaps.error(self.at(place)[:, :, None] + self.gaps.noise)

    def where(self, share: Any) -> Any:
        """The place (S,) at which the estimate would be below the observed one with probability `share` (S,)."""
        high = self.last
        step = 1.0 / np.sqrt(np.maximum(self.variance.sum(axis=1), np.finfo(float).tiny))
        low = -step
        for _ in range(DOUBLINGS):
            far = self.below(low) > share
            if not far.any():
                break
            low = np.where(far, low * 2.0, low)
        for _ in range(STEPS):
            middle = 0.5 * (low + high)
            far = self.below(middle) > share
            low, high = np.where(far, low, middle), np.where(far, middle, high)
        return np.where(self.below(self.last) <= share, self.last, high)


def path_of(gaps: Gaps) -> Path:
    """The path through one model's gaps."""
    known = ~np.isnan(gaps.noise).any(axis=1)
    noise = np.where(known[:, None, :], gaps.noise, 0.0)
    variance = np.square(noise).sum(axis=2) / np.maximum(known.sum(axis=1), 1)[:, None]
    # A bin that may be calibrated varies as much as its confidences say; few rows without an event hide it.
    size, wanted = np.abs(gaps.gap), np.maximum(variance, gaps.floor)
    unclear = (variance > 0) & (size < CLEAR * np.sqrt(wanted))
    stretch = np.where(unclear, np.sqrt(wanted / np.where(variance > 0, variance, 1.0)), 1.0)
    variance = variance * stretch * stretch
    noise = noise * stretch[:, :, None]
    deviation = np.sqrt(variance)
    ratio = np.where(unclear, size / np.where(unclear, deviation, 1.0), 0.0)
    common = ratio.sum(axis=1) / np.maximum(unclear.sum(axis=1), 1)
    size = np.where(unclear, common[:, None] * deviation, size)
    last = np.where(variance > 0, size / np.where(variance > 0, variance, 1.0), 0.0).max(axis=1)
    last = last * (1.0 + 1e-9)  # past the end, where no gap is left to rounding
    moved = replace(gaps, noise=noise)
    sign = np.where(gaps.gap < 0, -1.0, 1.0)
    return Path(moved, sign, size, variance, last, moved.error(gaps.gap), known)


def intervals(models: list[Gaps], level: float) -> tuple[Any, Any, Any, Any, Any]:
    """low, high, standard error, undefined replicates and whether perfect calibration is not excluded, each (S,).

    One model: of its error. Two: of the second's minus the first's; where either may be perfectly calibrated, the
    difference of their own intervals at (1 + level) / 2, which covers at least as stated (Bonferroni).
    """
    paths = [path_of(gaps) for gaps in models]
    known = paths[0].known
    undefined = known.shape[1] - known.sum(axis=1)
    tail = (1.0 - level) / 2.0
    low, high = _bounds(paths[0], tail)
    error, perfect = _spread(paths), low == 0.0
    if len(paths) == 2:
        perfect = perfect | (_bounds(paths[1], tail)[0] == 0.0)
        perfect &= (models[0].noise != models[1].noise).any(axis=(1, 2))  # a model against itself has no difference
        (low_a, high_a), (low_b, high_b) = (_bounds(path, tail / 2.0) for path in paths)
        low, high = _difference(paths, level)
        low, high = np.where(perfect, low_b - high_a, low), np.where(perfect, high_b - low_a, high)
    enough = (undefined <= UNDEFINED_SHARE * known.shape[1]) & ~np.isnan(paths[0].observed)
    low, high, error = (np.where(enough, x, np.nan) for x in (low, high, error))
    return low, high, error, undefined, perfect & enough


def _bounds(path: Path, tail: float) -> tuple[Any, Any]:
    """The errors (S,) at which the estimate would be as far off as a share `tail` of all estimates."""
    share = np.full(path.last.shape, 1.0 - tail), tail * path.below(path.last)
    low, high = (path.gaps.error(path.at(path.where(s))) for s in share)
    return low, high


def _spread(paths: list[Path]) -> Any:
    """Standard deviation (S,) of the replicates around the data."""
    drawn = [np.where(path.known, path.replicates(np.zeros_like(path.last)), np.nan) for path in paths]
    return spread_of(drawn[0] if len(drawn) == 1 else drawn[1] - drawn[0])[0]


def _difference(paths: list[Path], level: float) -> tuple[Any, Any]:
    """The basic interval around truths that make each estimate its own median."""
    apart = []
    for path in paths:
        place = path.where(np.full(path.last.shape, 0.5))
        truth = path.gaps.error(path.at(place))
        apart.append(np.where(path.known, path.replicates(place) - truth[:, None], np.nan))
    low, high = percentile(apart[1] - apart[0], level)
    estimate = paths[1].observed - paths[0].observed
    return estimate - high, estimate - low
