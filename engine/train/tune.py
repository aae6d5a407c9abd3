"""The one door to Ray: a sweep on Ray Tune, with workers that start once and stay for the whole loop.

Tune runs the trials; which come next and which are stopped is asked of the course
(course.py, through tune_course.py); the workers (worker.py) train; the record (sweep.py) is ours. Ray's own state is a
cache that nothing is read back from. With search.pack each worker takes many trials at once, without Tune
(pack/driver.py).
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.cluster.conf import ClusterConf
from engine.cluster.door import Connection
from engine.errors import ConfigError, TidegateError
from engine.records import Dataset, Trial
from engine.train import capacity, watchdog
from engine.train.conf import SearchConf, require
from engine.train.course import Course
from engine.train.crew import Crew, reached
from engine.train.sweep import OnEpoch, OnTrial, SweepJob, TrialPlan
from engine.train.worker import Worker

if TYPE_CHECKING:
    from engine.train.tune_course import Watch

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
    """Trials on Ray Tune. `start` returns at once: Ray and the workers come up while windows are read."""

    def __init__(
        self,
        conf: SearchConf,
        *,
        threads: int = 1,
        scratch: Path,
        paths: tuple[str, ...] = (),
        cluster: ClusterConf | None = None,
        gpus: float | None = None,
        accelerator: str = "auto",
        members: int = 1,
    ) -> None:
        """threads, gpus, accelerator, members (train.workers): of one trial, as in TrainConf; scratch: a folder for
        what Ray writes; paths: where workers look for the user's packages.
        """
        self.conf, self.threads, self.scratch, self.paths = conf, threads, scratch, paths
        self._connection = Connection(cluster or ClusterConf(), capacity.cpus())
        self.members = members
        kind: type[Any] = Worker
        meanwhile = _import_tune
        if conf.pack != "none":
            from engine.train.pack.worker import PackWorker

            kind, meanwhile = PackWorker, _import_packs
            what = f"a trial of train.workers={members} processes is not packed"
            require(members == 1, "search.pack", what, "choose none, or train.workers=1")
        self._crew = Crew(
            threads,
            list(paths),
            conf.workers,
            gpus=gpus,
            accelerator=accelerator,
            members=members,
            kind=kind,
            meanwhile=meanwhile,
        )
        self._startup = 0.0
        self._thread: threading.Thread | None = None
        self._up, self._closing, self._down = threading.Event(), threading.Event(), threading.Event()
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
            self._crew.fill(self._closing.is_set)
        except BaseException as error:  # handed to the caller by _wait
            self._fault = error
        self._up.set()
        if self._fault is None and not self._closing.is_set():
            import engine.train.inference  # noqa: F401 - slow; while the workers train, before this process asks a model
        while not self._down.wait(LOOK_SECONDS) and not self._died:
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
        """Run the trials that have not ended yet.

        Raises:
            KeyboardInterrupt: Ctrl-C; the same command goes on with what is left.
            TidegateError: Ray itself failed.
        """
        course = Course(self.conf, job, on_epoch, on_trial)
        rounds = self.conf.max_preemptions + 1
        for turn in range(rounds):
            if not course.left:
                break
            self._wait()
            began, trained = time.perf_counter(), course.training
            away = self._guarded(course)
            training = (course.training - trained) / max(1, len(self.workers))  # had all been busy all the time
            self._startup += max(0.0, time.perf_counter() - began - training)
            for plan in reversed(course.unfinished):
                if turn + 1 < rounds:
                    course.taken_away(plan)
                else:
                    course.give_up(plan, f"taken away {rounds} times: {away[plan.id]}")
        if course.left:
            raise TidegateError(f"Ray ended {rounds} times under this sweep - look why, and run the same command again")
        return course.close()

    def _guarded(self, course: Course) -> dict[str, str]:
        """`_tune`; Ray's own end takes the trials away, and an interrupt lets them rest first."""
        try:
            self._left.clear()
            with watchdog.terminable():
                self._crew.fill()
                return self._tune(course) if self.conf.pack == "none" else self._packs(course)
        except TidegateError:
            raise
        except BaseException as error:
            if not self._died and not isinstance(error, KeyboardInterrupt):
                self._closing.wait(2 * LOOK_SECONDS)  # a fault of Ray's may come before its end has been seen
            if not self._died:
                self._rest()
                raise
            for plan in course.unfinished:
                course.ended(plan)
            return {plan.id: f"Ray itself ended ({self._died})" for plan in course.unfinished}
        finally:
            self._left.set()

    def _rest(self) -> None:
        """Let the trials end their epoch and leave a checkpoint, if that does not take long."""
        import ray

        settling = [worker.settle.remote() for worker in self.workers]
        ray.wait(settling, num_returns=len(settling), timeout=REST_SECONDS)

    def _packs(self, course: Course) -> dict[str, str]:
        """One round of packs. Trials that are left have no worker any more."""
        from engine.train.pack.driver import Packs

        try:
            crew = self._crew
            Packs(course, crew.workers, *_handed(course.job), nodes=crew.nodes, gpu=crew.share > 0).run()
        except TidegateError:
            self._rest()
            raise
        return {}

    def _tune(self, course: Course) -> dict[str, str]:
        """One round; the trials whose actor was lost on the way, with the reason: they have begun and not ended."""
        from ray import tune

        from engine.train.tune_course import Ahead, Schedule, Suggest, Watch
        from engine.train.tune_trial import TrialActor

        job = course.job
        light, arrays = _handed(job)
        watch = Watch(course, self.workers)
        schedule = Schedule(watch)
        at_once = min(self.conf.max_concurrent or len(self.workers), len(self.workers))

        def begin(worker: Any, owner: str, plan: TrialPlan) -> None:
            worker.begin.remote(owner, light, plan, arrays, paired=course.paired, rows=(arrays,))

        name = f"{job.id[:12]}-{os.getpid()}-{time.time_ns()}"
        storage = (self.scratch / "ray").absolute()
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(
                    TrialActor,
                    workers=self.workers,
                    job=light,
                    arrays=[arrays],
                    limits=(course.max_failures, self.conf.max_preemptions),
                    paired=course.paired,
                ),
                tune.PlacementGroupFactory([{"CPU": self.threads}] * self.members),  # one process each, packed
            ),
            tune_config=tune.TuneConfig(
                metric="value",
                mode=job.mode,
                num_samples=course.left,
                search_alg=Suggest(course, watch, Ahead(self.workers[:at_once], begin)),
                reuse_actors=True,
                max_concurrent_trials=at_once,
                scheduler=schedule,
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
        except KeyboardInterrupt:
            if not self._died:
                self._rest()
                schedule.end()
            raise
        finally:
            shutil.rmtree(storage / name, ignore_errors=True)
        return self._after(course, watch)

    def _after(self, course: Course, watch: Watch) -> dict[str, str]:
        """Tune has returned: take up what it has left."""
        interrupted = bool(course.left) or any(plan.id not in watch.over for plan in course.unfinished)
        if interrupted:
            self._rest()
        else:
            reached(self.workers, "settle")
        if watch.fault is not None:
            raise watch.fault
        for plan in course.unfinished:
            if not course.ended(plan) and plan.id in watch.errors:
                course.give_up(plan, watch.errors[plan.id])
        if course.left or any(plan.id not in watch.away for plan in course.unfinished):
            raise KeyboardInterrupt  # Tune returns as if nothing had happened when it is interrupted
        return watch.away

    def let_go(self) -> None:
        """End the workers, and let Ray end in the background where we started it: that takes it a second or two."""
        if self._thread is None:
            return
        self._closing.set()
        self._up.wait()
        self._crew.dismiss()
        self._down.set()

    def close(self) -> None:
        """End the workers, and Ray where we started it."""
        self.let_go()
        if self._thread is not None:
            self._thread.join()


def _import_tune() -> None:
    import engine.train.tune_course
    import engine.train.tune_trial  # noqa: F401 - a second of imports


def _import_packs() -> None:
    import engine.train.pack.driver  # noqa: F401 - without Tune


def _handed(job: SweepJob) -> tuple[SweepJob, Any]:
    """What workers need of a job: without plans and rows; and a reference to its rows in the object store."""
    import ray

    arrays = ray.put({"train": vars(job.train), "validation": vars(job.validation)})
    light = replace(job, plans=(), further=None, population=None, clusters=None, train=_empty(), validation=_empty())
    return light, arrays


def _empty() -> Dataset:
    """What a job carries in place of rows: those travel once, through the object store."""
    return Dataset(numeric=np.empty((0, 0)), categorical=np.empty((0, 0)), target=None, rows=np.empty(0))


def _trial_folder(trial: Any) -> str:
    return str(trial.trial_id)
