"""Steps of K trials of one shape, vectorised over them: torch.func over stacked parameters.

One model stands for all (the template); what differs between the trials is handed to it stacked: parameters, buffers,
rows, and every number among the modules' attributes that differs (a loss weight, say). Dropout layers draw for each
trial with its own share and stream. Whatever else differs, and all that vmap cannot do, makes the trials take turns
instead, with a line in their records: Unvectorised. So does a first step whose loss or gradient is not that of the
trials alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from engine.errors import one_line
from engine.train.conf import TrainConf
from engine.train.pack import streams
from engine.train.pack.adam import can
from engine.train.pack.stack import Stack, stacked, trained
from engine.train.pack.trial import PROBE_ROWS, Batch, PackedTrial, loss_of

TILE = 32_000_000  # rows of a batch times trained numbers, of the trials of one call together: it bounds activations
NUMBERS = 131_072  # trained numbers of these: it bounds gradients
# relative, of loss and gradient: float32 rounds at 6e-8, bfloat16 at 4e-3, a sum of many numbers some times that
CLOSE = {"32-true": 1e-4, "bf16-mixed": 0.05}
SETTINGS = (str, bytes, bool, type(None), tuple)
OUTSIDE = {"training", "generator", "log", "log_dict"}


class Unvectorised(Exception):
    """These trials cannot take a step together; the message says why."""


class _Guard:
    """In place of an object that differs between the trials: nobody may read it."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Any:
        raise Unvectorised(f"its training step reads {self._what}.{name}, which may differ between trials")

    def __deepcopy__(self, memo: Any) -> _Guard:
        return self


class _Step(nn.Module):
    """A training step as the forward pass of a module, for functional_call."""

    def __init__(self, template: nn.Module) -> None:
        super().__init__()
        self.template = template

    def forward(self, batch: Batch, index: int) -> Tensor:
        """The loss () of a batch."""
        loss: Tensor = loss_of(self.template.training_step(batch, index))  # type: ignore[operator]
        return loss


def shape_of(trial: PackedTrial) -> tuple[Any, ...]:
    """What trials must share to be vectorised: classes, names and shapes of all that a model is made of, batches."""
    model = trial.model
    modules = tuple((name, type(module), module.training) for name, module in model.named_modules())
    tensors = (*model.named_parameters(), *model.named_buffers())
    shapes = tuple((name, tuple(tensor.shape), tensor.dtype, tensor.requires_grad) for name, tensor in tensors)
    settings = tuple(
        (name, key, value)
        for name, module in model.named_modules()
        for key, value in sorted(vars(module).items())
        if not key.startswith("_") and key not in OUTSIDE and isinstance(value, SETTINGS) and _hashable(value)
    )
    steps = (type(trial.optimizer), can(trial.optimizer, trained(trial)), type(trial.schedule))
    return (modules, shapes, settings, trial.conf.batch_size, *steps, trial.device)


class Vector:
    """K trials of one shape. While it lasts their parameters and optimizer state are views of a stack's matrices.

    Memory: the stack's, 3 floats a parameter and trial; and, in a step, gradients and activations of the trials of one
    call, as many as TILE and NUMBERS allow.

    Raises:
        Unvectorised: they cannot be vectorised; then nothing of theirs has changed.
    """

    def __init__(self, trials: Sequence[PackedTrial], stack: Stack | None = None) -> None:
        """`stack`: one that holds these trials in this order, one after the other; None: one of their own."""
        self.trials = list(trials)
        self._models = [trial.model for trial in self.trials]
        self._slots, self._numbers, guards = differences(self._models)
        self._template = _Step(self._make_template(guards))
        self._names = [name for name, p in self._models[0].named_parameters() if p.requires_grad]
        self._stack = stack or stacked(self.trials)
        self._buffers = self._stack_buffers()
        rows = min(self.trials[0].conf.batch_size, len(self.trials[0].standing.train_dataloader.tensors[0]))
        size = max(1, self._stack.weights.shape[1])
        self.tile = min(len(self.trials), max(1, min(TILE // (rows * size), NUMBERS // size)))  # trials of one call
        self._gradients: Sequence[Tensor] = ()  # of the last call, (K, *shape) of each parameter
        try:
            self._check()
        except Unvectorised:
            if stack is None:
                self.apart()
            raise

    def _make_template(self, guards: list[tuple[str, str]]) -> nn.Module:
        template: nn.Module = copy.deepcopy(self._models[0])
        vars(template)["_trainer"] = _Guard("trainer")
        for name, key in guards:
            vars(template.get_submodule(name))[key] = _Guard(f"{name}.{key}".strip("."))
        for name, module in list(template.named_modules()):
            if streams.is_ours(module):
                parent, _, child = name.rpartition(".")
                together = self._together([model.get_submodule(name) for model in self._models])
                together.training = module.training
                setattr(template.get_submodule(parent), child, together)
        return template

    def _together(self, layers: list[Any]) -> nn.Module:
        """The same dropout layer of all trials."""
        return streams.TogetherDropout(layers)

    def _stack_buffers(self) -> dict[str, Tensor]:
        """Of every trial: buffers and frozen parameters, copies."""
        fixed = [
            {**dict(m.named_buffers()), **{n: p.detach() for n, p in m.named_parameters() if not p.requires_grad}}
            for m in self._models
        ]
        return {f"template.{name}": torch.stack([each[name] for each in fixed]) for name in fixed[0]}

    # ---- a step ----------------------------------------------------------------------------------------------------

    def train(self, stop: Event) -> bool:
        """One epoch of all; False where `stop` was set meanwhile."""
        for index, batches in enumerate(zip(*(trial.batches() for trial in self.trials), strict=True)):
            if stop.is_set():
                return False
            for trial, loss in zip(self.trials, self.step(index, batches), strict=True):
                trial.stepped(index, loss)
        return True

    def step(self, index: int, batches: Sequence[Batch]) -> list[float]:
        """One step of every trial on its own batch; their losses. Where memory runs out in halves."""
        losses = torch.empty(len(self.trials))
        start = 0
        while start < len(self.trials):
            part = slice(start, min(start + self.tile, len(self.trials)))
            drawn = [trial.generator.get_state() for trial in self.trials[part]]
            try:
                losses[part] = self._differentiate(index, batches, part)
            except (MemoryError, RuntimeError) as error:
                if self.tile == 1 or not out_of_memory(error):
                    raise
                for trial, state in zip(self.trials[part], drawn, strict=True):
                    trial.generator.set_state(state)
                self.halve()
            else:
                self._descend(part)
                start += self.tile
        return losses.tolist()

    def _descend(self, part: slice) -> None:
        """Step down the gradients of a call."""
        gradients, self._gradients = self._gradients, ()
        if self._stack.moments is not None:
            self._stack.descend(self._rows(part), gradients)
            return
        for row, trial in enumerate(self.trials[part]):
            for parameter, found in zip(trained(trial), gradients, strict=True):
                parameter.grad = found[row]
            trial.optimizer.step()
            trial.optimizer.zero_grad()

    def _rows(self, part: slice) -> slice:
        """Where a part of the trials lies in the stack."""
        first = self._stack.place(self.trials[0])
        return slice(first + part.start, first + part.stop)

    def halve(self) -> None:
        """From now on half as many trials in one call."""
        self.tile = -(-self.tile // 2)
        for trial in self.trials:
            trial.note(f"memory ran out in its pack: {self.tile} trials at a time from there on")

    def _differentiate(self, index: int, batches: Sequence[Batch], part: slice) -> Tensor:
        """Losses (K,) of a part of the trials; their gradients are put into `_gradients`."""
        leaves = self._stack.leaves(self._rows(part))
        rows = [torch.stack(column) for column in zip(*batches[part], strict=True)]
        for place, model in self._dropouts():
            place.layers = tuple(m.get_submodule(model) for m in self._models[part])
        stacked = {f"template.{name}": leaf for name, leaf in zip(self._names, leaves, strict=True)}
        with self.trials[0].device.autocast():
            losses: Tensor = vmap(self._one(index), randomness="error")(
                stacked, {n: b[part] for n, b in self._buffers.items()}, [n[part] for n in self._numbers], *rows
            )
        self._gradients = torch.autograd.grad(losses.sum(), leaves)
        return losses.detach()

    def _dropouts(self) -> list[tuple[streams.TogetherDropout, str]]:
        named = self._template.template.named_modules()
        return [(module, name) for name, module in named if isinstance(module, streams.TogetherDropout)]

    def _one(self, index: int) -> Callable[..., Tensor]:
        """The loss of one trial, for vmap."""

        def loss(parameters: Any, buffers: Any, numbers: list[Tensor], *batch: Tensor) -> Tensor:
            for (name, key, item), number in zip(self._slots, numbers, strict=True):
                holder = vars(self._template.template.get_submodule(name))
                if item is None:
                    holder[key] = number
                else:
                    holder[key][item] = number
            found: Tensor = functional_call(self._template, (parameters, buffers), (batch, index))
            return found

        return loss

    # ---- is it right -----------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Two steps' losses and gradients together are those of each trial alone, and leave nothing behind."""
        drawn = [trial.generator.get_state() for trial in self.trials]
        fixed = {name: buffer.clone() for name, buffer in self._buffers.items()}
        try:
            for start in range(0, len(self.trials), self.tile):
                self._compare(slice(start, min(start + self.tile, len(self.trials))))
        except Unvectorised:
            raise
        except Exception as error:  # whatever vmap says to a user's code
            raise Unvectorised(one_line(f"{type(error).__name__}: {error}", 160)) from error
        finally:
            self._gradients = ()
            for trial, state in zip(self.trials, drawn, strict=True):
                trial.generator.set_state(state)
        if any(not torch.equal(fixed[name], buffer) for name, buffer in self._buffers.items()):
            raise Unvectorised("its training step changes a buffer, as BatchNorm does")

    def _compare(self, part: slice) -> None:
        """Those of a part of the trials; their generators are moved."""
        trials = self.trials[part]
        drawn = [trial.generator.get_state() for trial in trials]
        batches = [tuple(t[:PROBE_ROWS] for t in trial.standing.train_dataloader.tensors) for trial in self.trials]
        for index in range(2):
            losses = self._differentiate(index, batches, part)
        for row, (trial, state) in enumerate(zip(trials, drawn, strict=True)):
            trial.generator.set_state(state)
            model = copy.deepcopy(trial.model)  # random stream and all
            for index in range(2):  # the second one: the first drew other random numbers
                alone = trial.loss(model, batches[part.start + row], index)
            there = _flat(torch.autograd.grad(alone, [p for p in model.parameters() if p.requires_grad]))
            here = _flat([gradient[row] for gradient in self._gradients])
            agree(trial, (losses[row], alone.detach()), (here, there))

    def apart(self) -> None:
        """Give every trial parameters and optimizer state of its own again."""
        for trial in reversed(self.trials):
            self._stack.release(trial)


Slot = tuple[str, str, str | None]  # module, attribute, and the key in it where it is a dictionary


def differences(models: Sequence[nn.Module]) -> tuple[list[Slot], list[Tensor], list[tuple[str, str]]]:
    """Where a number differs between models of one shape, its values (K,) float32; and (module, attribute) of configs
    that differ. Unvectorised where something else does.
    """
    slots: list[Slot] = []
    values: list[Tensor] = []
    guards: list[tuple[str, str]] = []

    def look(name: str, key: str, item: str | None, found: list[Any]) -> None:
        if all(_same(found[0], other) for other in found[1:]):
            return
        if isinstance(found[0], TrainConf):
            guards.append((name, key))
        elif all(type(value) in (int, float) for value in found):
            slots.append((name, key, item))
            values.append(torch.tensor(found, dtype=torch.float32))
        else:
            where = ".".join(filter(None, (name, key, item)))
            raise Unvectorised(f"its attribute {where} differs between trials and is no number")

    for name, first in models[0].named_modules():
        if streams.is_ours(first):
            continue
        all_ = [vars(model.get_submodule(name)) for model in models]
        for key in vars(first):
            if key == "_hparams":  # Lightning's save_hyperparameters
                for item in all_[0][key]:
                    look(name, key, item, [attributes[key].get(item) for attributes in all_])
            elif not key.startswith("_") and key not in OUTSIDE:
                look(name, key, None, [attributes.get(key) for attributes in all_])
    return slots, values, guards


def _same(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # an object that cannot be compared, or says so of each of its parts
        return False


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def agree(trial: PackedTrial, *pairs: tuple[Tensor, Tensor]) -> None:
    """Unvectorised where what is found together is not what is found alone, in a trial's precision."""
    if not all(_close(*pair, CLOSE[trial.device.precision]) for pair in pairs):
        raise Unvectorised("its loss or gradient is another one together than alone")


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _close(one: Tensor, other: Tensor, within: float) -> bool:
    """Within so much of the largest number; both not finite counts."""
    if not torch.isfinite(other).all():
        return not bool(torch.isfinite(one).all())
    return bool((one - other).abs().max() <= within * other.abs().max() + 1e-8)


def out_of_memory(error: BaseException) -> bool:
    """Did memory run out, on the CPU or a GPU."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said
