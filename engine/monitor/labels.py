"""Drift of labels: those of the newest labelled window against those that the champion was trained on.

Numbers by Kolmogorov-Smirnov, classes by the homogeneity of their counts, as any column (drift.py), and judged together
with the others. Rows without a label are no drift: labels come late. Where those that came are no fair sample of their
window (performance.py), nothing can be said, and that is why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from engine.monitor.conf import MonitorConf
from engine.monitor.drift import BACKEND, Finding, categorical_finding, rank_finding
from engine.records import Task, Window
from kernels.drift import Profile

KIND = "label"


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labels (N,) that later ones are held against: float64 numbers or int64 classes. Sorted or counted once."""

    column: str
    task: Task
    values: np.ndarray

    @classmethod
    def of(cls, column: str, task: Task, windows: Sequence[Window]) -> Labels:
        """The labels of these windows; rows that have none are left out."""
        known = [w.table.column(column).drop_null().to_numpy() for w in windows]
        return cls(column=column, task=task, values=np.concatenate(known))

    @cached_property
    def profile(self) -> Profile:
        """The sorted numbers, or the counts of the classes."""
        classes = () if self.task is Task.REGRESSION else (self.column,)
        return Profile.fit({self.column: self.values}, categorical=classes, backend=BACKEND)

    def finding(self, live: np.ndarray, conf: MonitorConf, reason: str = "") -> Finding:
        """Labels (M,) of a later window against these; `reason` says why they do not speak for it."""
        statistics = ("ks",) if self.task is Task.REGRESSION else ("tv", "chi2")
        rows = list(self.profile.compare({self.column: live}, statistics, backend=BACKEND))
        found = rank_finding(rows[0], KIND, conf) if len(rows) == 1 else categorical_finding(rows[0], rows[1], conf)
        return replace(found, kind=KIND, reason=reason or found.reason)
