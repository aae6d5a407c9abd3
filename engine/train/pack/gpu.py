"""K trials of one shape on a GPU: their steps are launched for all of them at once, and nothing of them is asked back.

It is vector.py's way of stacking them, with what a GPU wants: the rows of all batches are gathered in one launch a
column, dropout needs no generator (counted.py), rates are tensors (capturable.py), losses stay there until the epoch
ends. So a step can be a CUDA graph (graph.py). Trials are stacked whatever their size: a GPU has no caches to leave,
and one of them would leave most of it idle.

It has never run on a GPU: the tests run it on CPUs, and on tensors of torch's device meta, which have no numbers.
"""

from __future__ import annotations

import copy
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from threading import Event
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.func import vmap

from engine.train.pack import counted, graph
from engine.train.pack.adam import can
from engine.train.pack.capturable import CapturableAdam
from engine.train.pack.trial import PROBE_ROWS, Batch, PackedTrial
from engine.train.pack.vector import Unvectorised, Vector, _Step, agree, differences, out_of_memory, shape_of


class GpuVector(Vector):
    """K trials of one shape. While it lasts their parameters and optimizer state are views of its matrices.

    Memory: 4 floats a parameter and trial; the order of the rows, 4 bytes a row and trial; and the activations of a
    step of all trials, or, where memory ran out, of as many as `tile` says.

    Raises:
        Unvectorised: they cannot be vectorised; then nothing of theirs has changed.
    """

    def __init__(self, trials: Sequence[PackedTrial], proven: WeakSet[PackedTrial] | None = None) -> None:
        """`proven`: trials whose steps together were compared with those alone before; these come to be among them."""
        self.trials = list(trials)
        self._proven = WeakSet[PackedTrial]() if proven is None else proven
        self.device = self.trials[0].device
        where = self.device.torch
        self._models = [trial.model for trial in self.trials]
        self._slots, numbers, guards = differences(self._models)
        self._numbers = [number.to(where) for number in numbers]
        self._draws = counted.Draws.of(self.trials, where)
        self._template = _Step(self._make_template(guards))
        self._names = [name for name, p in self._models[0].named_parameters() if p.requires_grad]
        self._own = [[dict(model.named_parameters())[name] for name in self._names] for model in self._models]
        ends = itertools.accumulate((parameter.numel() for parameter in self._own[0]), initial=0)
        self._spans = list(itertools.pairwise(ends))
        self._matrix = torch.empty(len(self.trials), self._spans[-1][1], device=where)
        self._found = torch.empty_like(self._matrix)
        for row, parameters in enumerate(self._own):
            for parameter, (start, end) in zip(parameters, self._spans, strict=True):
                self._matrix[row, start:end] = parameter.detach().reshape(-1)
        self._leaves = [
            self._matrix[:, start:end].view(-1, *parameter.shape)
            for parameter, (start, end) in zip(self._own[0], self._spans, strict=True)
        ]
        self._buffers = self._stack_buffers()
        self.tile = len(self.trials)  # trials of one call
        self._check()
        for row, parameters in enumerate(self._own):
            for parameter, (start, end) in zip(parameters, self._spans, strict=True):
                parameter.data = self._matrix[row, start:end].view(parameter.shape)
        optimizers = [trial.optimizer for trial in self.trials]
        stackable = all(can(o, parameters) for o, parameters in zip(optimizers, self._own, strict=True))
        self.adam = CapturableAdam(optimizers, self._matrix, self._spans) if stackable else None
        self._steps = graph.Steps(graph.graphs_of(self.device))

    def _together(self, layers: list[Any]) -> nn.Module:
        return counted.CountedTogether(layers, self._draws)

    # ---- an epoch --------------------------------------------------------------------------------------------------

    def train(self, stop: Event) -> bool:
        """One epoch of all; False where `stop` was set meanwhile."""
        for trial in self.trials:
            trial.begin_epoch()
        loaders = [trial.standing.train_dataloader for trial in self.trials]
        orders = torch.stack([loader.order() for loader in loaders])
        by_step = any(trial.turns_by_step for trial in self.trials)
        losses = []
        for index, (start, end) in enumerate(loaders[0].spans()):
            if stop.is_set():
                return False
            losses.append(self._steps.step(self, index, orders[:, start:end]))
            if by_step:  # a schedule that moves now is a word from here
                self._tell(index, losses.pop())
        for index, found in enumerate(torch.stack(losses).cpu() if losses else ()):
            self._tell(index, found)
        for trial in self.trials:
            trial.optimizer.zero_grad()
        return True

    def _tell(self, index: int, losses: Tensor) -> None:
        for trial, loss in zip(self.trials, losses.tolist(), strict=True):
            trial.stepped(index, loss)

    # ---- a step ----------------------------------------------------------------------------------------------------

    def launch(self, index: int, rows: Tensor) -> Tensor:
        """One step of every trial on rows (K, B) of its own; losses (K,). Where memory runs out in halves."""
        if self.adam is not None:
            self.adam.refresh()
        losses = torch.empty(len(self.trials), device=self.device.torch)
        start = 0
        while start < len(self.trials):
            part = slice(start, min(start + self.tile, len(self.trials)))
            try:
                losses[part] = self._differentiate(index, self._gathered(rows[part]), part)
            except (MemoryError, RuntimeError) as error:
                if self.tile == 1 or not out_of_memory(error):
                    raise
                self.halve()
                self.device.let_go()
            else:
                self._descend(part)
                start += self.tile
        self._draws.positions.add_(1)
        return losses

    def whole(self, index: Any, rows: Tensor) -> Tensor:
        """`launch` of all trials in one call: nothing but launches, so that it can be captured."""
        everybody = slice(0, len(self.trials))
        losses = self._differentiate(index, self._gathered(rows), everybody)
        self._descend(everybody)
        self._draws.positions.add_(1)
        return losses

    @property
    def state(self) -> list[Tensor]:
        """All that a step changes, and the gradients that it leaves."""
        assert self.adam is not None
        return [self._matrix, self._found, self._draws.positions, *self.adam.state]

    def _gathered(self, rows: Tensor) -> list[Tensor]:
        """Numbers, categories and labels (K, B, ...) of rows (K, B)."""
        flat = rows.reshape(-1)
        tensors = self.trials[0].standing.train_dataloader.tensors
        return [tensor.index_select(0, flat).view(*rows.shape, *tensor.shape[1:]) for tensor in tensors]

    def _differentiate(self, index: Any, columns: Sequence[Any], part: slice) -> Tensor:
        """Losses (K,) of a part of the trials; their gradients are put into the first rows of `_gradients`."""
        leaves = [leaf[part].detach().requires_grad_() for leaf in self._leaves]
        self._draws.begin(part)
        for place in self._template.template.modules():
            if isinstance(place, counted.CountedTogether):
                place.part = part
        stacked = {f"template.{name}": leaf for name, leaf in zip(self._names, leaves, strict=True)}
        with self.device.autocast():
            losses: Tensor = vmap(self._one(index), randomness="error")(
                stacked, {n: b[part] for n, b in self._buffers.items()}, [n[part] for n in self._numbers], *columns
            )
        found = torch.autograd.grad(losses.sum(), leaves)
        torch.cat([g.reshape(len(losses), -1) for g in found], dim=1, out=self._found[: len(losses)])
        return losses.detach()

    def _descend(self, part: slice) -> None:
        """Step down the gradients of a call."""
        if self.adam is not None:
            self.adam.step(self._found[: part.stop - part.start], part)
            return
        for gradient, trial, own in zip(self._found, self.trials[part], self._own[part], strict=False):
            for parameter, (start, end) in zip(own, self._spans, strict=True):
                parameter.grad = gradient[start:end].view(parameter.shape)
            trial.optimizer.step()

    def _compare(self, part: slice) -> None:
        """Two steps of a part of the trials are those of each alone; of those that are new among them."""
        if self._proven.issuperset(self.trials[part]):
            return
        batch: Batch = tuple(tensor[:PROBE_ROWS] for tensor in self.trials[0].standing.train_dataloader.tensors)
        columns = [column.expand(part.stop - part.start, *column.shape) for column in batch]
        for index in range(2):
            losses = self._differentiate(index, columns, part)
        for row, trial in enumerate(self.trials[part]):
            if trial in self._proven:
                continue
            model = copy.deepcopy(trial.model)
            for index in range(2):  # the second one finds what the first has left behind
                alone = trial.loss(model, batch, index)
            trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
            there = torch.cat([g.reshape(-1) for g in torch.autograd.grad(alone, trained)])
            agree(trial, (losses[row], alone.detach()), (self._found[row], there))
        self._proven.update(self.trials[part])

    def apart(self) -> None:
        """Give every trial parameters and optimizer state of its own again."""
        for parameters in self._own:
            for parameter in parameters:
                parameter.data, parameter.grad = parameter.data.clone(), None
        if self.adam is not None:
            self.adam.apart()


class GpuVectors:
    """Those of a pack, by trials."""

    def __init__(self) -> None:
        self._vectors: dict[tuple[PackedTrial, ...], GpuVector] = {}
        self._turns: dict[Any, str] = {}  # shapes that were found to take turns, and why
        self._proven = WeakSet[PackedTrial]()

    def parts(self, trials: Sequence[PackedTrial]) -> Iterator[tuple[list[PackedTrial], GpuVector | None]]:
        """The trials by shape, and what trains each part together; None where its trials take turns."""
        groups: dict[Any, list[PackedTrial]] = defaultdict(list)
        for trial in trials:
            groups[shape_of(trial)].append(trial)
        for gone in set(self._vectors) - {tuple(group) for group in groups.values()}:
            self._vectors.pop(gone).apart()
        for shape, group in groups.items():
            yield group, self._vector(shape, group)

    def _vector(self, shape: Any, group: list[PackedTrial]) -> GpuVector | None:
        if tuple(group) not in self._vectors and len(group) > 1 and shape not in self._turns:
            try:
                self._vectors[tuple(group)] = GpuVector(group, self._proven)
            except Unvectorised as why:
                self._turns[shape] = str(why)
        if shape in self._turns:
            for trial in group:
                trial.note(f"not vectorised: {self._turns[shape]}")
        return self._vectors.get(tuple(group))

    def broke_off(self, vector: GpuVector, why: str) -> None:
        """An epoch of these trials has raised: they take turns from there on."""
        self._turns[shape_of(vector.trials[0])] = why
        self._vectors.pop(tuple(vector.trials)).apart()
