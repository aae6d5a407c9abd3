"""What Ray Tune holds of a trial: a thin actor that passes steps on. Its part in the driver is tune_course.py.

Imported only by tune.py and by Ray's own processes; it must stay free of torch, so that an actor starts in a moment.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import ray
from ray import tune
from ray.exceptions import GetTimeoutError, OutOfMemoryError

from engine.records import Epoch, Trial, TrialState
from engine.train.crew import reached
from engine.train.lost import LOST
from engine.train.patience import LAST_NOTES, Patience
from engine.train.sweep import SweepJob, TrialPlan

CLAIM_SECONDS = 120.0  # a worker is free long before: this only bounds a wait that nothing would end
ANSWER_SECONDS = 5.0  # a worker answers in milliseconds, unless its process is being started


def new_owner(plan: TrialPlan) -> str:
    """Who holds a worker for one attempt at a trial."""
    return f"{plan.id}-{uuid.uuid4().hex}"


class GivenUp(RuntimeError):
    """A trial has failed for good."""


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """One trial at a time, trained by whichever worker is free, and again where that is lost.

    The trial starts at the first `step`, unless the driver has started it ahead (tune_course.py).
    """

    def setup(
        self,
        config: dict[str, Any],
        workers: list[Any],
        job: SweepJob,
        arrays: list[Any],
        limits: tuple[int, int],
        paired: bool,
    ) -> None:
        """`arrays` is a list of one reference, so that Ray does not fetch it; `limits` are max_failures and
        max_preemptions; `paired`: the losses of single rows will be asked for.
        """
        self._workers, self._job, self._arrays = workers, job, arrays
        self._limits, self._paired = limits, paired
        self._worker: Any = None
        self._new_trial()

    def _new_trial(self) -> None:
        self._owner = ""
        self._ahead: tuple[int, str] | None = self.config.get("ahead")  # it runs already: the worker, its owner there
        self._last: dict[str, Any] = {}
        self._notes: list[str] = []
        self._patience = Patience(*self._limits)

    @property
    def _plan(self) -> TrialPlan:
        plan: TrialPlan = self.config["plan"]
        return plan

    def _advance(self) -> Epoch | None:
        """The trial's next epoch; None when it has ended. It is begun where no worker has it."""
        if self._worker is None and self._ahead is not None:
            (index, self._owner), self._ahead = self._ahead, None
            self._worker = self._workers[index]
        if self._worker is None:
            self._owner = new_owner(self._plan)
            self._worker = self._claim()
            begin = self._worker.begin.remote(
                self._owner,
                self._job,
                self._plan,
                self._arrays[0],
                tuple(self._notes),
                self._paired,
                tuple(self._arrays),
            )
            ray.get(begin)
        epoch: Epoch | None = ray.get(self._worker.step.remote(self._owner))
        return epoch

    def _claim(self) -> Any:
        """A worker that is free. One whose process is just being started does not answer: the next one is asked."""
        deadline = time.monotonic() + CLAIM_SECONDS
        silent = []
        while time.monotonic() < deadline:
            for worker in self._workers:
                try:
                    claimed = ray.get(worker.claim.remote(self._owner), timeout=ANSWER_SECONDS)
                except GetTimeoutError:
                    silent.append(worker)
                except LOST:
                    continue
                else:
                    if claimed:
                        for other in silent:  # should it answer yet: it is not needed
                            other.release.remote(self._owner)
                        return worker
            time.sleep(0.02)
        raise RuntimeError(f"no worker became free within {CLAIM_SECONDS:g} seconds")

    def step(self) -> dict[str, Any]:
        """One epoch; the last result once more, with done=True, when the trial has ended. One that is given up raises
        GivenUp. Epochs that Tune has seen, before the worker was lost or in another one's place, are passed over.
        """
        while True:
            try:
                epoch = self._advance()
                trial = self._outcome() if epoch is None else None
            except LOST as error:
                self._lost(error)
                continue
            if epoch is None:
                if trial is None or trial.state is TrialState.FAILED:
                    self._failed(trial.reason if trial else "the trial left no record")
                    continue
                return {**self._last, "done": True}
            self._last = {
                "value": epoch.value,
                "epoch": epoch.epoch,
                "train_loss": epoch.train_loss,
                "seconds": epoch.seconds,
                "others": list(epoch.others),
                "done": False,
            }
            # After the last one let the trial write its record before Tune hears of its end.
            if self._plan.since + self.iteration < epoch.epoch < self._plan.train.max_epochs:
                return dict(self._last)

    def _outcome(self) -> Trial | None:
        """The record of the trial that has just ended; it may lie on another machine than this one."""
        assert self._worker is not None
        trial: Trial | None = ray.get(self._worker.outcome.remote(self._owner))
        return trial

    def _failed(self, reason: str) -> None:
        """The trial failed by itself: once more, anew, or given up."""
        self._let_go()
        if not self._patience.failed():
            raise GivenUp(reason)

    def _lost(self, error: Exception) -> None:
        """The worker is lost, and not by a word of the trial: on with another one, or given up."""
        self._worker = None
        epoch = int(self._last.get("epoch", 0))
        reason = self._patience.taken_away(epoch, memory=isinstance(error, OutOfMemoryError))
        if reason:
            raise GivenUp(reason) from None
        self._notes = [*self._notes[: LAST_NOTES - 1], f"its worker was lost after epoch {epoch}"]

    def _let_go(self) -> None:
        if self._worker is not None:
            reached([self._worker], "release", self._owner)
            self._worker = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial: this actor is reused."""
        self._let_go()
        self.config = new_config
        self._new_trial()
        return True

    def cleanup(self) -> None:
        """Give the worker back; a trial that the scheduler cut short writes its record on the way."""
        self._let_go()
