"""A training process that takes a pack of trials; its part in the driver is driver.py.

The course of the sweep lives in the driver, and a pack asks it one question after the other: for a trial, what to do
after an epoch, that a trial has ended. An actor cannot call its driver, so the driver calls: each call hands over the
answer to the question before, and returns with the next one. A pack of one worker waits for nobody else's.
"""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import TidegateError
from engine.records import Dataset, Epoch
from engine.train.conf import SearchConf
from engine.train.home import Place
from engine.train.sweep import Interrupted, LocalSearch, SweepJob, TrialPlan
from engine.train.worker import LostLease, preparing

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a pack is begun with, beside its rows."""

    job: SweepJob  # without rows and plans
    conf: SearchConf
    size: int  # trials at most
    paired: bool  # the losses of single rows are asked for
    max_failures: int
    packs: int | None = None  # that share the memory of this machine; None: `size` is taken as it is


@dataclass(frozen=True)
class Next:
    """There is room for a trial. The answer: its plan and lines for its record, or None."""


@dataclass(frozen=True)
class After:
    """A trial has an epoch behind it. The answer: why it must stop, empty where it goes on."""

    trial: str
    epoch: Epoch
    losses: Any = None  # (N,) of the validation rows, where they are asked for


@dataclass(frozen=True)
class Over:
    """A trial has its record; or, without a name, the pack has ended: by a fault, where there is one."""

    trial: str = ""
    fault: TidegateError | None = None


Question = Next | After | Over


class Asking:
    """Stands for the course of the sweep, in a worker. Where files go from here is as home.py has it."""

    def __init__(self, order: Order, rows: dict[str, Any], home: str) -> None:
        """`home` names the actor that takes the files of a machine that is not the driver's; empty on that one."""
        train, validation = Dataset(**rows["train"]), Dataset(**rows["validation"])
        self._whole = replace(order.job, train=train, validation=validation)
        self._home, self._folder = _home(home), Path(tempfile.mkdtemp(prefix="tidegate-pack-")) if home else None
        self.job = replace(self._whole, folder=self._folder) if self._folder else self._whole
        self.paired, self.max_failures = order.paired, order.max_failures
        self.questions: queue.Queue[Question] = queue.Queue()
        self.answers: queue.Queue[Any] = queue.Queue()
        self.stop = threading.Event()
        self._notes: dict[str, tuple[str, ...]] = {}
        self._places: dict[str, Place] = {}

    def ask(self, question: Question) -> Any:
        """The driver's answer. Interrupted where the pack is to end at once."""
        if self.stop.is_set():
            raise Interrupted
        self.questions.put(question)
        answer = self.answers.get()
        if self.stop.is_set():
            raise Interrupted
        return answer

    def next(self) -> TrialPlan | None:
        """The next trial of this pack."""
        answer = self.ask(Next())
        if answer is None:
            return None
        plan: TrialPlan = answer[0]
        self._notes[plan.id] = answer[1]
        self._places[plan.id] = Place(self._whole, plan.id, self._home, self._folder)
        return plan

    def notes(self, trial: str) -> tuple[str, ...]:
        """Lines for its record: what befell it elsewhere."""
        return self._notes.pop(trial, ())

    def after(self, plan: TrialPlan, epoch: Epoch, losses: Callable[[], np.ndarray | None]) -> str:
        """An epoch ended: why its trial must stop now."""
        self._places[plan.id].send()
        why: str = self.ask(After(plan.id, epoch, losses() if self.paired else None))
        return why

    def ended(self, plan: TrialPlan) -> bool:
        """A trial has its record."""
        self._places.pop(plan.id).send()
        return bool(self.ask(Over(plan.id)))

    def rests(self, plan: TrialPlan) -> None:
        """A trial that trains alone was interrupted: populations, whose members rest, are not packed."""
        raise Interrupted

    def close(self) -> None:
        """What interrupted trials leave goes home, and the folder here goes away."""
        for place in self._places.values():
            place.send()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def _home(name: str) -> Any:
    """The actor that takes files; None on the driver's machine."""
    if not name:
        return None
    import ray

    return ray.get_actor(name)


class PackWorker:
    """One pack at a time. Made a Ray actor by crew.py; its methods may overlap in threads.

    The driver that made it is the only one that calls: there is no lease. `begin` ends what an earlier round has left.
    """

    def __init__(
        self,
        threads: int,
        paths: list[str],
        home: str = "",
        gpus: float | None = None,
        helpers: tuple[str, ...] = (),
    ) -> None:
        """As of Worker; a trial of several processes is not packed, so there are no helpers."""
        with preparing(threads, paths, gpus):
            import engine.train.pack.run  # noqa: F401 - slow: torch and the kernels, and no Lightning

        self._home = home
        self._key = ""
        self._asking: Asking | None = None
        self._thread: threading.Thread | None = None

    def ready(self) -> bool:
        """True, once the imports are done."""
        return True

    def begin(self, key: str, order: Order, rows: dict[str, Any]) -> Question:
        """Begin a pack of this key, and its first question; `rows` are mapped from the object store without a copy."""
        self.settle()
        asking = Asking(order, rows, self._home)
        self._key, self._asking = key, asking
        self._thread = threading.Thread(target=_train, args=(asking, order), daemon=True, name="pack")
        self._thread.start()
        return asking.questions.get()

    def answer(self, key: str, answer: Any) -> Question:
        """Answer the question before; the next one."""
        asking = self._asking
        if asking is None or key != self._key:
            raise LostLease(f"pack {key} is not here")  # this process was started anew
        asking.answers.put(answer)
        return asking.questions.get()

    def settle(self) -> None:
        """End the pack, if one runs, and wait for it: what its trials have trained is kept."""
        asking, thread = self._asking, self._thread
        if asking is None or thread is None:
            return
        asking.stop.set()
        asking.answers.put(None)
        thread.join()
        self._asking, self._thread = None, None


def _train(asking: Asking, order: Order) -> None:
    """All of a pack, in its thread."""
    from engine.train.pack.run import Pack
    from engine.train.pack.together import Together

    over = Over()
    together = Together(1, asking.stop)
    try:
        try:
            Pack(asking, together, order.size, LocalSearch(order.conf), asking.notes, order.packs).all()
        finally:
            together.close()
            asking.close()
    except Interrupted:
        pass
    except TidegateError as error:
        over = Over(fault=error)
    except BaseException as error:  # whatever it is: the driver is told, and ends the sweep with it
        over = Over(fault=TidegateError(f"a pack ended: {type(error).__name__}: {error}"))
    finally:
        asking.questions.put(over)
