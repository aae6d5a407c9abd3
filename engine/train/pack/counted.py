"""Dropout on a GPU without a generator: what a trial drops follows from its seed, the step and the place in the step.

A generator a trial would cost a launch a trial and layer, and hold a state that a CUDA graph must be told of. Here all
trials draw at once, on any device the same bits, and a trial that goes on needs to know nothing but its step.

SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", figure 17) is a mix of a counter
that grows by GAMMA. That of a trial's seed gives one number a step; from there on each of its calls of dropout has 2^40
words of its own. As in model.Dropout a word of 64 bits decides on four neurons, and what is kept is scaled by the
inverse of exactly the share that is. Alone on a GPU a trial draws from torch's own generator: other numbers, as likely.

Cost: some twelve passes over 2 bytes a neuron.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from engine.train.model import Dropout
from engine.train.pack.streams import StreamDropout

WORD = (1 << 64) - 1
GAMMA, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
CALL = 1 << 40  # words of one call of dropout


def signed(word: int) -> int:
    """A word of 64 bits as torch's int64 has it."""
    word &= WORD
    return word - (1 << 64) if word >> 63 else word


def mix(z: int) -> int:
    """SplitMix64's number of a counter."""
    z &= WORD
    z = ((z ^ z >> 30) * FIRST) & WORD
    z = ((z ^ z >> 27) * SECOND) & WORD
    return z ^ z >> 31


def mixed(z: Tensor) -> Tensor:
    """`mix` of int64 of any shape, in place; shifts of torch's are arithmetic, so what they bring in is cut off."""
    z.bitwise_xor_((z >> 30).bitwise_and_((1 << 34) - 1)).mul_(signed(FIRST))
    z.bitwise_xor_((z >> 27).bitwise_and_((1 << 37) - 1)).mul_(signed(SECOND))
    return z.bitwise_xor_((z >> 31).bitwise_and_((1 << 33) - 1))


class Share(NamedTuple):
    """What K layers drop: 16 bits below `least` (K, 1) int16; what is kept is multiplied by `scale` (K, 1) float64."""

    least: Tensor
    scale: Tensor

    @classmethod
    def of(cls, layers: Sequence[Any], device: torch.device) -> Share:
        """Of layers with a share p each."""
        dropped = torch.tensor([[_dropped(layer)] for layer in layers], device=device)
        return cls((dropped - 32_768).to(torch.int16), 65_536 / (65_536 - dropped.double()))


def noise(base: Tensor, call: int, share: Share, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """What activations (K, *shape) of K trials are multiplied by.

    Args:
        base: (K,) int64, of this step of each trial.
        call: of dropout in this step, from 0.
        share: of each.
        shape, dtype: of the activations of one.
    """
    size = shape.numel()
    words = torch.arange(call * CALL, call * CALL + -(-size // 4), device=base.device).mul_(signed(GAMMA))
    bits = mixed(base[:, None] + words).view(torch.int16)[:, :size]
    kept = (bits >= share.least).to(dtype).mul_(share.scale.to(dtype))
    return kept.view(len(base), *shape)


def _dropped(layer: Any) -> int:
    """Of 65,536 neurons."""
    p: float = layer.p
    return round(65_536 * p)


class Draws:
    """Of K trials: where each stands. Tensors on their device, so that a step needs no word from here."""

    def __init__(self, seeds: Sequence[int], positions: Sequence[int], device: torch.device) -> None:
        """`positions`: steps that each has behind it."""
        self._keys = torch.tensor([signed(mix(seed)) for seed in seeds], device=device)
        self.positions = torch.tensor(positions, dtype=torch.int64, device=device)
        self.base = self._keys
        self.calls = 0

    @classmethod
    def of(cls, trials: Sequence[Any], device: torch.device) -> Draws:
        """Those of trials (trial.py), where they stand now."""
        seeds = [trial.conf.seed + 1 for trial in trials]
        return cls(seeds, [trial.standing.global_step for trial in trials], device)

    def begin(self, part: slice = slice(None)) -> None:
        """A step of a part of the trials begins."""
        self.base = mixed(self._keys[part] + self.positions[part] * signed(GAMMA))
        self.calls = 0

    def next(self) -> int:
        """The number of the call of dropout that comes now."""
        self.calls += 1
        return self.calls - 1


class CountedDropout(StreamDropout):
    """A dropout layer of one trial: model.Dropout or torch's, made this one in place, so that names and hooks stay."""

    _draws: Draws  # underscored: no setting that trials of one shape share
    _share: Share

    def forward(self, input: Tensor) -> Tensor:
        """`input` of any shape, some of it 0; itself in eval mode."""
        if not self.training or not self.p:
            return input
        found = noise(self._draws.base, self._draws.next(), self._share, input.shape, input.dtype)
        return input * found[0]


def give(model: nn.Module, draws: Draws) -> None:
    """Let the dropout layers of a trial's model draw so."""
    for module in model.modules():
        plain = type(module) is nn.Dropout and not module.inplace
        if (plain or type(module) is Dropout) and _dropped(module) < 65_536:
            share = Share.of([module], draws.positions.device)
            module.__class__ = CountedDropout
            vars(module).update(_draws=draws, _share=share, inplace=False)
    vars(model)["_draws"] = draws


def begin(model: nn.Module, position: int) -> None:
    """A step of a model, or of a copy of it, begins, with so many behind it; nothing where it does not draw so."""
    draws = vars(model).get("_draws")
    if draws is not None:
        draws.positions.fill_(position)
        draws.begin()


class CountedTogether(nn.Module):
    """The same dropout layer of several trials, inside vmap over them."""

    def __init__(self, layers: Sequence[CountedDropout], draws: Draws) -> None:
        super().__init__()
        self.draws, self.part = draws, slice(None)
        self.any = any(layer.p for layer in layers)
        self.share = Share.of(layers, draws.positions.device)

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape, some of it 0."""
        if not self.training or not self.any:
            return x
        out: Tensor = _Drop.apply(x, self)  # type: ignore[no-untyped-call]
        return out


class _Drop(torch.autograd.Function):
    """x times the noise of every trial."""

    @staticmethod
    def forward(x: Tensor, place: CountedTogether) -> Tensor:
        """Only reached outside of vmap, or with what is not stacked: all trials would draw the same."""
        raise RuntimeError("dropout of several trials at once needs activations of each")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: the rule for vmap is made of differentiable operations."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, place: CountedTogether) -> tuple[Tensor, int]:
        """x has the trials at dimension in_dims[0]."""
        x, draws = x.movedim(in_dims[0], 0), place.draws
        share = Share(place.share.least[place.part], place.share.scale[place.part])
        return x * noise(draws.base, draws.next(), share, x.shape[1:], x.dtype), 0
