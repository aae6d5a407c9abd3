"""The built-in network for tables as compiled code has it: which networks it is, and where their numbers lie.

A network is one where all of it is as it was written: an EmbeddingModel whose body is dense layers in a row, SiLU or
ReLU, and our own dropout, and whose training step and loss are those of Network.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.records import Task
from engine.train.model import Dropout, EmbeddingModel, Network
from engine.train.pack import steps
from engine.train.pack.blas import HERE
from engine.train.pack.chain import Layer, layers_of, listened

KINDS: dict[type, int] = {type(None): steps.NONE, nn.SiLU: steps.SILU, nn.ReLU: steps.RELU}
TASKS = {Task.BINARY: steps.BINARY, Task.MULTICLASS: steps.MULTICLASS, Task.REGRESSION: steps.REGRESSION}
WRITTEN: dict[str, type] = {"training_step": Network, "loss": Network}
WRITTEN |= dict.fromkeys(("forward", "embedded", "in_units"), EmbeddingModel)
LINE = 16  # floats of a line of the cache: all parts begin at one


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
        *places, size = itertools.accumulate((lines(parameter.numel()) for parameter in own), initial=0)
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
            block=steps.BLOCK if max(each.out_features for each in linear) <= steps.WIDE else steps.MORE,
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


def lines(numbers: int) -> int:
    """So many numbers and those that end their last line of the cache."""
    return -(-numbers // LINE) * LINE


def built_in(model: Any) -> bool:
    """Is it a network whose epochs can be compiled."""
    try:
        Layout.of(model)
    except Unlike:
        return False
    return True
