"""The built-in network for tables on a CPU: its epochs in compiled code (steps.py), without torch and without a lock.

A network is taken where all of it is as it was written: an EmbeddingModel whose body is dense layers in a row, SiLU or
ReLU, and our own dropout, under AdamW or Adam. What it computes differs from torch's steps by the rounding of float32,
for products are summed in blocks of rows and exponentials are its own; the rows, and what dropout keeps, are the same
bit for bit, and the same trial is always the same bits, whatever trains beside it. A trial's weights and moments lie in
one piece of memory, where torch sees them as ever; what a step needs beside them is its thread's.
"""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.records import Task
from engine.train.model import Dropout, EmbeddingModel, Network
from engine.train.pack import mapped, steps
from engine.train.pack.adam import can, numbers_of, settings
from engine.train.pack.blas import HERE
from engine.train.pack.chain import Layer, layers_of, listened
from engine.train.pack.masks import moved
from engine.train.pack.stack import MOMENTS
from engine.train.pack.trial import PROBE_ROWS, Ended, PackedTrial, loss_of

KINDS: dict[type, int] = {type(None): steps.NONE, nn.SiLU: steps.SILU, nn.ReLU: steps.RELU}
TASKS = {Task.BINARY: steps.BINARY, Task.MULTICLASS: steps.MULTICLASS, Task.REGRESSION: steps.REGRESSION}
WRITTEN: dict[str, type] = {"training_step": Network, "loss": Network}
WRITTEN |= dict.fromkeys(("forward", "embedded", "in_units"), EmbeddingModel)
LINE = 16  # floats of a line of the cache: all parts begin at one
CALL = 1_200_000_000  # rows times trained numbers of the steps of one call: about a tenth of a second
STEP = 1_000_000  # the same of what a step takes beside its products
CLOSE = 2e-5  # of the largest number: what two steps of a copy may differ by from those of autograd


class Unlike(Exception):
    """A network whose epochs are not compiled; the message says why, and is empty where it is of another kind."""


@dataclass(frozen=True)
class Layout:
    """Its dense layers, and where its parameters lie in a flat vector of `size` numbers."""

    layers: Sequence[Layer]
    places: dict[Tensor, int]
    size: int

    @classmethod
    def of(cls, model: Any) -> Layout:
        """Unlike where the model is another one, or something of it is."""
        layers = _layers_of(model)
        own = list(model.parameters())
        *places, size = itertools.accumulate((_lines(parameter.numel()) for parameter in own), initial=0)
        known = {model.embedding.weight, *(p for layer in layers for p in layer.linear.parameters())}
        if set(own) != known or not all(map(_plain, own)):
            raise Unlike
        if not HERE:
            raise Unlike("torch's library has no sgemm_")
        return cls(layers, dict(zip(own, places, strict=True)), size)

    def net(self, model: Any) -> steps.Net:
        """The network as compiled code has it, with the shares of its dropout as they are now."""
        spec, table = model.spec, model.embedding.weight
        linear = [layer.linear for layer in self.layers]
        dropped = np.array([layer.dropout.dropped if layer.drops else 0 for layer in self.layers])
        return steps.Net(
            wides=np.array([linear[0].in_features, *(each.out_features for each in linear)]),
            weights=np.array([self.places[each.weight] for each in linear]),
            biases=np.array([self.places[each.bias] for each in linear]),
            kinds=np.array([KINDS[type(layer.activation)] for layer in self.layers]),
            least=dropped + steps.LEAST,
            scales=(65_536 / (65_536 - dropped)).astype(np.float32),
            table=np.array([self.places[table], *table.shape]),
            offsets=model.offsets.numpy(),
            task=TASKS[spec.task],
            mean=float(spec.target_mean),
            scale=float(spec.target_scale),
        )

    def generator(self) -> torch.Generator | None:
        """What its dropout draws from; None: it has none, or each layer its own."""
        found = [layer.dropout.generator for layer in self.layers if layer.dropout is not None]
        return found[0] if found and all(each is found[0] for each in found) else None


def _layers_of(model: Any) -> Sequence[Layer]:
    if not isinstance(model, EmbeddingModel) or type(model.body) is not nn.Sequential:
        raise Unlike
    if any(getattr(type(model), name) is not getattr(owner, name) for name, owner in WRITTEN.items()):
        raise Unlike
    table, layers = model.embedding, layers_of(model.body)
    plain = type(table) is nn.Embedding and not table.sparse and table.max_norm is None
    plain = plain and table.padding_idx is None and not table.scale_grad_by_freq and not WRITTEN.keys() & vars(model)
    if not plain or layers is None or any(map(listened, (model, model.body, table))) or not model.training:
        raise Unlike
    for layer in layers:
        if type(layer.activation) not in KINDS or type(layer.dropout) not in (type(None), Dropout):
            raise Unlike
    return layers


def _plain(parameter: Tensor) -> bool:
    return parameter.requires_grad and parameter.dtype is torch.float32 and parameter.is_contiguous()


def _lines(numbers: int) -> int:
    return -(-numbers // LINE) * LINE


class Flat:
    """A network whose weights and moments are in one piece, (3, n) float32, of which torch has views from now on."""

    def __init__(self, model: Any, optimizer: Any = None) -> None:
        """Without an optimizer its moments are nobody else's."""
        self.model, self.layout = model, Layout.of(model)
        self.numbers = mapped.zeros(3, self.layout.size)
        self.steps = torch.tensor(0.0)
        for parameter, place in self.layout.places.items():
            known = optimizer.state[parameter] if optimizer is not None else {}
            views = [row[place : place + parameter.numel()].view(parameter.shape) for row in self.numbers]
            for view, old in zip(views, (parameter.detach(), *map(known.get, MOMENTS)), strict=True):
                if old is not None:
                    view.copy_(old)
            parameter.data = views[0]
            if "step" in known:
                self.steps.copy_(known["step"])
            known.update(zip(MOMENTS, views[1:], strict=True), step=self.steps)


class Rooms(threading.local):
    """Scratch of the threads: of each as much as its largest network needs."""

    numbers = np.empty(0, np.float32)
    kept = np.empty(0, np.uint8)

    def of(self, net: steps.Net, size: int, rows: int) -> tuple[np.ndarray, steps.Room]:
        """For the gradient of `size` numbers, and for all else of batches of so many rows."""
        block = min(rows, steps.BLOCK)
        wides = [net.wides[0], *np.repeat(net.wides[1:], 2)]  # what each layer is given; what it gives, and its slopes
        *places, end = itertools.accumulate((_lines(block * int(wide)) for wide in wides), initial=size)
        *masks, bytes_ = itertools.accumulate((net.wides[1:] * (net.least > steps.LEAST) * rows).tolist(), initial=0)
        if len(self.numbers) < end:
            self.numbers = mapped.zeros(end).numpy()
        if len(self.kept) < bytes_:
            self.kept = mapped.zeros(bytes_, dtype=torch.uint8).numpy()
        given, slopes = np.array([places[0], *places[1::2]]), np.array(places[2::2])
        room = steps.Room(self.numbers, given, slopes, self.kept, np.array(masks), np.zeros(6, np.int32))
        return self.numbers[:size], room


class Run:
    """Steps of one epoch of a network, on rows in their order, in this thread."""

    def __init__(self, flat: Flat, rows: steps.Rows, rooms: Rooms) -> None:
        self.flat, self._rows = flat, rows
        self.count = len(rows.bounds) - 1
        self.losses = np.empty(self.count)
        self._net = flat.layout.net(flat.model)
        self.gradient, self._room = rooms.of(self._net, flat.layout.size, int(np.diff(rows.bounds).max(initial=0)))
        self._numbers = flat.numbers.numpy()
        self._generator = flat.layout.generator() or torch.Generator()

    def take(self, begin: int, end: int, numbers: np.ndarray) -> None:
        """From one step up to another. IndexError where a row has a category or class that the network has not."""
        with moved(self._generator) as stream:
            weights, moments = self._numbers[0], self._numbers[1:]
            net, room, gradient = self._net, self._room, self.gradient
            done = steps.take(
                begin, end, self._rows, net, room, weights, moments, gradient, numbers, stream, self.losses
            )
        self.flat.steps += done - begin
        if done < end:
            raise IndexError("a row has a category or a class that the network has not")


class Compiled:
    """Trains epochs of trials, one in each thread that asks."""

    def __init__(self) -> None:
        self._rooms = Rooms()

    def train(self, trial: PackedTrial, stop: Event) -> None:
        """The steps of one epoch. Ended where `stop` is set, a tenth of a second later or so."""
        flat = trial.flat = trial.flat or Flat(trial.model, trial.optimizer)
        trial.begin_epoch()
        loader = trial.standing.train_dataloader
        starts = [start for start, _ in loader.spans()]
        run = Run(flat, rows_of(loader.tensors, loader.order().numpy(), starts), self._rooms)
        numbers = numbers_of(trial.coming(run.count), np.arange(run.count) + float(flat.steps) + 1)
        several = max(1, CALL // (flat.layout.size * loader.batch_size + STEP))
        for begin in range(0, run.count, several):
            if stop.is_set():
                raise Ended
            run.take(begin, min(begin + several, run.count), numbers)
        trial.took(run.losses.tolist())

    def check(self, trial: PackedTrial) -> None:
        """Unlike where two steps on a copy are not those of autograd."""
        tensors = tuple(tensor[:PROBE_ROWS] for tensor in trial.standing.train_dataloader.tensors)
        Layout.of(trial.model)  # before anything is copied
        usual, other = copy.deepcopy(trial.model), copy.deepcopy(trial.model)
        optimizer = trial.optimizer
        if not can(optimizer, list(trial.model.parameters())):
            raise Unlike
        if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
            raise Unlike
        flat = Flat(other)
        if any(layer.drops for layer in flat.layout.layers) and flat.layout.generator() is None:
            raise Unlike
        order = np.arange(len(tensors[0]), dtype=np.int32)
        run = Run(flat, rows_of(tensors, np.concatenate((order, order)), [0, len(order)]), self._rooms)
        numbers = numbers_of([settings(optimizer.param_groups[0])] * 2, np.array([1.0, 2.0]))
        for index in range(2):  # the second one begins where the first has led
            usual.load_state_dict(other.state_dict())
            usual.zero_grad()
            loss = loss_of(usual.training_step(tensors, index))
            loss.backward()
            run.take(index, index + 1, numbers)
            for parameter, place in zip(usual.parameters(), flat.layout.places.values(), strict=True):
                found = run.gradient[place : place + parameter.numel()]
                if not _close(found, parameter.grad.numpy().reshape(-1)):
                    raise Unlike("its gradient is another one in compiled code")
            if not _close(run.losses[index : index + 1], loss.detach().numpy().reshape(1)):
                raise Unlike("its loss is another one in compiled code")


def rows_of(tensors: Sequence[Tensor], order: np.ndarray, starts: Sequence[int]) -> steps.Rows:
    """(numeric, categorical, target) as compiled code has them; steps begin at `starts` of the order."""
    numeric, categorical, target = (tensor.numpy() for tensor in tensors)
    if not all(array.flags.c_contiguous for array in (numeric, categorical, target)):
        raise Unlike("its rows are not in one piece")
    values, classes = np.empty(0, np.float32), np.empty(0, np.int64)
    if target.dtype == np.int64:
        classes = target
    else:
        values = target
    return steps.Rows(numeric, categorical, values, classes, order, np.array([*starts, len(order)]))


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    """Both not finite counts."""
    if not np.isfinite(other).all():
        return not np.isfinite(one).all()
    return bool(np.abs(one - other).max(initial=0) <= CLOSE * np.abs(other).max(initial=0) + 1e-8)
