"""Two windows side by side, as `tidegate drift` shows them: their drift, what moved where, what was not compared."""

from __future__ import annotations

from engine.records.estimates import record
from engine.records.observed import DriftReport, Performance


@record
class LeftOut:
    """A column that is not compared, and why."""

    column: str
    reason: str


@record
class Guess:
    """What a column was taken for, where its type alone does not say it."""

    column: str
    kind: str  # "numeric" or "categorical"
    reason: str


@record
class Side:
    """One column in one of the two windows."""

    rows: int  # that have a value
    missing: int  # that have none
    middle: tuple[float, ...]  # 5, 25, 50, 75 and 95 % quantiles; empty for categories
    shares: tuple[float, ...]  # of each bin or category of the portrait, of the rows that have a value


@record
class Portrait:
    """How one column lies in both windows, in its own unit."""

    column: str
    reference: Side
    live: Side
    edges: tuple[float, ...] = ()  # numbers: of the bins, one more than these; the outer bins hold the tails, too
    categories: tuple[str, ...] = ()  # those that moved most first
    new: tuple[str, ...] = ()  # categories of the live window alone, most frequent first, at most NAMED
    lost: tuple[str, ...] = ()  # of the reference alone
    n_new: int = 0
    n_lost: int = 0
    rest: tuple[float, float] = (0.0, 0.0)  # share of the categories that are not listed, on either side
    sampled: bool = False  # it rests on the first rows of files that are too large to be read at once


@record
class Contrast:
    """All that is said of two windows."""

    drift: DriftReport
    portraits: tuple[Portrait, ...]  # of columns that moved
    left_out: tuple[LeftOut, ...]
    guesses: tuple[Guess, ...]
    performance: tuple[Performance, ...] = ()  # reference and live, where predictions and labels were named

    def portrait(self, column: str) -> Portrait | None:
        """Of that column; None where none was made."""
        return next((p for p in self.portraits if p.column == column), None)
