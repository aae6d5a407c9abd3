"""What people see while a loop runs: one row a window, the trials of a sweep as they come, where the time went.

All of it goes to stderr; stdout belongs to `--json`. On a terminal rows are coloured and the table of a sweep lives;
in a log the same rows are plain lines, and a sweep is a line now and then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import rich.console
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from engine.records import Candidate, Cycle, Epoch, Event, RiskOutcome, Sweep, Trial, TrialState
from engine.report import words
from engine.report.alerting import said
from engine.report.board import RUNNING, Board
from engine.report.row import COLUMNS, GAP, cells, fit, set_width, that_fits
from engine.report.sweep import failures, headline, live, summary

LOG_WIDTH = 210  # columns of a line where there is no terminal
LOG_EVERY = 10.0  # seconds between two progress lines where there is no terminal
REDRAWS = 1  # a second, of the table that lives


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
        self._warned: set[tuple[str, str]] = set()  # of the window before: told once, while they last
        file = sys.stderr if stream is None else stream
        self._rich = rich.console.Console(file=file, highlight=False, markup=False, emoji=False, width=width)
        if width is None and not self._rich.is_terminal:
            self._rich.width = LOG_WIDTH
        self._columns = fit(COLUMNS, self._rich.width)

    def header(self, loop: str, n_windows: int, out: Path | str) -> None:
        """The loop, how much lies before it, where its records go; then the titles of the rows."""
        self.note(f"loop {loop}: {n_windows} windows, records in {out}")
        self._row([Text(column.title or self._primary, style="bold") for column, _ in self._columns])

    def cycle(self, cycle: Cycle) -> None:
        """One row: the window, its checks and drift, how good production is, the decision and its outcome."""
        shown = cells(cycle, self._primary)
        self._row([that_fits(shown[column.title], width) for column, width in self._columns])
        for check in cycle.validation.blocked:
            self.note(f"  blocked by {check.name} {check.column}: {words.because(check)}")
        warned = {(c.name, c.column): c for c in words.warned(cycle.validation)}
        for check in (check for key, check in warned.items() if key not in self._warned):
            self.note(f"  warning of {check.name} {check.column}: {words.because(check)}")
        self._warned = set(warned)
        for line in (line for report in cycle.labels for line in words.strange(report)):
            self.note(f"  {line}")
        for line in failures(cycle.candidate.trials if cycle.candidate else ()):
            self.note(f"  {line}")
        if cycle.monitor is not None and cycle.monitor.risk is not None and cycle.monitor.risk.since:
            self.note(f"  risk too high since {cycle.monitor.risk.since}: {cycle.monitor.risk.reason}")
        if cycle.monitor is not None and cycle.monitor.decay is not None and cycle.monitor.decay.since:
            self.note(f"  decay since {cycle.monitor.decay.began}: {cycle.monitor.decay.reason}")
        ahead = cycle.monitor.expected_risk if cycle.monitor is not None else None
        if ahead is not None and ahead.outcome is RiskOutcome.ALARM:
            self.note(f"  risk expected too high since {ahead.since}: {ahead.reason}")
        if cycle.pipeline is not None and (lasts := cycle.pipeline.degraded_windows) > 0:
            self.note(
                f"  below the floor of its own gate for {words.many(round(lasts), 'window')}: the model in production"
            )
        for item in cycle.actions:
            if not item.event.told:  # nothing new: `tidegate alerts` lists what is open
                continue
            event = "" if item.event is Event.RAISED else f" ({item.event.value})"
            done = ", ".join(item.due) or item.action
            self.note(f"  {item.severity} {item.rule}{event}: {item.message} -> {done}, {item.owner}")
        for acted in cycle.acted:
            self.note(f"  {acted.rule}: {said(acted)}")
        for line in words.refusals(cycle.verdicts):
            self.note(f"  {line}")

    @contextmanager
    def sweep(self, sweep: Sweep, total: int, budget: float | None = None) -> Iterator[Board]:
        """A sweep of `total` trials: a table that lives on a terminal, a line now and then in a log.

        What is told of it (`begins`, `epoch`, `ended`) costs microseconds: the table is drawn by a thread of its own,
        once a second. `budget` is how many seconds it may take.
        """
        board = Board(sweep, total, budget, time.monotonic)
        if self._quiet:
            yield board
        elif self._rich.is_terminal:
            picture = Live(
                get_renderable=lambda: live(board, self._rich.width),
                console=self._rich,
                refresh_per_second=REDRAWS,
                transient=True,
            )
            with picture:
                yield board
        else:
            yield _Logged(board, self.note)

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

    def swept(self, candidate: Candidate) -> None:
        """The end of a sweep: its best trials, how many ended how, why some failed."""
        self.show(summary(candidate, self._rich.width))

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


class _Logged(Board):
    """A board that tells of itself in lines: at most one every `LOG_EVERY` seconds, and one at the end if any came
    before; and a failure at once, where no trial has failed for that reason before.
    """

    def __init__(self, board: Board, say: Callable[[str], None]) -> None:
        super().__init__(board.sweep, board.total, board.budget, board.clock)
        self._say, self._last, self._said = say, board.clock(), False
        self._reasons: set[str] = set()

    def epoch(self, trial: str, epoch: Epoch) -> None:
        """An epoch, and a line where one is due."""
        super().epoch(trial, epoch)
        self._line(ended=False)

    def ended(self, trial: Trial) -> None:
        """A trial, and a line where one is due."""
        super().ended(trial)
        if trial.state is TrialState.FAILED and trial.reason not in self._reasons:
            self._reasons.add(trial.reason)
            self._say(f"{trial.id} failed: {trial.reason}")
        self._line(ended=self.said_all)

    @property
    def said_all(self) -> bool:
        """Have all trials ended, and was the reader told of some before."""
        return self._said and len(self.lines) >= self.total and not self.count(RUNNING)

    def _line(self, *, ended: bool) -> None:
        now = self.clock()
        if ended or now - self._last >= LOG_EVERY:
            self._last, self._said = now, True
            self._say(headline(self))


def make_console(quiet: bool = False, primary: str = "") -> Console:
    """The console of a command."""
    return Console(primary, quiet=quiet)
