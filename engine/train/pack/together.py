"""One epoch of trials that train in one process: small ones of one shape vectorised, the others in turn; on threads.

Vectorised, K small trials cost little more than one: most of a small step is dispatch, which they share. A large step
is arithmetic, and K of them at once leave the caches; they are faster one after the other, by hand (byhand.py). Where
the one ends and the other begins was measured (WORK, HAND); it is a rule of sizes, not of clocks, so that a sweep run
again does the same arithmetic.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event
from time import perf_counter
from typing import Any

import torch

from engine.errors import one_line
from engine.train.pack.byhand import ByHand
from engine.train.pack.trial import Ended, PackedTrial
from engine.train.pack.vector import Unvectorised, Vector, shape_of

WORK = 4_000_000  # rows of a batch times trained numbers, up to which a step is vectorised: benchmarks/README.md
HAND = 400_000  # the same of networks that are all by hand
APART = 8  # trials of a thread, at least, where a pack is cut over threads


class Again(Exception):
    """A vectorised epoch broke off; its trials go on from their checkpoints, and take turns from there."""


class Together:
    """Trains epoch after epoch. `threads`: vectorised parts, and trials that take turns, at once."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="trial")
        self._vectors: dict[tuple[PackedTrial, ...], Vector] = {}
        self._turns: dict[Any, str] = {}  # shapes that were found to take turns, and why
        self._by_hand = ByHand()
        self._usual: dict[str, str] = {}  # trials whose steps by hand broke off, and why

    def epoch(self, trials: Sequence[PackedTrial]) -> dict[str, Exception]:
        """One epoch of every trial, scored; the fault of each that has failed, by its id: Again, or of its own code.

        An interrupt ends the steps that run, waits for them, and is let through.
        """
        stop, faults = Event(), dict[str, Exception]()
        jobs: list[Callable[[], None]] = []
        for part in self._parts(trials):
            vector = self._vectors.get(tuple(part))
            if vector is not None:
                jobs.append(lambda vector=vector: self._vectorised(vector, stop, faults))  # type: ignore[misc]
            else:
                jobs += [lambda trial=trial: self._turn(trial, stop, faults) for trial in part]  # type: ignore[misc]
        running = [self._pool.submit(job) for job in jobs]
        try:
            wait(running)
        except BaseException:
            stop.set()
            wait(running)
            raise
        for future in running:
            future.result()
        return faults

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _parts(self, trials: Sequence[PackedTrial]) -> list[list[PackedTrial]]:
        """The trials by shape, cut where there is enough for several threads; vectorised where that is possible."""
        groups: dict[Any, list[PackedTrial]] = defaultdict(list)
        for trial in trials:
            groups[shape_of(trial)].append(trial)
        parts = []
        for shape, group in groups.items():
            size = max(APART, -(-len(group) // self.threads))
            parts += [(shape, group[start : start + size]) for start in range(0, len(group), size)]
        for gone in set(self._vectors) - {tuple(part) for _, part in parts}:
            self._vectors.pop(gone).apart()
        for shape, part in parts:
            if tuple(part) not in self._vectors and len(part) > 1 and self._is_small(shape, part[0]):
                self._vectorise(shape, part)
        return [part for _, part in parts]

    def _is_small(self, shape: Any, trial: PackedTrial) -> bool:
        work = work_of(trial)
        return work <= min(WORK, HAND) or (work <= WORK and not self._by_hand.way(trial, shape).whole)

    def _vectorise(self, shape: Any, part: list[PackedTrial]) -> None:
        torch.set_num_threads(part[0].conf.threads)
        if shape not in self._turns:
            try:
                self._vectors[tuple(part)] = Vector(part)
            except Unvectorised as why:
                self._turns[shape] = str(why)
        if shape in self._turns:
            for trial in part:
                trial.note(f"not vectorised: {self._turns[shape]}")

    def _vectorised(self, vector: Vector, stop: Event, faults: dict[str, Exception]) -> None:
        trials = vector.trials
        torch.set_num_threads(trials[0].conf.threads)
        began = perf_counter()
        try:
            for index, batches in enumerate(zip(*(trial.batches() for trial in trials), strict=True)):
                if stop.is_set():
                    return
                for trial, loss in zip(trials, vector.step(index, batches), strict=True):
                    trial.stepped(index, loss)
        except Exception as error:
            why = one_line(f"it failed together ({type(error).__name__}: {error})", 160)
            self._turns[shape_of(trials[0])] = why
            self._vectors.pop(tuple(trials)).apart()
            faults.update((trial.plan.id, Again(why)) for trial in trials)
            return
        each = (perf_counter() - began) / len(trials)
        for trial in trials:
            trial.scorer.trained(each)
            _scored(trial, faults)

    def _turn(self, trial: PackedTrial, stop: Event, faults: dict[str, Exception]) -> None:
        """One trial takes its turn: one epoch, by hand where that is the same."""
        torch.set_num_threads(trial.conf.threads)
        shape, usual = shape_of(trial), self._usual.get(trial.plan.id)
        by_hand = usual is None
        try:
            if by_hand:
                why_not = self._by_hand.way(trial, shape).why_not
                by_hand = not why_not
                if why_not and shape not in self._turns:  # where it is, its record says enough
                    trial.note(f"its steps go through autograd: {why_not}")
                with self._by_hand.of(trial, shape) as step:
                    trial.train_alone(stop, step)
            else:
                trial.train_alone(stop)
        except Ended:
            return
        except Exception as error:  # whatever a user's model raises is that trial's end
            if by_hand:  # unless it does not raise it in its usual steps
                why = one_line(f"its steps by hand broke off ({type(error).__name__}: {error})", 160)
                self._usual[trial.plan.id] = why
                error = Again(why)
            faults[trial.plan.id] = error
            return
        _scored(trial, faults)


def _scored(trial: PackedTrial, faults: dict[str, Exception]) -> None:
    try:
        trial.score()
    except Exception as error:
        faults[trial.plan.id] = error


def work_of(trial: PackedTrial) -> int:
    """Rows of a batch times trained numbers: a sixth of the operations of a step, of a network of dense layers."""
    trained: int = sum(parameter.numel() for parameter in trial.model.parameters() if parameter.requires_grad)
    return trained * min(trial.conf.batch_size, len(trial.standing.train_dataloader.tensors[0]))
