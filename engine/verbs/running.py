"""The verbs that run models and share what a loop is made of: loop, train, sweep, evaluate.

Each takes (config, composer) and gives (exit code, the object that --json prints).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.config import checks
from engine.config.binding import bind
from engine.config.preflight import Checked, check_models, check_points
from engine.config.schema import Composer, Config
from engine.cycle import founding, sweeps
from engine.cycle.loop import Loop
from engine.cycle.past import Past
from engine.cycle.setting import Confs, Ports
from engine.cycle.telling import make_outbox
from engine.data.sources import ParquetSource
from engine.errors import ArtifactError, ConfigError
from engine.models import challenger
from engine.models.predictor import load
from engine.promote import card
from engine.promote.ledger import Ledger
from engine.promote.rollback import find_model
from engine.records import Cycle, Stage, digest, to_plain
from engine.records.fields import said
from engine.report.terminal import Console, make_console
from engine.system.timing import Stopwatch
from engine.track import BEST, Tracker, make_tracker, sweep_of, tell_sweep, unsent
from engine.track.told import name_of
from engine.train.registry import described, resolve, trusted_packages
from engine.train.search_space import Space
from engine.train.sweep import LocalSearch, Search
from engine.train.tune import RaySearch
from engine.verbs import archive, pages

Answer = tuple[int, dict[str, Any]]
NEGATIVE = 3

# Laps of the stopwatch -> what people are told the time went to; what is not here is our own overhead.
SHOWN = {
    "start": "starting Python",
    "wait": "waiting for another process",
    "read": "reading",
    "validate": "statistics",
    "monitor": "statistics",
    "evaluate": "statistics",
    "train": "training",
    "ray": "Ray: start, workers, scheduling",
    "cold start": "cold starts",
    "load": "loading models",
    "track": "review (W&B, report)",
    "deliver": "messages",
}


def loop(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """Every window there is, from where the ledger ends."""
    watch = Stopwatch()
    watch.laps["start"] = _since_process_start()
    watch.began -= watch.laps["start"]
    console = make_console(quiet, config.evaluate.primary)
    cycles: list[Cycle] = []
    with opened(config, composer, console, watch, alone=True) as (confs, ports):
        runner = Loop(confs, ports)
        console.header(config.loop.name, len(runner.steps.names), config.folder)
        ports.tracker.start(config.loop.name, confs.plain)
        left = runner.left()
        if left:  # else nothing may ever be trained: Ray would only be waited for
            ports.search.start()
            if config.search.backend == "ray":
                console.note("Ray starts beside this; the first training waits for it, some seconds or a minute")
        try:
            with watch.lap("other"):
                for cycle in runner.run():
                    cycles.append(reviewed(cycle, ports, confs.plain, config.promote.owner))
        except KeyboardInterrupt:
            if cycles:  # reviewers see how far it came
                with watch.lap("track"):
                    published(config, ports, cycles)
            raise
        with watch.lap("track"):
            page = published(config, ports, cycles)
        if not left and cycles:
            console.note(f"nothing is left to do: every window up to {cycles[-1].window} is decided on")
    totals = shown(watch)
    console.timings(totals, watch.wall)
    champion = cycles[-1].champion_after if cycles else ""
    held = champion[:12] or "nothing, for no model has passed its gates"
    console.note(f"in production: {held}; the report is {page}")
    answer = {
        "loop": config.loop.name,
        "windows": len(cycles),
        "champion": champion,
        "decisions": _count(c.decision.action.value for c in cycles if c.decision),
        "verdicts": _count(f"{v.gate} {v.outcome.value}" for c in cycles for v in c.verdicts),
        "changes": _count(s.target.value for c in cycles for s in c.changes),
        "report": str(page),
        "seconds": {**{k: round(v, 3) for k, v in totals.items()}, "wall": round(watch.wall, 3)},
    }
    return (0 if champion else NEGATIVE), answer


def published(config: Config, ports: Ports, cycles: Sequence[Cycle]) -> Path:
    """Model cards and the report of these cycles, for people and the tracker; where the report is."""
    for fault in card.write_all(ports.ledger, ports.store, config.folder, owner=config.promote.owner):
        ports.console.warn(fault)
    page = pages.write_report(config, ports.ledger, cycles)
    html = page.read_text()
    if not ports.tracker.knows(digest(html)):
        ports.tracker.page(html)
    return page


def reviewed(cycle: Cycle, ports: Ports, plain: dict[str, Any], owner: str) -> Cycle:
    """Show a cycle on the terminal, and to the tracker where no command has shown it before."""
    ports.console.cycle(cycle)
    if ports.tracker.knows(name_of(cycle)):
        return cycle
    with ports.watch.lap("track"):
        sweep = sweep_of(cycle, plain)
        if sweep is not None and cycle.candidate is not None:
            tell_sweep(ports.tracker, sweep, cycle.candidate.trials)
        for change in cycle.changes:
            if change.target is Stage.PRODUCTION:
                _show_model(change.model, ports, owner)
        ports.tracker.cycle(cycle)
    return cycle


def _show_model(model: str, ports: Ports, owner: str) -> None:
    """Files and card of a model that reached production, for people and the tracker; a damaged one stops no loop."""
    try:
        card.write(ports.ledger, ports.store, model, ports.folder, owner=owner)
        files = card.export(ports.store, model, ports.folder)
    except ArtifactError as error:
        ports.console.warn(str(error))
        return
    ports.tracker.artifact(model, files, Stage.PRODUCTION.value)


def shown(watch: Stopwatch) -> dict[str, float]:
    """Laps under the names that people read."""
    totals: dict[str, float] = {}
    for lap, seconds in watch.laps.items():
        if lap in SHOWN:
            totals[SHOWN[lap]] = totals.get(SHOWN[lap], 0.0) + seconds
    return totals


def _since_process_start() -> float:
    """Seconds since this process began, imports included; 0 where the system does not tell."""
    try:
        with open("/proc/self/stat") as file:
            ticks = float(file.read().rsplit(")", 1)[1].split()[19])
        with open("/proc/uptime") as file:
            uptime = float(file.read().split()[0])
        return max(0.0, uptime - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return 0.0


def _count(words: Iterable[str]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for word in words:
        counted[word] = counted.get(word, 0) + 1
    return counted


@contextmanager
def opened(
    config: Config, composer: Composer, console: Console, watch: Stopwatch, *, alone: bool = False
) -> Iterator[tuple[Confs, Ports]]:
    """Everything a loop works with; all of it is checked before anything is written, and closed in the end.

    `alone` waits until no other process runs this loop, and keeps others waiting.
    """
    config.cluster.check_runs_here()
    trusted = trusted_packages(config.trust)
    source = config.open_source()
    names = source.names()
    search, store = make_search(config), config.open_store()
    with ExitStack() as stack:
        with watch.lap("start"):
            checked, foreign = check(config, composer, trusted)
            for remark in store.remarks():
                console.warn(remark)
            if not alone:  # Ray comes up, torch is imported; a loop may wait for others, or have nothing to do
                _end(search, watch, stack)
                search.start()
        confs = confs_of(config, checked.space, trusted)
        if not archive.ledger_exists(config):
            with watch.lap("read"):
                _check_founding(confs, source, names)
            if words := source.learnt:
                console.note(f"{config.need_data.label}: {said(words)}")
        if foreign:
            with watch.lap("start"):
                check_models(checked, lambda target: resolve(target, trusted))
        ledger = stack.enter_context(Ledger.open(config.ledger_url, config.loop.name))
        if alone:
            with watch.lap("wait"):
                lease = ledger.leased(config.loop.lease, wait=config.loop.wait, say=console.note)
                stack.enter_context(lease)
            _end(search, watch, stack)
        tracker = make_tracker(config.track, config.folder, warn=console.warn)
        stack.callback(_finish, tracker, watch, config, console)
        if checked.space.domains and not alone:  # a loop may never come to search
            console.note(checked.words)
        yield (
            confs,
            Ports(
                source=source,
                search=search,
                ledger=ledger,
                store=store,
                tracker=tracker,
                console=console,
                compose=composer,
                folder=config.folder,
                watch=watch,
                outbox=make_outbox(config.act, ledger),
                textfile=textfile_of(config),
            ),
        )


def textfile_of(config: Config) -> Path | None:
    """Where the exposition is written after each cycle."""
    return Path(config.track.openmetrics) if config.track.openmetrics else None


def _finish(tracker: Tracker, watch: Stopwatch, config: Config, console: Console) -> None:
    """All is told; and people are told what still has to be sent."""
    with watch.lap("track"):
        tracker.finish()
    if config.track.kind == "wandb" and (line := unsent(config.folder)):
        console.note(line)


def _end(search: Search, watch: Stopwatch, stack: ExitStack) -> None:
    """What the search has started ends with the stack."""

    def close() -> None:
        with watch.lap("ray"):
            search.close()

    stack.callback(close)


def check(config: Config, composer: Composer, trusted: Sequence[str]) -> tuple[Checked, bool]:
    """Everything that the config alone can tell; the search space, how much of it was checked, and whether it names
    classes that are not ours: they are allowed, and must be imported for the rest.
    """
    data = config.need_data
    checks.check_metrics(data.kind, config.evaluate, config.search)
    checks.check_gate(config.gate, config.promote, config.evaluate, data)
    checks.check_decide(config.decide)
    checks.check_act(config.act, config.evaluate.metrics)
    space = bind(config.search.space, composer)
    checks.check_searcher(config.search, space)
    foreign: set[str] = set()
    seen = check_points(space, config.search, composer, lambda target: described(target, trusted, foreign))
    return seen, bool(foreign)


def _check_founding(confs: Confs, source: ParquetSource, names: list[str]) -> None:
    """Read the windows that a new loop begins with: where they cannot be used, no ledger is made."""
    founding.check_names(names, confs.loop, confs.data)
    windows = [source.read(name, labelled=True) for name in names[: confs.loop.founding_windows]]
    schema = founding.declared(confs.validate, confs.data)
    founding.check_windows(windows[:-1], confs.validate, confs.data, schema)


def make_search(config: Config) -> Search:
    """The search that the config names."""
    if config.search.backend == "local":
        if config.search.pack == "none":
            return LocalSearch(config.search)
        from engine.train.pack.search import PackSearch

        return PackSearch(config.search)
    return RaySearch(
        config.search,
        threads=config.train.threads,
        members=config.train.workers,
        gpus=config.train.gpus,
        accelerator=config.train.accelerator,
        scratch=config.folder,
        paths=(str(Path.cwd().absolute()),),
        cluster=config.cluster,
    )


def confs_of(config: Config, space: Space, trusted: tuple[str, ...]) -> Confs:
    """What every stage is told."""
    return Confs(
        loop=config.loop,
        data=config.need_data,
        validate=config.validate,
        monitor=config.monitor,
        decide=config.decide,
        train=config.train,
        search=config.search,
        space=space,
        evaluate=config.evaluate,
        gate=config.gate,
        promote=config.promote,
        act=config.act,
        trusted=trusted,
        plain=config.plain(),
    )


def train(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """One trial with the config as it is."""
    search = replace(config.search, space={}, num_samples=1, backend="local")
    return _search(replace(config, search=search), composer, quiet, "train")


def sweep(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """Many trials over the search space."""
    if not config.search.space:
        cure = "give a key as choice(...) or interval(...), or choose search=random"
        raise ConfigError("search.space", "there is nothing to search", cure)
    return _search(config, composer, quiet, "sweep")


def _search(config: Config, composer: Composer, quiet: bool, verb: str) -> Answer:
    """Train on the newest labelled windows; the model is stored and judged on the hold-out, and no stage changes."""
    watch = Stopwatch()
    console = make_console(quiet, config.evaluate.primary)
    with opened(config, composer, console, watch) as (confs, ports):
        runner = Loop(confs, ports)
        steps = runner.steps
        mature = steps.mature(len(steps.names) - 1)
        id = digest(verb, sweeps.inputs(confs.plain), steps.names)
        decision = sweeps.unweighed(id, steps.names[mature], verb, "by hand", config.decide.currency)
        past = Past(ports.ledger, "")
        rows = steps.training_rows(past, mature)
        made = past.candidate(past.champion) if past.champion else None
        ports.tracker.start(config.loop.name, confs.plain)
        candidate = challenger.train(
            decision,
            rows,
            steps.recipe(),
            ports.search,
            ports.store,
            warm=None,
            first=made.params if made else None,
            watch=ports.look_on,
        )
        ports.search.let_go()  # Ray ends while the model is judged
        answer = sweeps.answer(candidate) | {"space": {"keys": confs.space.texts, "points": confs.space.size}}
        sweeps.show(console, candidate)
        if not candidate.model:
            return NEGATIVE, answer
        if config.track.kind != "none":
            files = card.export(ports.store, candidate.model, ports.folder)
            ports.tracker.artifact(candidate.model, files, BEST)
        judged = challenger.judge_rows(steps.model(candidate.model), None, rows.holdout, confs.data, confs.evaluate)
        _show_metrics(console, judged, f"model {candidate.model[:12]} on {rows.holdout.name}")
        if past.champion:
            console.note(f"next: `tidegate gate {candidate.model[:12]}`, is it better than the champion; nothing moves")
        answer["evaluation"] = to_plain(judged)
    return (NEGATIVE if answer["failed"] else 0), answer


def _show_metrics(console: Console, judged: Any, title: str) -> None:
    console.note(f"{title}: {judged.n_rows:,} labelled rows{_classes(judged)}")
    for e in judged.metrics:
        console.note(f"  {e.name:<28} {e.value:.4f}  [{e.low:.4f}, {e.high:.4f}]  {e.method}{e.reason}")
    for s in judged.slices:
        e = s.estimate
        said = e.reason or f"{e.value:.4f}  [{e.low:.4f}, {e.high:.4f}]"
        where = f"{e.name}, {s.column}={s.level}"
        console.note(f"  {where:<28} {said}  n={e.n:,}")
    for f in judged.found:
        e = f.effect
        console.note(f"  worse ({f.by}) where {f.slice}: {e.value:+.4f}  [{e.low:+.4f}, {e.high:+.4f}]  n={e.n:,}")
    if judged.searched and not judged.found:
        console.note(f"  of {judged.searched:,} slices that nobody declared none is seen to be worse than the rest")


def _classes(judged: Any) -> str:
    """Which class the numbers are about, where the label is words."""
    return f"; {said(judged.classes)}" if judged.classes else ""


def evaluate(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """A stored model on a labelled window; the newest one whose labels are in, and the champion, by default."""
    console = make_console(quiet, config.evaluate.primary)
    source = config.open_source()
    newest = source.names()[: -config.need_data.label_lag or None][-1:]  # of those whose labels are in
    if not config.window and not newest:
        raise ConfigError("window", "no labels are in yet", "name a window that has some: window=...")
    window = source.read(config.window or newest[0], labelled=True)
    store, trusted = config.open_store(), trusted_packages(config.trust)
    with archive.existing_ledger(config) as ledger:
        head = ledger.head(Stage.PRODUCTION)
        if config.artifact is None and head is None:
            raise ConfigError("artifact", "nothing is in production", "name a model: artifact=<beginning of its id>")
        champion = head.model if head else ""
        model = find_model(ledger, config.artifact, store) if config.artifact else champion
    beside = load(store, champion, trusted) if champion and champion != model else None
    judged = challenger.judge_rows(load(store, model, trusted), beside, window, config.need_data, config.evaluate)
    _show_metrics(console, judged, f"model {model[:12]} on {window.name}")
    for e in judged.differences:
        console.note(f"  {e.name:<28} {e.value:+.4f}  [{e.low:+.4f}, {e.high:+.4f}]  against the champion")
    return 0, to_plain(judged)
