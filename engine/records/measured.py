"""What a window of the pipeline took and brought: the numbers beside those of the model.

A number that cannot be known is NaN here and absent from `numbers`, never 0: no trial ran, no label is in, no watch saw
the window land. What spans windows is a `Measure`: an estimate with its interval, and the ledger rows that it was made
from; one that ought to be known and is not has the value NaN, and its reason.
"""

from __future__ import annotations

import math
from dataclasses import field

from engine.records.estimates import Estimate, record

NAN = math.nan


@record
class DeviceUse:
    """What one trial used, in this process alone: without its helpers, and without what it trained before a kill."""

    cpu_seconds: float = NAN  # of all threads of the process
    gpu_seconds: float = NAN  # GPUs (or shares of one) x wall time; 0 where it trained on the CPU
    gpu_utilisation: float = NAN  # mean share of the samples' periods in which a kernel ran, in [0, 1]
    gpu_memory_bytes: float = NAN  # the most that was in use on one GPU, by whomever
    samples: int = 0  # of the GPU
    reason: str = ""  # why the GPU's numbers are not known
    trial_bytes: float = NAN  # of memory, that one more trial like it takes in its pack; where that had to be measured


@record
class Flow:
    """Rows and bytes that went through a stage, and the seconds that it took."""

    rows: float
    bytes: float  # of the Arrow table in memory; NaN where rows are no table there
    seconds: float  # wall time of the stage; of training: of its trials, one after the other

    @property
    def rows_per_second(self) -> float:
        """NaN where no time was measured."""
        return self.rows / self.seconds if self.seconds > 0 else NAN

    @property
    def bytes_per_second(self) -> float:
        """NaN where no time was measured."""
        return self.bytes / self.seconds if self.seconds > 0 else NAN


@record
class Gain:
    """A promoted model beside the one that it replaced, paired by row, on a labelled window that it served."""

    window: str
    model: str
    replaced: str
    points: Estimate  # positive: the promoted one is better; in points (decide.point)


@record
class Measure:
    """A number that spans windows: its name in `numbers` is pipeline.<estimate.name>, and .low and .high."""

    estimate: Estimate
    unit: str  # share, windows, hours, points, models, or a currency
    rows: tuple[int, ...]  # of the ledger (seq) that it was made from, the newest MOST_ROWS of them
    n_rows: int  # all of them


MOST_ROWS = 20  # of a measure that are named


@record
class PipelineMetrics:
    """One window. Units are in the names; seconds are of wall time unless they say otherwise."""

    window: str
    currency: str  # of every cost
    flows: dict[str, Flow] = field(default_factory=dict)  # stage -> what went through it
    freshness_hours: float = NAN  # from the time of the newest row to the moment in which the window was opened
    label_lag_hours: float = NAN  # from the opening of the newest labelled window to that of the first with its labels
    label_lag_windows: float = NAN  # the same in windows
    unlabelled_share: float = NAN  # rows of the newest labelled window whose label is not in
    queue_seconds: float = NAN  # from the landing of the window, as a watch saw it, to its opening
    cpu_seconds: float = NAN  # of the process of the loop, all threads; its children and workers apart
    trial_cpu_seconds: float = NAN  # of all trials (DeviceUse)
    gpu_hours: float = NAN  # of all trials; 0 where they trained on the CPU
    gpu_utilisation: float = NAN  # of all trials, weighted by their time, in [0, 1]
    failed_trials_share: float = NAN  # of the trials of this window
    training_cost: float = NAN  # of this window's trials, by decide.hour_price
    review_cost: float = NAN  # decide.review_cost where there is a challenger, else 0
    running_cost: float = NAN  # everything but training in this window's wall time, by decide.hour_price
    drift_open_windows: float = NAN  # windows since inputs began to drift, while nothing was promoted; 0: no drift
    degraded_windows: float = NAN  # windows since the champion fell below the gate's floor; 0: it is not below
    gain: Gain | None = None  # None: no promoted model served a window whose labels came in
    lasting: tuple[Measure, ...] = ()

    @property
    def cost(self) -> float:
        """Of this window; NaN where a part of it is not known."""
        return self.training_cost + self.review_cost + self.running_cost

    def numbers(self) -> dict[str, float]:
        """Every number by the name that a rule may use. NaN: it ought to be known, and is undecidable."""
        plain = {f"data.{name}": getattr(self, name) for name in OF_DATA}
        plain |= {f"pipeline.{name}": getattr(self, name) for name in OF_WINDOW}
        for stage, flow in self.flows.items():
            plain[f"pipeline.rows_per_second.{stage}"] = flow.rows_per_second
            plain[f"pipeline.bytes_per_second.{stage}"] = flow.bytes_per_second
        found = {name: value for name, value in plain.items() if math.isfinite(value)}
        estimates = [m.estimate for m in self.lasting]
        if self.gain is not None:
            estimates.append(self.gain.points)
        for estimate in estimates:
            name = f"pipeline.{estimate.name}"
            found |= {name: estimate.value, f"{name}.low": estimate.low, f"{name}.high": estimate.high}
        return found


OF_DATA = {
    "freshness_hours": "age of the newest row when its window was opened",
    "label_lag_hours": "from the opening of a window to that of the first one with its labels",
    "label_lag_windows": "the same in windows",
    "unlabelled_share": "rows of the newest labelled window whose label is not in",
}
OF_WINDOW = {
    "queue_seconds": "from the landing of the window to its opening",
    "cpu_seconds": "CPU time of the loop's process",
    "trial_cpu_seconds": "CPU time of the trials",
    "gpu_hours": "GPUs of the trials x their time",
    "gpu_utilisation": "share of that time in which a kernel ran",
    "failed_trials_share": "trials of the window that failed",
    "training_cost": "of the trials of the window",
    "review_cost": "of people's time for the window's challenger",
    "running_cost": "of everything else that the window took",
    "cost": "of the window, all together",
    "drift_open_windows": "windows since inputs began to drift, while nothing was promoted",
    "degraded_windows": "windows since the champion fell below the gate's floor",
}
LASTING = {
    "gain_points": "a promoted model minus the one that it replaced, on a labelled window that it served",
    "gate_pass_rate": "challengers that reached production of those whose gates have decided",
    "failed_trials_rate": "trials that failed, of all trials so far",
    "spent": "all that the loop has cost so far",
    "cost_per_window": "the same, a window",
    "cost_per_promotion": "all that training and review have cost so far, a model that reached production by its gates",
    "drift_to_detection_windows": "from the first window with drift to an alert or a decision to act",
    "drift_to_detection_hours": "the same by the clock of the ledger",
    "detection_to_promotion_windows": "from an alert or a decision to act to a new model in production",
    "detection_to_promotion_hours": "the same by the clock of the ledger",
    "drift_to_promotion_windows": "from the first window with drift to a new model in production",
    "drift_to_promotion_hours": "the same by the clock of the ledger",
    "restore_windows": "from a champion below the gate's floor, or a rollback, to one above it",
    "restore_hours": "the same by the clock of the ledger",
    "return_on_retraining": "points gained by promoted models on labelled windows x their value - what attempts cost",
}
"""Numbers of the data, of the window, and those that span windows: by name, in words."""
NAMES = frozenset(
    {f"data.{name}" for name in OF_DATA}
    | {f"pipeline.{name}" for name in OF_WINDOW}
    | {f"pipeline.{name}{bound}" for name in LASTING for bound in ("", ".low", ".high")}
)
"""Every name that `numbers` may give, but for those that go on with a stage (FAMILIES)."""
FAMILIES = ("pipeline.rows_per_second.", "pipeline.bytes_per_second.")
