"""The steps of a trial that takes turns, without what autograd and the optimizer spend around the arithmetic.

Three things are put in place for an epoch, and are gone when it ends: the built-in network for tables runs outside of
autograd, with its own loss (losses.py), or with another, which autograd is left alone with; in other networks each
nn.Sequential runs its dense layers by hand (chain.py); and a fused AdamW is called without the search for its tensors
(adam.py). All else of a training step, the model's own or a user's, runs as it is written.

A network of a new shape takes two steps on a copy first, both ways. Where a bit differs, or its code does not bear it,
its steps go through autograd as Lightning's do, and the record of the trial says why.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, cast

import torch
from torch import Tensor, nn

from engine.errors import one_line
from engine.train.model import EmbeddingModel
from engine.train.pack.adam import Quick
from engine.train.pack.chain import Chain, listened, parts_of
from engine.train.pack.losses import built_in, slope
from engine.train.pack.trial import PROBE_ROWS, Batch, PackedTrial, loss_of

aten = torch.ops.aten


Differentiate = Callable[[int, Batch, Callable[[], None]], Tensor]
"""(index, batch, what sets gradients to none) to the loss () of a batch, whose gradients the parameters then have."""


class _Differs(Exception):
    """A step is another one by hand; the message says why."""


@dataclass(frozen=True)
class Way:
    """How a network takes its steps."""

    whole: bool = False  # all of it by hand, not only layers in it
    loss: bool = False  # and its loss
    why_not: str = ""  # by hand; empty: it is


class ByHand:
    """For all trials that take turns. A trial has buffers while it does: memory of as many as train at a time."""

    def __init__(self) -> None:
        self._ways: dict[Any, Way] = {}  # by shape of network

    @contextlib.contextmanager
    def of(self, trial: PackedTrial, shape: Any) -> Iterator[Callable[[int, Batch], Tensor]]:
        """What takes a step of the trial, meanwhile."""
        way = self.way(trial, shape)
        if way.why_not:
            yield trial.step
            return
        quick = Quick(trial.optimizer)
        with placed(trial.model, way.whole, way.loss) as (_, differentiate):

            def step(index: int, batch: Batch) -> Tensor:
                loss = differentiate(index, batch, quick.zero_grad)
                quick.step()
                return loss

            yield step

    def train(self, trial: PackedTrial, shape: Any, stop: Event) -> None:
        """The steps of one epoch; what they needed beside the trial is free when they have ended."""
        with self.of(trial, shape) as step:
            trial.train_alone(stop, step)

    def way(self, trial: PackedTrial, shape: Any) -> Way:
        """How networks of this shape take their steps."""
        if shape not in self._ways:
            self._ways[shape] = _first(trial)  # whole or not at all: other threads read it
        return self._ways[shape]


def _first(trial: PackedTrial) -> Way:
    """The first way that is the same; where none is, the last, and why."""
    for whole, loss in ((True, True), (True, False), (False, False)):
        way = Way(whole, loss, _why_not(trial, whole, loss))
        if not way.why_not:
            break
    return way


def _why_not(trial: PackedTrial, whole: bool, loss: bool) -> str:
    batch = tuple(tensor[:PROBE_ROWS] for tensor in trial.standing.train_dataloader.tensors)
    try:
        usual, other = copy.deepcopy(trial.model), copy.deepcopy(trial.model)
        with placed(other, whole, loss) as (places, differentiate):
            if not places:
                raise _Differs("it has no nn.Sequential of Linear layers and SiLU, ReLU or GELU")
            for index in range(2):  # the second one finds what the first has left behind
                one, two = _found(usual, batch, index, usually(usual)), _found(other, batch, index, differentiate)
                if not all(map(_same, one, two)):
                    raise _Differs("its loss or gradient is another one by hand")
    except _Differs as why:
        return str(why)
    except Exception as error:  # whatever a user's code does with its layers
        return one_line(f"{type(error).__name__}: {error}", 160)
    return ""


def usually(model: Any, after: Callable[[], None] = lambda: None) -> Differentiate:
    """By the model's own training step and autograd, and what must come behind it."""

    def differentiate(index: int, batch: Batch, zero_grad: Callable[[], None]) -> Tensor:
        loss: Tensor = loss_of(model.training_step(batch, index))
        zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        after()
        return loss

    return differentiate


@contextlib.contextmanager
def placed(model: nn.Module, whole: bool, loss: bool = False) -> Iterator[tuple[int, Differentiate]]:
    """The `whole` model, or dense layers in it, are by hand meanwhile, and its `loss`. Gives at how many places, and
    what makes the gradients of a batch.
    """
    if whole:
        table = Table.of(model)
        if table is None or (loss and not built_in(model)):
            yield 0, usually(model)
            return
        with table.placed():
            way = usually(model, table.backward)
            yield 1, table.differentiate(way) if loss else way
        return
    changed = []
    for module in model.modules():
        if type(module) is nn.Sequential and not listened(module):
            parts = parts_of(module)
            if any(isinstance(part, Chain) for part in parts):
                changed.append(module)
                module.forward = _one_by_one(parts)  # type: ignore[method-assign]
    try:
        yield len(changed), usually(model)
    finally:
        for module in changed:
            del module.forward


class Table:
    """An EmbeddingModel whose body is one chain: its forward pass runs as it is written, but outside of autograd.

    What the body gives is a leaf, so that autograd has the loss alone; the chain takes its gradient from there.
    """

    def __init__(self, model: Any, chain: Chain) -> None:
        self._model, self._chain = model, chain
        self._trained = [*chain.parameters, model.embedding.weight]
        self._gradients = [torch.zeros_like(parameter) for parameter in self._trained]
        self._rows: Any = None  # that the body is given next, and their codes
        self._codes: Any = None
        self._passed: list[tuple[Tensor, Any, Tensor, Any]] = []

    @classmethod
    def of(cls, model: Any) -> Table | None:
        """None where the model is another one, or something of it is."""
        if not isinstance(model, EmbeddingModel) or type(model.body) is not nn.Sequential:
            return None
        if any(getattr(type(model), name) is not getattr(EmbeddingModel, name) for name in ("forward", "embedded")):
            return None
        table, parts = model.embedding, parts_of(model.body)
        plain = type(table) is nn.Embedding and table.weight.requires_grad and not table.sparse
        plain = plain and table.max_norm is None and table.padding_idx is None and not table.scale_grad_by_freq
        if not plain or listened(table) or listened(model.body) or len(parts) != 1 or not isinstance(parts[0], Chain):
            return None
        return cls(model, parts[0])

    @contextlib.contextmanager
    def placed(self) -> Iterator[None]:
        """In the place of what the model does with its rows, and of its body."""
        self._model.embedded, self._model.body.forward = self._embedded, self._dense
        try:
            yield
        finally:
            del self._model.embedded, self._model.body.forward

    def differentiate(self, usual: Differentiate) -> Differentiate:
        """Without autograd at all; batches that the chain does not take go the usual way."""

        def differentiate(index: int, batch: Batch, zero_grad: Callable[[], None]) -> Tensor:
            numeric, categorical, target = batch
            rows = self._embedded(numeric, categorical)
            if not self._in_training() or not self._chain.takes(rows):
                return usual(index, batch, zero_grad)
            with torch.no_grad():
                sums, room = self._chain.forward(rows)
                loss, gradient = slope(self._model.spec, sums, target)
                zero_grad()
                self._differentiated(room, rows, self._codes, gradient, self._gradients)
            for parameter, found in zip(self._trained, self._gradients, strict=True):
                parameter.grad = found
            return loss

        return differentiate

    def _embedded(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        if not self._in_training():
            return EmbeddingModel.embedded(self._model, numeric, categorical)
        if categorical.shape[1]:
            self._codes = categorical + self._model.offsets
            with torch.no_grad():
                self._rows = EmbeddingModel.embedded(self._model, numeric, categorical)
        else:
            self._rows, self._codes = numeric, None
        return cast(Tensor, self._rows)

    def _in_training(self) -> bool:
        return torch.is_grad_enabled() and self._model.body.training

    def _dense(self, rows: Tensor) -> Tensor:
        if rows is not self._rows or not self._in_training() or not self._chain.takes(rows):
            return self._chain(rows)
        with torch.no_grad():
            sums, room = self._chain.forward(rows)
        self._passed.append((sums.requires_grad_(), room, rows, self._codes))
        return sums

    def backward(self) -> None:
        """From the gradient of what the body gave to the gradients of all parameters; of each pass since the last."""
        passed, self._passed = self._passed, []
        for sums, room, rows, codes in reversed(passed):  # as autograd adds them up
            if sums.grad is None:
                continue
            first = all(parameter.grad is None for parameter in self._trained)
            into = self._gradients if first else [torch.zeros_like(parameter) for parameter in self._trained]
            with torch.no_grad():
                self._differentiated(room, rows, codes, sums.grad, into)
            for parameter, gradient in zip(self._trained, into, strict=True):
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    def _differentiated(self, room: Any, rows: Tensor, codes: Any, gradient: Tensor, into: list[Tensor]) -> None:
        """The gradients of all parameters into these, from that of what the body gave."""
        start = self._chain.backward(room, rows, gradient, codes is not None, into[:-1])
        if start is not None:
            shape = (*codes.shape, self._model.embedding.embedding_dim)
            found = start[:, start.shape[1] - shape[1] * shape[2] :].reshape(shape)
            into[-1] = aten.embedding_dense_backward(found, codes, len(self._trained[-1]), -1, False)


def _one_by_one(parts: Sequence[Any]) -> Callable[[Any], Any]:
    def forward(x: Any) -> Any:
        for part in parts:
            x = part(x)
        return x

    return forward


def _found(model: nn.Module, batch: Batch, index: int, differentiate: Differentiate) -> list[Any]:
    """Loss and gradients; None where there is none."""
    loss = differentiate(index, batch, model.zero_grad)
    return [loss.detach(), *(parameter.grad for parameter in model.parameters())]


def _same(one: Any, other: Any) -> bool:
    """Bit for bit; what is not a number is the same as its like."""
    if one is None or other is None:
        return one is other
    return torch.equal(torch.isnan(one), torch.isnan(other)) and torch.equal(one.nan_to_num(), other.nan_to_num())
