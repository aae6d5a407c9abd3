"""What evaluate is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class EvaluateConf:
    """Which metrics, how sure, by which slices."""

    primary: str = "roc_auc_score"
    """The metric that decides: the slices, the decision and the report show it."""
    metrics: list[str] = field(
        default_factory=lambda: [
            "roc_auc_score",
            "average_precision_score",
            "log_loss",
            "brier_score_loss",
            "expected_calibration_error",
        ]
    )
    """All that are computed; names of kernels.metrics."""
    confidence_level: float = 0.95
    """Of every interval."""
    n_resamples: int = 1000
    """Of the bootstrap."""
    seed: int = 0
    """Of the bootstrap's weights."""
    min_slice_rows: int = 500
    """A slice with fewer labelled rows is undecidable, and says so."""

    find_slices: int = 10
    """Slices of one feature or two that nobody declared: so many are proposed by half of the rows and tested on the
    other; 0: none is looked for."""
    find_effect: float = 0.1
    """How much worse a found slice is at least, in standard deviations of the loss of a row."""
    find_bins: int = 4
    """Quantile bins of a numeric feature in that search."""

    def __post_init__(self) -> None:
        if self.primary not in self.metrics:
            raise ConfigError("evaluate.primary", f"{self.primary!r} is not computed", "add it to evaluate.metrics")
        if not 0.5 <= self.confidence_level < 1:
            cure = "choose one from 0.5 up to 0.999"
            raise ConfigError("evaluate.confidence_level", f"{self.confidence_level} is no level", cure)
        if self.n_resamples < 100:
            raise ConfigError("evaluate.n_resamples", f"{self.n_resamples} is too few", "use 100 or more")
        if not 0 <= self.seed < 2**64:
            raise ConfigError("evaluate.seed", f"{self.seed} is no seed", "choose one from 0 to 2**64 - 1")
        if not 0 <= self.find_slices <= 1000:
            raise ConfigError("evaluate.find_slices", f"{self.find_slices} is no number of slices", "choose 0 to 1000")
        if not 0 <= self.find_effect < 10:
            raise ConfigError("evaluate.find_effect", f"{self.find_effect} is no effect", "choose one such as 0.1")
        if not 2 <= self.find_bins <= 20:
            raise ConfigError("evaluate.find_bins", f"{self.find_bins} is no number of bins", "choose 2 to 20")
        if self.min_slice_rows < 2:
            raise ConfigError("evaluate.min_slice_rows", f"{self.min_slice_rows} is too few", "use 2 or more")
        if len(set(self.metrics)) < len(self.metrics):
            raise ConfigError("evaluate.metrics", "names a metric twice", "name it once")
