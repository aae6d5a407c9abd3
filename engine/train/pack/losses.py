"""The built-in losses and their slopes by hand: what autograd does for them, operation by operation.

Each is `Network.loss` of what the body of an EmbeddingModel gives, in its task's units, and the gradient of that; the
operations are those of torch's own formulas in their order, so that no bit differs (byhand.py proves it on a copy).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.records import FeatureSpec, Task
from engine.train.model import EmbeddingModel, Network

aten = torch.ops.aten
MEAN, NO_CLASS = 1, -100  # torch's names of the reduction, and of the class that does not count
BUILT_IN = {"training_step": Network, "loss": Network, "forward": EmbeddingModel, "in_units": EmbeddingModel}


def built_in(model: Any) -> bool:
    """Is all that an EmbeddingModel does with the output of its body what it was written to do."""
    written = all(getattr(type(model), name) is getattr(owner, name) for name, owner in BUILT_IN.items())
    return written and not any(name in vars(model) for name in BUILT_IN)


def slope(spec: FeatureSpec, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Loss () of what the body gave, (N, 1) or (N, C) float32, and its gradient, of the same shape. Under no_grad."""
    if spec.task is Task.MULTICLASS:
        logs = torch.log_softmax(output, 1)
        loss, weight = aten.nll_loss_forward(logs, target, None, MEAN, NO_CLASS)
        found = aten.nll_loss_backward(torch.ones(()), logs, target, None, MEAN, NO_CLASS, weight)
        return loss, aten._log_softmax_backward_data(found, logs, 1, torch.float32)
    flat = output.squeeze(1)
    if spec.task is Task.BINARY:
        found = torch.sigmoid(flat).sub_(target).div_(len(flat))
        return F.binary_cross_entropy_with_logits(flat, target), found.unsqueeze(1)
    scale = spec.target_scale
    value, goal = (flat * scale + spec.target_mean) / scale, target / scale
    found = aten.huber_loss_backward(torch.ones(()), value, goal, MEAN, 1.0)
    return F.huber_loss(value, goal), found.div_(scale).mul_(scale).unsqueeze(1)
