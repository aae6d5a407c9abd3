"""A reference window fitted once, compared with many live windows.

Shapes: N reference rows, M live rows, F columns. A profile holds its columns, so every statistic stays
exact; comparisons give host results, whatever the backend.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernels.arrays import common_device, common_working, stream_of
from kernels.drift import window
from kernels.drift.columns import CategoricalColumn, Column, NumericColumn, fit_categorical, fit_numeric, merged
from kernels.drift.compare import (
    NumericPairs,
    Rows,
    applies,
    check_statistics,
    compare_categorical,
    compare_numeric,
)
from kernels.drift.partition import MEMORY, exact_rows
from kernels.drift.passes import Batches, Scan, in_one_piece
from kernels.drift.passes import count as count_scan
from kernels.drift.stream import LiveCounts, compare_counts
from kernels.drift.table import DriftRow, DriftTable, Reason
from kernels.errors import DeviceError, DTypeError, OptionError, ProfileError, ShapeError

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

        Cost: on the CPU two reads of large columns; they are sorted, once a profile, when `save` or a rank statistic
        other than ks and kuiper first asks for it. A sort a column elsewhere. Memory of the reference again, but for
        Arrow columns: they are immutable, and large ones are held without a copy until they are sorted. On CUDA the
        columns stay on the device, and the edges are read back (a synchronisation).
        Errors: OptionError, ShapeError, DTypeError.
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

    @classmethod
    def fit_batches(
        cls,
        reference: Batches,
        bins: int | Sequence[Any] = 10,
        names: Sequence[str] | None = None,
        categorical: Collection[str] | None = None,
        *,
        memory: int = MEMORY,
    ) -> Profile:
        """As `fit`, of a reference larger than memory, of which the profile keeps counts and no rows.

        reference   function that yields the batches anew each time it is called; other arguments as in `fit`
        memory      values held at a time, over all columns

        Edges, counts and units are those of `fit` on all rows, exactly (a standard deviation up to rounding). Binned
        and categorical statistics and missing rates are exact. Rank statistics need rows: ks and kuiper of
        `compare_counts` are bounds, others give the reason needs_rows, and `compare_batches(reference=)` gives all of
        them exactly. Cost: three passes; four where the quartiles of a column are equal. ProfileError when a later
        pass finds other rows, or batches differ in their columns.
        """
        return cls.fit_scan(in_one_piece(reference), bins, names, categorical, memory=memory)

    @classmethod
    def fit_scan(
        cls,
        reference: Scan,
        bins: int | Sequence[Any] = 10,
        names: Sequence[str] | None = None,
        categorical: Collection[str] | None = None,
        *,
        memory: int = MEMORY,
    ) -> Profile:
        """As `fit_batches`, of a reference that several workers scan in parts (see `kernels.drift.passes`)."""
        from kernels.drift.fitting import fit_scan

        return cls(fit_scan(reference, bins, names, categorical or (), memory))

    def merge(self, other: Profile) -> Profile:
        """The profile of the rows of both, as `fit` gives it on given edges; ProfileError unless the edges are equal.

        Parts fitted with the same `bins=edges` merge to the same profile in any order. Edges on quantiles belong to
        the rows they were found in: use `fit_batches` or `fit_scan` for those.
        """
        if self.names != other.names:
            raise ProfileError("merge: profiles of different columns - fit both on the same ones")
        return Profile(tuple(merged(a, b) for a, b in zip(self.columns, other.columns, strict=True)))

    def compare(
        self, live: Any, statistics: Sequence[str] = DEFAULT_STATISTICS, *, backend: str | None = None
    ) -> DriftTable:
        """Every statistic asked for, of every column it applies to (see `kernels.drift.values`).

        live   as `reference` in `fit`; columns are matched by name, those of an array by position; further
               columns are ignored, and an absent or incomparable one becomes a row with its reason
        Cost: with ks or kuiper alone two reads of large live columns, and one of the reference while it is unsorted;
        with any other rank statistic one sort and one merge a column; bins come from whichever of the two is there.
        Host result: synchronises on CUDA.
        """
        check_statistics(statistics)
        sources = window.live_sources(live, self.names)
        rows: Rows = {}
        pairs, refused = self._match(sources)
        for numeric in pairs:
            with stream_of(numeric.live[0]):
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
        `error` (about 1/4096 for continuous data); others become a row with reason needs_rows: `compare_batches` gives
        them exactly, in more passes.
        """
        check_statistics(statistics)
        return self._arrange(compare_counts(self.columns, counts, statistics), counts.refused, statistics)

    def compare_batches(
        self,
        live: Batches,
        statistics: Sequence[str] = DEFAULT_STATISTICS,
        *,
        reference: Batches | None = None,
        memory: int = MEMORY,
    ) -> DriftTable:
        """Every statistic asked for of a live window larger than memory, exactly: what `compare` gives of all of it.

        live        function that yields the batches anew each time it is called, each a window of any kind that
                    `compare` takes: a pass a call
        reference   the same for the reference, where the profile was fitted by `fit_batches` and holds no rows
        memory      values held at a time, over all columns; more passes where they are fewer

        ks, kuiper, mannwhitney, binned and categorical statistics and missing rates equal those of `compare` bit for
        bit; wasserstein, cvm, anderson and energy up to the order in which float64 terms are added (1e-12).
        Cost: one pass for counts; a second for ks and kuiper, which keeps a few per cent of the rows; for the other
        rank statistics one for every `memory` values that are not in a range of a single value. Two more where the
        live rows crowd between two reference quantiles. ProfileError when a later pass finds other rows.
        """
        scan = None if reference is None else in_one_piece(reference)
        return self.compare_scan(in_one_piece(live), statistics, reference=scan, memory=memory)

    def compare_scan(
        self,
        live: Scan,
        statistics: Sequence[str] = DEFAULT_STATISTICS,
        *,
        reference: Scan | None = None,
        memory: int = MEMORY,
    ) -> DriftTable:
        """As `compare_batches`, for windows that several workers scan in parts (see `kernels.drift.passes`)."""
        check_statistics(statistics)
        if memory < 1:
            raise OptionError(f"memory: {memory} - use a number of values of at least 1")
        counts = count_scan(live, self.counter())
        rows = compare_counts(self.columns, counts, statistics)
        rows.update(exact_rows(self.columns, live, counts, reference, statistics, memory))
        return self._arrange(rows, counts.refused, statistics)

    def save(self, path: str | Path) -> None:
        """Write one file of arrays and JSON, no pickle: temporary name, fsync, rename."""
        from kernels.drift import storage

        storage.save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """Read what `save` wrote; ProfileError names the file and the field that is wrong."""
        from kernels.drift import storage

        return storage.load(Path(path))

    def _match(self, sources: dict[str, Any]) -> tuple[list[NumericPairs], dict[str, Reason]]:
        """Numeric columns in a common dtype with the live ones, those with rows and those of counts apart, and why
        the others were refused."""
        refused: dict[str, Reason] = {}
        found: dict[bool, list[tuple[NumericColumn, Any, int]]] = {}
        for column in self.columns:
            if not isinstance(column, NumericColumn) or column.name not in sources:
                continue
            try:
                if window.looks_categorical(sources[column.name]) and not window.is_arrow(sources[column.name]):
                    raise DTypeError(f"{column.name}: not numeric")
                raw, missing = window.numeric_values(sources[column.name], column.name)
                if not column.counted:
                    common_device(column.range, raw)
                _, joined = common_working(column.range, raw, "reference", "live")
            except DeviceError:
                raise
            except (DTypeError, ShapeError):
                refused[column.name] = Reason.NOT_COMPARABLE
                continue
            found.setdefault(column.counted, []).append((column, joined, missing))
        pairs = []
        for each in found.values():
            columns, live, nulls = (list(part) for part in zip(*each, strict=True))
            pairs.append(NumericPairs(columns, live, np.array(nulls, dtype=np.int64)))
        return pairs, refused
