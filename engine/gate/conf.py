"""What a gate is told: its rules and limits. One value alone is checked here; engine/config/checks.py holds
them together."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from engine.errors import ConfigError
from engine.gate.spending import SPENDING
from engine.records import Perturbation

WAYS = ("refuse", "spend", "ladder")
# What each kind of rule must be told, and what it may be told beside.
KINDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "floor": (frozenset({"threshold"}), frozenset({"slice", "levels", "pool"})),
    "superiority": (frozenset(), frozenset({"margin"})),
    "noninferiority": (frozenset(), frozenset({"margin", "slice", "levels", "pool"})),
    "calibration": (frozenset({"threshold"}), frozenset({"slice", "levels", "pool"})),
    "fairness": (frozenset({"threshold", "slice"}), frozenset()),
    "worst_slice": (frozenset(), frozenset({"margin"})),
    "robustness": (frozenset({"perturbation"}), frozenset({"margin", "columns", "scale", "shift"})),
    "latency": (frozenset({"threshold"}), frozenset()),
    "memory": (frozenset({"threshold"}), frozenset()),
    "size": (frozenset({"threshold"}), frozenset()),
    "answers": (frozenset(), frozenset()),
}
# These need a champion; all others judge the challenger alone.
RELATIVE = ("superiority", "noninferiority", "worst_slice")
DIFFERENCES = (*RELATIVE, "robustness")  # these compare a difference with a margin, the others a value with a threshold
WIDENED = ("floor", "superiority", "noninferiority", "robustness")
"""Kinds whose interval lies around its estimate by a normal law; the others invert a test, or take a maximum."""
INVERTED = "expected_calibration_error"
COLD = ("latency", "memory", "size", "answers")  # measured in a fresh process, by the cold gate alone
GAPS = ("demographic_parity_difference", "equalized_odds_difference", "calibration_within_groups")
METRICS = {
    "calibration": ("expected_calibration_error",),
    "fairness": GAPS,
    "worst_slice": ("loss",),
    "latency": ("single_p99_ms", "batch_p99_ms"),
    "memory": ("peak_memory_mb",),
    "size": ("artifact_mb",),
    "answers": ("",),
}
"""The metrics of the kinds that know their own; the first one is the default."""
PERTURBATIONS = ("noise", "missing", "shifted")
CURES = {
    "threshold": "set threshold, or choose another kind",
    "slice": "name the column of the groups",
    "perturbation": f"choose one of {', '.join(PERTURBATIONS)}",
}


@dataclass(kw_only=True, slots=True)
class RuleConf:
    """One rule."""

    kind: str
    """floor, superiority, noninferiority, calibration, fairness, robustness or worst_slice; in gate.cold: latency,
    memory, size. worst_slice never opens a gate: it shuts one where a slice that nobody declared got worse."""
    metric: str = ""
    """A metric that evaluate computes. fairness: demographic_parity_difference, equalized_odds_difference or
    calibration_within_groups; latency: single_p99_ms or batch_p99_ms; calibration, memory, size: leave it out."""
    threshold: float | None = None
    """floor: the value that must be reached; calibration, fairness: the largest error or gap; latency, memory, size:
    the budget in ms or MB."""
    margin: float = 0.0
    """superiority: how much better at least; noninferiority, robustness: how much worse at most; worst_slice: the same,
    in loss of a row. Not negative."""
    slice: Any = None
    """floor, noninferiority, calibration: judge every level of this column, or of the crossing of several: [a, b].
    fairness: the column of the groups."""
    levels: list[str] = field(default_factory=list)
    """Levels of the slice that must have rows; of a crossing: a x b. Those that occur are judged in any case."""
    pool: bool = False
    """Levels with fewer than evaluate.min_slice_rows rows are judged together; false: each is INCONCLUSIVE."""
    perturbation: str | None = None
    """robustness: noise, missing or shifted."""
    columns: list[str] = field(default_factory=list)
    """robustness: the features that get noise (empty: every numeric one) or go missing."""
    scale: float = 0.1
    """robustness by noise: in standard deviations of the training rows."""
    shift: int = -1
    """robustness by a shifted window: -1 the labelled window before (offline the challenger was trained on it), 1 the
    one after; the challenger beside the champion on its rows, and a first model beside itself."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError("gate.rules:kind", f"{self.kind!r} is unknown", f"choose one of {', '.join(KINDS)}")
        needed, allowed = KINDS[self.kind]
        known = METRICS.get(self.kind)
        self.metric = self.metric or (known[0] if known else "")
        if known and self.metric not in known:
            cure = f"choose one of {', '.join(known)}" if known != ("",) else "leave it out"
            raise ConfigError("gate.rules:metric", f"{self.metric!r} is none of {self.kind}", cure)
        if not self.metric and self.kind != "answers":
            raise ConfigError("gate.rules:metric", f"{self.kind} has none", "name a metric that evaluate computes")
        for key in ("threshold", "slice", "perturbation"):
            if key in needed and getattr(self, key) is None:
                raise ConfigError(f"gate.rules:{key}", f"{self.kind} needs one", CURES[key])
        for key, unset in UNSET.items():
            if key not in needed | allowed and getattr(self, key) != unset:
                raise ConfigError(f"gate.rules:{key}", f"{self.kind} has none", "leave it out, or choose another kind")
        self._check_values()

    def _check_values(self) -> None:
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ConfigError("gate.rules:threshold", f"{self.threshold} is no value", "choose a finite number")
        if self.kind in METRICS and self.threshold is not None and self.threshold < 0:
            raise ConfigError("gate.rules:threshold", f"{self.threshold} can never be met", "choose 0 or more")
        if self.margin < 0 or not math.isfinite(self.margin):
            raise ConfigError("gate.rules:margin", f"{self.margin} is not a margin", "choose 0 or more")
        names = [self.slice] if isinstance(self.slice, str) else self.slice
        if names is not None and not (
            isinstance(names, list | tuple) and names and all(isinstance(name, str) and name for name in names)
        ):
            raise ConfigError("gate.rules:slice", f"{self.slice!r} names no column", "write a column, or [a, b]")
        if len(set(self.by)) < len(self.by):
            raise ConfigError("gate.rules:slice", "names a column twice", "name it once")
        if self.kind == "fairness" and len(self.by) != 1:
            raise ConfigError("gate.rules:slice", "fairness takes one column", "make a rule for each column")
        for key in ("pool", "levels"):
            if getattr(self, key) and not self.by:
                raise ConfigError(f"gate.rules:{key}", "there are no levels", "name a slice, or leave it out")
        if self.perturbation is not None:
            self._check_perturbation(self.perturbation)

    def _check_perturbation(self, kind: str) -> None:
        if kind not in PERTURBATIONS:
            raise ConfigError("gate.rules:perturbation", f"{kind!r} is unknown", CURES["perturbation"])
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ConfigError("gate.rules:scale", f"{self.scale} is no noise", "choose more than 0")
        if self.shift not in (-1, 1):
            raise ConfigError("gate.rules:shift", f"{self.shift} is no neighbour", "choose -1 or 1")
        if kind == "missing" and not self.columns:
            raise ConfigError("gate.rules:columns", "no column goes missing", "name one: columns: [...]")
        if kind == "shifted" and self.columns:
            raise ConfigError("gate.rules:columns", "a shifted window has all of them", "leave them out")

    @property
    def widens(self) -> bool:
        """Has it an interval that can be widened, for one of several looks or for a part of alpha."""
        return self.kind in WIDENED and self.metric != INVERTED

    @property
    def by(self) -> tuple[str, ...]:
        """The columns of `slice`; empty where there is none."""
        return () if self.slice is None else (self.slice,) if isinstance(self.slice, str) else tuple(self.slice)

    @property
    def perturbed(self) -> Perturbation:
        """What a robustness rule does to the rows."""
        kind = str(self.perturbation)
        return Perturbation(
            kind=kind,
            columns=tuple(self.columns),
            scale=self.scale if kind == "noise" else 0.0,
            shift=self.shift if kind == "shifted" else 0,
        )


UNSET: dict[str, Any] = {
    "threshold": None,
    "margin": 0.0,
    "slice": None,
    "levels": [],
    "pool": False,
    "perturbation": None,
    "columns": [],
    "scale": 0.1,
    "shift": -1,
}
"""What a field of a rule holds that nobody has set."""


@dataclass(kw_only=True, slots=True)
class GateConf:
    """What a challenger must show."""

    rules: dict[str, RuleConf] = field(default_factory=dict)
    """Offline, on the hold-out rows. The first model of all is judged by its absolute rules alone."""
    shadow: dict[str, RuleConf] = field(default_factory=dict)
    """In shadow, on the next labelled window."""
    cold: dict[str, RuleConf] = field(default_factory=dict)
    """In a fresh process: budgets of latency, memory and size. That the artifact predicts as recorded, and answers bad
    requests with a clear error, is asked in any case."""
    max_holdout_uses: int = 5
    """How often the same rows may decide before they are worn out."""
    power: float = 0.8
    """Planning: the probability to pass that `rows needed` and `detectable` are about."""
    spending: str = "obrien_fleming"
    """How the looks at promote.shadow_windows windows share alpha: obrien_fleming (late) or pocock (evenly)."""
    futility: float = 0.05
    """Give a challenger up whose chance to pass by its last shadow window is below this, shared by the rules; 0:
    never."""
    wear: str = "refuse"
    """What rows that decided before are worth: refuse (nothing after max_holdout_uses), spend (alpha divided by
    max_holdout_uses) or ladder (as much as by which the best seen on them is exceeded)."""

    def __post_init__(self) -> None:
        if self.max_holdout_uses < 1:
            cure = "choose 1 or more"
            raise ConfigError("gate.max_holdout_uses", f"{self.max_holdout_uses} lets no rows decide", cure)
        if not 0.5 <= self.power < 1:
            raise ConfigError("gate.power", f"{self.power} is no power to plan for", "choose one from 0.5 up to 0.99")
        if self.wear not in WAYS:
            raise ConfigError("gate.wear", f"{self.wear!r} is unknown", f"choose one of {', '.join(WAYS)}")
        if self.spending not in SPENDING:
            cure = f"choose one of {', '.join(SPENDING)}"
            raise ConfigError("gate.spending", f"{self.spending!r} is unknown", cure)
        if not 0 <= self.futility < 0.5:
            raise ConfigError("gate.futility", f"{self.futility} is no small chance", "choose 0 up to 0.499")
