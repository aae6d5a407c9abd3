"""A loop without windows or models to train: cycles with a number of rows, a real ledger, a real store, and act.

Everything that acting does is real; what is left out is what comes before it. So a window costs milliseconds, and can
be killed anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from engine.act import ActConf, RuleConf
from engine.cycle.acting import Acting
from engine.cycle.conf import LoopConf
from engine.cycle.past import Past, open_window
from engine.effects import Channel, ChannelConf, Message, Outbox
from engine.effects.channels import Sent
from engine.promote.chain import Row
from engine.promote.entries import DECISION
from engine.promote.ledger import Ledger
from engine.promote.store import Store
from engine.records import Cycle, Stage, digest, from_plain, to_plain
from engine.system.timing import Stopwatch
from tests.engine.cycles import cycle
from tests.engine.promote.conftest import bring, make

LOOP = "world"


def rule(**more: Any) -> RuleConf:
    """More than ten rows is bad."""
    return RuleConf(**({"metric": "data.rows", "threshold": 10.0, "owner": "ml"} | more))


def guarded(**rules: RuleConf) -> ActConf:
    """These rules, and one channel."""
    team = ChannelConf(kind="command", argv=["/bin/true"], tries=2)
    return ActConf(rules=rules, channels={"team": team})


@dataclass
class House:
    """One loop in one folder. `sent` are the messages that came out, each time that one did."""

    folder: Path
    act: ActConf
    answer: Callable[[Message], Sent] = lambda message: Sent(ok=True, said="200")
    sent: list[Message] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Of the ledger."""
        return f"sqlite:///{self.folder}/ledger.db"

    @property
    def store(self) -> Store:
        """The artifacts."""
        return Store(self.folder / "store")

    def found(self, *texts: str) -> House:
        """Champions, one after the other; the last one is in production."""
        with Ledger.open(self.url, LOOP) as ledger:
            for text in texts:
                model = make(self.store, text)
                self.models.append(model)
                if ledger.stage_of(model) is None:
                    bring(ledger, model)
        return self

    def run(self, *rows: float) -> list[Cycle]:
        """The cycles of windows w0, w1, ..., with so many rows; those that are over are handed on."""
        with Ledger.open(self.url, LOOP) as ledger:
            acting = self._acting(ledger)
            acting.deliver()
            return [self._window(ledger, acting, index, int(n)) for index, n in enumerate(rows)]

    def rows(self, *kinds: str) -> list[Row]:
        """The rows of the ledger, the chain proved."""
        with Ledger.open(self.url, LOOP) as ledger:
            ledger.verify()
            return [row for row in ledger.rows() if not kinds or row.kind in kinds]

    def past(self, window: str = "later") -> Past:
        """What a window sees."""
        with Ledger.open(self.url, LOOP) as ledger:
            return Past(ledger, window)

    @property
    def champion(self) -> str:
        """The model in production."""
        with Ledger.open(self.url, LOOP) as ledger:
            head = ledger.head(Stage.PRODUCTION)
        return head.model if head else ""

    def _acting(self, ledger: Ledger) -> Acting:
        channels = {name: Channel(conf, self._send) for name, conf in self.act.channels.items()}
        ports: Any = SimpleNamespace(
            ledger=ledger,
            store=self.store,
            console=SimpleNamespace(warn=self.warned.append),
            watch=Stopwatch(),
            outbox=Outbox(ledger, channels, dry_run=self.act.dry_run),
        )
        confs: Any = SimpleNamespace(act=self.act, loop=LoopConf(name=LOOP))

        def record(kind: str, id: str, value: Any, cycle: Cycle) -> Any:
            return from_plain(type(value), ledger.append(kind, id, to_plain(value), window=cycle.window).payload)

        return Acting(confs, ports, record)

    def _send(self, message: Message, timeout: float) -> Sent:
        self.sent.append(message)
        return self.answer(message)

    def _window(self, ledger: Ledger, acting: Acting, index: int, n_rows: int) -> Cycle:
        """A cycle as engine/cycle/loop.py has it: opened, decided, acted on, recorded; then messages are sent."""
        name = f"w{index}"
        id = digest("cycle", LOOP, name)
        known = ledger.find(id)
        if known is not None:
            return from_plain(Cycle, known.payload)
        open_window(ledger, id, name, index)
        past = Past(ledger, name)
        action = past.asked.action if past.asked else "keep"
        ledger.append(DECISION, digest(DECISION, name), {"action": action, "window": name})
        bare: dict[str, Any] = {"monitor": None, "decision": None, "candidate": None, "evaluation": None}
        begun = cycle(
            **bare, id=id, loop=LOOP, window=name, index=index, n_rows=n_rows, verdicts=(), changes=(), actions=(),
            timings={}, champion=past.champion, champion_after=past.champion, founding=index == 0,
        )  # fmt: skip
        ended = acting.act(begun, past)
        head = ledger.head(Stage.PRODUCTION)
        ended = replace(ended, champion_after=head.model if head else "")
        row = ledger.append("cycle", id, to_plain(ended), window=name)
        acting.deliver()
        return from_plain(Cycle, row.payload)


def events(cycles: Sequence[Cycle]) -> list[str]:
    """What each window had to say, in one word; empty: nothing."""
    return [" ".join(item.event.value for item in c.actions) for c in cycles]
