"""Numbers with their uncertainty, and what a gate asks for: the smaller records of evaluate and gate.

engine/records/__init__.py hands them on under its own name; read that first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """A frozen, keyword-only dataclass: what stages hand on is never changed afterwards."""
    return dataclass(frozen=True, kw_only=True)(cls)


@record
class Estimate:
    """A number with its interval. `value` is NaN, with a reason, where it is undefined."""

    name: str
    value: float
    low: float
    high: float
    n: int
    confidence_level: float
    method: str
    reason: str = ""


@record
class SliceEstimate:
    """A metric on the rows where `column` equals `level`, and the paired difference to the champion.

    The column of a crossing is written `a x b`, and so are its levels.
    """

    column: str
    level: str
    estimate: Estimate
    difference: Estimate | None


@record
class GroupGap:
    """How far the groups of a column are apart by one measure of fairness, with an interval of the largest gap."""

    column: str
    worst: str  # the groups that are furthest apart; empty where that is undecidable
    estimate: Estimate


@record
class Perturbation:
    """What is done to the rows before the model sees them."""

    kind: str  # "noise", "missing" or "shifted"
    columns: tuple[str, ...] = ()  # noise: empty means every numeric feature; missing: these
    scale: float = 0.0  # noise: in standard deviations of the training rows
    shift: int = 0  # shifted: -1 the labelled window before, 1 the one after

    @property
    def name(self) -> str:
        """In words, and one text for one perturbation."""
        if self.kind == "noise":
            return f"noise of {self.scale:g} sd on {', '.join(self.columns) or 'all numbers'}"
        if self.kind == "missing":
            return f"{', '.join(self.columns)} missing"
        return f"window {'after' if self.shift > 0 else 'before'}"


@record
class Perturbed:
    """A metric of the challenger under a perturbation, minus the same metric on the rows as they are; of another window
    minus the champion's on its rows.
    """

    perturbation: str
    estimate: Estimate
    difference: Estimate  # paired by row; of another window without a champion, made of two intervals


@record
class Answer:
    """What an artifact did with a request in a fresh process."""

    request: str
    fine: bool
    reason: str


@record
class Asked:
    """What the rules of a gate need that EvaluateConf does not name already."""

    slices: tuple[AskedSlice, ...] = ()
    gaps: tuple[AskedGap, ...] = ()
    perturbed: tuple[AskedPerturbed, ...] = ()


@record
class AskedSlice:
    """A metric by the levels of a column, or of the crossing of several."""

    columns: tuple[str, ...]
    metric: str
    pool: bool = False  # levels with too few rows together, instead of each undecidable

    @property
    def name(self) -> str:
        """As SliceEstimate.column says it."""
        return " x ".join(self.columns) + (", pooled" if self.pool else "")


@record
class AskedGap:
    """A measure of fairness between the groups of a column."""

    column: str
    metric: str


@record
class AskedPerturbed:
    """A metric under a perturbation."""

    perturbation: Perturbation
    metric: str


@record
class FoundSlice:
    """A slice that nobody declared, in which the model is worse: engine/evaluate/worst.py."""

    by: str  # "loss" of a row, or "regression": the same minus the champion's
    slice: str
    effect: Estimate  # mean in the slice minus mean of all other rows
    mean: Estimate  # in the slice
    pvalue: float  # after the correction over all slices that were tested


@record
class Wear:
    """How worn the rows of a gate are: what counts, and what it comes to."""

    way: str  # what another use is worth: engine/gate/wear.py
    uses: float  # that the rows had before; one of a part of them counts as that part
    limit: int
    windows: int  # in which those uses and this one came
    best: dict[str, float] = field(default_factory=dict)  # metric -> the best value ever measured on just these rows
    rotate_in: int = -1  # windows after which they are worn out, at the present rate of use; -1: never
    fresh_rows: int = 0  # to ask for then: power 0.8 at the stated margins; 0: no margin is stated


@record
class Look:
    """One of several looks at growing evidence, each with its own critical values."""

    number: int  # from 1
    most: int
    spending: str  # how alpha is spent: engine/gate/spending.py
    futility: float  # predictive power below which an undecided rule fails


def find(estimates: tuple[Estimate, ...], name: str) -> Estimate:
    """The estimate of that name; KeyError where there is none."""
    for estimate in estimates:
        if estimate.name == name:
            return estimate
    raise KeyError(name)


def points(number: float) -> str:
    """`1 point`, `0.5 points`: of a metric, for people."""
    return f"{number:g} point" + "s" * (number != 1)


def standard_error(estimate: Estimate) -> float:
    """That its interval stands for: half the width over the normal quantile; NaN where the interval is."""
    quantile = NormalDist().inv_cdf(0.5 + estimate.confidence_level / 2)
    return (estimate.high - estimate.low) / (2 * quantile)


def wilson(successes: float, n: float, confidence_level: float) -> tuple[float, float]:
    """Two-sided interval of a share (Wilson 1927). (0, 1) where n is 0: nothing is known."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence_level / 2)
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return low, 1.0 if successes == n else min(1.0, centre + half)
