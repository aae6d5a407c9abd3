"""One line of the examination."""

from __future__ import annotations

import enum

from engine.records import record


class State(enum.Enum):
    """How a finding stands."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@record
class Finding:
    """What was looked at, what was found, and what to do about it."""

    what: str
    state: State
    found: str
    cure: str = ""


def good(what: str, found: str) -> Finding:
    """All is well."""
    return Finding(what=what, state=State.GOOD, found=found)


def warn(what: str, found: str, cure: str) -> Finding:
    """It works, and could be better."""
    return Finding(what=what, state=State.WARN, found=found, cure=cure)


def bad(what: str, found: str, cure: str) -> Finding:
    """It must not run like that."""
    return Finding(what=what, state=State.BAD, found=found, cure=cure)
