"""AdamW (or Adam) of K trials in one pass: each with its own learning rate, betas, epsilon and weight decay.

Weights, gradients and both moments are matrices (K, P), a row a trial; the operations are those of torch's AdamW
(Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2), so that a trial differs from one alone
by the rounding of float32. The optimizers of the trials stay what they are: their state are views of the matrices, and
schedules and checkpoints read and write it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from engine.train.optimizer import AdamW

PLAIN = ("amsgrad", "maximize", "capturable", "differentiable")


def can(optimizer: Any, parameters: Sequence[Tensor]) -> bool:
    """Is this an Adam or AdamW over exactly these parameters, in this order, with one set of hyperparameters."""
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW, AdamW) or len(optimizer.param_groups) != 1:
        return False
    (group,) = optimizer.param_groups
    same = len(group["params"]) == len(parameters) and all(map(_is, group["params"], parameters))
    return same and not any(group[key] for key in PLAIN) and not isinstance(group["lr"], Tensor)


def _is(one: Tensor, other: Tensor) -> bool:
    return one is other


class StackedAdam:
    """One step of all. `weights` (K, P) is written to in place."""

    def __init__(self, optimizers: Sequence[Any], weights: Tensor, spans: Sequence[tuple[int, int]]) -> None:
        """`spans`: where each parameter lies in a row."""
        self._weights = weights
        self._groups = [optimizer.param_groups[0] for optimizer in optimizers]
        self._first, self._second = torch.zeros_like(weights), torch.zeros_like(weights)
        self._steps = torch.zeros(len(weights))
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

    def step(self, gradients: Tensor, part: slice = slice(None)) -> None:
        """One step of a part of the trials down their gradients, which are not kept."""
        groups, weights = self._groups[part], self._weights[part]
        first, second = self._first[part], self._second[part]
        rate, decay, eps, beta1, beta2 = (_column(values) for values in zip(*map(_numbers, groups), strict=True))
        coupled = _column([0.0 if group["decoupled_weight_decay"] else group["weight_decay"] for group in groups])
        self._steps[part] += 1
        steps = self._steps[part].double()[:, None]
        with torch.no_grad():
            if coupled.any():
                gradients = gradients + coupled.float() * weights
            weights.mul_((1 - rate * decay).float())
            first.lerp_(gradients, (1 - beta1).float().expand_as(gradients))
            second.mul_(beta2.float()).addcmul_(gradients * (1 - beta2).float(), gradients)
            below = second.sqrt().div_((1 - beta2**steps).sqrt().float()).add_(eps.float())
            weights.sub_(torch.div(first, below, out=below).mul_((rate / (1 - beta1**steps)).float()))


class Quick:
    """The steps of an optimizer; those of a fused Adam or AdamW without the search for its tensors at each.

    The same torch function on the same tensors. The first step is the optimizer's own: it makes the state.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        group = optimizer.param_groups[0]
        self._parameters = list(group["params"])
        hooks = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
        self._can = can(optimizer, self._parameters) and bool(group["fused"]) and not hooks
        self._state: list[list[Tensor]] = []
        self._counts = torch.empty(0)

    def zero_grad(self) -> None:
        """No parameter has a gradient."""
        if self._can:
            for parameter in self._parameters:
                parameter.grad = None
        else:
            self._optimizer.zero_grad()

    def step(self) -> None:
        """One step."""
        gradients = [parameter.grad for parameter in self._parameters]
        if not self._can or any(gradient is None for gradient in gradients):
            self._optimizer.step()
        elif not self._state:
            self._optimizer.step()
            state = [self._optimizer.state[parameter] for parameter in self._parameters]
            self._counts = torch.stack([known["step"] for known in state])  # counted at once
            for known, count in zip(state, self._counts.unbind(), strict=True):
                known["step"] = count
            self._state = [[known[name] for known in state] for name in ("exp_avg", "exp_avg_sq", "step")]
        else:
            group = self._optimizer.param_groups[0]
            function = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
            first, second, steps = self._state
            with torch.no_grad():
                self._counts += 1
                function(
                    self._parameters,
                    gradients,
                    first,
                    second,
                    [],
                    steps,
                    lr=group["lr"],
                    beta1=group["betas"][0],
                    beta2=group["betas"][1],
                    weight_decay=group["weight_decay"],
                    eps=group["eps"],
                    amsgrad=False,
                    maximize=False,
                )


def apart(optimizer: Any) -> None:
    """Give an optimizer whose state are views a state of its own, for steps that it takes itself."""
    for known in optimizer.state.values():
        for name, value in known.items():
            if isinstance(value, Tensor):
                known[name] = value.clone()


def _numbers(group: Any) -> tuple[float, ...]:
    decay = group["weight_decay"] if group["decoupled_weight_decay"] else 0.0
    return (group["lr"], decay, group["eps"], *group["betas"])


def _column(values: Sequence[float]) -> Tensor:
    """(K, 1) float64: differences and powers are taken before float32 rounds them."""
    return torch.tensor(values, dtype=torch.float64)[:, None]
