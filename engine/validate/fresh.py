"""How old is the newest row, by a clock that is handed in: pure, and made again from what it looked at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from engine.records import Check, Freshness, Severity
from engine.validate.columns import Finding, undecidable, verdict

MIN_HISTORY = 3  # windows that say what age is usual
AHEAD_HOURS = 5 / 60  # of the clock: two clocks differ by less


def freshness(
    newest: dt.datetime | None,
    now: dt.datetime | None,
    declared: float | None,
    *,
    ages: Sequence[float] = (),
    slack: float = 0.0,
) -> Freshness | None:
    """What the check decides from; None where nobody asked how old rows may be, or no clock is at hand.

    A limit that a person declared stands. Else three or more usable windows before teach one: the age of the oldest of
    them when it came, and `slack`. A backfill, whose windows are all old, teaches its own age, and never alarms.

    Args:
        newest: time of the newest row; None: no row has one.
        now: when the window came.
        declared: hours, by the schema.
        ages: hours, of windows before when they came; those that came from the future teach nothing.
        slack: hours beyond the oldest age seen.
    """
    seen = [age for age in ages if age > 0]
    limit = declared if declared is not None else max(seen) + slack if len(seen) >= MIN_HISTORY else None
    if limit is None or now is None:
        return None
    return Freshness(
        newest="" if newest is None else _utc(newest).isoformat(),
        now=_utc(now).isoformat(),
        limit_hours=limit,
        taught_by=0 if declared is not None else len(seen),
    )


def check_fresh(seen: Freshness) -> Finding:
    """Is the newest row young enough, and not of the future."""
    by = f", as of {seen.taught_by} windows before" if seen.taught_by else ""
    expected = f"at most {seen.limit_hours:.4g} hours old{by}"
    if not seen.newest:
        return undecidable(expected, "no row has a time that can be read")
    age = age_hours(seen.newest, seen.now)
    future = age < -AHEAD_HOURS
    reason = "rows of the future: is a clock or a time zone wrong" if future else "the source may have stopped"
    observed = f"newest row {abs(age):.4g} hours {'after' if age < 0 else 'before'} {seen.now[:19]}"
    return verdict(future or age > seen.limit_hours, observed, expected, reason)


def as_check(seen: Freshness, severity: Severity) -> Check:
    """The record of the check, which replay makes again."""
    found = check_fresh(seen)
    return Check(
        name="fresh",
        column="",
        severity=severity,
        outcome=found.outcome,
        observed=found.observed,
        expected=found.expected,
        reason=found.reason,
    )


def age_hours(newest: str, now: str) -> float:
    """Hours from one ISO 8601 time to another; without a zone they are UTC."""
    then, when = (_utc(dt.datetime.fromisoformat(text)) for text in (newest, now))
    return (when - then) / dt.timedelta(hours=1)


def _utc(moment: dt.datetime) -> dt.datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
