"""Packs in several workers, seen from the driver: it answers what they ask, and hands on what a lost one has left.

Ray Tune has no part in it. It starts an actor for each trial, which is the very cost that a pack saves, and what it
would keep, the course and our record know already: each trial begins, is told of, stopped and recorded one by one, as
in any other sweep. Every worker trains a pack of its own, on the CPUs and the share of a GPU that it was given, and
has its fair part of the trials.

A worker that is lost takes its trials with it: they go on from their checkpoints in whichever pack has room. Where
that happens again before they have an epoch more, or Ray says for want of memory, packs are cut in two from there on,
down to single trials, whose own fault it then is (patience.py).
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError

from engine.train.course import Course
from engine.train.lost import LOST
from engine.train.pack.sizes import at_once, size
from engine.train.pack.worker import After, Next, Order, Over, Question
from engine.train.patience import LAST_NOTES, Patience
from engine.train.sweep import SweepJob, TrialPlan

AGAIN_SECONDS = 0.5  # between two calls to a worker that is lost: its process is being started
GONE_SECONDS = 120.0  # no worker came back for so long: the crew is counted anew
AWAY_SECONDS = 30.0  # after which the others take what a lost worker would have had


@dataclass
class Seat:
    """A worker, and the pack that it has."""

    worker: Any
    node: str = ""
    key: str = ""  # of the pack; empty: it has none
    asked: bool = False  # the pack has told something: it runs
    trials: dict[str, TrialPlan] = field(default_factory=dict)
    lost: float | None = None  # when it was lost, where nothing was heard of it since
    next_try: float = 0.0


class Packs:
    """One round of a sweep: until every trial has ended, or no worker is left."""

    def __init__(
        self,
        course: Course,
        workers: list[Any],
        job: SweepJob,
        rows: Any,
        *,
        nodes: Sequence[str] = (),
        gpu: bool = False,
    ) -> None:
        """`job` is without rows and plans; `rows` a reference to them in the object store. `nodes` of the workers;
        none: all are on one. `gpu`: each has a GPU, or a share of one.
        """
        self._course, self._job, self._rows = course, job, rows
        self._seats = [Seat(worker, node) for worker, node in zip(workers, nodes or [""] * len(workers), strict=True)]
        self._calls: dict[Any, Seat] = {}
        self._size, self._most = size(course.conf, gpu=gpu), at_once(course.conf, len(workers), gpu=gpu)
        self._newest: dict[str, int] = defaultdict(int)  # trial -> its newest epoch
        self._notes: dict[str, list[str]] = defaultdict(list)
        self._patience: dict[str, Patience] = defaultdict(
            lambda: Patience(course.max_failures, course.conf.max_preemptions)
        )
        self._fell: dict[str, int] = {}  # trial -> after which epoch a pack with it was lost last

    def run(self) -> None:
        """Train. Trials that are left over have no worker any more. What the record refuses is let through."""
        while self._course.left or self._course.unfinished or any(seat.asked for seat in self._seats):
            self._begin()
            ready, _ = ray.wait(list(self._calls), timeout=AGAIN_SECONDS) if self._calls else ([], [])
            for call in ready:
                self._heard(call, self._calls.pop(call))
            if not self._calls:
                if all(seat.lost and time.monotonic() - seat.lost > GONE_SECONDS for seat in self._seats):
                    return
                time.sleep(0.02)

    def _begin(self) -> None:
        """Begin a pack in each worker that has none, where there are trials for it."""
        for seat in self._seats:
            if not seat.key and time.monotonic() >= seat.next_try and self._may(seat):
                seat.key = uuid.uuid4().hex
                course = self._course
                order = Order(
                    job=self._job,
                    conf=course.conf,
                    size=self._size,
                    paired=course.paired,
                    max_failures=course.max_failures,
                    packs=sum(other.node == seat.node for other in self._seats) if course.conf.pack == "auto" else None,
                )
                self._calls[seat.worker.begin.remote(seat.key, order, self._rows)] = seat

    def _may(self, seat: Seat) -> bool:
        """May this worker have one more trial: its fair part of those that run and are left."""
        running, left = len(self._course.unfinished), self._course.left
        now = time.monotonic()
        away = sum(other.lost is not None and now - other.lost > AWAY_SECONDS for other in self._seats)
        fair = -(-(running + left) // max(1, len(self._seats) - away))
        return bool(left) and running < self._most and len(seat.trials) < min(fair, self._size)

    def _heard(self, call: Any, seat: Seat) -> None:
        try:
            question: Question = ray.get(call)
        except LOST as error:
            self._lost(seat, error)
            return
        seat.asked, seat.lost = True, None
        if isinstance(question, Over) and not question.trial:
            seat.key, seat.asked = "", False
            if question.fault is not None:
                raise question.fault
            return
        self._calls[seat.worker.answer.remote(seat.key, self._answer(seat, question))] = seat

    def _answer(self, seat: Seat, question: Question) -> Any:
        if isinstance(question, Next):
            return self._next(seat)
        plan = seat.trials[question.trial]
        if isinstance(question, After):
            self._newest[plan.id] = question.epoch.epoch
            return self._course.after(plan, question.epoch, lambda: question.losses)
        del seat.trials[plan.id]
        if not self._course.ended(plan):
            self._course.give_up(plan, "the trial left no record")
        return True

    def _next(self, seat: Seat) -> tuple[TrialPlan, tuple[str, ...]] | None:
        plan = self._course.next() if self._may(seat) else None
        if plan is None:
            return None
        seat.trials[plan.id] = plan
        return plan, tuple(self._notes[plan.id])

    def _lost(self, seat: Seat, error: Exception) -> None:
        """The worker is lost, and not by a word of its trials."""
        now = time.monotonic()
        seat.key, seat.asked, seat.lost, seat.next_try = "", False, seat.lost or now, now + AGAIN_SECONDS
        plans, seat.trials = list(seat.trials.values()), {}
        plans = [plan for plan in plans if not self._course.ended(plan)]  # its record was written, and not yet told of
        if not plans:
            return
        memory = isinstance(error, OutOfMemoryError)
        again = any(self._fell.get(plan.id) == self._newest[plan.id] for plan in plans)
        smaller = ""
        if len(plans) > 1 and (memory or again):
            self._size = min(self._size, -(-len(plans) // 2))
            smaller = f", with a pack of {len(plans)}: packs of {self._size} at most from there on"
        for plan in reversed(plans):
            epoch, patience = self._newest[plan.id], self._patience[plan.id]
            one = len(plans) == 1  # one of many is not to blame
            reason = patience.taken_away(epoch, memory=memory) if one else patience.preempted()
            if reason:
                self._course.give_up(plan, reason)
                continue
            self._fell[plan.id] = epoch
            note = f"its worker was lost after epoch {epoch}{smaller}"
            self._notes[plan.id] = [*self._notes[plan.id][: LAST_NOTES - 1], note]
            self._course.taken_away(plan)
