"""The one sentence: window -> validate -> monitor -> decide -> train -> evaluate -> gate -> promote -> act, and on.

Every step (steps.py, promotion.py) leaves its record in the ledger under an id that is a hash of its inputs. Run again
after a kill, the loop finds the steps that were done, does the one that was not, and goes on: the ledger reads as if
nothing had happened. What it works with is handed in, so that the sentence can be tested without Ray, W&B or Hydra.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from engine.cycle.metering import Begun, Counted, Metering
from engine.cycle.past import Past, open_window
from engine.cycle.promotion import Promotion
from engine.cycle.setting import Confs, Ports
from engine.cycle.steps import Steps
from engine.errors import ClassError
from engine.records import Action, Cycle, Window, digest


class Loop:
    """One loop over the windows of a source."""

    def __init__(self, confs: Confs, ports: Ports) -> None:
        source = Counted(ports.source)
        self.confs, self.ports = confs, replace(ports, source=source)
        self.steps = Steps(confs, self.ports)
        self.promotion = Promotion(confs, self.ports, self.steps)
        self.metering = Metering(confs, self.ports, self.steps, source)

    def run(self) -> Iterator[Cycle]:
        """Every cycle in the order of time, as it ends; those that the ledger knows are handed on as they are."""
        self.steps.acting.deliver()  # what a kill left
        for name in self._names():
            yield self.window(name)

    def left(self) -> list[str]:
        """The windows that `run` has yet to decide on."""
        return [name for name in self._names() if self.ports.ledger.find(self._id(name)) is None]

    def window(self, name: str) -> Cycle:
        """The cycle of one window; the one that the ledger knows, where it does."""
        id, index = self._id(name), self.steps.at(name)
        known = self.steps.recorded(Cycle, id)
        return known or self.cycle(id, index, founding=index == self.confs.loop.founding_windows - 1)

    def _id(self, name: str) -> str:
        return digest("cycle", self.confs.loop.name, name)

    def _names(self) -> list[str]:
        """The windows that are decided on, in the order of time, to the one where the loop is told to stop."""
        names, until = self.steps.names, self.confs.loop.until
        end = None if until is None else names.index(until) + 1
        return [name for name in names[self.confs.loop.founding_windows - 1 : end] if name not in self.steps.late]

    def cycle(self, id: str, index: int, *, founding: bool) -> Cycle:
        """One window, from its rows to what must happen because of it.

        Where labels turn out to be of a class that nobody knows, that is recorded, and the cycle begins again as after
        a kill: it finds the steps that were done, and leaves the window of those labels out.
        """
        before, begun = dict(self.ports.watch.laps), self.metering.begin()
        open_window(self.ports.ledger, id, self.steps.names[index], index)
        while True:
            past = Past(self.ports.ledger, self.steps.names[index])
            try:
                return self._cycle(id, index, past, before, begun, founding=founding)
            except ClassError as error:
                self.steps.strange(error, past)

    def _cycle(
        self, id: str, index: int, past: Past, before: dict[str, float], begun: Begun, *, founding: bool
    ) -> Cycle:
        name, mature = self.steps.names[index], self.steps.mature(index)
        window = self.steps.read(name, labelled=index <= mature and name not in past.strange)
        cycle = Cycle(
            id=id,
            loop=self.confs.loop.name,
            window=name,
            index=index,
            founding=founding,
            n_rows=window.n_rows,
            champion=past.champion,
            champion_after=past.champion,
            validation=self.steps.validate(window, past),
        )
        if cycle.validation.usable:
            cycle = self.on_usable(cycle, past, window, mature)
        cycle = replace(cycle, labels=past.came_strange, timings=self.ports.watch.since(before))  # rules look at them
        cycle = self.metering.measured(cycle, past, window, mature, begun)
        cycle = self.steps.act(cycle, past)
        head = self.promotion.production()
        cycle = replace(cycle, champion_after=head, timings=self.ports.watch.since(before))
        self.steps.forget(index)
        cycle = self.steps.record("cycle", id, cycle, cycle, model=head)
        self.steps.acting.deliver()
        self.metering.publish()
        return cycle

    def on_usable(self, cycle: Cycle, past: Past, window: Window, mature: int) -> Cycle:
        """monitor -> (shadow) -> decide -> train -> evaluate -> gate -> promote."""
        cycle = self.steps.monitor(cycle, past, window, mature)
        cycle = self.promotion.settle_shadow(cycle, past, mature)
        cycle = self.steps.decide(cycle, past, mature)
        if cycle.decision is None or cycle.decision.action is Action.KEEP:
            return cycle
        cycle = self.steps.train(cycle, past, mature)
        cycle = self.steps.evaluate(cycle, past)
        cycle = self.promotion.gate(cycle, past)
        return self.promotion.promote(cycle)
