"""Policies over simulated pasts with known truth: many of one kind, so that chance can be told from merit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from engine.backtest.conf import BacktestConf
from engine.backtest.contest import contest
from engine.backtest.margins import margins
from engine.backtest.play import Span
from engine.backtest.streams import Stream, StreamConf
from engine.decide import DecideConf
from engine.records.contested import Contested, Line

FIRST = 4  # window of the first stretch: a model needs windows to be trained on


def simulated(kind: str, decide: DecideConf, conf: BacktestConf) -> Contested:
    """The policies over `conf.seeds` pasts of a kind, each tuned on as many windows before those that it plays.

    Cost: every policy is played once for each of its parameters, and past.
    """
    earlier = Span(first=FIRST, last=FIRST + conf.windows - 1)
    later = Span(first=earlier.last + 3, last=earlier.last + 2 + conf.windows)  # its champion is labelled by then
    found: dict[str, list[Line]] = {}
    first: tuple[Line, ...] = ()
    names: tuple[str, ...] = ()
    for seed in range(conf.seed, conf.seed + conf.seeds):
        past = Stream(StreamConf(kind=kind, windows=later.last + 1), seed)
        lines = contest(past, decide, later, conf.policies, earlier, conf.degraded)
        first, names = first or lines, past.names
        for line in lines:
            found.setdefault(line.policy, []).append(line)
    means = [_mean(lines) for lines in found.values()]
    lines = (means[0], *sorted(means[1:], key=lambda line: line.cost))
    return Contested(
        past=f"{kind} streams",
        names=names[later.first : later.last + 1],
        first=later.first,
        tuned_on=names[earlier.first : earlier.last + 1],
        unit="pasts",
        units=conf.seeds,
        freedom=conf.seeds - 1,
        confidence_level=conf.confidence_level,
        currency=decide.currency,
        lines=lines,
        margins=margins(lines[1:], windows=False, level=conf.confidence_level),
        pictured=first,
        remarks=("every number is a mean over the pasts; parameters are chosen in each past anew",),
    )


def _mean(lines: Sequence[Line]) -> Line:
    """The same policy in several pasts."""
    one = lines[0]
    below = tuple(fmean(column) for column in zip(*(line.below for line in lines), strict=True))
    alike = all(line.parameters == one.parameters for line in lines)
    return replace(
        one,
        cost=fmean(line.cost for line in lines),
        regret=fmean(line.regret for line in lines),
        lost=fmean(line.lost for line in lines),
        spent=fmean(line.spent for line in lines),
        attempts=fmean(line.attempts for line in lines),
        promoted=fmean(line.promoted for line in lines),
        degraded=fmean(line.degraded for line in lines),
        parameters=one.parameters if alike else "past by past",
        below=below,
        acted=(),
        passed=(),
        costs=tuple(line.cost for line in lines),
    )
