"""When a difference is an alarm."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.errors import ConfigError

METHODS = ("bh", "by", "holm", "bonferroni")
MULTIVARIATE = ("none", "pca", "mmd")
RISK_LOSSES = ("auto", "brier", "error", "none")


@dataclass(kw_only=True, slots=True)
class MonitorConf:
    """A column drifts when its difference is both significant and larger than its floor."""

    alpha: float = 0.01
    """Chance of any false alarm in a window without drift, over all columns of one report."""
    method: str = "bh"
    """Correction over columns: bh, by, holm or bonferroni. Without any drift each keeps the chance above."""
    numeric_floor: float = 0.1
    """Smallest Kolmogorov-Smirnov distance that matters, of numbers and predictions."""
    categorical_floor: float = 0.1
    """Smallest total variation distance that matters, of categories."""
    missing_floor: float = 0.05
    """Smallest change of the share of missing values that matters."""
    multivariate: str = "pca"
    """How all columns together are held against the champion's training rows, and the window before: pca, mmd, none."""
    multivariate_floor: float = 0.05
    """Smallest distance that matters of all columns together: Kolmogorov-Smirnov between rows' distances from
    principal axes (pca), or the root of the maximum mean discrepancy (mmd)."""
    min_rows: int = 50
    """Fewer values than this on either side are undecidable."""
    risk_loss: str = "auto"
    """Loss whose mean is tracked from the hold-out on: auto (brier; absolute in regression), brier, error or none."""
    risk_tolerance: float = 0.01
    """So much above the hold-out's bound it may lie without an alarm; losses lie between 0 and 1."""
    risk_delta: float = 0.05
    """Chance that a model whose risk never exceeds that is ever called harmful, however often one looks."""
    decay: bool = True
    """Hold the primary metric on each labelled window against what the champion had when it was promoted."""
    decay_tolerance: float = 1.0
    """So many points (decide.point) it may lie below that without an alarm."""
    decay_between: float = 1.0
    """Points by which windows differ, one standard deviation, though nothing has happened to the model."""
    decay_delta: float = 0.05
    """Chance that a model that loses no more than the tolerance is ever said to decay, however often one looks."""

    estimate: bool = True
    """Estimate the live window's performance before its labels are in."""
    calibration_floor: float = 0.05
    """Largest calibration error on the newest labelled window that an estimate without labels bears: as a share of
    how varied the labels are (one minus the sum of their squared shares), in regression of the mean loss."""
    support_floor: float = 0.05
    """Largest share of live rows outside the values of the reference that it bears."""
    reference_rows: int = 200
    """Fewer labelled reference rows than this, or rows that speak for the live ones, give no estimate."""
    unlabelled_floor: float = 0.1
    """Up to this share of rows without a label are taken for rows that never get one (cancelled orders, say) and left
    out, as they are of training. Where more lack one, the labelled ones must be a fair sample."""
    labels_floor: float = 0.1
    """Smallest Kolmogorov-Smirnov distance between the predictions of labelled and unlabelled rows that makes the
    labelled ones a biased sample."""
    recheck_windows: int = 3
    """So many earlier windows are looked at again for labels that were corrected; 0: none."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ConfigError("monitor.alpha", f"{self.alpha} is no probability", "choose one such as 0.01")
        if self.method not in METHODS:
            cure = f"choose one of {', '.join(METHODS)}"
            raise ConfigError("monitor.method", f"{self.method!r} is unknown", cure)
        if self.multivariate not in MULTIVARIATE:
            cure = f"choose one of {', '.join(MULTIVARIATE)}"
            raise ConfigError("monitor.multivariate", f"{self.multivariate!r} is unknown", cure)
        for name in ("numeric_floor", "categorical_floor", "missing_floor", "multivariate_floor", "labels_floor"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"monitor.{name}", f"{getattr(self, name)} is no distance", "choose 0 up to 1")
        for name in ("calibration_floor", "support_floor", "unlabelled_floor"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"monitor.{name}", f"{getattr(self, name)} is no share", "choose 0 up to 1")
        if self.reference_rows < 50:
            raise ConfigError("monitor.reference_rows", f"{self.reference_rows} is too few", "use 50 or more")
        if self.recheck_windows < 0:
            raise ConfigError("monitor.recheck_windows", f"is {self.recheck_windows}", "use 0 or more windows")
        if self.risk_loss not in RISK_LOSSES:
            cure = f"choose one of {', '.join(RISK_LOSSES)}"
            raise ConfigError("monitor.risk_loss", f"{self.risk_loss!r} is unknown", cure)
        if not 0 <= self.risk_tolerance < 1:
            raise ConfigError("monitor.risk_tolerance", f"{self.risk_tolerance} is no loss", "choose 0 up to 1")
        if not 0 < self.risk_delta < 1:
            raise ConfigError("monitor.risk_delta", f"{self.risk_delta} is no probability", "choose one such as 0.05")
        for name in ("decay_tolerance", "decay_between"):
            if not 0 <= getattr(self, name) < math.inf:
                cure = "choose 0 or more points"
                raise ConfigError(f"monitor.{name}", f"{getattr(self, name)} is no number of points", cure)
        if not 0 < self.decay_delta < 1:
            raise ConfigError("monitor.decay_delta", f"{self.decay_delta} is no probability", "choose one such as 0.05")
        if self.min_rows < 2:
            raise ConfigError("monitor.min_rows", f"{self.min_rows} is below 2", "choose 2 or more")
