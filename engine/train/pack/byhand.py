"""The steps of a trial that takes turns, without what autograd and the optimizer spend around the arithmetic.

The built-in network for tables has whole epochs in compiled code (compiled.py). In other networks two things are put
in place for an epoch, and are gone when it ends: each nn.Sequential runs its dense layers by hand (chain.py), and a
fused AdamW is called without the search for its tensors (adam.py). All else of a training step, the model's own or a
user's, runs as it is written.

A network of a new shape takes two steps on a copy first, both ways. Where compiled code is not as close as float32
rounds, or a bit differs by hand, or its code does not bear it, it goes the next way: its steps go through autograd as
Lightning's do in the end, and the record of the trial says why.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import one_line
from engine.train.pack.adam import Quick
from engine.train.pack.chain import Chain, listened, parts_of
from engine.train.pack.compiled import Compiled
from engine.train.pack.layout import Unlike
from engine.train.pack.trial import PROBE_ROWS, Batch, PackedTrial, loss_of


class _Differs(Exception):
    """A step is another one by hand; the message says why."""


@dataclass(frozen=True)
class Way:
    """How a network takes its steps."""

    compiled: bool = False  # whole epochs, in compiled code
    why_not_compiled: str = ""  # of a network that could be; empty: it is, or is of another kind
    why_not: str = ""  # by hand; empty: it is, or is compiled


class ByHand:
    """For all trials that take turns. A trial has buffers while it does: memory of as many as train at a time."""

    def __init__(self) -> None:
        self._ways: dict[Any, Way] = {}  # by shape of network
        self._compiled = Compiled()

    @contextlib.contextmanager
    def of(self, trial: PackedTrial, shape: Any) -> Iterator[Callable[[int, Batch], Tensor]]:
        """What takes a step of the trial, meanwhile."""
        if self.way(trial, shape).why_not:
            yield trial.step
            return
        quick = Quick(trial.optimizer)
        with placed(trial.model):

            def step(index: int, batch: Batch) -> Tensor:
                loss = differentiate(trial.model, index, batch, quick.zero_grad)
                quick.step()
                return loss

            yield step

    def train(self, trial: PackedTrial, shape: Any, stop: Event) -> None:
        """The steps of one epoch; what they needed beside the trial is free when they have ended, or its thread's."""
        if self.way(trial, shape).compiled:
            self._compiled.train(trial, stop)
            return
        with self.of(trial, shape) as step:
            trial.train_alone(stop, step)

    def joins(self, trial: PackedTrial, shape: Any) -> None:
        """It will train here: where its epochs are compiled, what it holds moves into one piece at once."""
        if self.way(trial, shape).compiled:
            self._compiled.joins(trial)

    def way(self, trial: PackedTrial, shape: Any) -> Way:
        """How networks of this shape take their steps."""
        if shape not in self._ways:
            self._ways[shape] = self._first(trial)  # whole or not at all: other threads read it
        return self._ways[shape]

    def _first(self, trial: PackedTrial) -> Way:
        try:
            self._compiled.check(trial)
        except Unlike as why:
            return Way(why_not_compiled=str(why), why_not=_why_not(trial))
        return Way(compiled=True)


def _why_not(trial: PackedTrial) -> str:
    batch = tuple(tensor[:PROBE_ROWS] for tensor in trial.standing.train_dataloader.tensors)
    try:
        usual, other = copy.deepcopy(trial.model), copy.deepcopy(trial.model)
        with placed(other) as places:
            if not places:
                raise _Differs("it has no nn.Sequential of Linear layers and SiLU, ReLU or GELU")
            for index in range(2):  # the second one finds what the first has left behind
                if not all(map(_same, *(_found(model, batch, index) for model in (usual, other)))):
                    raise _Differs("its loss or gradient is another one by hand")
    except _Differs as why:
        return str(why)
    except Exception as error:  # whatever a user's code does with its layers
        return one_line(f"{type(error).__name__}: {error}", 160)
    return ""


def differentiate(model: Any, index: int, batch: Batch, zero_grad: Callable[[], None]) -> Tensor:
    """The loss () of a batch, whose gradients the parameters then have."""
    loss: Tensor = loss_of(model.training_step(batch, index))
    zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss


@contextlib.contextmanager
def placed(model: nn.Module) -> Iterator[int]:
    """Dense layers in the model are by hand meanwhile. Gives at how many places."""
    changed = []
    for module in model.modules():
        if type(module) is nn.Sequential and not listened(module):
            parts = parts_of(module)
            if any(isinstance(part, Chain) for part in parts):
                changed.append(module)
                module.forward = _one_by_one(parts)  # type: ignore[method-assign]
    try:
        yield len(changed)
    finally:
        for module in changed:
            del module.forward


def _one_by_one(parts: Sequence[Any]) -> Callable[[Any], Any]:
    def forward(x: Any) -> Any:
        for part in parts:
            x = part(x)
        return x

    return forward


def _found(model: nn.Module, batch: Batch, index: int) -> list[Any]:
    """Loss and gradients; None where there is none."""
    loss = differentiate(model, index, batch, model.zero_grad)
    return [loss.detach(), *(parameter.grad for parameter in model.parameters())]


def _same(one: Any, other: Any) -> bool:
    """Bit for bit; what is not a number is the same as its like."""
    if one is None or other is None:
        return one is other
    return torch.equal(torch.isnan(one), torch.isnan(other)) and torch.equal(one.nan_to_num(), other.nan_to_num())
