"""What a decision looks at: what is known of the champion, and of every earlier attempt to replace it."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.records import Estimate

PAST = 60  # windows of earlier champions that evidence holds, at most


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One earlier retrain, as the ledger tells it."""

    index: int  # of the window in which it was made
    retuned: bool
    passed: bool | None  # None: still in shadow
    hours: float
    gain: Estimate | None = None  # challenger minus champion on the hold-out
    age: int = 0  # windows that the challenger was trained on and the champion was not
    lost: float | None = None  # baseline minus realised of the champion when it was decided on; None: undecidable
    recalibrated: bool = False  # the champion's network with a map behind it: nothing was trained


@dataclass(frozen=True, kw_only=True)
class Failed:
    """An attempt without a champion, judged by absolute rules alone, that did not reach production."""

    window: str
    reason: str
    estimate: Estimate | None = None  # what the rule compared that fell furthest short; None: nothing was measured
    bound: float = 0.0  # what it was compared with
    better: int = 0  # +1: more is better, -1: less is; 0: not known


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The champion's primary metric on one labelled window."""

    at: int  # place in time of the cycle that saw it: the label may have come late
    window: int  # place in time of the labelled window
    estimate: Estimate
    age: int = 0  # windows from the newest one that the champion was trained on to this one; 0: not recorded


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a decision looks at."""

    window: str
    index: int
    model: str
    greater_is_better: bool
    baseline: Estimate | None  # the champion's primary metric on its own hold-out
    realised: Estimate | None  # the same on the newest labelled window
    age: int = 0  # labelled windows that a retrain would learn from and the champion has not
    drifted: int = 0  # columns that moved against the champion's training rows
    columns: int = 0
    pending: str = ""  # a challenger that is still in shadow
    frozen: str = ""  # why promotions are frozen
    attempts: tuple[Attempt, ...] = field(default=())
    tuned_at: int | None = None  # place in time of the newest full sweep
    track: tuple[Seen, ...] = ()  # `realised` window by window while the champion is watched, oldest first
    wanted: int = 0  # windows in a row, up to the one before, in which the policy wanted to act and did not yet
    asked: str = ""  # retrain or retune, where an action item asks for one; the policy is not asked then
    asked_why: str = ""
    calibration: Estimate | None = None  # of the primary metric: with a map behind the champion, minus without it
    past: tuple[Seen, ...] = ()  # what champions before this one were seen with, their hold-outs included, oldest first
    training: int = 0  # windows that a model is trained on, at most; 0: not recorded
    decayed: Estimate | None = None  # points below its reference that the primary metric is shown to be; None: not
    decayed_at: int | None = None  # place in time of the window in which that most likely began
    failed: tuple[
        Failed, ...
    ] = ()  # attempts to found, since a model was last in production; of use without a champion
    fresh: int = 0  # labelled windows, fit for use, after the hold-out of the newest of them
    holdout_rows: int = 0  # labelled rows that an attempt now would be judged on
