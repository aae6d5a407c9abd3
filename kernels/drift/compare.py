"""One comparison: live columns against the columns of a profile, in as few reads as the statistics allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kernels import dispatch
from kernels.drift import values, window
from kernels.drift.binned import padded
from kernels.drift.categorical import aligned, homogeneity
from kernels.drift.columns import CategoricalColumn, Column, NumericColumn, order, to_host
from kernels.drift.quantiles import counts_of_sorted
from kernels.drift.table import DriftRow, Reason
from kernels.errors import OptionError
from kernels.sums import SortedColumns

Rows = dict[tuple[str, str], DriftRow]
"""(column, statistic) -> row."""


class NumericPairs(NamedTuple):
    """The comparable numeric columns of one comparison, side by side."""

    columns: list[NumericColumn]
    live: list[Any]
    nulls: Any

    @property
    def counted(self) -> bool:
        """Whether the reference columns are counts only; a comparison holds columns of one kind."""
        return self.columns[0].counted

    def reference(self) -> SortedColumns:
        """The reference columns in order, in the dtypes of the live ones."""
        order(self.columns)
        return self._sized([c.values if same else self._converted(f) for f, (c, same) in enumerate(self._alike)])

    def fitted(self, module: Any) -> tuple[SortedColumns, list[Any]]:
        """The reference columns and their cells, as `extremes_fitted` takes them: fitted once a profile, and unsorted
        where they have been fitted so; without cells where a column was converted to compare."""
        order([c for c, same in self._alike if not (same and c.cells)])
        new = [c for c, same in self._alike if same and not c.cells]
        if new:
            n = np.array([c.n for c in new], dtype=np.int64)
            ordered = SortedColumns(tuple(c.values for c in new), n, np.zeros_like(n))
            for column, cells in zip(new, module.fit_cells(ordered), strict=True):
                column.cells[:] = [cells]
        rows = [c.range if same else self._converted(f) for f, (c, same) in enumerate(self._alike)]
        return self._sized(rows), [c.cells[0] if same else None for c, same in self._alike]

    @property
    def _alike(self) -> list[tuple[NumericColumn, bool]]:
        """The columns, and whether they have the dtype of the live ones."""
        return [(c, c.edges.dtype == v.dtype) for c, v in zip(self.columns, self.live, strict=True)]

    def _converted(self, f: int) -> Any:
        return self.columns[f].values.astype(str(self.live[f].dtype))

    def _sized(self, values: list[Any]) -> SortedColumns:
        n, missing = (np.array(v, dtype=np.int64) for v in zip(*((c.n, c.missing) for c in self.columns), strict=True))
        return SortedColumns(tuple(values), n, missing)


def applies(statistic: str, column: Column) -> bool:
    """Whether a statistic is defined for the kind of a column."""
    if statistic == "missing":
        return True
    known = values.RANK + values.BINNED if isinstance(column, NumericColumn) else values.CATEGORICAL
    return statistic in known


def check_statistics(statistics: Sequence[str]) -> None:
    if isinstance(statistics, str):
        raise OptionError(f"statistics: {statistics!r} is one string - pass a sequence of names")
    for name in statistics:
        if name not in values.STATISTICS:
            raise OptionError(f"statistics: {name!r} is not known - use {', '.join(values.STATISTICS)}")


def compare_numeric(numeric: NumericPairs, statistics: Sequence[str], backend: str | None) -> Rows:
    module, chosen = dispatch.implementation("rank", *numeric.live, backend=backend)
    edges = [c.edges.astype(str(v.dtype)) for c, v in zip(numeric.columns, numeric.live, strict=True)]
    binned = any(name in values.BINNED for name in statistics)
    sigma = np.array([c.sigma for c in numeric.columns])
    results: dict[str, values.Values] = {}
    asked, statistics = statistics, [name for name in statistics if not (numeric.counted and name in values.RANK)]
    if any(name in values.SUMMED for name in statistics):
        ordered = module.sort_columns(numeric.live)
        sums = module.rank_sums(numeric.reference(), ordered)
        sums = type(sums)(type(sums.counts)(*map(to_host, sums.counts)), *map(to_host, sums[1:]))
        m, missing = sums.counts.m, to_host(ordered.missing)
        results = {name: values.rank_values(name, sums, sigma) for name in statistics if name in values.RANK}
        live_counts = counts_of_sorted(ordered, edges).counts if binned else ()
    else:
        found = None
        if any(name in values.EXTREME for name in statistics):
            both = "kuiper" in statistics
            reference, cells = numeric.fitted(module)
            found = module.extremes_fitted(reference, cells, numeric.live, both=both)
            n, m, _, missing, d_max, d_min = map(to_host, found)
            for name in statistics:
                if name in values.EXTREME:
                    results[name] = values.extreme_values(name, n, m, d_max, d_min)
        live_counts = ()
        if binned or found is None:
            counted = dispatch.load("histogram", chosen).bin_counts(numeric.live, edges)
            live_counts, missing = counted.counts, to_host(counted.missing)
            m = np.array([v.shape[0] for v in numeric.live], dtype=np.int64) - missing
    if binned:
        p, q = padded([c.counts for c in numeric.columns]), padded(live_counts)
        bins, chance = [c.counts.shape[0] for c in numeric.columns], values.binned_chance(p, q)
        for name in statistics:
            if name in values.BINNED:
                results[name] = values.count_values(name, p, q, bins, chance)
    missing = missing + numeric.nulls
    if "missing" in statistics:
        n, lost = (np.array(v, dtype=np.int64) for v in zip(*((c.n, c.missing) for c in numeric.columns), strict=True))
        results["missing"] = values.missing_values(n, lost, m, missing)
    reasons = values.emptiness([c.n for c in numeric.columns], m)
    for name in asked:
        if name not in statistics:
            results[name] = values.unknown(reasons, Reason.NEEDS_ROWS)
    return column_rows(numeric.columns, results, m, missing, chosen)


def column_rows(
    columns: Sequence[Column],
    results: dict[str, values.Values],
    m: Any,
    missing: Any,
    backend: str,
    error: dict[str, Any] | None = None,
) -> Rows:
    """(column, statistic) -> row from (F,) results."""
    rows = {}
    for name, result in results.items():
        bounds = (error or {}).get(name)
        for f, column in enumerate(columns):
            reason = result.reason[f]
            value, p = float(result.value[f]), float(result.pvalue[f])
            rows[column.name, name] = DriftRow(
                column.name,
                name,
                None if reason else value,
                None if reason or np.isnan(p) else p,
                column.n,
                int(m[f]),
                column.missing,
                int(missing[f]),
                0.0 if bounds is None else float(bounds[f]),
                backend,
                reason,
            )
    return rows


def compare_categorical(column: CategoricalColumn, raw: Any, statistics: Sequence[str]) -> Rows:
    counted, missing = window.count_values(raw, column.name)
    return category_rows(column, counted, missing, statistics)


def category_rows(column: CategoricalColumn, counted: dict[Any, int], missing: int, statistics: Sequence[str]) -> Rows:
    """(column, statistic) -> row from the counts of the live categories."""
    live = [counted.get(category, 0) for category in column.categories]
    total = sum(counted.values())
    p = np.append(column.counts, 0)[None, :]
    q = np.array([[*live, total - sum(live)]], dtype=np.int64)
    tested = any(name in values.TESTED for name in statistics)
    # an unseen category counts for itself in the test: a pool of them would be chosen by the reference alone
    fitted = dict(zip(column.categories, column.counts.tolist(), strict=True))
    chance = homogeneity(*aligned(fitted, counted)) if tested else None
    results = {}
    for name in statistics:
        if name in values.CATEGORICAL:
            results[name] = values.count_values(name, p, q, [p.shape[1]], chance)
        elif name == "missing":
            sides = (np.array([v]) for v in (column.n, column.missing, total, missing))
            results[name] = values.missing_values(*sides)
    return column_rows([column], results, [total], [missing], "cpu")
