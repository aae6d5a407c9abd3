"""What the checks did over the windows: blocking too often has a price too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from engine.records import ValidationReport, record


@record
class Blocking:
    """How often windows were blocked, and how stale that made the newest usable one."""

    windows: int
    blocked: tuple[str, ...]  # names, in order of time
    by_check: dict[str, int]  # "check column" -> windows it blocked, most first
    alone: dict[str, int]  # of these, windows that no other check blocked: what the check itself cost
    longest: int  # most windows in a row without a usable one
    now: int  # windows since the last usable one

    @property
    def share(self) -> float:
        """Share of the windows that were blocked; 0 of none."""
        return len(self.blocked) / self.windows if self.windows else 0.0


def cost(found: Blocking) -> str:
    """One sentence for people: how often, how stale that made the newest usable window, and which checks did it."""
    if not found.blocked:
        return f"Validation blocked none of {_windows(found.windows)}."
    checks = (f"{name} {rows} ({found.alone.get(name, 0)} alone)" for name, rows in [*found.by_check.items()][:5])
    more = f" and {len(found.by_check) - 5} more" if len(found.by_check) > 5 else ""
    age = f"{_windows(found.now)} old" if found.now else "the newest one"
    return (
        f"Validation blocked {len(found.blocked)} of {_windows(found.windows)} ({found.share:.0%}), at most "
        f"{found.longest} in a row; the newest usable window is {age}. Blocked by: {', '.join(checks)}{more}."
    )


def _windows(n: int) -> str:
    return f"{n} window" if n == 1 else f"{n} windows"


def blocking(reports: Sequence[ValidationReport]) -> Blocking:
    """Summarise the reports of windows in order of time."""
    by_check: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    longest = now = 0
    for report in reports:
        names = {f"{check.name} {check.column}".strip() for check in report.blocked}
        by_check.update(names)
        if len(names) == 1:
            alone.update(names)
        now = 0 if report.usable else now + 1
        longest = max(longest, now)
    return Blocking(
        windows=len(reports),
        blocked=tuple(report.window for report in reports if not report.usable),
        by_check=dict(sorted(by_check.items(), key=lambda item: (-item[1], item[0]))),
        alone=dict(sorted(alone.items(), key=lambda item: (-item[1], item[0]))),
        longest=longest,
        now=now,
    )
