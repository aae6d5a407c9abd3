"""A sweep whose trials train together in this process: local, as LocalSearch, and many at a time.

It is one pack (run.py) under the course of the sweep: so schedulers, searchers, budgets, the record and what goes on
after a kill are those of every sweep.
"""

from __future__ import annotations

from engine.records import Trial
from engine.train import capacity
from engine.train.course import Course
from engine.train.pack.sizes import size
from engine.train.sweep import LocalSearch, OnEpoch, OnTrial, SweepJob


class PackSearch(LocalSearch):
    """Trials in packs. The order in which things happen depends on the record alone, not on clocks."""

    module = "engine.train.pack.run"  # without Lightning

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
            Pack(course, together, most, self, packs=packs).all()
        finally:
            together.close()
        return course.close()
