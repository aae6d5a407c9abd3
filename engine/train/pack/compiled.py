"""The built-in network for tables on a CPU: its epochs in compiled code (steps.py), without torch and without a lock.

A network is taken where all of it is as it was written (layout.py), under AdamW or Adam. What it computes differs from
torch's steps by the rounding of float32, for products are summed in blocks of rows and exponentials are its own; the
rows, and what dropout keeps, are the same bit for bit, and the same trial is always the same bits, whatever trains
beside it. A trial's weights and moments lie in one piece of memory, where torch sees them as ever; what a step needs
beside them is its thread's.
"""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Sequence
from threading import Event
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.train.loader import as_tensors
from engine.train.pack import mapped, steps
from engine.train.pack.adam import can, numbers_of, settings
from engine.train.pack.layout import Layout, Unlike, lines
from engine.train.pack.masks import moved, size_of
from engine.train.pack.stack import MOMENTS
from engine.train.pack.trial import PROBE_ROWS, Ended, PackedTrial, loss_of

CALL = 1_200_000_000  # rows times trained numbers of the steps of one call: about a tenth of a second
STEP = 1_000_000  # the same of what a step takes beside its products
CLOSE = 2e-5  # of the largest number: what two steps of a copy may differ by from those of autograd


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
        block = min(rows, net.block)
        wides = [net.wides[0], *np.repeat(net.wides[1:], 2)]  # what each layer is given; what it gives, and its slopes
        *places, end = itertools.accumulate((lines(block * int(wide)) for wide in wides), initial=size)
        drops = net.wides[1:] * (net.least > steps.LEAST)
        *masks, bytes_ = itertools.accumulate((size_of(rows * int(wide)) for wide in drops), initial=0)
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

    def joins(self, trial: PackedTrial) -> None:
        """Its weights and moments are in one piece from now on, and compiled code is asked for what it predicts."""
        if trial.flat is None:
            mapped.large_from(mapped.LEAST)  # not for other trials: torch waits for pages at each tensor of a step
            trial.flat = Flat(trial.model, trial.optimizer)
            trial.scorer.outputs = lambda: self.outputs(trial)

    def outputs(self, trial: PackedTrial) -> Tensor | None:
        """What the model would give of the validation rows in eval mode. None where it is to speak for itself: a row
        has a category that it has not.
        """
        flat, data = trial.flat, trial.job.validation
        net = flat.layout.net(trial.model)
        net = net._replace(least=np.full_like(net.least, steps.LEAST))
        _, room = self._rooms.of(net, flat.layout.size, net.block)
        rows = rows_of(as_tensors(data), np.empty(0, np.int32), [])
        found = np.empty((len(data), net.wides[-1]), np.float32)
        if steps.ask(rows, net, room, flat.numbers[0].numpy(), found) < len(data):
            return None
        outputs: Tensor = trial.model.in_units(torch.from_numpy(found))
        return outputs

    def train(self, trial: PackedTrial, stop: Event) -> None:
        """The steps of one epoch. Ended where `stop` is set, a tenth of a second later or so."""
        self.joins(trial)
        flat = trial.flat
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
