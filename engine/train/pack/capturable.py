"""AdamW (or Adam) of K trials on a GPU: launches alone, which a CUDA graph can hold.

Weights and both moments are matrices (K, P), a row a trial. The operations are those of torch's AdamW (Loshchilov &
Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2); rates, betas and the count of steps are tensors, so
that a step that was captured takes up what a schedule has set since. The optimizers of the trials stay what they are:
their state are views of the matrices, and schedules and checkpoints read and write it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class CapturableAdam:
    """One step of all. `weights` (K, P) is written to in place."""

    def __init__(self, optimizers: Sequence[Any], weights: Tensor, spans: Sequence[tuple[int, int]]) -> None:
        """`spans`: where each parameter lies in a row."""
        self._weights = weights
        self._optimizers = optimizers
        self._groups = [optimizer.param_groups[0] for optimizer in optimizers]
        self._first, self._second = torch.zeros_like(weights), torch.zeros_like(weights)
        self._steps = torch.zeros(len(weights), device=weights.device)
        self._known: list[tuple[float, ...]] = []
        self._columns = torch.empty(6, len(weights), 1, dtype=torch.float64, device=weights.device)
        self.coupled = False  # is Adam's weight decay part of any gradient
        for row, optimizer in enumerate(optimizers):
            for parameter, (start, end) in zip(self._groups[row]["params"], spans, strict=True):
                known = optimizer.state[parameter]
                for name, matrix in (("exp_avg", self._first), ("exp_avg_sq", self._second)):
                    view = matrix[row, start:end].view(parameter.shape)
                    if name in known:
                        view.copy_(known[name])
                    known[name] = view
                if "step" in known:
                    self._steps[row] = known["step"]
                known["step"] = self._steps[row]

    @property
    def state(self) -> list[Tensor]:
        """What a step changes, beside the weights."""
        return [self._first, self._second, self._steps]

    def refresh(self) -> None:
        """Take up what schedules have set: before a step, and not inside a graph."""
        known = [_numbers(group) for group in self._groups]
        if known != self._known:
            self._known, self.coupled = known, any(numbers[-1] for numbers in known)
            # float64: differences and powers are taken before float32 rounds them
            self._columns.copy_(torch.tensor(known, dtype=torch.float64).t()[:, :, None])

    def step(self, gradients: Tensor, part: slice = slice(None)) -> None:
        """One step of a part of the trials down their gradients (K, P), which are not kept."""
        weights, first, second = self._weights[part], self._first[part], self._second[part]
        rate, decay, eps, beta1, beta2, coupled = self._columns[:, part]
        self._steps[part] += 1
        steps = self._steps[part].double()[:, None]
        with torch.no_grad():
            if self.coupled:
                gradients = gradients + coupled.float() * weights
            weights.mul_((1 - rate * decay).float())
            first.lerp_(gradients, (1 - beta1).float().expand_as(gradients))
            second.mul_(beta2.float()).addcmul_(gradients * (1 - beta2).float(), gradients)
            below = second.sqrt().div_((1 - beta2**steps).sqrt().float()).add_(eps.float())
            weights.sub_(torch.div(first, below, out=below).mul_((rate / (1 - beta1**steps)).float()))

    def apart(self) -> None:
        """Give the optimizers a state of their own, for steps that they take themselves."""
        for optimizer in self._optimizers:
            for known in optimizer.state.values():
                for name, value in known.items():
                    if isinstance(value, Tensor):
                        known[name] = value.clone()


def _numbers(group: Any) -> tuple[float, ...]:
    decoupled = bool(group["decoupled_weight_decay"])
    decay, coupled = (group["weight_decay"] if decoupled is wanted else 0.0 for wanted in (True, False))
    return (group["lr"], decay, group["eps"], *group["betas"], coupled)
