"""What monitoring saw of one window: drift of its columns, and how the model does.

engine/records.py hands these on under its own name; read that first.
"""

from __future__ import annotations

import enum
import math

from engine.estimates import Estimate, find, record


class DriftOutcome(enum.Enum):
    """Answer of one drift test. UNDECIDABLE never means 'no drift'."""

    DRIFT = "drift"
    NO_DRIFT = "no drift"
    UNDECIDABLE = "undecidable"


@record
class ColumnDrift:
    """One column of the live window against a reference."""

    column: str
    kind: str  # "numeric", "categorical", "prediction", "label", "missing"
    statistic: str  # the name in kernels.drift
    effect: float  # its value, the size of the effect
    floor: float  # the effect below which significance does not matter
    pvalue: float
    adjusted_pvalue: float
    n_reference: int
    n_live: int
    missing_reference: float  # share of missing values
    missing_live: float
    outcome: DriftOutcome
    reason: str = ""


@record
class DriftReport:
    """All columns of one window against one reference, at one stated false-alarm rate a window."""

    reference: str
    live: str
    alpha: float  # chance of any false alarm in a window without drift
    method: str  # correction over columns
    backend: str
    columns: tuple[ColumnDrift, ...]

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The columns that moved, largest effect over floor first; a floor of 0 is exceeded infinitely."""
        moved = [c for c in self.columns if c.outcome is DriftOutcome.DRIFT]
        return tuple(sorted(moved, key=lambda c: (-c.effect / c.floor if c.floor else -math.inf, -c.effect)))


@record
class Performance:
    """Realised performance of a model on a window whose labels are in."""

    model: str
    window: str
    n_rows: int
    metrics: tuple[Estimate, ...]

    def metric(self, name: str) -> Estimate:
        """The estimate of that name; KeyError where it was not computed."""
        return find(self.metrics, name)


@record
class MonitorReport:
    """What changed: against the champion's training rows (baseline), against the window before (consecutive)."""

    window: str
    model: str
    baseline: DriftReport
    consecutive: DriftReport | None
    performance: Performance | None  # of the newest window whose labels are in; None while none is
