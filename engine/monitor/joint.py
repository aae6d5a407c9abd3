"""Drift of all columns together: what no single column shows, such as a correlation that is gone.

Numbers are standardised by the reference (its median, and the interquartile range / 1.349) and cut at 5 of them, so
that heavy tails drown nothing; a missing one lies at the median, for its own column tells of it. A category is a column
for each of its 10 most frequent levels on both sides together and one for the others, scaled to the spread of a number.
No fit but that scale sees one side alone. A sample of at most 6000 (pca) or 2000 (mmd) rows a side is looked at: cost
does not grow with the window.

    pca   Kolmogorov-Smirnov between the distances of both sides' rows from the principal axes of rows of one of them,
          which are not compared themselves: so it is exact, as permuting the distances would be. Both ways, once with
          the axes of the reference and once with those of the live rows, for a correlation may go or come; the smaller
          p-value is doubled (Bonferroni)
    mmd   maximum mean discrepancy (Gretton et al. 2012), p-value by permutation; its root is the effect: 0.1 is what a
          quarter of a standard deviation makes of one column alone, or of each of many

pca is the default: it costs a tenth, and sees one correlation of 0.9 that goes or comes among 50 columns; mmd sees it
among about five. In turn mmd sees what moves many columns a little. Both hold the false-alarm rate.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from engine.monitor import columns as arrays
from engine.monitor.conf import MonitorConf
from engine.monitor.drift import BACKEND, Finding, Reference, Sizes
from kernels.drift import ks_2samp, mmd
from kernels.drift.columns import NumericColumn

COLUMN = "all columns together"
KIND = "multivariate"
ROWS = {"pca": 6000, "mmd": 2000}
"""Of either side, drawn with a fixed seed."""
LEVELS = 10
FARTHEST = 5.0
SHARE = 0.65
"""Of the variance, that the principal axes reach."""
MOST_RESAMPLES = 20_000


def together(reference: Reference, live: pa.Table, method: str, conf: MonitorConf) -> list[Finding]:
    """All columns of `live` as one, once; nothing where the method is none."""
    return [] if method == "none" else [Joint(reference=reference, method=method).finding(live, conf)]


@dataclass(frozen=True, kw_only=True)
class Joint:
    """A reference as its columns lie together."""

    reference: Reference
    method: str  # "pca" or "mmd"

    def finding(self, live: pa.Table, conf: MonitorConf) -> Finding:
        """All columns of `live` that can be compared, as one. Cost: O(rows D**2) of the sample for D encoded columns
        (pca), or 8 million distances and up to 20,000 permutations (mmd)."""
        x, y = self._encoded(_sample(live, self._names, self.method))
        if self.method == "pca":
            n, effect, pvalue = _axes(x, y, conf)
            statistic = "pca_reconstruction_error"
        else:
            n, effect, pvalue = _discrepancy(x, y, conf, self._tests)
            statistic = "mmd"
        return Finding(
            column=COLUMN,
            kind=KIND,
            statistic=statistic,
            effect=effect,
            floor=conf.multivariate_floor,
            pvalue=pvalue,
            n=n,
            missing=(0, 0),
            rows=n,
            reason="" if x.shape[1] > 1 else "fewer than two columns have values that differ",
        )

    @property
    def _names(self) -> tuple[str, ...]:
        return *self.reference.numeric, *self.reference.categorical

    @property
    def _tests(self) -> int:
        """P-values that are corrected together, at most: columns, their missing values, predictions and labels."""
        return 2 * len(self._names) + 4

    @cached_property
    def _old(self) -> pa.Table:
        return _sample(self.reference.table, self._names, self.method)

    @cached_property
    def _numbers(self) -> dict[str, tuple[float, float, np.ndarray]]:
        """Median, unit and sampled values of every number that has a spread."""
        profile, _ = self.reference.numbers
        values, found = arrays.numbers(self._old, profile.names)[0], {}
        for column in profile.columns:
            assert isinstance(column, NumericColumn)  # the profile is of numbers
            if column.n and math.isfinite(column.sigma) and column.sigma > 0:
                middle = float(column.median)
                found[column.name] = middle, column.sigma, _scaled(values[column.name], middle, column.sigma)
        return found

    def _encoded(self, new: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """(N, D) and (M, D) float64 of both samples."""
        parts = [*self._of_numbers(new), *self._of_categories(new)]
        sides = ([part[side] for part in parts] for side in (0, 1))
        x, y = (
            np.concatenate(side, axis=1) if side else np.empty((table.num_rows, 0))
            for side, table in zip(sides, (self._old, new), strict=True)
        )
        return x, y

    def _of_numbers(self, new: pa.Table) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        good, _ = arrays.numbers(new, self._numbers)
        for name, column in good.items():
            middle, unit, old = self._numbers[name]
            yield old[:, None], _scaled(column, middle, unit)[:, None]

    def _of_categories(self, new: pa.Table) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for name in self.reference.categorical:
            sides = [_texts(table, name) for table in (self._old, new)]
            if any(side is None for side in sides):
                continue
            both = np.concatenate([side for side in sides if side is not None])
            counts = Counter(both.tolist())
            if len(counts) < 2:
                continue
            levels = sorted(counts, key=lambda level: (-counts[level], str(level)))[:LEVELS]
            code = {level: k for k, level in enumerate(levels)}
            hot = np.eye(LEVELS + 1)[[code.get(level, LEVELS) for level in both.tolist()]]
            hot /= math.sqrt(float(hot.var(axis=0).sum()))  # no category weighs more than a number
            yield hot[: len(hot) - new.num_rows], hot[len(hot) - new.num_rows :]


def _sample(table: pa.Table, names: tuple[str, ...], method: str) -> pa.Table:
    """At most ROWS of the rows, the same ones each time, and those of the columns that are there."""
    table = table.select([name for name in names if name in table.column_names])
    if table.num_rows <= ROWS[method]:
        return table
    chosen = np.random.default_rng(0).choice(table.num_rows, ROWS[method], replace=False)
    return table.take(pa.array(np.sort(chosen)))


def _scaled(column: pa.ChunkedArray, middle: float, unit: float) -> np.ndarray:
    """(N,) deviations from the median; 0 where nothing is there."""
    scaled: np.ndarray = np.nan_to_num(np.clip((arrays.floats(column) - middle) / unit, -FARTHEST, FARTHEST), nan=0.0)
    return scaled


def _texts(table: pa.Table, name: str) -> np.ndarray | None:
    """(N,) objects as `arrays.texts`; None where these are no categories."""
    return None if isinstance(arrays.categories(table, name), str) else arrays.texts(table.column(name))


def _axes(x: np.ndarray, y: np.ndarray, conf: MonitorConf) -> tuple[Sizes, float, float]:
    """How many rows were compared, the larger distance, and its p-value, of both ways."""
    (old, fit_old), (new, fit_new) = _dealt(x), _dealt(y)
    sizes = len(old), len(new)
    if min(sizes) < conf.min_rows or x.shape[1] < 2:
        return sizes, math.nan, math.nan
    ways = [ks_2samp(*_distances(fitted, old, new), backend=BACKEND) for fitted in (fit_old, fit_new)]
    found = min(ways, key=lambda way: float(way.pvalue))
    return sizes, float(found.statistic), min(1.0, 2.0 * float(found.pvalue))


def _dealt(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two thirds that are compared and a third that axes are fitted to, at random."""
    order = np.random.default_rng(1).permutation(len(rows))
    border = len(rows) - len(rows) // 3
    return rows[order[:border]], rows[order[border:]]


def _distances(fitted: np.ndarray, *sides: np.ndarray) -> list[np.ndarray]:
    """Of the rows of each side from the principal axes of others, that reach SHARE of their variance."""
    centre = fitted.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(fitted, rowvar=False))
    kept = int((np.cumsum(variances[::-1]) < SHARE * variances.sum()).sum()) + 1
    others = axes[:, : len(axes) - kept]  # the distance from the first axes is the length along the others
    return [np.linalg.norm((rows - centre) @ others, axis=1) for rows in sides]


def _discrepancy(x: np.ndarray, y: np.ndarray, conf: MonitorConf, tests: int) -> tuple[Sizes, float, float]:
    """The same of the root of the discrepancy; with so many permutations that this finding alone can alarm."""
    sizes = len(x), len(y)
    if min(sizes) < conf.min_rows or x.shape[1] < 2:
        return sizes, math.nan, math.nan
    resamples = min(MOST_RESAMPLES, max(1000, math.ceil(2 * tests / conf.alpha)))
    found = mmd(x, y, n_resamples=resamples, backend=BACKEND)
    return sizes, math.sqrt(max(float(found.statistic), 0.0)), float(found.pvalue)
