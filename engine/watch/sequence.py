"""Which windows are missing between two, told by their names alone: hours, days, weeks, months, or numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

EPOCH = date(1970, 1, 5)  # a Monday
NAMED = 100  # of a longer gap, only so many are named


@dataclass(frozen=True)
class Place:
    """Where a name stands in its sequence."""

    sequence: tuple[str, ...]  # what all names of it share
    ordinal: int


@dataclass(frozen=True)
class _Calendar:
    """One way to write time in a name: `pattern` has the groups prefix, a, b and so on, and the separators."""

    pattern: re.Pattern[str]
    ordinal: Callable[[re.Match[str]], int]
    name: Callable[[int, re.Match[str]], str]


def _day(found: re.Match[str]) -> date:
    return date(int(found["y"]), int(found["m"]), int(found["d"]))


def _of_day(ordinal: int, found: re.Match[str]) -> str:
    day = EPOCH + timedelta(days=ordinal)
    return found["s"].join((f"{day:%Y}".zfill(4), f"{day:%m}", f"{day:%d}"))


def _of_hour(ordinal: int, found: re.Match[str]) -> str:
    return f"{_of_day(ordinal // 24, found)}{found['t']}{ordinal % 24:02d}"


def _of_week(ordinal: int, found: re.Match[str]) -> str:
    year, week, _ = (EPOCH + timedelta(weeks=ordinal)).isocalendar()
    return f"{year:04d}{found['s']}W{week:02d}"


def _hour(found: re.Match[str]) -> int:
    moment = datetime(int(found["y"]), int(found["m"]), int(found["d"]), int(found["h"]))
    return (moment.date() - EPOCH).days * 24 + moment.hour


_PREFIX = r"(?P<prefix>(?:.*[^0-9])?)"
_DATE = _PREFIX + r"(?P<y>\d{4})(?P<s>[-_.]?)(?P<m>\d{2})(?P=s)(?P<d>\d{2})"
_CALENDARS = {
    "hour": _Calendar(re.compile(_DATE + r"(?P<t>[-_.T])(?P<h>\d{2})"), _hour, _of_hour),
    "day": _Calendar(re.compile(_DATE), lambda f: (_day(f) - EPOCH).days, _of_day),
    "week": _Calendar(
        re.compile(_PREFIX + r"(?P<y>\d{4})(?P<s>[-_.]?)W(?P<w>\d{2})"),
        lambda f: (date.fromisocalendar(int(f["y"]), int(f["w"]), 1) - EPOCH).days // 7,
        _of_week,
    ),
    "month": _Calendar(
        re.compile(_PREFIX + r"(?P<y>\d{4})(?P<s>[-_.])(?P<m>0[1-9]|1[0-2])"),
        lambda f: int(f["y"]) * 12 + int(f["m"]) - 1,
        lambda ordinal, f: f"{ordinal // 12:04d}{f['s']}{ordinal % 12 + 1:02d}",
    ),
    "number": _Calendar(
        re.compile(_PREFIX + r"(?P<n>\d+)"),
        lambda f: int(f["n"]),
        lambda ordinal, f: f"{ordinal:0{len(f['n'])}d}",
    ),
}


def place(name: str) -> Place | None:
    """Where a name stands; None where it tells no time and ends with no number."""
    found = _read(name)
    if found is None:
        return None
    kind, match = found
    shape = [match[group] for group in ("prefix", "s", "t") if group in match.re.groupindex]
    width = str(len(match["n"])) if kind == "number" else ""  # 9 and 10 are not in order of their names
    return Place((kind, *shape, width), _CALENDARS[kind].ordinal(match))


def between(before: str, after: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names that are missing between two, the first `NAMED` of them at most.

    `names` are all that are known: of their sequence the distance that is met most often is the step, the smaller one
    where two are. None are missing where the names do not tell.
    """
    first, last = place(before), place(after)
    if first is None or last is None or first.sequence != last.sequence:
        return ()
    places = (place(name) for name in {before, after, *names})
    ordinals = sorted(p.ordinal for p in places if p is not None and p.sequence == first.sequence)
    steps = Counter(b - a for a, b in pairwise(ordinals) if b > a)
    step = min(steps, key=lambda distance: (-steps[distance], distance))
    found = _read(before)
    assert found is not None  # it has a place
    kind, match = found
    missing = range(first.ordinal + step, last.ordinal, step)[:NAMED]
    return tuple(match["prefix"] + _CALENDARS[kind].name(ordinal, match) for ordinal in missing)


def _read(name: str) -> tuple[str, re.Match[str]] | None:
    for kind, calendar in _CALENDARS.items():
        match = calendar.pattern.fullmatch(name)
        if match is None:
            continue
        try:
            calendar.ordinal(match)
        except ValueError:  # the 31st of February
            continue
        return kind, match
    return None
