"""The course of a sweep (course.py) as Ray Tune wants to be told of it: a searcher, a scheduler and a callback.

All three live in the driver and only pass questions on. Nothing of theirs is kept by Tune: the record is ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from engine.errors import TidegateError
from engine.records import Epoch
from engine.train.course import Course
from engine.train.crew import reached
from engine.train.sweep import REST, TrialPlan
from engine.train.tune_trial import GivenUp, new_owner
from engine.train.worker import START_SECONDS


def _is_news(record: logging.LogRecord) -> bool:
    """Is this line of Tune's log about more than a trial that we gave up: our record has the reason, told once."""
    return record.exc_info is None or not isinstance(record.exc_info[1], GivenUp)


logging.getLogger("ray.tune.execution.tune_controller").addFilter(_is_news)  # 25 lines a trial


class Watch(tune.Callback):  # type: ignore[misc]
    """Tells the course of epochs and ended trials as they come, and the workers what has been stopped, and why."""

    def __init__(self, course: Course, workers: list[Any]) -> None:
        self._course, self._workers = course, workers
        self._newest: dict[str, int] = {}  # trial -> its newest epoch
        self._why: dict[str, str] = {}  # trial -> why it was stopped
        self.over: set[str] = set()  # trials that Tune has done with
        self.errors: dict[str, str] = {}  # trial -> why it was given up
        self.away: dict[str, str] = {}  # trial -> how its thin actor was lost: it goes on in the next round
        self.fault: BaseException | None = None  # of the course: the sweep ends with it

    def __getstate__(self) -> dict[str, Any]:
        """Tune writes its callbacks beside the sweep; nothing of ours is read back from there."""
        return {}

    def begins(self, plan: TrialPlan) -> None:
        """A trial begins, or the next stretch of one: what was told of an earlier one does not count."""
        self.over.discard(plan.id)
        self.away.pop(plan.id, None)

    def note(self, plan: TrialPlan, result: dict[str, Any]) -> str:
        """Tell the course of an epoch, once; why the trial must stop now, empty where it goes on."""
        if self.fault is not None:
            return "stopped: the sweep ended"
        if "value" not in result or self._newest.get(plan.id) == result["epoch"]:  # the last one, as the trial ends
            return ""
        self._newest[plan.id] = result["epoch"]
        epoch = Epoch(
            epoch=result["epoch"],
            train_loss=result["train_loss"],
            value=result["value"],
            seconds=result["seconds"],
            others=tuple(result["others"]),
        )
        try:
            self._why[plan.id] = self._course.after(plan, epoch, lambda: self._losses(plan.id))
        except Exception as error:  # the disk is full, say: Tune would log it and go on
            self.fault = error
            return "stopped: the sweep ended"
        return self._why[plan.id]

    def _losses(self, trial: str) -> np.ndarray | None:
        """Those of the trial's newest epoch, through the object store."""
        return next((found for found in reached(self._workers, "losses", trial) if found is not None), None)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch ended; of the last one the scheduler is not asked."""
        self.note(trial.config["plan"], result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ended, by itself or by the scheduler; Tune asks its actor to stop only after this, and asks for the
        next point before that: so the record of a stopped trial is written now.
        """
        plan = trial.config["plan"]
        self.over.add(plan.id)
        if self.fault is not None or self._course.ended(plan):
            return
        why = self._why.get(plan.id, "")
        if why == REST:
            self._rests(plan)
            return
        reached(self._workers, "ends", plan.id, why)
        self._course.ended(plan)

    def _rests(self, plan: TrialPlan) -> None:
        """A member of a population has come as far as it may; without its checkpoint the sweep ends."""
        faults = [fault for fault in reached(self._workers, "rests", plan.id) if fault]
        try:
            if faults:
                raise TidegateError(faults[0])
            self._course.rests(plan)
        except Exception as error:  # Tune would log it and go on
            self.fault = error

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial failed for good, or its thin actor was lost: with its node, say."""
        plan = trial.config["plan"]
        self.over.add(plan.id)
        lines = [line.strip() for line in str(trial.get_error()).splitlines() if line.strip()]
        reason = lines[-1] if lines else "its actor was lost"  # the last line is the error itself
        _, given_up, why = reason.partition(f"{GivenUp.__name__}: ")
        if given_up:
            self.errors[plan.id] = why[:200]
        else:
            self.away[plan.id] = reason[:200]
        self._course.ended(plan)


class Schedule(FIFOScheduler):  # type: ignore[misc]
    """Tune's scheduler: the course decides."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self._controller: Any = None  # Tune's own

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Remember who runs the trials."""
        self._controller = tune_controller

    def end(self) -> None:
        """Let Tune end the actors of trials and give up the CPUs that it holds: after SIGTERM nobody else does."""
        if self._controller is not None:
            self._controller.cleanup()

    def __getstate__(self) -> dict[str, Any]:
        """Tune writes its scheduler beside the sweep; nothing of ours is read back from there."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Go on or stop. Tune flattens what it hands to a scheduler; the result itself lies with the trial."""
        why = self._watch.note(trial.config["plan"], result)
        return str(TrialScheduler.STOP if why else TrialScheduler.CONTINUE)


class Ahead:
    """Starts the first trial of each worker while the actor that Tune wants for it comes up, which takes seconds."""

    def __init__(self, workers: list[Any], begin: Callable[[Any, str, TrialPlan], None]) -> None:
        """`begin` starts a trial on a worker that was claimed for this owner, and does not wait."""
        self._idle = list(enumerate(workers))
        self._begin = begin

    def start(self, plan: TrialPlan) -> dict[str, Any]:
        """What the trial's actor must know to take over; nothing where it starts the trial itself."""
        while self._idle:
            index, worker = self._idle.pop(0)
            owner = new_owner(plan)
            if reached([worker], "claim", owner, START_SECONDS) == [True]:
                self._begin(worker, owner, plan)
                return {"ahead": (index, owner)}
        return {}


class Suggest(Searcher):  # type: ignore[misc]
    """Tune's searcher: the course knows the next trial."""

    def __init__(self, course: Course, watch: Watch, ahead: Ahead) -> None:
        super().__init__(metric="value", mode=course.job.mode)
        self._course, self._watch, self._ahead = course, watch, ahead

    def __getstate__(self) -> dict[str, Any]:
        """Tune writes its searcher beside the sweep; nothing of ours is read back from there."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The next plan as Tune's config."""
        if self._watch.fault is None:
            try:
                plan = self._course.next()
            except Exception as error:
                self._watch.fault = error
            else:
                if plan is not None:
                    self._watch.begins(plan)
                    return {"plan": plan, **self._ahead.start(plan)}
                if self._course.waits:
                    return None  # Tune asks again
        return Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Nothing: the course reads its record."""

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        """All is known."""
        return True

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record is ours."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to read back."""
