"""A sweep as people see it: the table that lives while it runs, one line for a log, and the table at its end. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from engine.records import Candidate, Trial, TrialState
from engine.report import words
from engine.report.board import RUNNING, Board, Line
from engine.report.row import GAP, set_width
from engine.report.tables import styled

MOST_ROWS = 15  # of the table that lives
BEST_ROWS = 10  # of the one at the end
MOST_REASONS = 10
FIXED = (("trial", False), ("state", False), ("epoch", True), ("newest", True), ("best", True), ("seconds", True))
GO_FIRST = (3, -1, 2, 4, 1)  # fixed columns, the least important first; -1 is the last one, seconds
NARROW, WIDE = 5, 12  # columns of a parameter: no fewer are worth showing, more are cut before others are left out
STATES = {RUNNING: "cyan", "finished": "green", "stopped": "yellow", "failed": "bold red"}


def live(board: Board, width: int) -> RenderableType:
    """A line on the whole, then the trials: running ones, then the best."""
    with board.lock:
        lines, said, winner = board.ordered(), _headline(board), board.best()
    whole = ", ".join(said)
    head = [_cut(Text(text), width) for text in ([whole] if len(whole) <= width else said)]
    if not lines:
        return Group(*head)
    shown, rest = lines[:MOST_ROWS], len(lines) - MOST_ROWS
    names = differing([line.params for line in lines])
    rows = [_cells(line, names, winner) for line in shown]
    titles = [
        Text(words.clean(title), style="bold")
        for title in (*(t for t, _ in FIXED[:-1]), *short_names(names), "seconds")
    ]
    right = [*(r for _, r in FIXED[:-1]), *(True for _ in names), True]
    body = _aligned([titles, *rows], right, width)
    more = [Text(f"and {rest} more", style="dim")] if rest > 0 else []
    return Group(*head, *body, *more)


def headline(board: Board) -> str:
    """The whole in one line, for a log."""
    with board.lock:
        return ", ".join(_headline(board))


def summary(candidate: Candidate, width: int) -> RenderableType:
    """The best trials, how many ended how, and why those failed that did."""
    trials = sorted(candidate.trials, key=lambda t: _rank(t, candidate.mode))
    names = differing([trial.params for trial in trials])
    shown = [Line.of(trial) for trial in trials[:BEST_ROWS]]
    winner = next((row for row in shown if row.state == TrialState.FINISHED.value and math.isfinite(row.best)), None)
    counted = Counter(trial.state.value for trial in trials)
    said = ", ".join(f"{counted[state.value]} {state.value}" for state in TrialState if counted[state.value])
    best = f", best {candidate.metric} {words.number(candidate.value, 4)}" if candidate.model else ""
    parts: list[RenderableType] = [*_table(shown, names, winner, width)]
    if len(trials) > BEST_ROWS:
        parts.append(Text(f"and {len(trials) - BEST_ROWS} more", style="dim"))
    parts.append(
        _cut(Text(f"{len(trials)} trials: {said}{best}, {words.duration(candidate.seconds)} of training"), width)
    )
    return Group(*parts, *(Text(words.clean(text)) for text in failures(trials)))


def failures(trials: Iterable[Trial]) -> list[str]:
    """Why trials failed, a reason a line: those that share one are told together."""
    by_reason: dict[str, list[str]] = {}
    for trial in trials:
        if trial.state is TrialState.FAILED:
            by_reason.setdefault(trial.reason or "no reason is recorded", []).append(trial.id)
    told = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    lines = [f"failed: {_names(sorted(ids))}: {reason}" for reason, ids in told[:MOST_REASONS]]
    rest = sum(len(ids) for _, ids in told[MOST_REASONS:])
    return [*lines, f"failed: {rest} more, for other reasons"] if rest else lines


def differing(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that tell trials apart; all of them while there is but one trial."""
    names = list(dict.fromkeys(name for point in points for name in point))
    if len(points) < 2:
        return names
    return [name for name in names if len({repr(point.get(name)) for point in points}) > 1]


def short_names(names: Sequence[str]) -> list[str]:
    """`train.lr` as `lr`, where no other key ends the same."""
    tails = Counter(name.rpartition(".")[2] for name in names)
    return [tail if tails[tail := name.rpartition(".")[2]] == 1 else name for name in names]


def _headline(board: Board) -> tuple[str, str]:
    """How far it is and what is best; how long it has taken, and may yet."""
    ended = sum(line.state != RUNNING for line in board.lines.values())
    failed = board.count(TrialState.FAILED.value)
    best = board.best()
    parts = [
        f"{board.sweep.window}: {ended} of {board.total} trials",
        f"{board.count(RUNNING)} running" if board.count(RUNNING) else "",
        f"{failed} failed" if failed else "",
        f"best {words.number(best.best, 4)} ({best.trial})" if best else "",
    ]
    times = [words.duration(board.elapsed), _left(board)]
    return words.clean(", ".join(filter(None, parts))), ", ".join(filter(None, times))


def _left(board: Board) -> str:
    """How long it may take yet; nothing where nothing is known."""
    left, budget = board.left(), ""
    if board.budget is not None:
        budget = f"budget ends in {_about(max(0.0, board.budget - board.elapsed))}"
    if left is None or not left[1]:
        return budget
    low, high = _about(left[0]), _about(left[1])
    told = f"{high} left" if low == high else f"{low} to {high} left"
    return f"{told}, {budget}" if budget else told


def _about(seconds: float) -> str:
    """A time that is an estimate itself: `40 s`, `7 min`, `2.5 h`."""
    if seconds < 90:
        return f"{math.ceil(seconds / 5) * 5} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _table(lines: Sequence[Line], names: Sequence[str], winner: Line | None, width: int) -> list[Text]:
    """Titles and rows: what is fixed, and the parameters `names` before the seconds."""
    titles = [*(title for title, _ in FIXED[:-1]), *map(words.clean, short_names(names)), FIXED[-1][0]]
    right = [*(right for _, right in FIXED[:-1]), *(True for _ in names), FIXED[-1][1]]
    rows = [_cells(line, names, winner) for line in lines]
    return _aligned([[Text(title, style="bold") for title in titles], *rows], right, width)


def _cells(line: Line, names: Sequence[str], winner: Line | None) -> list[Text]:
    best = winner is not None and line.trial == winner.trial
    return [
        Text(words.clean(line.trial), style="bold" if best else ""),
        styled(line.state, STATES.get(line.state, "")),
        Text(str(line.epoch) if line.epoch else words.NONE),
        Text(_value(line.newest)),
        Text(_value(line.best), style="bold" if best else ""),
        *(Text(words.clean(_param(line.params.get(name)))) for name in names),
        Text(f"{line.seconds:.1f}" if line.seconds else words.NONE),
    ]


def _value(value: float) -> str:
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3e}" if math.isfinite(value) else "?"


def _param(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else words.NONE if value is None else str(value)


def _aligned(rows: Sequence[Sequence[Text]], right: Sequence[bool], width: int) -> list[Text]:
    """Rows as lines of at most `width`: parameters, in the middle, are cut and then left out where they do not fit."""
    first, last = len(FIXED) - 1, len(right) - 1
    widths = [max(row[i].cell_len for row in rows) for i in range(len(right))]
    kept = list(range(len(right)))
    while (over := _total(widths, kept) - width) > 0 and len(kept) > 1:
        params = [i for i in kept if first <= i < last]
        if not params:
            kept.remove(next(i for i in GO_FIRST if i % len(right) in kept) % len(right))
            continue
        widest = max(params, key=lambda i: widths[i])
        if widths[widest] - over >= NARROW:
            widths[widest] -= over
        elif widths[widest] > WIDE:
            widths[widest] = WIDE
        else:
            kept.remove(params[-1])
    return [_joined([set_width(row[i], min(widths[i], width), right=right[i]) for i in kept]) for row in rows]


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[i] for i in kept) + len(GAP) * (len(kept) - 1)


def _joined(cells: Sequence[Text]) -> Text:
    whole = Text(GAP).join(cells)
    whole.rstrip()
    return whole


def _cut(text: Text, width: int) -> Text:
    if text.cell_len > width:
        text.truncate(width, overflow="ellipsis")
    return text


def _rank(trial: Trial, mode: str) -> tuple[bool, float, str]:
    """Failed ones last, then by value."""
    value = (-trial.value if mode == "max" else trial.value) if math.isfinite(trial.value) else math.inf
    return (trial.state is TrialState.FAILED, value, trial.id)


def _names(ids: Sequence[str]) -> str:
    return f"{', '.join(ids[:3])} and {len(ids) - 3} more" if len(ids) > 4 else ", ".join(ids)
