"""Policies that watch the clock or one number: never, calendar, drift, performance, cusum. Costs do not enter them.

A number that is undecidable never acts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from engine.decide.conf import DecideConf
from engine.decide.costs import points_below, points_lost
from engine.decide.evidence import Evidence
from engine.records import Money

UNDECIDABLE = "what was lost since the champion was gated is undecidable"


def never(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    """Keep whatever there is."""
    return False, "the policy is never to act"


def calendar(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    """Act `calendar` windows after the last training, whatever it gave."""
    begun = [a.index for a in evidence.attempts[-1:]]
    begun += [] if evidence.tuned_at is None else [evidence.tuned_at]
    if not begun:
        return True, "nothing was ever trained here"
    since = evidence.index - max(begun)
    return since >= conf.calendar, f"{since} windows since the last training, the calendar says {conf.calendar}"


def drift(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    """Act when a share of the columns has moved against the champion's training rows, whether it harms or not."""
    if not evidence.columns:
        return False, "no column was compared yet"
    share = evidence.drifted / evidence.columns
    moved = f"{evidence.drifted} of {evidence.columns} columns moved ({share:.0%})"
    return share >= conf.drift_share, f"{moved}, the limit is {conf.drift_share:.0%}"


def performance(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    """Act when the newest labelled window is `points` below what the champion had at its gate."""
    lost = points_lost(evidence, conf)
    if not (math.isfinite(lost.mean) and math.isfinite(lost.std)):
        return False, UNDECIDABLE
    return lost.mean >= conf.points, f"{lost.mean:+.1f} +- {lost.std:.1f} points lost, the limit is {conf.points:g}"


def cusum(evidence: Evidence, conf: DecideConf) -> tuple[bool, str]:
    """Act when the cumulative sum of the points lost beyond a slack exceeds its limit: S = max(0, S + lost - slack).

    Page, Continuous inspection schemes, Biometrika 41 (1954). The sum begins anew with a champion and with an attempt.
    A window whose loss is undecidable adds nothing; where it is the newest one, nothing is done.
    """
    total, newest = 0.0, math.nan
    for lost in losses(evidence, conf):
        newest = lost.mean
        total = max(0.0, total + newest - conf.cusum_slack) if math.isfinite(newest) else total
    if not math.isfinite(newest):
        return False, UNDECIDABLE
    said = f"the sum of points lost beyond {conf.cusum_slack:g} a window is {total:.1f}"
    return total > conf.cusum_limit, f"{said}, the limit is {conf.cusum_limit:g}"


def losses(evidence: Evidence, conf: DecideConf) -> Iterator[Money]:
    """Points that the champion had lost on each labelled window seen since the last attempt, oldest first."""
    since = evidence.attempts[-1].index if evidence.attempts else -math.inf
    for seen in evidence.track:
        if seen.at > since:
            yield points_below(evidence.baseline, seen.estimate, evidence, conf)
