"""Dense layers in a row, forward and backward by hand on buffers that are used again.

A chain is what follows one another in an nn.Sequential: Linear, activation, dropout, Linear, and so on. Autograd
allocates every activation, mask and gradient anew, and dropout out of torch's operations costs more than the
activations. Here the products are the same calls in the same order, masks are compiled (masks.py), and gradients lie
where activations lay that nobody needs any more: the same numbers, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.train.model import Dropout
from engine.train.pack import mapped
from engine.train.pack.masks import drop, keep, moved, size_of
from engine.train.pack.streams import StreamDropout

aten = torch.ops.aten
Pointwise = Callable[[Any, Tensor, Tensor], Any]  # the module, what it is given, where the result goes
FORWARD: dict[type[nn.Module], Pointwise] = {
    nn.SiLU: lambda module, x, out: aten.silu.out(x, out=out),
    nn.ReLU: lambda module, x, out: torch.clamp_min(x, 0, out=out),
    nn.GELU: lambda module, x, out: aten.gelu.out(x, approximate=module.approximate, out=out),
}
BACKWARD: dict[type[nn.Module], Pointwise] = {  # in place of the gradient, from what the activation was given
    nn.SiLU: lambda module, x, g: aten.silu_backward.grad_input(g, x, grad_input=g),
    nn.ReLU: lambda module, x, g: aten.threshold_backward.grad_input(g, x, 0, grad_input=g),
    nn.GELU: lambda module, x, g: aten.gelu_backward.grad_input(g, x, approximate=module.approximate, grad_input=g),
}


ALIGNED = 64  # bytes: as torch aligns what it allocates


@dataclass(frozen=True)
class Layer:
    """A dense layer and what follows it."""

    linear: nn.Linear
    activation: nn.Module | None = None
    dropout: Any = None  # Dropout or StreamDropout

    @property
    def drops(self) -> bool:
        """Is anything dropped."""
        if self.dropout is None or not self.dropout.training:
            return False
        return bool(self.dropout.dropped if isinstance(self.dropout, Dropout) else self.dropout.p)


class Room:
    """Buffers of one step on up to `rows` rows, (rows, width) float32 each, and what dropout drew.

    sums: what activations are given. outs: what the next layer is given; None of the last one, which is handed out.
    """

    def __init__(self, rows: int, layers: Sequence[Layer]) -> None:
        self.rows, self._layers = rows, layers
        last = len(layers) - 1
        sizes = []  # bytes of what activations are given, of what the next layer is, and of what dropout kept
        for i, layer in enumerate(layers):
            count = rows * layer.linear.out_features
            kept = size_of(count) if isinstance(layer.dropout, Dropout) else 0
            sizes += [4 * count * (layer.activation is not None), 4 * count * (i < last), kept]
        sizes = [-(-size // ALIGNED) * ALIGNED for size in sizes]
        self._parts = torch.split(mapped.zeros(sum(sizes), dtype=torch.uint8), sizes)
        self._noise: list[Any] = [None] * len(layers)  # of torch's dropout
        self._fitted = 0

    def fit(self, rows: int) -> None:
        """For a step on so many rows: the buffers are the first ones."""
        if rows == self._fitted:
            return
        self._fitted = rows
        self.sums: list[Any] = []
        self.outs: list[Any] = []
        self._kept: list[Any] = []
        for i, layer in enumerate(self._layers):
            wide = layer.linear.out_features
            sums, outs, kept = self._parts[3 * i : 3 * i + 3]
            self.sums.append(sums[: 4 * rows * wide].view(torch.float32).view(rows, wide) if len(sums) else None)
            self.outs.append(outs[: 4 * rows * wide].view(torch.float32).view(rows, wide) if len(outs) else None)
            self._kept.append(kept.numpy() if len(kept) else None)

    def forward(self, i: int, layer: Layer, out: Tensor) -> None:
        """What follows the dense layer: `out` of its sums, or in place where it has no activation."""
        drops = layer.drops
        if layer.activation is not None:
            FORWARD[type(layer.activation)](layer.activation, self.sums[i], out)
        if drops and self._kept[i] is None:
            self._noise[i] = layer.dropout.noise(out.shape, out.dtype)
            out.mul_(self._noise[i])
        elif drops:
            least, scale = _share(layer.dropout)
            with moved(layer.dropout.generator) as known:
                keep(known, least, self._kept[i], out.numel())
            drop(_flat(out), scale, self._kept[i], 0)

    def backward(self, i: int, layer: Layer, gradient: Tensor) -> None:
        """From the gradient of what `forward` gave to that of the sums, in place."""
        drops = layer.drops
        if drops and self._kept[i] is None:
            gradient.mul_(self._noise[i])
        elif drops:
            drop(_flat(gradient), _share(layer.dropout)[1], self._kept[i], 0)
        if layer.activation is not None:
            BACKWARD[type(layer.activation)](layer.activation, self.sums[i], gradient)


def _share(dropout: Dropout) -> tuple[np.int16, np.float32]:
    """The least 16 bits that are kept, and what they are multiplied by, as in Dropout.noise."""
    return np.int16(dropout.dropped - 32_768), np.float32(65_536 / (65_536 - dropout.dropped))


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().view(-1).numpy()


class Chain:
    """Layers in a row. Called with rows as the modules would be, it gives what they would give. For one thread."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        self.parameters = [p for layer in layers for p in (layer.linear.weight, layer.linear.bias)]
        self._rooms: list[Room] = []  # that no step uses

    def __call__(self, x: Tensor) -> Tensor:
        """(N, out) of x (N, in), under autograd."""
        if self.takes(x):
            out: Tensor = _Pass.apply(x, self, *self.parameters)  # type: ignore[no-untyped-call]
            return out
        for layer in self.layers:
            for module in (layer.linear, layer.activation, layer.dropout):
                x = x if module is None else module(x)
        return x

    def takes(self, x: Tensor) -> bool:
        """Is it a step in training, on rows of numbers."""
        usual = x.dim() == 2 and x.dtype is torch.float32 and x.is_contiguous() and len(x) > 0
        return usual and torch.is_grad_enabled() and self.layers[0].linear.training

    def forward(self, x: Tensor) -> tuple[Tensor, Room]:
        """(N, out), and the room that `backward` wants. A room without a backward pass is lost, no more."""
        place = next((i for i, room in enumerate(self._rooms) if room.rows >= len(x)), None)
        room = Room(len(x), self.layers) if place is None else self._rooms.pop(place)
        room.fit(len(x))
        for i, layer in enumerate(self.layers):
            weight, bias = self.parameters[2 * i : 2 * i + 2]
            out = room.outs[i] if room.outs[i] is not None else x.new_empty(len(x), len(weight))
            torch.addmm(bias, x, weight.t(), out=room.sums[i] if layer.activation is not None else out)
            room.forward(i, layer, out)
            x = out
        return x, room

    def backward(
        self, room: Room, first: Tensor, gradient: Tensor, wanted: bool, into: Sequence[Tensor]
    ) -> Tensor | None:
        """The gradients of the parameters into tensors of their shapes; that of what the chain was given (`first`)
        where it is wanted.

        The gradient of a layer's input lies where the input lay.
        """
        gradient = gradient.contiguous()
        if self.layers[-1].activation is not None:  # what autograd gives is not written to
            gradient = gradient.clone()
        start: Tensor | None = None
        for i, layer in reversed(list(enumerate(self.layers))):
            room.backward(i, layer, gradient)
            given = room.outs[i - 1] if i else first
            torch.mm(gradient.t(), given, out=into[2 * i])
            torch.sum(gradient, 0, out=into[2 * i + 1])
            if i:
                gradient = torch.mm(gradient, self.parameters[2 * i], out=given)
            elif wanted:
                start = gradient.mm(self.parameters[0])
        self._rooms.append(room)
        return start


class _Pass(torch.autograd.Function):
    """Both passes of a chain, for autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, chain: Chain, *parameters: Tensor) -> Tensor:
        """Nothing is kept but the room; autograd watches over what is given."""
        out, ctx.room = chain.forward(x)
        ctx.chain = chain
        ctx.save_for_backward(x, *parameters)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Once: the buffers are then used by others."""
        room, ctx.room = ctx.room, None
        if room is None:
            raise RuntimeError("the backward pass of dense layers runs a second time")
        first, *parameters = ctx.saved_tensors
        found = [torch.empty_like(parameter) for parameter in parameters]
        start = ctx.chain.backward(room, first, gradient, ctx.needs_input_grad[0], found)
        return (start, None, *found)


def parts_of(sequence: nn.Sequential) -> list[Any]:
    """What to call one after the other in place of the modules of a Sequential: chains where there are any."""
    parts: list[Any] = []
    layers: list[Layer] = []

    def end() -> None:
        last = layers.pop() if layers else None
        if last is not None:  # what it drops is handed out, so its dropout stays a module of its own
            layers.append(Layer(last.linear, last.activation))
        if any(layer.activation is not None for layer in layers):
            parts.append(Chain(layers))
        else:
            parts.extend(module for layer in layers for module in (layer.linear, layer.dropout) if module is not None)
        if last is not None and last.dropout is not None:
            parts.append(last.dropout)
        layers.clear()

    for module in sequence:
        newest = layers[-1] if layers and layers[-1].dropout is None else None
        if type(module) is nn.Linear and _whole(module):
            layers.append(Layer(module))
        elif newest is not None and type(module) in FORWARD and newest.activation is None and _plain(module):
            layers[-1] = Layer(newest.linear, module)
        elif newest is not None and type(module) in (Dropout, StreamDropout) and not listened(module):
            layers[-1] = Layer(newest.linear, newest.activation, module)
        else:
            end()
            parts.append(module)
    end()
    return parts


def layers_of(sequence: nn.Sequential) -> Sequence[Layer] | None:
    """The dense layers that a Sequential is, all of it; None where it is something else as well."""
    parts = parts_of(sequence)
    if len(parts) != 1:
        return None
    if isinstance(parts[0], Chain):
        return parts[0].layers
    return (Layer(parts[0]),) if type(parts[0]) is nn.Linear and _whole(parts[0]) else None


def listened(module: nn.Module) -> bool:
    """Does anybody listen to what the module does, or stand in its place."""
    attributes = vars(module)
    return "forward" in attributes or any(attributes[key] for key in attributes if key.endswith("_hooks"))


def _plain(module: Any) -> bool:
    return not listened(module) and not getattr(module, "inplace", False)


def _whole(linear: nn.Linear) -> bool:
    """All of it is trained, in float32."""
    if listened(linear) or linear.bias is None or not linear.weight.is_contiguous():
        return False
    return all(p.requires_grad and p.dtype is torch.float32 for p in linear.parameters())
