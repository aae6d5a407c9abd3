"""A sweep whose trials train together in this process: local, as LocalSearch, and many at a time.

It is one pack (run.py) under the course of the sweep: so schedulers, searchers, budgets, the record and what goes on
after a kill are those of every sweep.
"""

from __future__ import annotations

from engine.records import Trial
from engine.train import capacity
from engine.train.conf import SearchConf
from engine.train.course import Course
from engine.train.pack.sizes import size
from engine.train.sweep import LocalSearch, OnEpoch, OnTrial, SweepJob
from engine.train.warmup import Warmup


class PackSearch:
    """Trials in packs. The order in which things happen depends on the record alone, not on clocks."""

    startup_seconds = 0.0

    def __init__(self, conf: SearchConf) -> None:
        self.conf = conf
        self._warmup = Warmup("engine.train.pack.run")

    def start(self) -> None:
        """Let torch and the kernels be imported while windows are read."""
        self._warmup.start()

    def let_go(self) -> None:
        """Nothing to end."""

    def close(self) -> None:
        """Nothing runs any more."""
        self._warmup.close()

    def run(self, job: SweepJob, *, on_epoch: OnEpoch, on_trial: OnTrial) -> tuple[Trial, ...]:
        """Run the trials that have not ended yet."""
        from engine.train.pack.device import on_gpu
        from engine.train.pack.run import Pack
        from engine.train.pack.together import Together

        course = Course(self.conf, job, on_epoch, on_trial)
        together = Together(self.conf.workers or capacity.cpus())
        try:
            packs = 1 if self.conf.pack == "auto" else None
            most = size(self.conf, gpu=on_gpu(plan.train for plan in job.plans))
            Pack(course, together, most, LocalSearch(self.conf), packs=packs).all()
        finally:
            together.close()
        return course.close()
