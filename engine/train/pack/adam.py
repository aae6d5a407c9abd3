"""AdamW (or Adam) of K trials in one pass: each with its own learning rate, betas, epsilon and weight decay.

Weights and both moments are matrices (K, P), a row a trial (stack.py); the step is that of torch's AdamW (Loshchilov &
Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2), compiled, so that it needs no memory beside them. A
trial differs from one alone by the rounding of float32. Differences and powers are taken in float64.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from engine.train.optimizer import AdamW
from engine.train.pack import mapped

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


def stacked_step(
    groups: Sequence[Any],
    counts: Tensor,
    weights: Tensor,
    moments: Sequence[Tensor],
    spans: Sequence[tuple[int, int]],
    gradients: Sequence[Tensor],
) -> None:
    """One step of K trials down their gradients, (K, *shape) each, which lie in a row where `spans` says.

    `weights` and both `moments`, (K, P) float32 and contiguous, are written to in place, and `counts` (K,) of steps.
    """
    counts += 1
    table = numbers_of([settings(group) for group in groups], counts.double().numpy())
    arrays = [matrix.numpy() for matrix in (weights, *moments)]
    for (start, _), gradient in zip(spans, gradients, strict=True):
        _descend(*arrays, start, gradient.reshape(len(groups), -1).contiguous().numpy(), table)


@njit(cache=True, nogil=True, error_model="numpy")
def _descend(weights: Any, first: Any, second: Any, start: int, gradients: Any, numbers: Any) -> None:
    """A step of K trials, float32, on the columns from `start` on of weights and both moments (K, P).

    gradients (K, n), numbers (K, 9).
    """
    end = start + gradients.shape[1]
    for row in range(gradients.shape[0]):  # slices: an index that is a sum could be negative, and takes no vectors
        means, squares = first[row, start:end], second[row, start:end]
        descend(weights[row, start:end], means, squares, gradients[row], numbers[row])


@njit(cache=True, nogil=True, error_model="numpy")
def descend(weights: Any, means: Any, squares: Any, gradient: Any, numbers: Any) -> None:
    """A step of AdamW, float32, on weights and both moments, (n,) each.

    numbers (9,): what remains of a weight, coupled decay, beta1, 1 - beta1, beta2, 1 - beta2, the root of the
    correction of the second moment, epsilon, and the rate over the correction of the first.
    """
    remains, coupled, beta1, rest1 = numbers[0], numbers[1], numbers[2], numbers[3]
    beta2, rest2, root, eps, rate = numbers[4], numbers[5], numbers[6], numbers[7], numbers[8]
    for i in range(gradient.size):
        weight = weights[i]
        slope = gradient[i] + coupled * weight
        m = beta1 * means[i] + rest1 * slope
        v = beta2 * squares[i] + rest2 * slope * slope
        means[i] = m
        squares[i] = v
        weights[i] = weight * remains - rate * (m / (math.sqrt(v) / root + eps))


class Quick:
    """The steps of an optimizer; those of a fused Adam or AdamW without the search for its tensors at each.

    The same torch function on the same tensors, which lie in the optimizer's state.
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
        else:
            if not self._state:
                self._begin()
            self._optimizer._opt_called = True  # as its own step says: schedules ask for it
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

    def _begin(self) -> None:
        """Find the state; where there is none moments are made, in one piece. All steps are counted at once."""
        state = [self._optimizer.state[parameter] for parameter in self._parameters]
        fresh = [(known, p) for known, p in zip(state, self._parameters, strict=True) if not known]
        sizes = [p.numel() for _, p in fresh]
        moments = torch.split(mapped.zeros(2, sum(sizes)), sizes, dim=1)
        for (known, p), (first, second) in zip(fresh, moments, strict=False):
            known.update(step=torch.tensor(0.0), exp_avg=first.view(p.shape), exp_avg_sq=second.view(p.shape))
        self._counts = torch.stack([known["step"] for known in state])
        for known, count in zip(state, self._counts.unbind(), strict=True):
            known["step"] = count
        self._state = [[known[name] for known in state] for name in ("exp_avg", "exp_avg_sq", "step")]


def settings(group: Any) -> tuple[float, ...]:
    """Rate, decay, epsilon, both betas, and whether the decay is decoupled, of a group of parameters."""
    return (group["lr"], group["weight_decay"], group["eps"], *group["betas"], group["decoupled_weight_decay"])


def numbers_of(settings: Any, steps: np.ndarray) -> np.ndarray:
    """What `descend` wants, (K, 9) float32, of `settings` (K, 6) at steps (K,) float64, counted from one."""
    rate, decay, eps, beta1, beta2, decoupled = np.asarray(settings, dtype=np.float64).T
    numbers = (1 - rate * decay * decoupled, decay * (1 - decoupled), beta1, 1 - beta1, beta2, 1 - beta2)
    last = (np.sqrt(1 - beta2**steps), eps, rate / (1 - beta1**steps))
    return np.column_stack((*numbers, *last)).astype(np.float32)
