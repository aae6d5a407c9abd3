"""What Ray Tune holds of a trial: a thin actor that passes steps on. Its part in the driver is tune_course.py.

Imported only by tune.py and by Ray's own processes; it must stay free of torch, so that an actor starts in a moment.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayActorError

from engine.records import Epoch, TrialState
from engine.train.sweep import SweepJob, TrialPlan, read_trial

CLAIM_SECONDS = 120.0  # a worker is free long before: this only bounds a wait that nothing would end


def reached(workers: list[Any], method: str, *args: Any) -> list[Any]:
    """Call a method of each worker; the answers of those that live. One that was killed is being restarted."""
    answers = []
    for call in [getattr(worker, method).remote(*args) for worker in workers]:
        with contextlib.suppress(RayActorError):
            answers.append(ray.get(call))
    return answers


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """One trial at a time, trained by whichever worker is free."""

    def setup(self, config: dict[str, Any], workers: list[Any], job: SweepJob, arrays: list[Any], paired: bool) -> None:
        """Find a worker and start the trial there. `arrays` is a list of one reference, so that Ray does not fetch
        it; `paired`: the losses of single rows will be asked for.
        """
        self._workers, self._job, self._arrays, self._paired = workers, job, arrays, paired
        self._worker: Any = None
        self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        plan = config["plan"]
        self._owner = f"{plan.id}-{uuid.uuid4().hex}"
        self._worker = self._claim()
        self._last: dict[str, Any] = {}
        ray.get(self._worker.begin.remote(self._owner, self._job, plan, self._arrays[0], self._paired))

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
        plan = self.config["plan"]
        epoch: Epoch | None = ray.get(self._worker.step.remote(self._owner))
        if epoch is None:
            return self._ended(plan)
        self._last = {
            "value": epoch.value,
            "epoch": epoch.epoch,
            "train_loss": epoch.train_loss,
            "seconds": epoch.seconds,
            "others": list(epoch.others),
            "done": False,
        }
        if epoch.epoch >= plan.train.max_epochs:  # let the trial write its record before Tune hears of its end
            ray.get(self._worker.step.remote(self._owner))
            return self._ended(plan)
        return dict(self._last)

    def _ended(self, plan: TrialPlan) -> dict[str, Any]:
        trial = read_trial(self._job.folder, plan.id, failed=True)
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
