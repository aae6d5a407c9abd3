"""A training process that outlives its trials: it imports torch and Lightning once a loop and trains what it is handed.

Ray Tune's own trial actors end with their sweep, and importing Lightning costs each of them four seconds. So the actors
that Tune sees are thin (tune.py): they pass every step on to one of these workers. The trial itself runs in a thread
here and hands over one epoch at a time, waiting for the word to go on: a scheduler can stop it after any epoch.

A worker belongs to one trial at a time, by a lease: an owner that was killed without releasing it loses it after
LEASE_SECONDS without a call, or without the first one of an owner that is being started.

A trial that is let go before its end is recorded as stopped only if the driver said that the scheduler ended it
(`ends`). Otherwise it was interrupted, or its owner died: it leaves a checkpoint and no record, and goes on later.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.records import Dataset, Epoch, Trial
from engine.train.home import Place, placed
from engine.train.sweep import (
    HelperLost,
    Interrupted,
    SweepJob,
    TrialPlan,
    forget_trial,
    make_keeper,
    read_trial,
    run_trial,
)
from engine.train.warmup import resting_collector

if TYPE_CHECKING:
    import numpy as np

    from engine.train.members import Members

LEASE_SECONDS = 30.0
START_SECONDS = 180.0  # that an owner has to come up; a busy machine takes its time


class LostLease(RuntimeError):
    """The worker belongs to another trial, or was started anew and to none: what ran in it is gone."""


class Handoff:
    """One trial in a thread, an epoch at a time. `fault` says why it ended without a record, where it did.

    `notes` are put in the record; `home` names where files go from a machine that is not the driver's (home.py);
    `paired`: the losses of single rows are kept; `members` start the other processes of a trial of several. `lost`: one
    of those was killed, and the trial may go on.
    """

    def __init__(
        self,
        job: SweepJob,
        plan: TrialPlan,
        notes: tuple[str, ...] = (),
        home: str = "",
        *,
        paired: bool = False,
        members: Members | None = None,
    ) -> None:
        self.trial, self.fault, self.lost = plan.id, "", False
        self._members = members
        self.ended: Trial | None = None
        self.losses: np.ndarray | None = None  # (N,) of the validation rows in the newest epoch
        self._paired, self._why = paired, ""
        self._epochs: queue.Queue[Epoch | None] = queue.Queue()
        self._words: queue.Queue[str] = queue.Queue()
        self._recorded, self._rests = True, False
        self._thread = threading.Thread(target=self._run, args=(job, plan, notes, home), daemon=True, name=plan.id)
        self._thread.start()

    def _run(self, job: SweepJob, plan: TrialPlan, notes: tuple[str, ...], home: str) -> None:
        try:
            with placed(job, plan.id, home) as place:
                try:
                    ended = self._trained(place, plan, notes)
                finally:  # what an interrupted trial leaves comes home, too
                    place.send()
            self.ended = ended
        except Interrupted as error:
            self.lost = isinstance(error, HelperLost)
            self.fault = "" if self._rests and not self.lost else "it was interrupted"
        except BaseException as error:  # the disk is full, say: the trial ends without a record, and Tune is told
            self.fault = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        finally:
            self._epochs.put(None)

    def _keep(self, losses: np.ndarray) -> None:
        self.losses = losses

    def _trained(self, place: Place, plan: TrialPlan, notes: tuple[str, ...]) -> Trial:
        recorded = read_trial(place.job.folder, plan.id)
        if recorded is not None:  # the worker before was lost after the record was written
            return recorded
        forget_trial(place.job.folder, plan.id)  # of an attempt that failed
        keeper = make_keeper(place.job, plan)
        keeper.notes.extend(notes)
        newest = 0

        def after(epoch: Epoch) -> bool:
            nonlocal newest
            newest = epoch.epoch
            return self._after(epoch, place)

        try:
            return run_trial(
                place.job,
                plan,
                after,
                keeper,
                why=lambda: self._why,
                on_rows=self._keep if self._paired else None,
                members=self._members,
            )
        except Interrupted:
            if self._rests:
                keeper.must_hold(newest)
            raise

    def _after(self, epoch: Epoch, place: Place) -> bool:
        place.send()
        self._epochs.put(epoch)
        if self._words.get() == "go on":
            return True
        if not self._recorded:
            raise Interrupted
        return False

    def next(self, first: bool) -> Epoch | None:
        """The next epoch; None when the trial has ended."""
        if not first:
            self._words.put("go on")
        return self._epochs.get()

    def stop(self, *, recorded: bool, why: str = "", rests: bool = False) -> None:
        """End the trial after its current epoch and wait for it; as one stopped for this reason, or without a record.
        `rests`: it must leave the checkpoint of that epoch, or `fault` says why there is none.
        """
        self._recorded, self._why, self._rests = recorded, why, rests
        self._words.put("stop")
        self._thread.join()


class Worker:
    """Runs trials of the job it was given last. Made a Ray actor by tune.py; its methods may overlap in threads."""

    def __init__(
        self,
        threads: int,
        paths: list[str],
        home: str = "",
        gpus: float | None = None,
        helpers: tuple[str, ...] = (),
    ) -> None:
        """threads, gpus: of each process of a trial. Ray shows this one the GPU that it has a share of; with 0 it sees
        none. `home` names the actor that files go to from a machine that is not the driver's; empty on that one.
        `helpers` names the actors (helper.py) that share this worker's trials.
        """
        with preparing(threads, paths, gpus):
            import engine.train.fit  # noqa: F401 - the slow import, before the first trial needs it

        self._helpers = helpers
        self._lock = threading.Lock()
        self._owner = ""
        self._last_call, self._lease = 0.0, LEASE_SECONDS
        self._busy = False
        self._home = home
        self._handoff: Handoff | None = None
        self._outcome: Trial | None = None  # of the trial that ended last
        self._started = False
        self._begun = threading.Event()
        self._losses: tuple[str, np.ndarray | None] = ("", None)
        self._ended: dict[str, str] = {}  # trials that the scheduler has ended, and why

    def ready(self) -> bool:
        """True, once the imports are done."""
        return True

    def claim(self, owner: str, lease: float = LEASE_SECONDS) -> bool:
        """Take this worker for one trial; False while another one holds it, or a helper of its is not there. `lease`:
        until its first step.
        """
        if self._helpers:
            from engine.train.helper import alive

            if not alive(self._helpers):
                return False
        with self._lock:
            expired = not self._busy and time.monotonic() - self._last_call > self._lease
            if self._owner and not expired:
                return self._owner == owner
            abandoned, self._handoff = self._handoff, None
            self._owner, self._last_call, self._lease = owner, time.monotonic(), lease
            self._begun.clear()
        if abandoned is not None:
            abandoned.stop(recorded=False)
        return True

    def ends(self, trial: str, why: str = "") -> None:
        """The scheduler has ended this trial: it is recorded as stopped, now if it rests here, else when it is let go.

        Nobody may step the trial any more.
        """
        with self._lock:
            self._ended[trial] = why
            handoff = self._handoff
            if handoff is None or handoff.trial != trial or self._busy:
                return
            self._handoff = None
        handoff.stop(recorded=True, why=why)

    def rests(self, trial: str) -> str:
        """This member of a population rests after the epoch that `step` gave last, and its checkpoint is on disk. Why
        it is not; empty also where the trial does not run here.
        """
        with self._lock:
            handoff = self._handoff
            if handoff is None or handoff.trial != trial or self._busy:
                return ""
            self._handoff = None
        handoff.stop(recorded=False, rests=True)
        return handoff.fault

    def losses(self, trial: str) -> np.ndarray | None:
        """Those of the validation rows (N,) in the newest epoch of this trial; None where it was not trained here."""
        name, losses = self._losses
        return losses if name == trial else None

    def begin(
        self,
        owner: str,
        job: SweepJob,
        plan: TrialPlan,
        arrays: dict[str, Any],
        notes: tuple[str, ...] = (),
        paired: bool = False,
        rows: tuple[Any, ...] = (),
    ) -> None:
        """Start the trial; `arrays` are the job's rows, mapped from the object store without a copy; `rows` is one
        reference to them, for helpers.

        It goes on from its newest checkpoint. `notes` are put in its record; `paired`: the losses of single rows are
        kept.
        """
        self._check(owner)
        self._ended.pop(plan.id, None)
        job = replace(job, train=Dataset(**arrays["train"]), validation=Dataset(**arrays["validation"]))
        members = self._members(plan.train.workers, rows)
        self._handoff = Handoff(job, plan, notes, self._home, paired=paired, members=members)
        self._started = False
        self._begun.set()

    def _members(self, workers: int, rows: tuple[Any, ...]) -> Members | None:
        """What starts the helpers of a trial: Ray's, where there are as many as it wants."""
        if workers == 1 or not rows or workers > 1 + len(self._helpers):
            return None
        from engine.train.helper import Actors

        return Actors(self._helpers, rows[0])

    def step(self, owner: str) -> Epoch | None:
        """Train one more epoch; None when the trial has ended. RuntimeError where it left no record, and why."""
        self._check(owner)
        begun = self._begun.wait(START_SECONDS)  # it was called before, maybe by another process, and needs its rows
        handoff = self._handoff
        if not begun or handoff is None:
            raise LostLease(f"trial {owner} was never begun")
        self._busy, self._lease = True, LEASE_SECONDS
        try:
            epoch = handoff.next(first=not self._started)
            self._started = True
            if epoch is not None:
                self._losses = (handoff.trial, handoff.losses)
            else:
                self._handoff, self._outcome = None, handoff.ended
                if handoff.lost:
                    self._owner = ""  # the trial will ask anew, perhaps here
                    raise LostLease("a helper was killed")
                if handoff.fault:
                    raise RuntimeError(f"the trial left no record: {handoff.fault}")
            return epoch
        finally:
            self._busy, self._last_call = False, time.monotonic()

    def outcome(self, owner: str) -> Trial | None:
        """The record of the trial that has just ended; None where it left none."""
        self._check(owner)
        return self._outcome

    def release(self, owner: str) -> None:
        """Give the worker back. A trial that still runs ends: recorded if the scheduler wished it so."""
        with self._lock:
            if self._owner != owner:
                return
        self.settle()

    def settle(self) -> None:
        """End whatever still runs and wait for it: the sweep is over."""
        with self._lock:
            handoff, self._handoff, self._owner = self._handoff, None, ""
        if handoff is not None:
            handoff.stop(recorded=handoff.trial in self._ended, why=self._ended.get(handoff.trial, ""))

    def _check(self, owner: str) -> None:
        with self._lock:
            if self._owner != owner:
                raise LostLease(f"trial {owner} has lost its worker to {self._owner or 'nobody'}")
            self._last_call = time.monotonic()


@contextmanager
def preparing(threads: int, paths: list[str], gpus: float | None) -> Iterator[None]:
    """A process for training: its packages, its share of a GPU (none at 0), its CPUs; it imports the rest inside."""
    import os
    import sys

    sys.path.extend(path for path in paths if path not in sys.path)
    if gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    with resting_collector():
        import torch

        if gpus and gpus < 1 and torch.cuda.is_available():  # a trial that wants more fails alone
            torch.cuda.set_per_process_memory_fraction(gpus)
        yield
        torch.set_num_threads(threads)
