"""A policy played over a past, by the very code that decides in the loop, and what that would have cost.

Window by window: the champion serves it; then labels come in, the policy chooses, and a model that passes its gate
serves from the next window on, or from the one after its shadow. The loss of a window is what the champion is below the
best model that could have served it, in points x the value of a point. An attempt costs its compute and the review,
whether it passes or not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from engine.backtest.hindsight import Hindsight
from engine.decide import PAST, Attempt, Choice, DecideConf, Evidence, Seen, choose
from engine.records import Action

Chooser = Callable[[Evidence], Choice]


@dataclass(frozen=True, kw_only=True)
class Span:
    """The windows from `first` to `last`, both included. The champion of the first was trained up to `first - 2`, on
    windows that were labelled when it began.
    """

    first: int
    last: int

    @property
    def founder(self) -> int:
        """The model that serves the first window."""
        return self.first - 2

    def mature(self, window: int, lag: int) -> int:
        """The newest window whose labels are in."""
        return max(self.first - 1, window - lag)


@dataclass(frozen=True, kw_only=True)
class Played:
    """What a policy came to. Amounts in the currency of the config."""

    served: tuple[int, ...]  # the model in production, window by window
    below: tuple[float, ...]  # points below the best model that could have served
    attempts: tuple[Attempt, ...]
    lost: float  # by models that were worse than the best
    spent: float  # on attempts
    seen: tuple[Seen, ...]  # what the champions did on labelled windows, hold-outs included

    @property
    def cost(self) -> float:
        """All of it."""
        return self.lost + self.spent

    @property
    def promoted(self) -> int:
        """Attempts that passed their gate."""
        return sum(attempt.passed is True for attempt in self.attempts)

    def degraded(self, points: float) -> int:
        """Windows in which the champion was this far below the best or further."""
        return sum(below >= points for below in self.below)


def policy(conf: DecideConf) -> Chooser:
    """The policy of a config, guards included."""
    return functools.partial(choose, conf=conf)


def play(past: Hindsight, conf: DecideConf, span: Span, chooser: Chooser, before: Played | None = None) -> Played:
    """Play a chooser over a span; `before` is what was played over earlier windows, which it may learn from.

    Cost: one choice a window; nothing is trained.
    """
    champion, tuned_at = span.founder, span.first - 1
    attempts, seen = (before.attempts, before.seen) if before else ((), ())
    track: tuple[Seen, ...] = ()
    waiting: tuple[int, int] | None = None  # a model in shadow, and the window whose end promotes it
    wanted, served, below, spent = 0, [], [], 0.0
    for window in range(span.first, span.last + 1):
        served.append(champion)
        below.append(points_below_best(past, conf, span, champion, window))
        mature = span.mature(window, past.lag)
        track = _seen(past, track, champion, window, mature)
        evidence = _evidence(past, champion, window, mature, track, attempts, tuned_at, wanted, seen, pending=waiting)
        choice = chooser(evidence)
        wanted = choice.wanted
        if choice.action is not Action.KEEP:
            retuned = choice.action is Action.RETUNE
            attempt = attempt_at(past, champion, window, mature, retuned=retuned)
            attempts, spent = (*attempts, attempt), spent + price(attempt.hours, conf)
            tuned_at = window if attempt.retuned else tuned_at
            waiting = (mature - 1, window + past.shadow) if attempt.passed else None
        if waiting and waiting[1] <= window:
            seen = _handed_on(past, champion, seen, track)
            champion, track, waiting = waiting[0], (), None
    lost = sum(below) * conf.point_value
    own = attempts[len(before.attempts) if before else 0 :]
    return Played(
        served=tuple(served),
        below=tuple(below),
        attempts=own,
        lost=lost,
        spent=spent,
        seen=_handed_on(past, champion, seen, track),
    )


def price(hours: float, conf: DecideConf) -> float:
    """Of one attempt."""
    return hours * conf.hour_price + conf.review_cost


def attempt_at(past: Hindsight, champion: int, window: int, mature: int, *, retuned: bool) -> Attempt:
    """What an attempt gives: a model trained up to the window before the newest labelled one, judged on that one."""
    model = mature - 1
    newer = model > champion
    return Attempt(
        index=window,
        retuned=retuned,
        passed=newer and past.passes(model, champion),
        hours=past.hours(model, retuned=retuned),
        gain=past.gain(model, champion) if newer else None,
        age=max(0, model - champion),
        lost=past.measured(champion, champion + 1).value - past.measured(champion, mature).value,
    )


def points_below_best(past: Hindsight, conf: DecideConf, span: Span, champion: int, window: int) -> float:
    """How far a champion is below the best model that could have served a window, in points; never negative."""
    newest = max(span.founder, span.mature(window - 1 - past.shadow, past.lag) - 1)
    sign = 1.0 if past.greater_is_better else -1.0
    best = max(sign * past.truth(model, window) for model in range(span.founder, newest + 1))
    return (best - sign * past.truth(champion, window)) / conf.point


def _seen(past: Hindsight, track: tuple[Seen, ...], champion: int, window: int, mature: int) -> tuple[Seen, ...]:
    if any(seen.window == mature for seen in track):
        return track
    return (*track, Seen(at=window, window=mature, estimate=past.measured(champion, mature), age=mature - champion))


def _handed_on(past: Hindsight, champion: int, seen: tuple[Seen, ...], track: tuple[Seen, ...]) -> tuple[Seen, ...]:
    """What is remembered of champions when one goes: its hold-out, and its track after that."""
    holdout = champion + 1
    held = Seen(at=holdout + past.lag, window=holdout, estimate=past.measured(champion, holdout), age=1)
    return (*seen, held, *(one for one in track if one.window > holdout))[-PAST:]


def _evidence(
    past: Hindsight,
    champion: int,
    window: int,
    mature: int,
    track: tuple[Seen, ...],
    attempts: tuple[Attempt, ...],
    tuned_at: int,
    wanted: int,
    seen: tuple[Seen, ...],
    *,
    pending: object,
) -> Evidence:
    """What the loop would have told its policy."""
    drifted, columns = past.moved(champion, window)
    return Evidence(
        window=past.names[window],
        index=window,
        model=str(champion),
        greater_is_better=past.greater_is_better,
        baseline=past.measured(champion, champion + 1),
        realised=track[-1].estimate,
        age=max(0, mature - 1 - champion),
        drifted=drifted,
        columns=columns,
        pending="a challenger" if pending else "",
        attempts=attempts,
        tuned_at=tuned_at,
        track=track,
        wanted=wanted,
        past=seen,
        training=past.training,
    )
