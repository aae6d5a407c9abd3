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
