"""Evidence to start from: a champion that lost two points since it was gated."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

from engine.decide import Attempt, Evidence, Seen
from engine.records import Estimate

QUANTILE = NormalDist().inv_cdf(0.975)


def estimate(value: float, error: float = 0.002, **more: Any) -> Estimate:
    """The primary metric with this standard error."""
    known: dict[str, Any] = {
        "name": "roc_auc_score",
        "low": value - QUANTILE * error,
        "high": value + QUANTILE * error,
        "n": 1000,
        "confidence_level": 0.95,
        "method": "DeLong",
    }
    return Estimate(value=value, **(known | more))


UNKNOWN = estimate(math.nan, reason="the labels are all the same")


def evidence(**more: Any) -> Evidence:
    """Two points lost at window 10, one window of age, tuned a window ago, nothing in the way."""
    known: dict[str, Any] = {
        "window": "w10",
        "index": 10,
        "model": "champion",
        "greater_is_better": True,
        "baseline": estimate(0.80),
        "realised": estimate(0.78),
        "age": 1,
        "tuned_at": 9,
    }
    return Evidence(**(known | more))


def attempt(index: int = 5, **more: Any) -> Attempt:
    """One that passed, by a warm start of half an hour."""
    known: dict[str, Any] = {"retuned": False, "passed": True, "hours": 0.5}
    return Attempt(index=index, **(known | more))


def before(*holdouts: int, value: float = 0.80) -> tuple[Seen, ...]:
    """Champions that came before, each seen on its hold-out and the two windows after it, always with this value."""
    return tuple(
        Seen(at=at + k, window=at + k, estimate=estimate(value), age=1 + k) for at in holdouts for k in range(3)
    )


def tracked(*values: float | Estimate, index: int = 10, lag: int = 0, **more: Any) -> Evidence:
    """A champion of 0.80 that was seen with these values up to window `index - lag`; None of them is its hold-out."""
    estimates = [value if isinstance(value, Estimate) else estimate(value) for value in values]
    first = index - len(estimates) + 1
    track = tuple(Seen(at=first + i, window=first + i - lag, estimate=found) for i, found in enumerate(estimates))
    return evidence(index=index, track=track, realised=estimates[-1] if estimates else None, **more)
