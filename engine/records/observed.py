"""What monitoring saw of one window: drift of its columns, and how the model does.

engine/records/__init__.py hands these on under its own name; read that first.
"""

from __future__ import annotations

import enum
import math

from engine.records.estimates import Estimate, SliceEstimate, find, record


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
        """The columns that moved, in the order of their rank; all of them together last, for that names none."""
        moved = [c for c in self.columns if c.outcome is DriftOutcome.DRIFT]
        return tuple(sorted(moved, key=lambda c: (c.kind == "multivariate", c.rank)))


@record
class Performance:
    """Realised performance of a model on the labelled rows of a window."""

    model: str
    window: str
    n_rows: int  # labelled
    metrics: tuple[Estimate, ...]
    unlabelled: int = 0  # rows whose label is not in
    reason: str = ""  # why the labelled rows do not speak for the window: then no metric is trusted, and all are NaN
    slices: tuple[SliceEstimate, ...] = ()  # the primary metric by the levels of data.slices
    labels: str = ""  # digest of ids and labels: what tells that some were corrected

    def metric(self, name: str) -> Estimate:
        """The estimate of that name; KeyError where it was not computed."""
        return find(self.metrics, name)


class RiskOutcome(enum.Enum):
    """Is the deployed model's risk too high. UNDECIDABLE never means 'no'."""

    ALARM = "alarm"
    NO_ALARM = "no alarm"
    UNDECIDABLE = "undecidable"

    @property
    def number(self) -> float:
        """1 where it alarms, 0 where it does not, NaN where nobody knows: what rules and trackers are told."""
        return {RiskOutcome.ALARM: 1.0, RiskOutcome.NO_ALARM: 0.0}.get(self, math.nan)


@record
class Risk:
    """The mean loss of a model since its hold-out, looked at after every labelled unit: engine/monitor/risk.py."""

    loss: str  # "brier", "error" or "absolute", in [0, 1]
    unit: str  # "row", or "cluster": its mean loss
    scale: float  # the absolute error that makes a loss of 1; 1 where the loss is none
    source: Estimate  # of the hold-out: `high` is its bound at 1 - delta / 2
    source_window: str
    tolerance: float
    delta: float  # chance of ever a false alarm
    outcome: RiskOutcome
    reason: str
    risk: Estimate  # so far, with bounds that hold at any time looked
    newest: float = math.nan  # mean loss in the newest window
    evidence: float = 0.0  # logarithm of the largest wealth; an alarm at log(2 / delta)
    since: str = ""  # the window in which it alarmed; an alarm stays
    windows: tuple[str, ...] = ()  # that came in, oldest first
    bets: tuple[float, ...] = ()  # state of the test, from which the next window goes on
    bounds: tuple[float, ...] = ()  # and of the bounds

    @property
    def bound(self) -> float:
        """Up to which the risk may go: that of the hold-out, and the tolerance."""
        return self.source.high + self.tolerance

    @property
    def moved(self) -> bool:
        """Do the losses no longer have one mean: it has left the bounds that would hold it at any time looked.

        The test goes on, for it asks for no such mean; the bounds say nothing any more.
        """
        return _left(self.risk)


def _left(estimate: Estimate) -> bool:
    """Does a value that is known lie outside of its own bounds."""
    return math.isfinite(estimate.value) and not estimate.low <= estimate.value <= estimate.high


@record
class ExpectedRisk:
    """The same question before labels are in, of the losses that are expected: engine/monitor/expected_risk.py.

    It never stands for labels: it holds where the label still follows from the row as it did on the hold-out.
    """

    model: str
    window: str  # the newest one that was asked about
    loss: str
    bound: float  # up to which the risk may go: that of the hold-out, and the tolerance
    delta: float  # chance of ever a false alarm, where what is expected is right
    outcome: RiskOutcome
    reason: str
    risk: Estimate  # expected over all windows so far, with bounds that hold at any time looked
    newest: float = math.nan  # mean expected loss in the newest window
    error: float = math.nan  # what that may be wrong by, as far as the hold-out tells
    widest: float = 0.0  # the largest such error of a window so far
    evidence: float = 0.0  # logarithm of the largest wealth; an alarm at log(4 / delta)
    since: str = ""  # the window in which it alarmed; empty: it has not
    windows: tuple[str, ...] = ()  # that entered, oldest first
    bets: tuple[float, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def moved(self) -> bool:
        """As of `Risk`."""
        return _left(self.risk)


@record
class Level:
    """The primary metric of one labelled window, in points: more is better."""

    window: str
    points: float
    variance: float  # of its estimate, and between windows


@record
class Decay:
    """The primary metric of a model since its hold-out, against what it was there: engine/monitor/decay.py."""

    metric: str
    greater_is_better: bool
    source: Estimate  # on the hold-out
    source_window: str
    point: float  # in the metric's own unit
    tolerance: float  # points that it may lie below
    between: float  # points by which windows differ though nothing has happened
    delta: float  # chance of ever a false alarm
    outcome: RiskOutcome
    reason: str
    drop: Estimate  # points below the reference, of the windows since `began`; bounds hold at any time looked
    newest: Estimate | None = None  # the metric on the newest labelled window
    reference: float = math.nan  # what those windows are held against, in the metric's own unit
    evidence: float = 0.0  # log likelihood ratio less its price; an alarm at `limit`
    began: str = ""  # the window from which on a drop is most likely
    since: str = ""  # the window in which it alarmed; empty: it does not
    detectable: float = math.nan  # points that a drop would need by now for an alarm, where it began at its best time
    windows: tuple[str, ...] = ()  # the newest that came in, oldest first
    levels: tuple[Level, ...] = ()  # and what is known of them
    older: int = 0  # windows before those, the sum of their weights, and of their weighted points
    older_weight: float = 0.0
    older_total: float = 0.0
    older_from: str = ""  # the first of them
    point_value: float = 0.0  # of a point, a window
    currency: str = ""

    @property
    def limit(self) -> float:
        """Evidence that makes an alarm."""
        return math.log(1.0 / self.delta)

    @property
    def cost(self) -> float:
        """What the drop loses in a window; never below 0, NaN where it is not known."""
        return max(0.0, self.drop.value) * self.point_value if math.isfinite(self.drop.value) else math.nan


@record
class Correction:
    """Labels of an earlier window have changed since its performance was recorded: what it comes to now."""

    performance: Performance  # with the labels as they are
    before: tuple[Estimate, ...]  # as the ledger had it
    labels: str  # digest of the labels before


@record
class Missed:
    """By how much an estimate was off on a window whose labels are in, had it been made before."""

    window: str
    metric: str
    apart: float  # realised minus estimated, in the standard deviations that the interval is of


@record
class EstimatedPerformance:
    """What the metrics of a window are expected to be whose labels are not in, each with an interval of its realised
    value; where an assumption fails every metric is NaN, and `reason` says which.
    """

    model: str
    window: str
    n_rows: int
    reference: str  # the labelled window that the model was not trained on
    method: str
    metrics: tuple[Estimate, ...]
    reason: str = ""  # why it is undecidable; empty: it is an estimate
    checked: str = ""  # the newest labelled window, on which the assumption was checked
    calibration: Estimate | None = None  # the calibration error there; regression: of the mean loss, as a share of it
    outside: float = math.nan  # share of rows with a value outside the reference's
    effective_rows: float = math.nan  # reference rows that speak for this window
    missed: tuple[Missed, ...] = ()  # on the window it was checked on, where that came after the reference

    def metric(self, name: str) -> Estimate:
        """The estimate of that name; KeyError where it was not computed."""
        return find(self.metrics, name)


@record
class Scored:
    """An estimate that was made without labels, and what came out once they were in."""

    window: str
    model: str
    metric: str
    estimated: float
    low: float
    high: float
    realised: float

    @property
    def inside(self) -> bool:
        """Did the interval hold the realised value."""
        return self.low <= self.realised <= self.high


@record
class EstimateScore:
    """How good the estimates of a metric have been so far."""

    metric: str
    n: int  # windows
    mean_absolute_error: float
    coverage: float  # share of windows whose interval held the realised value


@record
class MonitorReport:
    """What changed: against the champion's training rows (baseline), against the window before (consecutive)."""

    window: str
    model: str
    baseline: DriftReport
    consecutive: DriftReport | None
    performance: Performance | None  # of the newest window whose labels are in; None while none is
    estimated: EstimatedPerformance | None = None  # of this window, without its labels
    scored: tuple[Scored, ...] = ()  # earlier estimates whose labels have come in
    scores: tuple[EstimateScore, ...] = ()  # all of them so far, by metric
    corrections: tuple[Correction, ...] = ()  # earlier windows whose labels have changed
    risk: Risk | None = None  # of the champion since its hold-out
    expected_risk: ExpectedRisk | None = None  # the same of losses that are expected, labels or not
    decay: Decay | None = None  # of the champion's primary metric since its hold-out
