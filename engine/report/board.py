"""What is known of a sweep while it runs, and how long it may still take. No I/O; the pictures are in sweep.py."""

from __future__ import annotations

import heapq
import math
import random
import statistics
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.records import Epoch, Sweep, Trial, TrialState

RUNNING = "running"
ANEW = 5.0  # seconds after which the remaining time is estimated anew
LEAST = 5  # trials that have ended before a remaining time is told
PLAYS = 60  # of the rest of a sweep, for one estimate of its end
BEYOND = 1  # of them on each side: 93 % if trials were as those that ended first, which are the short ones
PLAYED = 200  # waiting trials that are played one by one
WIDEST = 3.0  # standard deviation of the logarithm: above it a few odd trials would make every answer endless
SHORTEST = 1e-3  # seconds


@dataclass
class Line:
    """One trial as it stands."""

    trial: str
    params: Mapping[str, Any]
    state: str = RUNNING
    epoch: int = 0
    newest: float = math.nan
    best: float = math.nan
    seconds: float = 0.0  # of training, as far as it is known
    at: float = 0.0  # of the clock: when it was last heard of
    first: float = 0.0  # seconds of its first epoch, as far as they count as work of this command

    @classmethod
    def of(cls, trial: Trial) -> Line:
        """One that has ended."""
        return cls(
            trial.id,
            trial.params,
            state=trial.state.value,
            epoch=len(trial.curve),
            newest=trial.curve[-1].value if trial.curve else math.nan,
            best=trial.value,
            seconds=trial.seconds,
        )


@dataclass
class Board:
    """The trials of one sweep. One thread tells it what happens, another may look.

    Args:
        sweep: what it is.
        total: how many trials there will be.
        budget: seconds until the sweep will be ended; None where it has all the time.
        clock: seconds, rising.
    """

    sweep: Sweep
    total: int
    budget: float | None
    clock: Callable[[], float]
    lines: dict[str, Line] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.began = self.clock()
        self.worked: float | None = None  # when the first trial of this command began, as far as that can be told
        self._sign = 1.0 if self.sweep.mode == "max" else -1.0
        self._work = 0.0  # seconds of training in this command: epochs recalled from a checkpoint take none
        self._spent: dict[str, float] = {}  # seconds of trials that ended under our eyes
        self._found: tuple[float, tuple[float, float] | None] | None = None  # the last estimate, and when it was made

    @property
    def elapsed(self) -> float:
        """Seconds since the sweep began in this command."""
        return self.clock() - self.began

    def begins(self, trial: str, params: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """A trial is seen for the first time."""
        with self.lock:
            self.lines[trial] = Line(trial, dict(params), at=self.clock())

    def epoch(self, trial: str, epoch: Epoch) -> None:
        """A trial has ended an epoch; one that is tried again starts over."""
        with self.lock:
            now = self.clock()
            line = self.lines.setdefault(trial, Line(trial, {}))
            if self.worked is None:
                self.worked = max(self.began, now - epoch.seconds)
            if epoch.epoch <= line.epoch:
                line.best, line.seconds = math.nan, 0.0
            line.state, line.epoch, line.newest = RUNNING, epoch.epoch, epoch.value
            self._count(line, epoch.seconds, now)
            line.seconds, line.at = line.seconds + epoch.seconds, now
            if self.better(epoch.value, line.best):
                line.best = epoch.value

    def _count(self, line: Line, seconds: float, now: float) -> None:
        """Add an epoch to the work of this command, but for one that was recalled from a checkpoint: it came at once.
        Of the first epoch of a trial only the second one tells.
        """
        if line.epoch == 1:
            line.first = min(seconds, now - self.began)
            self._work += line.first
        elif now - line.at < seconds / 2:
            self._work -= line.first
            line.first = 0.0
        else:
            self._work += seconds

    def ended(self, trial: Trial) -> None:
        """A trial has ended, just now or in an earlier command."""
        with self.lock:
            if trial.id in self.lines:
                self._spent[trial.id] = trial.seconds
            self.lines[trial.id] = Line.of(trial)

    def better(self, value: float, than: float) -> bool:
        """Is a value better than another; NaN is never better."""
        return math.isfinite(value) and not self._sign * value <= self._sign * than

    def best(self) -> Line | None:
        """The trial with the best value so far, running ones among them, failed ones not."""
        found = None
        for line in self.lines.values():
            if line.state != TrialState.FAILED.value and self.better(line.best, found.best if found else math.nan):
                found = line
        return found

    def ordered(self) -> list[Line]:
        """Running trials in the order of their names, then the others, the best first."""

        def key(line: Line) -> tuple[bool, str, float, str]:
            running = line.state == RUNNING
            value = -self._sign * line.best if math.isfinite(line.best) else math.inf
            return (not running, line.trial if running else "", value, line.trial)

        return sorted(self.lines.values(), key=key)

    def count(self, state: str) -> int:
        """How many trials are in that state."""
        return sum(line.state == state for line in self.lines.values())

    def left(self) -> tuple[float, float] | None:
        """Seconds until the last trial ends, as an interval; None where nothing supports a number yet.

        The budget, where there is one, bounds both ends.
        """
        now = self.clock()
        if self._found is None or now - self._found[0] >= ANEW:
            heard = [(line.seconds, now - line.at) for line in self.lines.values() if line.state == RUNNING]
            worked = now - self.worked if self.worked is not None else 0.0
            at_once = (self._work + sum(since for _, since in heard)) / worked if worked > 0 else 0.0
            waiting = self.total - len(self.lines)
            running = [seconds + since for seconds, since in heard]
            self._found = now, remaining(list(self._spent.values()), running, waiting, at_once)
        at, found = self._found
        if found is None:
            return None
        end = math.inf if self.budget is None else max(0.0, self.budget - self.elapsed)
        low, high = (min(end, max(0.0, seconds - (now - at))) for seconds in found)
        return low, high


def remaining(
    spent: Sequence[float], running: Sequence[float], waiting: int, at_once: float
) -> tuple[float, float] | None:
    """When the last trial will have ended: an interval that holds it nine times in ten or more, in seconds from now.

    The rest of the sweep is played `PLAYS` times. The time of a trial is log-normal; each play draws the parameters
    from what the trials that ended leave open (their posterior under the usual flat prior), so that few of them give a
    wide answer. A trial that runs lasts longer than it has, and counts among the others: the first to end are the
    short ones. The same arguments give the same answer.

    Args:
        spent: seconds of each trial that ended.
        running: seconds that each running trial has behind it.
        waiting: trials that have not begun.
        at_once: how many ran at once so far, in the mean; what passes between trials lowers it.

    Returns:
        Low and high end; (0, 0) where nothing is left, None where fewer than `LEAST` trials have ended.

    Cost: about 15 ms at most: of more than `PLAYED` waiting trials the others enter by their mean.
    """
    waiting = max(0, waiting)
    if not running and not waiting:
        return 0.0, 0.0
    if len(spent) < LEAST or at_once <= 0:
        return None
    lanes = max(1, len(running), round(at_once))
    slower = max(1.0, lanes / at_once)
    rng = random.Random(len(spent))
    logs = [math.log(max(seconds, SHORTEST)) for seconds in spent]
    ends = sorted(_play(rng, logs, running, waiting, lanes) * slower for _ in range(PLAYS))
    return ends[BEYOND], ends[-1 - BEYOND]


def _play(rng: random.Random, logs: Sequence[float], running: Sequence[float], waiting: int, lanes: int) -> float:
    """Seconds until the last trial ends, in one play; `logs` are the logarithms of the times of those that ended."""
    normal = _drawn_normal(rng, logs)
    seen = [*logs, *(math.log(_longer(rng, normal, seconds)) for seconds in running)]
    normal = _drawn_normal(rng, seen)
    free = [_longer(rng, normal, seconds) - seconds for seconds in running]
    free += [0.0] * (lanes - len(free))
    drawn = min(waiting, PLAYED)
    if beyond := waiting - drawn:
        free = [seconds + beyond * math.exp(normal.mean + normal.variance / 2) / lanes for seconds in free]
    heapq.heapify(free)
    for _ in range(drawn):
        heapq.heapreplace(free, free[0] + math.exp(rng.gauss(normal.mean, normal.stdev)))
    return max(free)


def _drawn_normal(rng: random.Random, values: Sequence[float]) -> statistics.NormalDist:
    """Mean and standard deviation drawn from their posterior given the values."""
    freedom = len(values) - 1
    mean = statistics.fmean(values)
    squares = sum((value - mean) ** 2 for value in values)
    deviation = min(WIDEST, math.sqrt(squares / rng.gammavariate(freedom / 2, 2)))
    return statistics.NormalDist(rng.gauss(mean, deviation / math.sqrt(len(values))), max(deviation, 1e-6))


def _longer(rng: random.Random, normal: statistics.NormalDist, seconds: float) -> float:
    """A time drawn from those beyond `seconds`."""
    behind = normal.cdf(math.log(max(seconds, SHORTEST)))
    share = behind + (1 - behind) * rng.random()
    drawn = math.exp(normal.inv_cdf(share)) if 0 < share < 1 else 0.0
    return max(drawn, seconds * 1.02, SHORTEST)
