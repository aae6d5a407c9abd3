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
    kind: str  # "numeric", "categorical", "prediction", "label", "missing", "multivariate"
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
    importance: float = math.nan  # points of the report's metric that this model loses without the column
    harm: float = math.nan  # importance x effect: at most so many of them can this drift cost

    @property
    def rank(self) -> tuple[float, float, float]:
        """Most harmful first; where no harm is known or there is none, the largest effect over its floor. A floor of 0
        is exceeded infinitely."""
        harm = 0.0 if math.isnan(self.harm) else self.harm
        return -harm, -self.effect / self.floor if self.floor else -math.inf, -self.effect


@record
class DriftReport:
    """All columns of one window against one reference, at one stated false-alarm rate a window."""

    reference: str
    live: str
    alpha: float  # chance of any false alarm in a window without drift
    method: str  # correction over columns
    backend: str
    columns: tuple[ColumnDrift, ...]
    metric: str = ""  # that importance and harm are measured in; empty where none was measured

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The columns that moved, in the order of their rank."""
        moved = [c for c in self.columns if c.outcome is DriftOutcome.DRIFT]
        return tuple(sorted(moved, key=lambda c: c.rank))


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
