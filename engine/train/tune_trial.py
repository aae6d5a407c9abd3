"""What Ray Tune holds of a trial: a thin actor that passes steps on, and a watcher in the driver.

Imported only by tune.py and by Ray's own processes; it must stay free of torch, so that an actor starts in a moment.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import (
    ActorUnschedulableError,
    GetTimeoutError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    WorkerCrashedError,
)

from engine.records import Epoch, Trial, TrialState
from engine.train.crew import reached
from engine.train.patience import Patience
from engine.train.sweep import OnEpoch, OnTrial, SweepJob, TrialPlan, read_trial
from engine.train.worker import LostLease

CLAIM_SECONDS = 120.0  # a worker is free long before: this only bounds a wait that nothing would end
ANSWER_SECONDS = 5.0  # a worker answers in milliseconds, unless its process is being started
LAST_NOTES = 8  # that are kept
CHECKPOINT = "trial.checkpoint"
LOST = (RayActorError, OutOfMemoryError, NodeDiedError, WorkerCrashedError, ActorUnschedulableError, LostLease)


class GivenUp(RuntimeError):
    """A trial has failed for good."""


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """One trial at a time, trained by whichever worker is free, and again where that is lost.

    The trial starts at the first `step`: what `load_checkpoint` brings before that, it goes on from.
    """

    def setup(
        self, config: dict[str, Any], workers: list[Any], job: SweepJob, arrays: list[Any], limits: tuple[int, int]
    ) -> None:
        """`arrays` is a list of one reference, so that Ray does not fetch it; `limits` are max_failures and
        max_preemptions.
        """
        self._workers, self._job, self._arrays, self._limits = workers, job, arrays, limits
        self._worker: Any = None
        self._new_trial()

    def _new_trial(self) -> None:
        self._owner = ""
        self._last: dict[str, Any] = {}
        self._donor = b""
        self._notes: list[str] = []
        self._patience = Patience(*self._limits)

    @property
    def _plan(self) -> TrialPlan:
        index: int = self.config["index"]
        return self._job.plans[index]

    def _advance(self) -> Epoch | None:
        """The trial's next epoch; None when it has ended. It is begun where no worker has it."""
        if self._worker is None:
            self._owner = f"{self._plan.id}-{uuid.uuid4().hex}"
            self._worker = self._claim()
            begin = self._worker.begin.remote(
                self._owner, self._job, self._plan, self._arrays[0], self._donor, tuple(self._notes)
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
                "done": False,
            }
            # After the last one let the trial write its record before Tune hears of its end.
            if self.iteration < epoch.epoch < self._plan.train.max_epochs:
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

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Where the trial stands, for another one to go on from. The trial itself does not need it: its own checkpoints
        lie in its folder.
        """
        data = b"" if self._worker is None else ray.get(self._worker.checkpoint.remote(self._owner))
        (Path(checkpoint_dir) / CHECKPOINT).write_bytes(data)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Go on from what `save_checkpoint` of another trial wrote, with the hyperparameters of this one. What this
        trial itself wrote changes nothing.
        """
        self._donor = (Path(checkpoint_dir) / CHECKPOINT).read_bytes()


class Watch(tune.Callback):  # type: ignore[misc]
    """Tells the driver of epochs and ended trials as they come, and the workers what the scheduler has ended."""

    def __init__(self, job: SweepJob, workers: list[Any], on_epoch: OnEpoch, on_trial: OnTrial) -> None:
        self._job, self._workers, self._on_epoch, self._on_trial = job, workers, on_epoch, on_trial
        self._seconds = 0.0
        self._told: set[str] = set()
        self._newest: dict[str, int] = {}  # trial -> its newest epoch
        self.over: set[str] = set()  # trials that Tune has done with
        self.errors: dict[str, str] = {}  # trial -> why it was given up
        self.away: dict[str, str] = {}  # trial -> how its thin actor was lost: it goes on in the next round

    def __getstate__(self) -> dict[str, Any]:
        """Tune writes its callbacks beside the sweep; nothing of ours is read back from there."""
        return {}

    def training_seconds(self, workers: int) -> float:
        """Wall seconds of pure training, had all workers been busy all the time."""
        return self._seconds / max(1, workers)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch ended."""
        if "value" not in result:
            return
        plan = self._job.plans[trial.config["index"]]
        if self._newest.get(plan.id) == result["epoch"]:
            return  # the last result once more, as the trial ends
        self._newest[plan.id] = result["epoch"]
        self._seconds += result["seconds"]
        epoch = Epoch(
            epoch=result["epoch"],
            train_loss=result["train_loss"],
            value=result["value"],
            seconds=result["seconds"],
        )
        self._on_epoch(plan.id, epoch)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ended, by itself or by the scheduler; Tune asks its actor to stop only after this."""
        plan = self._job.plans[trial.config["index"]]
        self.over.add(plan.id)
        if read_trial(self._job.folder, plan.id, failed=True) is None:
            reached(self._workers, "ends", plan.id)
        self._tell(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial failed for good, or its thin actor was lost: with its node, say."""
        lines = [line.strip() for line in str(trial.get_error()).splitlines() if line.strip()]
        reason = lines[-1] if lines else "its actor was lost"  # the last line is the error itself
        plan = self._job.plans[trial.config["index"]]
        self.over.add(plan.id)
        given_up = reason.partition(f"{GivenUp.__name__}: ")
        if given_up[1]:
            self.errors[plan.id] = given_up[2][:200]
        else:
            self.away[plan.id] = reason[:200]
        self._tell(trial)

    def _tell(self, trial: Any) -> None:
        self.tell(trial.config["index"])

    def tell(self, index: int) -> None:
        """Report the trial once its record is there; one that the scheduler stopped may write it a moment later."""
        plan = self._job.plans[index]
        ended = read_trial(self._job.folder, plan.id, failed=True)
        if ended is not None and plan.id not in self._told:
            self._told.add(plan.id)
            self._on_trial(ended)
