"""A reference window fitted once, compared with many live windows.

Shapes: N reference rows, M live rows, F columns. A profile holds its columns, so every statistic stays
exact; comparisons give host results, whatever the backend.

References below about 300 rows: see the note on false alarms in `Profile.fit`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernels.arrays import common_device, common_working, stream_of
from kernels.drift import window
from kernels.drift.columns import CategoricalColumn, Column, NumericColumn, fit_categorical, fit_numeric
from kernels.drift.compare import (
    NumericPairs,
    Rows,
    applies,
    check_statistics,
    compare_categorical,
    compare_numeric,
)
from kernels.drift.stream import LiveCounts, compare_counts
from kernels.drift.table import DriftRow, DriftTable, Reason
from kernels.errors import DeviceError, DTypeError, OptionError, ShapeError

DEFAULT_STATISTICS = ("ks", "wasserstein_normed", "psi", "chi2", "tv", "missing")


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A fitted reference window. Build it with `Profile.fit` or `Profile.load`."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)

    @classmethod
    def fit(
        cls,
        reference: Any,
        bins: int | Sequence[Any] = 10,
        names: Sequence[str] | None = None,
        categorical: Collection[str] | None = None,
        *,
        backend: str | None = None,
    ) -> Profile:
        """Fit the bins of every numeric column and count every categorical one.

        reference     (N,) or (N, F) array, mapping of name to (N,) array, Arrow table or batch, pandas frame
        bins          number of quantile bins, or edges (see `kernels.drift.binned`)
        names         names of the columns of an array; for other windows the columns to use
        categorical   names of columns to treat as categories; strings, objects and dictionaries always are

        Cost: on the CPU two reads of large columns; they are sorted when a rank statistic or `save` first asks
        for it, once a profile. A sort a column elsewhere. Memory of the reference again. On CUDA the columns stay
        on the device, and the edges are read back (a synchronisation). Errors: OptionError, ShapeError, DTypeError.

        Below about 300 reference rows the p-values of binned statistics alarm too often (11 to 14 % at a level
        of 5 % for 60 reference rows and 300 to 1000 live rows, 10 bins), for edges on the quantiles of a small
        reference fit it too well: use fewer bins, given edges, or ks.
        """
        sources = window.column_sources(reference, names)
        chosen = frozenset(categorical or ())
        unknown = chosen - sources.keys()
        if unknown:
            raise OptionError(f"categorical: {sorted(unknown)[0]!r} is not a column - use {', '.join(sources)}")
        is_category = {name: name in chosen or window.looks_categorical(raw) for name, raw in sources.items()}
        numeric = {name: raw for name, raw in sources.items() if not is_category[name]}
        fitted: dict[str, Column] = {c.name: c for c in fit_numeric(numeric, bins, backend)}
        for name, raw in sources.items():
            if is_category[name]:
                fitted[name] = fit_categorical(name, raw)
        return cls(tuple(fitted[name] for name in sources))

    def compare(
        self, live: Any, statistics: Sequence[str] = DEFAULT_STATISTICS, *, backend: str | None = None
    ) -> DriftTable:
        """Every statistic asked for, of every column it applies to (see `kernels.drift.values`).

        live   as `reference` in `fit`; columns are matched by name, those of an array by position; further
               columns are ignored, and an absent or incomparable one becomes a row with its reason
        Cost: with ks or kuiper alone two reads of the live window; with any other rank statistic one sort and
        one merge a column; bins come from whichever of the two is there. Host result: synchronises on CUDA.
        """
        check_statistics(statistics)
        sources = window.live_sources(live, self.names)
        rows: Rows = {}
        numeric, refused = self._match(sources)
        template = next(iter(numeric.live), None) if numeric is not None else None
        if numeric is not None:
            with stream_of(template):
                rows.update(compare_numeric(numeric, statistics, backend))
        for column in self.columns:
            if isinstance(column, CategoricalColumn) and column.name in sources:
                try:
                    rows.update(compare_categorical(column, sources[column.name], statistics))
                except (DTypeError, ShapeError):
                    refused[column.name] = Reason.NOT_COMPARABLE
        return self._arrange(rows, refused, statistics)

    def _arrange(self, rows: Rows, refused: dict[str, Reason], statistics: Sequence[str]) -> DriftTable:
        """Rows in the order of columns and statistics, with a row and a reason for what could not be
        compared."""
        ordered = []
        for column in self.columns:
            for name in statistics:
                if not applies(name, column):
                    continue
                row = rows.get((column.name, name))
                if row is None:
                    reason = refused.get(column.name, Reason.COLUMN_ABSENT)
                    sizes = (column.n, 0, column.missing, 0)
                    row = DriftRow(column.name, name, None, None, *sizes, 0.0, "none", reason)
                ordered.append(row)
        return DriftTable(tuple(ordered))

    def counter(self) -> LiveCounts:
        """Empty counts of a live window that arrives in pieces; update, merge, then `compare_counts`."""
        return LiveCounts.start(self.columns)

    def count(self, batches: Iterable[Any]) -> LiveCounts:
        """Counts of a live window given as batches, each a window of any kind that `compare` takes."""
        counts = self.counter()
        for batch in batches:
            counts = counts.update(batch)
        return counts

    def compare_counts(self, counts: LiveCounts, statistics: Sequence[str] = DEFAULT_STATISTICS) -> DriftTable:
        """The statistics that counts decide, for a window larger than memory or spread over workers.

        Binned and categorical statistics and missing rates are exactly those of `compare`, whatever the
        batches and their order. ks and kuiper are lower bounds with the distance to the upper bound as
        `error` (about 1/4096 for continuous data); others become a row with reason needs_rows.
        """
        check_statistics(statistics)
        return self._arrange(compare_counts(self.columns, counts, statistics), counts.refused, statistics)

    def save(self, path: str | Path) -> None:
        """Write one file of arrays and JSON, no pickle: temporary name, fsync, rename."""
        from kernels.drift import storage

        storage.save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """Read what `save` wrote; ProfileError names the file and the field that is wrong."""
        from kernels.drift import storage

        return storage.load(Path(path))

    def _match(self, sources: dict[str, Any]) -> tuple[NumericPairs | None, dict[str, Reason]]:
        """Numeric columns in a common dtype with the live ones, and why the others were refused."""
        refused: dict[str, Reason] = {}
        columns, live, nulls = [], [], []
        for column in self.columns:
            if not isinstance(column, NumericColumn) or column.name not in sources:
                continue
            try:
                if window.looks_categorical(sources[column.name]) and not window.is_arrow(sources[column.name]):
                    raise DTypeError(f"{column.name}: not numeric")
                raw, missing = window.numeric_values(sources[column.name], column.name)
                common_device(column.held.rows, raw)
                _, joined = common_working(column.held.rows, raw, "reference", "live")
            except DeviceError:
                raise
            except (DTypeError, ShapeError):
                refused[column.name] = Reason.NOT_COMPARABLE
                continue
            columns.append(column)
            live.append(joined)
            nulls.append(missing)
        if not columns:
            return None, refused
        return NumericPairs(columns, live, np.array(nulls, dtype=np.int64)), refused
