"""The verb `watch`: the loop, for windows as they land. Many may watch one loop: one works, the others stand by.

It holds the lease for as long as it lives, writes a sign of life beside the ledger, and keeps Ray and its workers from
one window to the next, until nothing has come for a while. Whatever ends it, the same command goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.config.preflight import check_models
from engine.config.schema import Composer, Config
from engine.cycle.loop import Loop
from engine.cycle.past import Past
from engine.cycle.setting import Ports
from engine.cycle.telling import deliver, make_outbox
from engine.data.sources import ParquetSource
from engine.errors import ConfigError, LeaseError, TidegateError
from engine.pipeline.openmetrics import Exposition
from engine.pipeline.serving import served
from engine.promote.ledger import Ledger
from engine.records import Cycle, Stage, Window, from_plain
from engine.report.terminal import Console, make_console
from engine.system import durable
from engine.system.timing import Stopwatch
from engine.track import make_tracker
from engine.train.registry import resolve, trusted_packages
from engine.verbs import pages
from engine.verbs.running import NEGATIVE, Answer, check, confs_of, make_search, published, reviewed, textfile_of
from engine.watch.plan import Terms
from engine.watch.watcher import Event, Watcher

if TYPE_CHECKING:
    import pyarrow as pa

SIGN = "watch.json"  # beside the ledger: what the watch does, and when it was seen to live
Say = Callable[[dict[str, Any]], None]


def watch(config: Config, composer: Composer, quiet: bool = False, say: Say | None = None) -> Answer:
    """Every window as it lands. `say` is told each event as a JSON object."""
    if config.loop.until is not None:
        raise ConfigError(
            "loop.until", "a watch goes on", "end it after a window with watch.until=, or use tidegate loop"
        )
    console = make_console(quiet, config.evaluate.primary)
    with _terminated() as told_to_end:
        try:
            with Watch(config, composer, console, say) as running:
                running.follow()
        except KeyboardInterrupt:
            if not told_to_end.is_set():
                raise
            console.note("told to end: the same command goes on where it stopped")
    return running.answer()


class Watch:
    """One process that watches one loop."""

    def __init__(self, config: Config, composer: Composer, console: Console, say: Say | None) -> None:
        self.config, self.composer, self.console, self._say = config, composer, console, say
        self.conf, self.data = config.watch, config.need_data
        self.source = config.open_source()
        self.windows = self.events = 0
        self.champion, self.state = "", "starting"
        self._warm: Warm | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Watch:
        config = self.config
        config.cluster.check_runs_here()
        self.trusted = trusted_packages(config.trust)
        checked, foreign = check(config, self.composer, self.trusted)
        if foreign:
            check_models(checked, lambda target: resolve(target, self.trusted))
        self.confs = confs_of(config, checked.space, self.trusted)
        self.store = config.open_store()
        for remark in self.store.remarks():
            self.console.warn(remark)
        self.ledger = self._stack.enter_context(Ledger.open(config.ledger_url, config.loop.name))
        self.outbox = make_outbox(config.act, self.ledger)
        try:
            self._serve()
        except ConfigError:
            self._stack.close()
            raise
        self._stack.callback(self.release)
        return self

    def __exit__(self, *_error: object) -> None:
        self._sign("ended")
        self._stack.close()

    def _serve(self) -> None:
        """The loop's numbers over HTTP, where that is asked for; they end with the watch."""
        if self.conf.metrics_port is not None:
            server = served(Exposition(self.ledger), self.conf.metrics_host, self.conf.metrics_port)
            self.console.note(f"metrics are served at {self._stack.enter_context(server)}")

    # ---- the life of a watch ---------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Work while the lease is ours, stand by while it is another's, until there is no more to do."""
        self.console.note(f"watching {self.data.path} for loop {self.config.loop.name}, every {self.conf.every}")
        while True:
            lease = self.ledger.leased(self.config.loop.lease, wait=self.config.loop.wait, say=self._stand_by)
            try:
                with lease:
                    return self._work()
            except LeaseError as error:
                if self.config.loop.wait is not None:
                    raise
                self.tell(Event("standby", "", str(error), True))  # it slept too long, and another went on
                self.release()

    def _stand_by(self, line: str) -> None:
        self.tell(Event("standby", "", line))

    def _work(self) -> None:
        watcher = self._watcher()
        head = self.ledger.head(Stage.PRODUCTION)
        self.champion = head.model if head else ""
        while True:
            before = self.windows
            wait = watcher.turn()
            if self.windows > before:
                self._write_report()
            deliver(self.outbox, self.config.act, lambda line: self.tell(Event("undelivered", "", line, True)))
            if self._over(watcher):
                return
            self._sign("error" if watcher.error else "working" if not wait else "waiting", watcher, wait)
            if self._warm and watcher.idle >= self.conf.seconds("release"):
                self.release()
            time.sleep(min(wait, self._soonest(watcher)))

    def _watcher(self) -> Watcher:
        terms = Terms(
            settle=self.conf.seconds("settle"),
            grace=self.conf.seconds("grace"),
            sequence=self.conf.sequence == "auto",
            founding=self.config.loop.founding_windows,
            label_lag=self.data.label_lag,
            until=self.conf.until or "",
        )
        ports = (Landing(self.source, self.conf.marker), self.ledger, self)
        return Watcher(terms, self.conf.seconds("every"), ports, self.tell, time.monotonic, time.time)

    def _over(self, watcher: Watcher) -> bool:
        """Is there no more to do; what was wrong to the last is raised."""
        if self.conf.until is not None and watcher.known.behind(self.conf.until):
            return True
        if self.conf.idle_exit is None or watcher.idle < self.conf.seconds("idle_exit") or not watcher.quiet:
            return False
        if watcher.error is not None:
            raise watcher.error
        return True

    def _soonest(self, watcher: Watcher) -> float:
        """Seconds until idleness has a consequence."""
        limits = [self.conf.seconds("idle_exit")] if self.conf.idle_exit is not None else []
        limits += [self.conf.seconds("release")] if self._warm else []
        return max(0.05, min((left for limit in limits if (left := limit - watcher.idle) > 0), default=3600.0))

    # ---- the loop --------------------------------------------------------------------------------------------------

    def fit(self, view: Sequence[str], name: str) -> str:
        """Why a late window is not fit to be trained on; empty: it is."""
        steps = self._loop(view).steps
        report = steps.validate(steps.read(name, labelled=self.data.label_lag == 0), Past(self.ledger, name))
        return ", ".join(f"{c.name} {c.column}".strip() for c in report.blocked)

    def cycles(self, view: Sequence[str], decide: Sequence[str]) -> Iterator[Cycle]:
        """The cycles of these windows, in order."""
        loop = self._loop(view)
        for name in decide:
            self._sign(f"deciding on {name}")
            cycle = reviewed(loop.window(name), loop.ports, self.confs.plain, self.config.promote.owner)
            self.windows, self.champion = self.windows + 1, cycle.champion_after
            yield cycle

    def _loop(self, view: Sequence[str]) -> Loop:
        """A loop that sees these windows. Its caches live as long as it, so that memory does not grow."""
        if self._warm is None:
            self._warm = Warm(self)
            self.console.header(self.config.loop.name, len(view), self.config.folder)
        ports = self._warm.ports
        return Loop(self.confs, replace(ports, source=View(self.source, list(view)), watch=Stopwatch()))

    def release(self) -> None:
        """Give Ray, its workers and the tracker back; the next window starts them anew."""
        warm, self._warm = self._warm, None
        if warm is not None:
            warm.close()
            self.tell(Event("released", "", "Ray, its workers and the tracker are given back"))

    def _write_report(self) -> None:
        try:
            self._report()
        except TidegateError as error:  # the next window writes it again
            self.tell(Event("error", "", str(error), True))

    def _report(self) -> None:
        assert self._warm is not None  # a window was just decided on
        rows = [row for row in self.ledger.history() if row.kind == "cycle"][-pages.SHOWN :]
        cycles = [from_plain(Cycle, row.payload) for row in rows]
        published(self.config, self._warm.ports, cycles)

    # ---- say -------------------------------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """One line for people, one JSON object for programs."""
        self.events += 1
        name = f"{event.window}: " if event.window else ""
        if event.warning:
            self.console.warn(f"{name}{event.what}: {event.text}")
        elif event.what != "decided":  # its row says more
            self.console.note(f"{name}{event.what}{': ' * bool(event.text)}{event.text}")
        if event.what == "standby":
            self.state = "standing by"
        if self._say is not None:
            told = {"event": event.what, "loop": self.config.loop.name, "window": event.window, "at": _now()}
            self._say({**told, "text": event.text, **event.more})

    def _sign(self, state: str, watcher: Watcher | None = None, wait: float = 0.0) -> None:
        """A sign of life, for `tidegate doctor` and whoever else looks. Who stands by gives none."""
        if state == "ended" and self.state in ("starting", "standing by"):
            return
        self.state = state
        sign = {
            "loop": self.config.loop.name,
            "state": state,
            "at": _now(),
            "next": wait,
            "every": self.conf.seconds("every"),
            "window": watcher.known.frontier if watcher else "",
            "waiting": watcher.waiting if watcher else "",
            "error": str(watcher.error or "") if watcher else "",
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        with contextlib.suppress(TidegateError):  # the ledger, on the same disk, says what is wrong with it
            durable.write_text(self.config.folder / SIGN, json.dumps(sign) + "\n")

    def answer(self) -> Answer:
        """What the command gives at its end."""
        told = {"event": "ended", "loop": self.config.loop.name, "at": _now(), "windows": self.windows}
        failed = self.windows > 0 and not self.champion
        return (NEGATIVE if failed else 0), {**told, "champion": self.champion}


class Warm:
    """What is kept from one window to the next: the search with its Ray, and the tracker."""

    def __init__(self, watch: Watch) -> None:
        config = watch.config
        self.search = make_search(config)  # starts Ray with the first sweep, not before
        self.tracker = make_tracker(config.track, config.folder, warn=watch.console.warn)
        self.ports = Ports(
            source=watch.source,
            search=self.search,
            ledger=watch.ledger,
            store=watch.store,
            tracker=self.tracker,
            console=watch.console,
            compose=watch.composer,
            folder=config.folder,
            outbox=watch.outbox,
            textfile=textfile_of(config),
        )
        self.tracker.start(config.loop.name, watch.confs.plain)

    def close(self) -> None:
        """End both."""
        try:
            self.tracker.finish()
        finally:
            self.search.close()


class View:
    """A source of which only some windows are seen."""

    def __init__(self, source: ParquetSource, names: list[str]) -> None:
        self._source, self._names = source, names

    def names(self) -> list[str]:
        """Names of the windows that are seen."""
        return self._names

    def read(self, name: str, *, labelled: bool) -> Window:
        """One of them, at its place among them."""
        return replace(self._source.read(name, labelled=labelled), index=self._names.index(name))

    def labels(self, name: str) -> pa.Table:
        """Ids and labels of one of them, as they are now."""
        return self._source.labels(name)


class Landing:
    """The folder, as a watch looks at it."""

    def __init__(self, source: ParquetSource, marker: str | None) -> None:
        self._source, self._marker = source, marker

    def windows(self) -> dict[str, str]:
        """Name -> mark of each window file."""
        return self._source.windows()

    def label_marks(self) -> dict[str, str] | None:
        """Name -> mark of each label file."""
        return self._source.label_marks()

    def marked(self) -> list[str] | None:
        """Windows whose marker is there."""
        return None if self._marker is None else self._source.beside(self._marker)

    def fingerprint(self, name: str) -> str:
        """Of a window, its labels apart."""
        return self._source.read(name, labelled=False).fingerprint


@contextlib.contextmanager
def _terminated() -> Iterator[threading.Event]:
    """Set once the process was told to end (SIGTERM): work is left as after Ctrl-C, and that is no failure."""
    told = threading.Event()

    def end(*_: object) -> None:
        told.set()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
