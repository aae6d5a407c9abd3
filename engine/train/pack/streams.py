"""Dropout of trials that train in one process: each draws from a stream of its own, the one that it has alone.

Alone, a trial draws from torch's own generator, seeded with `train.seed` + 1. A packed one has a generator with that
seed; its dropout layers draw from it, and nothing else may draw in its step (trial.py sees to that).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from engine.train.model import Dropout
from engine.train.pack.masks import draw


class StreamDropout(nn.Dropout):
    """nn.Dropout on a CPU, number by number, from a generator of its own."""

    generator: torch.Generator | None = None

    def forward(self, input: Tensor) -> Tensor:
        """`input` of any shape, some of it 0; itself in eval mode."""
        return input * self.noise(input.shape, input.dtype) if self.training and self.p else input

    def noise(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """What activations of this shape are multiplied by; 1 for p = 0."""
        if not self.p:
            return torch.ones(shape, dtype=dtype)
        kept = torch.empty(shape, dtype=dtype).bernoulli_(1 - self.p, generator=self.generator)
        return kept.div_(1 - self.p) if self.p < 1 else kept


def give(model: nn.Module, generator: torch.Generator) -> None:
    """Let the dropout layers of `model` draw from this generator; torch's own become StreamDropout."""
    for module in model.modules():
        if type(module) is nn.Dropout and not module.inplace:
            module.__class__ = StreamDropout  # in place: names, hooks and state stay
        if isinstance(module, (Dropout, StreamDropout)):
            module.generator = generator


def is_ours(module: nn.Module) -> bool:
    """Is it a dropout layer with a stream."""
    return type(module) is Dropout or isinstance(module, StreamDropout)


class TogetherDropout(nn.Module):
    """The same dropout layer of several trials, inside vmap over them: each drops with its own share and stream."""

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        self.layers = tuple(layers)  # a tuple: not modules of this one

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape, some of it 0."""
        if not self.training or all(not layer.p for layer in self.layers):
            return x
        dropped: Tensor = _Drop.apply(x, self.layers)  # type: ignore[no-untyped-call]
        return dropped


class _Drop(torch.autograd.Function):
    """x times the noise of every trial."""

    @staticmethod
    def forward(x: Tensor, layers: tuple[Any, ...]) -> Tensor:
        """Only reached outside of vmap, or with what is not stacked: all trials would draw the same."""
        raise RuntimeError("dropout of several trials at once needs activations of each")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: the rule for vmap is made of differentiable operations."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, layers: tuple[Any, ...]) -> tuple[Tensor, int]:
        """x has the trials at dimension in_dims[0]."""
        x = x.movedim(in_dims[0], 0)
        if all(type(layer) is Dropout for layer in layers):
            return x * _noise(layers, x.shape[1:], x.dtype), 0
        noise = torch.empty(x.shape, dtype=x.dtype)
        for index, layer in enumerate(layers):
            noise[index] = layer.noise(x.shape[1:], x.dtype)
        return x * noise, 0


def _noise(layers: tuple[Dropout, ...], shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """`Dropout.noise` of all layers, (K, *shape): their draws are their own, the rest is done at once."""
    size = shape.numel()
    bits = torch.empty(len(layers), -(-size // 4), dtype=torch.int64)
    for row, layer in zip(bits, layers, strict=True):
        if layer.dropped:
            assert layer.generator is not None
            draw(row.numpy(), layer.generator)
    dropped = torch.tensor([layer.dropped for layer in layers])[:, None]
    kept = bits.view(torch.int16)[:, :size] >= (dropped - 32_768).to(torch.int16)  # with p = 0: any bits
    noise = kept.to(dtype).mul_((65_536 / (65_536 - dropped.double())).to(dtype))
    return noise.view(len(layers), *shape)
