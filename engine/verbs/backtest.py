"""The verb `backtest`: what each policy would have cost over windows that have passed, retrains really made.

Every model that the loop could have made is made, and scored on every later window (engine/backtest/remaking.py),
once: what was measured is kept below `<out>/backtest`, so that a second call trains nothing and one that was killed
goes on. Then the policies are played over it by the code that decides in the loop, beside the best plan there was
(engine/backtest). Nothing is written to the ledger, and no stage changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.backtest import Span, contest
from engine.backtest.margins import cosines_of, margins
from engine.backtest.remaking import Means, Remaking, fit_windows
from engine.config.preflight import check_models
from engine.config.schema import Composer, Config
from engine.cycle import founding
from engine.cycle.setting import Confs
from engine.errors import ConfigError, DataError
from engine.records import to_plain
from engine.records.contested import Contested
from engine.report import contest_words as said
from engine.report.contest_page import contest_page
from engine.report.contest_table import contest_table
from engine.report.terminal import Console, make_console
from engine.system import durable
from engine.train.registry import resolve, trusted_packages
from engine.verbs import archive, running
from engine.verbs.drift import check_page
from engine.watch.arrival import Known

Answer = tuple[int, dict[str, Any]]
NEGATIVE = 3
REMARKS = (
    "the truth of a window is what was measured on its labelled rows; the best plan knows that noise, too",
    "models are trained from scratch; cold starts and the wear of hold-outs are left out",
)


def backtest(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """Policies over the windows of data, or over simulated pasts (backtest.streams)."""
    page = Path(config.html) if config.html else config.folder / "backtest.html"
    check_page(config.html)
    console = make_console(quiet, config.evaluate.primary)
    policy = config.decide.policy
    if config.backtest.streams:
        from engine.backtest.simulated import simulated

        contests = [simulated(kind, config.decide, config.backtest) for kind in config.backtest.streams]
    else:
        contests = [_real(config, composer, console)]
    for found in contests:
        console.show(contest_table(found))
        if own := said.configured(found, policy):
            console.note(own)
    durable.write_text(page, contest_page(config.loop.name, contests, policy))
    console.note(f"the page is {page}")
    beaten = [found for found in contests if (margin := found.margin(policy)) is not None and margin.told_apart]
    answer = {
        "loop": config.loop.name,
        "policy": policy,
        "beaten": [found.past for found in beaten],
        "contests": [{"sentence": said.headline(found), **to_plain(found)} for found in contests],
        "page": str(page),
    }
    return (NEGATIVE if beaten else 0), answer


def _real(config: Config, composer: Composer, console: Console) -> Contested:
    """Over the windows of data."""
    conf = config.backtest
    with _means(config, composer, console) as means:
        names, left_out = fit_windows(means.source, _names(config), means.confs)
        earlier, span = _spans(names, config)
        models = Remaking(means, names)
        past = models.past()
        if not models.kept.made:
            console.note("every model and figure was there: nothing was trained")
    lines = contest(past, config.decide, span, conf.policies, earlier, conf.degraded)
    played = span.last - span.first + 1
    return Contested(
        past=config.loop.name,
        names=past.names[span.first : span.last + 1],
        first=span.first,
        tuned_on=past.names[earlier.first : earlier.last + 1] if earlier else (),
        unit="windows",
        units=played,
        freedom=cosines_of(played),
        confidence_level=conf.confidence_level,
        currency=config.decide.currency,
        lines=lines,
        margins=margins(lines[1:], windows=True, level=conf.confidence_level),
        pictured=lines,
        left_out=tuple(left_out),
        remarks=(*REMARKS, *_of_actions(config)),
    )


def _of_actions(config: Config) -> list[str]:
    said = [f"a RETUNE gives the model of a RETRAIN, and is charged {config.search.num_samples} times its compute"]
    maps = ["RECALIBRATE is not played: what a map wins is measured by the loop alone"]
    return (maps if config.decide.recalibrate else []) + ([] if config.backtest.retune else said)


def _names(config: Config) -> list[str]:
    """The windows that a loop would go over: without those that a watch has set aside, up to loop.until."""
    names = config.open_source().names()
    if archive.ledger_exists(config):
        with archive.existing_ledger(config) as ledger:
            left_out = Known.in_book(ledger.rows).left_out
        names = [name for name in names if name not in left_out]
    founding.check_names(names, config.loop, config.need_data)
    return names if config.loop.until is None else names[: names.index(config.loop.until) + 1]


def _spans(names: Sequence[str], config: Config) -> tuple[Span | None, Span]:
    """(the windows that choose parameters, those that are played); DataError where they are too few."""
    first, tune = config.loop.founding_windows, config.backtest.tune
    least = config.need_data.label_lag + 2
    if len(names) - first - tune < least:
        chosen = f", {tune} choose parameters" if tune else ""
        what = f"{len(names)} labelled windows are fit for use: {first} found the loop{chosen}, {least} must be left"
        raise DataError(config.need_data.path, what, "lower backtest.tune" if tune else "wait for more")
    last = len(names) - 1
    if not tune:
        return None, Span(first=first, last=last)
    if tune < least:
        what = f"{tune} windows tell no policy from another"
        raise ConfigError("backtest.tune", what, f"choose {least} or more, or 0")
    return Span(first=first, last=first + tune - 1), Span(first=first + tune, last=last)


@contextmanager
def _means(config: Config, composer: Composer, console: Console) -> Iterator[Means]:
    """What models are made with; the config is checked before anything is begun."""
    config.cluster.check_runs_here()
    trusted, trials = trusted_packages(config.trust), config.search.num_samples
    if not config.backtest.retune:
        config = replace(config, search=replace(config.search, space={}, num_samples=1, backend="local"))
    checked, foreign = running.check(config, composer, trusted)
    if foreign:
        check_models(checked, lambda target: resolve(target, trusted))
    confs: Confs = running.confs_of(config, checked.space, trusted)
    search, store = running.make_search(config), config.open_store()
    for remark in store.remarks():
        console.warn(remark)
    with ExitStack() as stack:
        stack.callback(search.close)
        search.start()
        yield Means(
            confs=confs,
            source=config.open_source(),
            search=search,
            store=store,
            compose=composer,
            folder=config.folder / "backtest",
            retune=config.backtest.retune,
            trials=trials,
            say=console.note,
        )
