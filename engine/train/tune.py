"""The one door to Ray: a sweep on Ray Tune, with workers that start once and stay for the whole loop.

Tune decides which trial runs when and which one ASHA stops; the workers (worker.py) train; the record (sweep.py) is
ours. Ray's own state is a cache that nothing is read back from.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.cluster.conf import ClusterConf
from engine.cluster.door import Connection
from engine.errors import ConfigError, TidegateError
from engine.records import Dataset, Epoch, Trial, TrialState
from engine.train import watchdog
from engine.train.conf import SearchConf
from engine.train.crew import Crew, reached
from engine.train.sweep import OnEpoch, OnTrial, SweepJob, forget_trial, read_trial, taken_up, write_trial

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "16",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",  # that Tune waits for the end of an epoch when it is interrupted
}
LOOK_SECONDS = 1.0  # between two looks at Ray's processes
LEAVE_SECONDS = 15.0  # that the main thread gets to come back from a Ray that has ended
REST_SECONDS = 5.0  # that a trial gets to end its epoch when the sweep is interrupted


class RaySearch:
    """Trials on Ray Tune under ASHA. `start` returns at once: Ray and the workers come up while windows are read."""

    def __init__(
        self,
        conf: SearchConf,
        *,
        threads: int = 1,
        scratch: Path,
        paths: tuple[str, ...] = (),
        cluster: ClusterConf | None = None,
    ) -> None:
        self.conf, self.threads, self.scratch, self.paths = conf, threads, scratch, paths
        self._connection = Connection(cluster or ClusterConf(), _cpus())
        self._crew = Crew(threads, list(paths), conf.workers)
        self._startup = 0.0
        self._thread: threading.Thread | None = None
        self._up, self._closing = threading.Event(), threading.Event()
        self._fault: BaseException | None = None
        self._died = ""  # which of Ray's processes ended by itself
        self._left = threading.Event()  # set while no sweep runs
        self._left.set()

    @property
    def startup_seconds(self) -> float:
        """Seconds that the caller waited for Ray, its workers and Tune's scheduling."""
        return self._startup

    def start(self) -> None:
        """Bring Ray and the workers up in the background."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._live, daemon=True, name="ray")
            self._thread.start()

    def _live(self) -> None:
        """Ray's processes die with the thread that started them: so it starts them, waits, and ends them."""
        try:
            self._init()
            self._crew.fill()
        except BaseException as error:  # handed to the caller by _wait
            self._fault = error
        self._up.set()
        while not self._closing.wait(LOOK_SECONDS) and not self._died:
            self._died = watchdog.dead() if self._connection.ours and self._fault is None else ""
        if self._died and not self._left.is_set():
            watchdog.interrupt()
            if not self._left.wait(LEAVE_SECONDS):
                watchdog.leave(self._died)
        self._connection.close()

    def _init(self) -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        self._connection.open()

    @property
    def workers(self) -> list[Any]:
        """The processes that train."""
        return self._crew.workers

    def _wait(self) -> None:
        began = time.perf_counter()
        if self._died and self._thread is not None:  # start it anew
            self._thread.join()
            self._thread, self._died = None, ""
            self._crew.dismiss()
            self._up.clear()
        self.start()
        self._up.wait()
        self._startup += time.perf_counter() - began
        if isinstance(self._fault, ConfigError):
            raise self._fault
        if self._fault is not None:
            reason = " ".join(str(self._fault).split())[:200] or type(self._fault).__name__
            raise TidegateError(f"Ray could not be started: {reason}") from self._fault

    def run(self, job: SweepJob, *, on_epoch: OnEpoch, on_trial: OnTrial) -> tuple[Trial, ...]:
        """Run the plans that have not ended yet.

        Raises:
            KeyboardInterrupt: Ctrl-C; the same command goes on with what is left.
            TidegateError: Ray itself failed.
        """
        waiting = []
        for index, plan in enumerate(job.plans):
            trial = taken_up(job.folder, plan.id)
            if trial is None:
                forget_trial(job.folder, plan.id)
                waiting.append(index)
            else:
                on_trial(trial)
        away: dict[str, str] = {}
        for _ in range(self.conf.max_preemptions + 1):
            if not waiting:
                break
            self._wait()
            began = time.perf_counter()
            training, away = self._guarded(job, waiting, on_epoch, on_trial)
            self._startup += max(0.0, time.perf_counter() - began - training)
            waiting = [index for index in waiting if job.plans[index].id in away]
        for index in waiting:
            plan = job.plans[index]
            reason = f"taken away {self.conf.max_preemptions + 1} times: {away[plan.id]}"
            on_trial(write_trial(job.folder, _failed(plan.id, plan.params, reason), b""))
        return tuple(_ended(job, plan.id) for plan in job.plans)

    def _guarded(
        self, job: SweepJob, waiting: list[int], on_epoch: OnEpoch, on_trial: OnTrial
    ) -> tuple[float, dict[str, str]]:
        """`_tune`; Ray's own end takes the trials away, and an interrupt lets them rest first."""
        try:
            self._left.clear()
            with watchdog.terminable():
                self._crew.fill()
                return self._tune(job, waiting, on_epoch, on_trial)
        except TidegateError:
            raise
        except BaseException as error:
            if not self._died and not isinstance(error, KeyboardInterrupt):
                self._closing.wait(2 * LOOK_SECONDS)  # a fault of Ray's may come before its end has been seen
            if not self._died:
                self._rest()
                raise
            reason = f"Ray itself ended ({self._died})"
            left = [job.plans[index].id for index in waiting if read_trial(job.folder, job.plans[index].id) is None]
            return 0.0, dict.fromkeys(left, reason)
        finally:
            self._left.set()

    def _rest(self) -> None:
        """Let the trials end their epoch and leave a checkpoint, if that does not take long."""
        import ray

        settling = [worker.settle.remote() for worker in self.workers]
        ray.wait(settling, num_returns=len(settling), timeout=REST_SECONDS)

    def _tune(
        self, job: SweepJob, waiting: list[int], on_epoch: OnEpoch, on_trial: OnTrial
    ) -> tuple[float, dict[str, str]]:
        """One round: seconds of pure training, and the trials whose actor was lost on the way, with the reason."""
        import ray
        from ray import tune
        from ray.tune.schedulers import ASHAScheduler

        from engine.train.tune_trial import TrialActor, Watch

        arrays = ray.put({"train": vars(job.train), "validation": vars(job.validation)})
        light = replace(job, train=_empty(), validation=_empty())
        budget = max(plan.train.max_epochs for plan in job.plans)
        watch = Watch(job, self.workers, on_epoch, on_trial)
        name = f"{job.id[:12]}-{os.getpid()}-{time.time_ns()}"
        storage = (self.scratch / "ray").absolute()
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(
                    TrialActor,
                    workers=self.workers,
                    job=light,
                    arrays=[arrays],
                    limits=(self.conf.max_failures, self.conf.max_preemptions),
                ),
                {"cpu": self.threads},
            ),
            param_space={"index": tune.grid_search(waiting)},
            tune_config=tune.TuneConfig(
                metric="value",
                mode=job.mode,
                reuse_actors=True,
                max_concurrent_trials=len(self.workers),
                scheduler=ASHAScheduler(
                    time_attr="training_iteration",
                    max_t=budget,
                    grace_period=min(self.conf.grace_period, budget),
                    reduction_factor=self.conf.reduction_factor,
                ),
                trial_dirname_creator=_trial_folder,
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(storage),
                verbose=0,
                callbacks=[watch],
                failure_config=tune.FailureConfig(max_failures=0),  # TrialActor itself tries again
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        try:
            tuner.fit()
        finally:
            shutil.rmtree(storage / name, ignore_errors=True)
        if len(watch.over) < len(waiting):
            self._rest()  # it was interrupted
        else:
            reached(self.workers, "settle")
        for index in waiting:
            plan = job.plans[index]
            if plan.id in watch.errors and read_trial(job.folder, plan.id, failed=True) is None:
                write_trial(job.folder, _failed(plan.id, plan.params, watch.errors[plan.id]), b"")
            watch.tell(index)
        left = {
            plan.id for plan in (job.plans[i] for i in waiting) if read_trial(job.folder, plan.id, failed=True) is None
        }
        if left - set(watch.away):
            raise KeyboardInterrupt  # Tune returns as if nothing had happened when it is interrupted
        return watch.training_seconds(len(self.workers)), {name: watch.away[name] for name in left}

    def close(self) -> None:
        """End the workers, and Ray where we started it."""
        if self._thread is None:
            return
        self._up.wait()
        self._crew.dismiss()
        self._closing.set()
        self._thread.join()


def _empty() -> Dataset:
    """What a job carries in place of rows: those travel once, through the object store."""
    return Dataset(numeric=np.empty((0, 0)), categorical=np.empty((0, 0)), target=None, rows=np.empty(0))


def _cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _trial_folder(trial: Any) -> str:
    return str(trial.trial_id)


def _failed(trial: str, params: dict[str, Any], reason: str) -> Trial:
    nothing: tuple[Epoch, ...] = ()
    return Trial(
        id=trial,
        params=params,
        state=TrialState.FAILED,
        reason=reason,
        curve=nothing,
        best_epoch=0,
        value=float("nan"),
        seconds=0.0,
    )


def _ended(job: SweepJob, trial: str) -> Trial:
    """The record of a trial, failed ones included."""
    found = read_trial(job.folder, trial, failed=True)
    if found is None:
        raise ConfigError(str(job.folder / trial), "the record of this trial is gone", "run the same command again")
    return found
