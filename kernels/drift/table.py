"""The result of a comparison: one row a column and statistic, with sizes, backend and, when undecided, a
reason."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from kernels import pvalues
from kernels.errors import BackendUnavailable, OptionError


class Reason(StrEnum):
    """Why a value or p-value is absent; never a silent NaN."""

    NONE = ""
    COLUMN_ABSENT = "column_absent"
    """The live window has no column of this name."""
    NOT_COMPARABLE = "not_comparable"
    """The live column is of a kind or dtype that cannot be compared exactly with the reference."""
    EMPTY_REFERENCE = "empty_reference"
    """The reference holds no value here (no rows, or all missing)."""
    EMPTY_LIVE = "empty_live"
    """The live window holds no value here (no rows, or all missing)."""
    INFINITE = "infinite"
    """The distance is infinite, or overflows float64: infinite values do not cancel."""
    CONSTANT = "constant"
    """All values of both windows are equal, so the statistic is not defined."""
    TOO_FEW_ROWS = "too_few_rows"
    """The statistic needs more rows."""
    NEEDS_ROWS = "needs_rows"
    """The statistic needs the rows of both windows, and only counts were kept of one."""


@dataclass(frozen=True, slots=True)
class DriftRow:
    """One statistic of one column."""

    column: str
    statistic: str
    value: float | None
    """None where `reason` says why."""
    pvalue: float | None
    """Not corrected over columns; None where the statistic has no null distribution or no value."""
    n_reference: int
    n_live: int
    missing_reference: int
    missing_live: int
    error: float
    """How much larger the exact value may be: 0 but for bounds from streamed counts."""
    backend: str
    reason: Reason = Reason.NONE


@dataclass(frozen=True, slots=True)
class DriftTable:
    """Rows in the order of the columns of the profile, then of the statistics asked for."""

    rows: tuple[DriftRow, ...]

    def __iter__(self) -> Iterator[DriftRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, column: str, statistic: str) -> DriftRow:
        """The one row of a column and a statistic; OptionError when there is none."""
        for row in self.rows:
            if row.column == column and row.statistic == statistic:
                return row
        raise OptionError(f"{column}: no {statistic!r} in this table - ask for it in compare(statistics=...)")

    def adjusted(self, method: str = "bh") -> tuple[float | None, ...]:
        """p-values corrected over all rows that have one (see `kernels.pvalues.adjust`), in row order."""
        raw = np.array([np.nan if row.pvalue is None else row.pvalue for row in self.rows])
        return tuple(None if np.isnan(p) else float(p) for p in pvalues.adjust(raw, method))

    def to_dicts(self) -> list[dict[str, Any]]:
        """Rows as plain dictionaries that JSON can hold: no NaN, no enum."""
        return [{**dataclasses.asdict(row), "reason": str(row.reason)} for row in self.rows]

    def to_arrow(self) -> Any:
        """The rows as a ``pyarrow.Table``; BackendUnavailable without pyarrow."""
        try:
            arrow = importlib.import_module("pyarrow")
        except ImportError as error:
            raise BackendUnavailable("to_arrow: needs pyarrow - pip install pyarrow, or use to_dicts()") from error
        text, integer, real = arrow.string(), arrow.int64(), arrow.float64()
        kinds = (text, text, real, real, integer, integer, integer, integer, real, text, text)
        names = [field.name for field in dataclasses.fields(DriftRow)]
        schema = arrow.schema(list(zip(names, kinds, strict=True)))
        return arrow.Table.from_pylist(self.to_dicts(), schema=schema)

    def __str__(self) -> str:
        head = ("column", "statistic", "value", "p", "n reference", "n live", "missing", "backend", "note")
        body = [_cells(row) for row in self.rows]
        widths = [max(len(line[k]) for line in [head, *body]) for k in range(len(head))]
        return "\n".join(_line(cells, widths) for cells in [head, *body])


def _cells(row: DriftRow) -> tuple[str, ...]:
    note = str(row.reason) or (f"+ {row.error:.2g} at most" if row.error else "")
    return (
        row.column,
        row.statistic,
        "-" if row.value is None else f"{row.value:.6g}",
        "-" if row.pvalue is None else f"{row.pvalue:.3g}",
        str(row.n_reference),
        str(row.n_live),
        f"{row.missing_reference} -> {row.missing_live}",
        row.backend,
        note,
    )


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    numbers = range(2, 7)
    parts = [c.rjust(w) if k in numbers else c.ljust(w) for k, (c, w) in enumerate(zip(cells, widths, strict=True))]
    return "  ".join(parts).rstrip()
