"""One epoch of trials that train in one process: in turn, or small ones of one shape vectorised; on threads.

The built-in network has no dispatch to share: its epochs are compiled (compiled.py), and take turns at every size. Of
others, K small trials that are vectorised cost little more than one: most of a small step is dispatch, which they
share. A large step is arithmetic, and K of them at once leave the caches; they are faster one after the other, by hand
(byhand.py). Where the one ends and the other begins was measured (WORK); it is a rule of sizes, not of clocks, so that
a sweep run again does the same arithmetic.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from threading import Event
from time import perf_counter, process_time, thread_time
from typing import Any

import torch

from engine.errors import one_line
from engine.train.pack import mapped
from engine.train.pack.byhand import ByHand
from engine.train.pack.gpu import GpuVector, GpuVectors
from engine.train.pack.stack import Stack
from engine.train.pack.trial import Ended, PackedTrial
from engine.train.pack.vector import Unvectorised, Vector, shape_of
from engine.train.sweep import Interrupted

WORK = 4_000_000  # rows of a batch times trained numbers, up to which a step is vectorised: benchmarks/README.md
APART = 8  # trials of a thread, at least, where a pack is cut over threads


class Again(Exception):
    """A vectorised epoch broke off; its trials go on from their checkpoints, and take turns from there."""


class Together:
    """Trains epoch after epoch. `threads`: vectorised parts, and trials that take turns, at once; who sets `stop` ends
    the epoch that runs.
    """

    def __init__(self, threads: int, stop: Event | None = None, pool: Executor | None = None) -> None:
        """`pool` of those threads; None: one of its own."""
        self.threads, self.stop = threads, stop or Event()
        # alone in the process, what the whole of it uses; else each its own thread, without those that torch adds
        self._cpu = process_time if threads == 1 else thread_time
        self._pool = pool or ThreadPoolExecutor(threads, thread_name_prefix="trial")
        self._vectors: dict[tuple[PackedTrial, ...], Vector] = {}
        self._stacks: dict[Any, Stack] = {}  # of trials that are vectorised, or may be, by shape
        self._turns: dict[Any, str] = {}  # shapes that were found to take turns, and why
        self._by_hand = ByHand()
        self._gpu = GpuVectors()
        self._usual: dict[str, str] = {}  # trials whose steps by hand broke off, and why

    def epoch(self, trials: Sequence[PackedTrial]) -> Generator[tuple[PackedTrial, Exception | None]]:
        """One epoch of every trial: each comes, scored, as soon as it and those before it have ended; with its fault
        where it has failed: Again, or of its own code.

        Where the caller leaves, or is interrupted, the steps that run end, and are waited for; so they do where `stop`
        is set meanwhile, which raises Interrupted.
        """
        faults = dict[str, Exception]()
        jobs: list[tuple[list[PackedTrial], Future[None]]] = []
        here = self._parts([trial for trial in trials if not trial.device.is_gpu])
        there = self._gpu.parts([trial for trial in trials if trial.device.is_gpu])
        for part, vector in itertools.chain(here, there):
            if vector is not None:
                jobs.append((part, self._pool.submit(self._vectorised, vector, faults)))
            else:
                jobs += [([trial], self._pool.submit(self._turn, trial, faults)) for trial in part]
        over = False
        try:
            for part, job in jobs:
                job.result()
                for trial in part:
                    if self.stop.is_set():
                        raise Interrupted
                    yield trial, faults.get(trial.plan.id)
            over = True
        finally:
            if not over:
                self.stop.set()
                wait([job for _, job in jobs])

    def close(self) -> None:
        """End the threads. Models may be asked in this process from here on: torch takes its tensors from the heap."""
        self._pool.shutdown()
        mapped.large_from(mapped.MOST)

    def _parts(self, trials: Sequence[PackedTrial]) -> list[tuple[list[PackedTrial], Vector | None]]:
        """The trials by shape, cut where there is enough for several threads, and what trains each part together; None
        where its trials take turns.
        """
        groups: dict[Any, list[PackedTrial]] = defaultdict(list)
        for trial in trials:
            groups[shape_of(trial)].append(trial)
        parts, vectors = [], dict[tuple[PackedTrial, ...], Vector]()
        for shape, group in groups.items():
            size = max(APART, -(-len(group) // self.threads))
            cut = [group[start : start + size] for start in range(0, len(group), size)]
            several = [part for part in cut if len(part) > 1 and self._is_small(shape, part[0])]
            if several and shape not in self._turns:
                self._stacked(shape, group).arrange(group)
            for part in several:
                vector = self._vectors.get(tuple(part)) or self._vectorise(shape, part)
                if vector is not None:
                    vectors[tuple(part)] = vector
            parts += cut
        self._vectors = vectors
        self._unstack(groups)
        mapped.trim()
        return [(part, vectors.get(tuple(part))) for part in parts]

    def joins(self, trials: Sequence[PackedTrial]) -> None:
        """They will train, between two epochs: what they hold moves to where they will train, before more is made."""
        for trial in trials:
            shape = shape_of(trial)
            if shape not in self._turns and self._is_small(shape, trial):
                self._stacked(shape, [trial])
            elif trial.device.by_hand:
                self._by_hand.joins(trial, shape)

    def _stacked(self, shape: Any, trials: Sequence[PackedTrial]) -> Stack:
        if shape not in self._stacks:
            self._stacks[shape] = Stack(trials[0])
        for trial in trials:
            self._stacks[shape].take(trial)
        return self._stacks[shape]

    def _unstack(self, groups: Mapping[Any, Sequence[PackedTrial]]) -> None:
        """Who is not vectorised has what is its own, in memory that is aligned as it would be alone."""
        together = {trial for part in self._vectors for trial in part}
        for shape, stack in list(self._stacks.items()):
            for trial in reversed(groups.get(shape, ())):
                if trial in stack and trial not in together:
                    stack.release(trial)
            if not together.intersection(groups.get(shape, ())):
                del self._stacks[shape]

    def _is_small(self, shape: Any, trial: PackedTrial) -> bool:
        if trial.device.is_gpu or work_of(trial) > WORK:  # on a GPU: gpu.py has them
            return False
        return not (trial.device.by_hand and self._by_hand.way(trial, shape).compiled)

    def _vectorise(self, shape: Any, part: list[PackedTrial]) -> Vector | None:
        torch.set_num_threads(part[0].conf.threads)
        if shape not in self._turns:
            try:
                return Vector(part, self._stacks[shape])
            except Unvectorised as why:
                self._turns[shape] = str(why)
        for trial in part:
            trial.note(f"not vectorised: {self._turns[shape]}")
        return None

    def _vectorised(self, vector: Vector, faults: dict[str, Exception]) -> None:
        """One epoch of trials that are vectorised: each has its part of the time, and is scored."""
        trials = vector.trials
        torch.set_num_threads(trials[0].conf.threads)
        began, used = perf_counter(), self._cpu()
        try:
            if not vector.train(self.stop):
                return
        except Exception as error:
            why = one_line(f"it failed together ({type(error).__name__}: {error})", 160)
            self._broke_off(vector, why)
            faults.update((trial.plan.id, Again(why)) for trial in trials)
            return
        each, cpu = (perf_counter() - began) / len(trials), (self._cpu() - used) / len(trials)
        for trial in trials:
            trial.scorer.trained(each)
            trial.cpu_seconds += cpu
            self._scored(trial, faults)

    def _broke_off(self, vector: Vector, why: str) -> None:
        """An epoch of these trials has raised: they take turns from there on."""
        if isinstance(vector, GpuVector):
            self._gpu.broke_off(vector, why)
        else:
            self._turns[shape_of(vector.trials[0])] = why
            del self._vectors[tuple(vector.trials)]

    def _turn(self, trial: PackedTrial, faults: dict[str, Exception]) -> None:
        """One trial takes its turn: one epoch, by hand where that is the same."""
        torch.set_num_threads(trial.conf.threads)
        shape, usual = shape_of(trial), self._usual.get(trial.plan.id)
        by_hand, used = usual is None and trial.device.by_hand, self._cpu()
        try:
            if by_hand:
                way = self._by_hand.way(trial, shape)
                why_not, by_hand = way.why_not, not way.why_not
                if way.why_not_compiled:
                    trial.note(f"its epochs are not compiled: {way.why_not_compiled}")
                if why_not and shape not in self._turns:  # where it is, its record says enough
                    trial.note(f"its steps go through autograd: {why_not}")
                self._by_hand.train(trial, shape, self.stop)
            else:
                trial.train_alone(self.stop)
        except Ended:
            return
        except Exception as error:  # whatever a user's model raises is that trial's end
            if by_hand:  # unless it does not raise it in its usual steps
                why = one_line(f"its steps by hand broke off ({type(error).__name__}: {error})", 160)
                self._usual[trial.plan.id] = why
                error = Again(why)
            faults[trial.plan.id] = error
            return
        finally:
            trial.cpu_seconds += self._cpu() - used
        self._scored(trial, faults)
        mapped.trim()

    def _scored(self, trial: PackedTrial, faults: dict[str, Exception]) -> None:
        used = self._cpu()
        try:
            trial.score()
        except Exception as error:
            faults[trial.plan.id] = error
        trial.cpu_seconds += self._cpu() - used


def work_of(trial: PackedTrial) -> int:
    """Rows of a batch times trained numbers: a sixth of the operations of a step, of a network of dense layers."""
    return trial.numbers * min(trial.conf.batch_size, len(trial.standing.train_dataloader.tensors[0]))
