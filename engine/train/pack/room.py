"""How many trials a pack has room for (search.pack=auto): by what one more of them was seen to take.

A trial of a new kind is judged by one step of a copy on a few rows: where as many like it as a pack may have would take
a small part of the memory, that is enough. Else it is rehearsed: FEW trials like it, then twice as many, take two real
steps on whole batches, in the way in which the pack would take them, and the difference is what further ones take. Of
what is free when the pack begins KEPT stays free. What was measured stands in the record of each trial. Where it is
wrong all the same, steps and packs are cut in two (vector.py, driver.py).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import Any

from engine.records import Dataset
from engine.train.checkpoint import Keeper
from engine.train.pack import gauge
from engine.train.pack.together import Together
from engine.train.pack.trial import PROBE_ROWS, Batch, PackedTrial
from engine.train.pack.vector import out_of_memory
from engine.train.scorer import known_warnings
from engine.train.sweep import SweepJob

FEW = 2  # trials of the first rehearsal: one alone would not be vectorised
KEPT = 0.2  # of what is free: for predictions, checkpoints, and what is not counted
SMALL = 0.25  # of what may be taken: all that is judged to take less is not rehearsed
STATE = 4  # floats a parameter: itself, its gradient, two moments
STEP = 3  # times what the forward pass of a step makes: what the whole step may take of activations


@dataclass(frozen=True)
class Cost:
    """Bytes: of the first trial beside what each takes, and of each; `numbers` are trained in the one that was seen."""

    first: float
    each: float
    numbers: int
    measured: bool


class Room:
    """Of one pack, of `most` trials. `packs`: those that share the memory of this machine, or share of a GPU."""

    def __init__(self, job: SweepJob, most: int, packs: int = 1) -> None:
        self._job, self._most, self._packs = job, most, packs
        self._costs: dict[Any, Cost] = {}
        self._free: dict[Any, float] = {}  # that may be taken, on each device

    def joined(self, trial: PackedTrial, tensors: Batch) -> None:
        """A trial has joined the pack: what it takes is known from here on."""
        if self._most == 1:
            return
        where = trial.device
        if where not in self._free:
            share = (trial.conf.gpus or 1.0) if where.is_gpu else 1.0
            packs = 1 if where.is_gpu else self._packs  # a share of a GPU is this pack's own
            self._free[where] = (1 - KEPT) * gauge.of(where, share).free() / packs
        kind = _kind(trial)
        if kind not in self._costs:
            self._costs[kind] = self._judged(trial, tensors)
        if self._costs[kind].measured:
            trial.bytes = self._each(trial)

    def full(self, trials: Sequence[PackedTrial]) -> bool:
        """Is there no room beside these for one more like the largest of them."""
        for where, free in self._free.items():
            here = [trial for trial in trials if trial.device == where]
            if not here:
                continue
            each = [self._each(trial) for trial in here]
            if max(self._costs[_kind(trial)].first for trial in here) + sum(each) + max(each) > free:
                self._say(here, max(each), free)
                return True
        return False

    def _say(self, trials: Sequence[PackedTrial], each: float, free: float) -> None:
        size = f"one more takes {each / 2**20:.3g} MiB, and {free / 2**20:.3g} may be taken"
        for trial in trials:
            trial.note_once("its pack had no room", f" for more than {len(trials)} trials: {size}")

    def _each(self, trial: PackedTrial) -> float:
        """What a trial takes, by one of its kind."""
        cost = self._costs[_kind(trial)]
        return cost.each * trial.numbers / cost.numbers if cost.each else 0.0

    def _judged(self, trial: PackedTrial, tensors: Batch) -> Cost:
        """By a step on a few rows; by a rehearsal, where many such trials would take much."""
        meter = gauge.of(trial.device, 1.0)
        batch, few = tuple(tensor[:PROBE_ROWS] for tensor in tensors), min(PROBE_ROWS, len(tensors[0]))
        model = copy.deepcopy(trial.model)
        with known_warnings(), meter.watched() as taken:
            trial.loss(model, batch, 0)
        numbers = trial.numbers
        each = 4.0 * STATE * numbers + STEP * taken.most * _rows(trial) / few
        rough = Cost(0.0, each, max(1, numbers), measured=False)
        if each * self._most <= SMALL * self._free[trial.device]:
            return rough
        try:
            return self._rehearsed(trial, tensors) or rough
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            trial.device.let_go()
            return Cost(0.0, math.inf, max(1, numbers), measured=False)

    def _rehearsed(self, trial: PackedTrial, tensors: Batch) -> Cost | None:
        """None where a trial fails in it: it will do so in the pack, and say why."""
        numbers, one = max(1, trial.numbers), self._rehearse(trial, tensors, FEW)
        if one is not None and 2 * one.most > self._free[trial.device]:  # twice as many would not fit
            return Cost(0.0, max(1.0, one.most / FEW), numbers, measured=True)
        two = self._rehearse(trial, tensors, 2 * FEW)
        if one is None or two is None:
            return None
        steps = (two.most - two.end) - (one.most - one.end)  # activations and gradients
        again = max(0.0, steps) if trial.device.is_gpu else 0.0  # a CUDA graph holds them a second time
        slopes = two.most - one.most + again, two.end - one.end  # the most may have been at the first of them
        each = max(1.0, *slopes) / FEW
        return Cost(max(0.0, two.most - 2 * slopes[0]), each, numbers, measured=True)

    def _rehearse(self, trial: PackedTrial, tensors: Batch, count: int) -> gauge.Taken | None:
        """Two steps of so many trials like this one, of which nothing is left."""
        few: dict[str, Any] = {key: rows[:PROBE_ROWS] for key, rows in vars(self._job.validation).items()}
        job = replace(self._job, validation=Dataset(**few))
        rows = tuple(tensor[: 2 * _rows(trial)] for tensor in tensors)
        together = Together(1, pool=Here())
        meter = gauge.of(trial.device, 1.0)
        with known_warnings(), meter.watched() as taken:
            trials = [PackedTrial(job, trial.plan, Keeper(None, ""), rows, lambda epoch: "") for _ in range(count)]
            faults = [fault for _, fault in together.epoch(trials)]
        del together
        for each in trials:
            each.let_go()
        return None if any(faults) else taken


class Here(Executor):
    """Runs what is submitted at once, in the thread of who submits it: memory is watched by thread."""

    def submit(self, run: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As of Executor."""
        future: Future[Any] = Future()
        try:
            future.set_result(run(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


def _rows(trial: PackedTrial) -> int:
    return min(trial.conf.batch_size, len(trial.standing.train_dataloader.tensors[0]))


def _kind(trial: PackedTrial) -> Any:
    """Trials of about one size: class of model and optimizer, rows of a batch, and numbers up to a factor of two."""
    size = trial.numbers.bit_length()
    return (trial.device, type(trial.model), type(trial.optimizer), _rows(trial), size)
