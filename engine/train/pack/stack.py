"""Parameters and moments of the trials of one shape, in matrices with a row a trial.

A trial joins as soon as it is made, before the next one is: its parameters move into its row, and what they left is
used by the next. So a pack holds every number once. Rows that nobody has used yet take no memory, and when trials
leave, those that stay move up in place.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from engine.train.pack import mapped
from engine.train.pack.adam import can, stacked_step

ROWS = 64  # of a new stack: address space, not memory
MOMENTS = ("exp_avg", "exp_avg_sq")


class Stack:
    """Its first rows are in use. `moments` are those of Adam, None where an optimizer is another one's.

    What is a view of a row stays so when the row moves: parameters, and moments and step counts in the state of the
    optimizer, where schedules and checkpoints read and write them.
    """

    def __init__(self, trial: Any) -> None:
        """For trials of the shape of this one."""
        own = trained(trial)
        sizes = torch.tensor([0, *(parameter.numel() for parameter in own)]).cumsum(0).tolist()
        self.shapes = [parameter.shape for parameter in own]
        self.spans = list(itertools.pairwise(sizes))  # where each parameter lies in a row
        self.weights = mapped.zeros(ROWS, sizes[-1])
        self.moments = [mapped.zeros(ROWS, sizes[-1]) for _ in MOMENTS] if can(trial.optimizer, own) else None
        self.counts = torch.zeros(ROWS)  # steps
        self._trials: list[Any] = []

    def __len__(self) -> int:
        return len(self._trials)

    def __contains__(self, trial: Any) -> bool:
        return trial in self._trials

    def place(self, trial: Any) -> int:
        """The row of a trial; ValueError where it has none."""
        return self._trials.index(trial)

    def take(self, trial: Any) -> None:
        """Give a trial the next row, and put what it has there."""
        if trial in self:
            return
        if len(self) == len(self.weights):
            self._grow()
        self._trials.append(trial)
        row = len(self) - 1
        for parameter, (start, end) in zip(trained(trial), self.spans, strict=True):
            with torch.no_grad():
                self.weights[row, start:end] = parameter.detach().reshape(-1)
            if self.moments is not None:
                known = trial.optimizer.state[parameter]
                for name, matrix in zip(MOMENTS, self.moments, strict=True):
                    matrix[row, start:end] = known[name].reshape(-1) if name in known else 0.0
                self.counts[row] = known.get("step", 0.0)
        self._bind(row)

    def arrange(self, trials: Sequence[Any]) -> None:
        """These trials, all of which have rows, are the first rows in this order; others have left for good."""
        for row, trial in enumerate(trials):
            other = self.place(trial)
            if other != row:
                for matrix in (self.weights, *(self.moments or ()), self.counts):
                    matrix[[row, other]] = matrix[[other, row]]
                self._trials[row], self._trials[other] = trial, self._trials[row]
                self._bind(row)
                self._bind(other)
        del self._trials[len(trials) :]

    def release(self, trial: Any) -> None:
        """Give a trial what it has here as its own; its row is free."""
        self.arrange([*(other for other in self._trials if other is not trial), trial])  # it is the last one
        for parameter in trained(trial):
            parameter.data, parameter.grad = parameter.data.clone(), None
            if self.moments is not None:
                known = trial.optimizer.state[parameter]
                known.update({name: known[name].clone() for name in (*MOMENTS, "step")})
        self._trials.pop()

    def leaves(self, rows: slice) -> list[Tensor]:
        """The parameters of these rows, (K, *shape) each, for autograd."""
        return [
            self.weights[rows, start:end].view(rows.stop - rows.start, *shape).detach().requires_grad_()
            for shape, (start, end) in zip(self.shapes, self.spans, strict=True)
        ]

    def descend(self, rows: slice, gradients: Sequence[Tensor]) -> None:
        """One step of the optimizers of these rows down their gradients, (K, *shape) each."""
        assert self.moments is not None
        groups = [trial.optimizer.param_groups[0] for trial in self._trials[rows]]
        moments = [matrix[rows] for matrix in self.moments]
        stacked_step(groups, self.counts[rows], self.weights[rows], moments, self.spans, gradients)

    def _bind(self, row: int) -> None:
        trial = self._trials[row]
        for parameter, shape, (start, end) in zip(trained(trial), self.shapes, self.spans, strict=True):
            parameter.data = self.weights[row, start:end].view(shape)
            if self.moments is not None:
                views = (matrix[row, start:end].view(shape) for matrix in self.moments)
                trial.optimizer.state[parameter].update(zip(MOMENTS, views, strict=True), step=self.counts[row])

    def _grow(self) -> None:
        """Twice the rows, one matrix after the other."""
        self.weights = _longer(self.weights)
        for i in range(len(self.moments or ())):
            self.moments[i] = _longer(self.moments[i])  # type: ignore[index]
        self.counts = _longer(self.counts)
        for row in range(len(self)):
            self._bind(row)


def stacked(trials: Sequence[Any]) -> Stack:
    """A new stack of these trials, in their order."""
    stack = Stack(trials[0])
    for trial in trials:
        stack.take(trial)
    return stack


def trained(trial: Any) -> list[Tensor]:
    """The parameters of a trial that are trained, in the order of their names."""
    return [parameter for parameter in trial.model.parameters() if parameter.requires_grad]


def _longer(matrix: Tensor) -> Tensor:
    longer = mapped.zeros(2 * len(matrix), *matrix.shape[1:])
    longer[: len(matrix)] = matrix
    return longer
