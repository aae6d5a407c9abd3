"""What Ray Tune holds of a trial: a thin actor that passes steps on, and a watcher in the driver.

Imported only by tune.py and by Ray's own processes; it must stay free of torch, so that an actor starts in a moment.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import ray
from ray import tune

from engine.records import Epoch, Trial, TrialState
from engine.train.crew import reached
from engine.train.sweep import OnEpoch, OnTrial, SweepJob, read_trial

CLAIM_SECONDS = 120.0  # a worker is free long before: this only bounds a wait that nothing would end


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """One trial at a time, trained by whichever worker is free."""

    def setup(self, config: dict[str, Any], workers: list[Any], job: SweepJob, arrays: list[Any]) -> None:
        """Find a worker and start the trial there. `arrays` is a list of one reference, so that Ray does not fetch
        it.
        """
        self._workers, self._job, self._arrays = workers, job, arrays
        self._worker: Any = None
        self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        plan = self._job.plans[config["index"]]
        self._owner = f"{plan.id}-{uuid.uuid4().hex}"
        self._worker = self._claim()
        self._last: dict[str, Any] = {}
        ray.get(self._worker.begin.remote(self._owner, self._job, plan, self._arrays[0]))

    def _claim(self) -> Any:
        deadline = time.monotonic() + CLAIM_SECONDS
        while time.monotonic() < deadline:
            for worker in self._workers:
                if any(reached([worker], "claim", self._owner)):
                    return worker
            time.sleep(0.02)
        raise RuntimeError(f"no worker became free within {CLAIM_SECONDS:g} seconds")

    def step(self) -> dict[str, Any]:
        """One epoch; the last result once more, with done=True, when the trial has ended. A trial that failed
        raises.
        """
        plan = self._job.plans[self.config["index"]]
        epoch: Epoch | None = ray.get(self._worker.step.remote(self._owner))
        if epoch is None:
            return self._ended()
        self._last = {
            "value": epoch.value,
            "epoch": epoch.epoch,
            "train_loss": epoch.train_loss,
            "seconds": epoch.seconds,
            "done": False,
        }
        if epoch.epoch >= plan.train.max_epochs:  # let the trial write its record before Tune hears of its end
            ray.get(self._worker.step.remote(self._owner))
            return self._ended()
        return dict(self._last)

    def _ended(self) -> dict[str, Any]:
        trial: Trial | None = ray.get(self._worker.outcome.remote(self._owner))
        if trial is None or trial.state is TrialState.FAILED:
            raise RuntimeError(trial.reason if trial else "the trial left no record")
        return {**self._last, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial: this actor is reused."""
        self.cleanup()
        self.config = new_config
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """Give the worker back; a trial that the scheduler cut short writes its record on the way."""
        if self._worker is not None:
            reached([self._worker], "release", self._owner)
            self._worker = None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the record of a trial is the worker's."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load: a trial that failed starts anew."""


class Watch(tune.Callback):  # type: ignore[misc]
    """Tells the driver of epochs and ended trials as they come, and the workers what the scheduler has ended."""

    def __init__(self, job: SweepJob, workers: list[Any], on_epoch: OnEpoch, on_trial: OnTrial) -> None:
        self._job, self._workers, self._on_epoch, self._on_trial = job, workers, on_epoch, on_trial
        self._seconds = 0.0
        self._told: set[str] = set()
        self._newest: dict[str, int] = {}  # trial -> its newest epoch
        self.errors: dict[str, str] = {}  # trial -> why Tune gave it up

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
        if read_trial(self._job.folder, plan.id, failed=True) is None:
            reached(self._workers, "ends", plan.id)
        self._tell(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial failed for good: by its own record, or because its worker died."""
        error = trial.get_error()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]  # the last one is the error itself
        self.errors[self._job.plans[trial.config["index"]].id] = lines[-1][:200] if lines else type(error).__name__
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
