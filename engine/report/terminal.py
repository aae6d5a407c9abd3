"""What people see while a loop runs: one row a window, progress on long work, where the time went.

All of it goes to stderr; stdout belongs to `--json`. On a terminal rows are coloured and progress moves; in a
log the same rows are plain lines, and progress is a line now and then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

import rich.console
from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from engine.records import Cycle
from engine.report import words
from engine.report.row import COLUMNS, GAP, cells, fit, set_width, that_fits

LOG_WIDTH = 210  # columns of a line where there is no terminal
LOG_EVERY = 10.0  # seconds between two progress lines where there is no terminal


class Advance(Protocol):
    """Handle of a piece of long work."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """`n` more of the total are done; `note` says what comes or came."""


class Console:
    """The terminal of one command.

    Args:
        primary: name of the metric that each row shows.
        quiet: say nothing but warnings.
        stream: where to write; stderr by default.
        width: columns; by default those of the terminal, or LOG_WIDTH where there is none.
    """

    def __init__(
        self,
        primary: str = "",
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        width: int | None = None,
    ) -> None:
        self._primary, self._quiet = primary, quiet
        file = sys.stderr if stream is None else stream
        self._rich = rich.console.Console(file=file, highlight=False, markup=False, emoji=False, width=width)
        if width is None and not self._rich.is_terminal:
            self._rich.width = LOG_WIDTH
        self._columns = fit(COLUMNS, self._rich.width)
        self._progress: Progress | None = None
        self._depth = 0

    def header(self, loop: str, n_windows: int, out: Path | str) -> None:
        """The loop, how much lies before it, where its records go; then the titles of the rows."""
        self.note(f"loop {loop}: {n_windows} windows, records in {out}")
        self._row([Text(column.title or self._primary, style="bold") for column, _ in self._columns])

    def cycle(self, cycle: Cycle) -> None:
        """One row: the window, its checks and drift, how good production is, the decision and its outcome."""
        shown = cells(cycle, self._primary)
        self._row([that_fits(shown[column.title], width) for column, width in self._columns])
        for check in cycle.validation.blocked:
            self.note(f"  blocked by {check.name} {check.column}: {check.reason or check.outcome.value}")
        for item in cycle.actions:
            self.note(f"  {item.severity} {item.rule}: {item.message} -> {item.action}, {item.owner}")

    @contextmanager
    def progress(self, description: str, total: int) -> Iterator[Advance]:
        """Long work of `total` pieces: a bar on a terminal, a line now and then in a log. May be nested."""
        if self._quiet:
            yield _Silent()
        elif self._rich.is_terminal:
            with self._bar(description, total) as advance:
                yield advance
        else:
            yield _Log(description, total, self.note)

    def timings(self, totals: Mapping[str, float], wall: float) -> None:
        """Where the wall time went, largest first; what no one claims is our own overhead.

        Args:
            totals: seconds by name: reading, statistics, training, ray, tracking and report.
            wall: seconds of the whole command.
        """
        rest = max(0.0, wall - sum(totals.values()))
        shares = [*sorted(totals.items(), key=lambda item: -item[1]), ("own overhead", rest)]
        self.note(f"wall time {words.duration(wall)}")
        for name, seconds in shares:
            share = seconds / wall if wall > 0 else 0.0
            bar = "#" * round(24 * min(1.0, share))
            self.note(f"  {name:<22}{words.duration(seconds):>12}{words.percent(share):>8}  {bar}".rstrip())

    def show(self, renderable: RenderableType) -> None:
        """A table or text of rich (see engine.report.tables)."""
        if not self._quiet:
            self._rich.print(renderable, soft_wrap=not self._rich.is_terminal)

    def note(self, text: str) -> None:
        """One line for people."""
        if not self._quiet:
            self._line(Text(words.clean(text).rstrip()))

    def warn(self, text: str) -> None:
        """One line that even a quiet command says."""
        self._line(Text.assemble(("warning: ", "yellow"), words.clean(text)))

    @contextmanager
    def _bar(self, description: str, total: int) -> Iterator[Advance]:
        if self._progress is None:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=28),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}", style="dim", markup=False),
                console=self._rich,
                transient=True,
            )
            self._progress.start()
        progress = self._progress
        task = progress.add_task(words.clean(description), total=total, note="")
        self._depth += 1
        try:
            yield _Bar(lambda n, note: progress.update(task, advance=n, note=words.clean(note)))
        finally:
            progress.remove_task(task)
            self._depth -= 1
            if self._depth == 0:
                progress.stop()
                self._progress = None

    def _row(self, cells: Sequence[Text]) -> None:
        if self._quiet:
            return
        line = Text()
        for cell, (column, width) in zip(cells, self._columns, strict=True):
            if line:
                line.append(GAP)
            line.append_text(set_width(cell, width, right=column.right))
        line.rstrip()
        self._line(line)

    def _line(self, text: Text) -> None:
        self._rich.print(text, soft_wrap=True)


@dataclass
class _Bar:
    update: Callable[[int, str], None]

    def advance(self, n: int = 1, note: str = "") -> None:
        self.update(n, note)


class _Silent:
    def advance(self, n: int = 1, note: str = "") -> None:
        """Nothing."""


class _Log:
    """Progress as lines: at most one every LOG_EVERY seconds, and one at the end if any came before."""

    def __init__(self, description: str, total: int, say: Callable[[str], None]) -> None:
        self._description, self._total, self._say = description, total, say
        self._done, self._said = 0, False
        self._began = self._last = time.monotonic()

    def advance(self, n: int = 1, note: str = "") -> None:
        self._done += n
        now = time.monotonic()
        ended = self._done >= self._total and self._said
        if not ended and now - self._last < LOG_EVERY:
            return
        self._last, self._said = now, self._done < self._total
        tail = f", {note}" if note else ""
        elapsed = words.duration(now - self._began)
        self._say(f"{self._description}: {self._done}/{self._total} after {elapsed}{tail}")


def make_console(quiet: bool = False, primary: str = "") -> Console:
    """The console of a command."""
    return Console(primary, quiet=quiet)
