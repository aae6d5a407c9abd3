from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from engine.train.pack.adam import Quick, can
from engine.train.pack.stack import Stack, stacked

SHAPES = ((4, 3), (3,), (1, 3))


def parameters(seed: int) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def flat(tensors: Any) -> torch.Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def stack_of(optimizers: Sequence[Any]) -> Stack:
    """As if each was a trial's."""
    trials = [SimpleNamespace(optimizer=o, model=nn.ParameterList(o.param_groups[0]["params"])) for o in optimizers]
    return stacked(trials)


def cut(row: torch.Tensor) -> list[torch.Tensor]:
    """(..., 18) by parameter."""
    parts = row.split([math.prod(shape) for shape in SHAPES], dim=-1)
    return [part.view(*row.shape[:-1], *shape) for part, shape in zip(parts, SHAPES, strict=True)]


MADE = [
    (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    (torch.optim.AdamW, {"lr": 0.3, "betas": (0.5, 0.9), "eps": 1e-3, "fused": True}),
    (torch.optim.Adam, {"lr": 0.02, "weight_decay": 0.2}),
    (torch.optim.Adam, {"lr": 0.02, "betas": (0.0, 0.5)}),
]


def test_every_row_steps_as_torchs_own_optimizer_does() -> None:
    """40 steps with a rate that changes; the state goes over and comes back in between."""
    own, twins = [[parameters(seed) for seed in range(len(MADE))] for _ in range(2)]
    optimizers = [kind(p, **options) for (kind, options), p in zip(MADE, own, strict=True)]
    theirs = [kind(p, **options) for (kind, options), p in zip(MADE, twins, strict=True)]
    stack = stack_of(optimizers)
    generator = torch.Generator().manual_seed(9)
    for step in range(40):
        gradients = torch.randn(len(MADE), 18, generator=generator)
        if step == 20:  # a pack whose members change
            for trial in list(stack._trials):
                stack.release(trial)
            stack.weights.fill_(math.nan)
            stack = stack_of(optimizers)
        for optimizer in (*optimizers, *theirs):
            optimizer.param_groups[0]["lr"] *= 0.98
        stack.descend(slice(0, len(MADE)), cut(gradients))
        for row, (optimizer, twin) in enumerate(zip(theirs, twins, strict=True)):
            for parameter, gradient in zip(twin, cut(gradients[row]), strict=True):
                parameter.grad = gradient
            optimizer.step()
    for row, (mine, optimizer, twin) in enumerate(zip(optimizers, theirs, twins, strict=True)):
        torch.testing.assert_close(flat(own[row]), flat(twin), rtol=1e-5, atol=1e-6)
        for one, other in zip(
            mine.state_dict()["state"].values(), optimizer.state_dict()["state"].values(), strict=True
        ):
            assert float(one["step"]) == float(other["step"]) == 40
            torch.testing.assert_close(one["exp_avg"], other["exp_avg"], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(one["exp_avg_sq"], other["exp_avg_sq"], rtol=1e-5, atol=1e-6)


def test_steps_of_an_optimizer_that_was_set_apart_are_its_own() -> None:
    own = parameters(0)
    optimizer = torch.optim.AdamW(own, lr=0.1, fused=True)
    stack = stack_of([optimizer])
    stack.descend(slice(0, 1), cut(torch.ones(1, 18)))
    stack.release(stack._trials[0])
    for parameter in own:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()  # one shared count would have moved once a parameter
    assert [float(known["step"]) for known in optimizer.state.values()] == [2.0, 2.0, 2.0]
    stack.counts += 1
    assert float(optimizer.state[own[0]]["step"]) == 2.0


def test_what_is_not_a_plain_adam_over_all_parameters_steps_by_itself() -> None:
    own = parameters(0)
    assert can(torch.optim.AdamW(own, lr=0.1), own)
    assert can(torch.optim.Adam(own, lr=0.1), own)
    assert not can(torch.optim.SGD(own, lr=0.1), own)
    assert not can(torch.optim.AdamW(own, lr=0.1, amsgrad=True), own)
    assert not can(torch.optim.AdamW(own, lr=0.1, maximize=True), own)
    assert not can(torch.optim.AdamW([{"params": own[:1]}, {"params": own[1:]}], lr=0.1), own)
    assert not can(torch.optim.AdamW(own[1:], lr=0.1), own)
    assert not can(torch.optim.AdamW(own[::-1], lr=0.1), own)


@pytest.mark.parametrize("rate", [1e-8, 1.0])
def test_a_rate_that_float32_cannot_hold_beside_one_is_not_lost(rate: float) -> None:
    """1 - rate * decay is taken in float64; torch's fused AdamW does the same."""
    own, twin = parameters(1), parameters(1)
    mine, theirs = (torch.optim.AdamW(p, lr=rate, weight_decay=0.01, fused=True) for p in (own, twin))
    stack = stack_of([mine])
    for _ in range(3):
        stack.descend(slice(0, 1), cut(torch.full((1, 18), 1e-3)))
        for parameter in twin:
            parameter.grad = torch.full_like(parameter, 1e-3)
        theirs.step()
    torch.testing.assert_close(flat(own), flat(twin), rtol=2e-6, atol=1e-7)


class Listened(torch.optim.AdamW):
    """Another optimizer."""


def test_quick_steps_are_the_optimizers_own_bit_for_bit() -> None:
    """A rate that changes; parameters without a gradient; its state is left as the optimizer would leave it."""
    for kind, options in (
        *MADE,
        (Listened, {"lr": 0.1, "fused": True}),
        (torch.optim.Adam, {"lr": 0.1, "fused": True}),
    ):
        own, twins = parameters(3), parameters(3)
        optimizer, twin = kind(own, **options), kind(twins, **options)
        generator = torch.Generator().manual_seed(9)
        for epoch in range(2):
            quick = Quick(optimizer)
            for step in range(12):
                for known in (optimizer, twin):
                    known.param_groups[0]["lr"] *= 0.98
                twin.zero_grad()
                quick.zero_grad()
                for one, other in zip(own, twins, strict=True):
                    if one is not own[2] or step + epoch > 2:
                        gradient = torch.randn(one.shape, generator=generator)
                        one.grad, other.grad = gradient.clone(), gradient.clone()
                quick.step()
                twin.step()
                for one, other in zip(own, twins, strict=True):
                    assert torch.equal(one, other)
        mine, theirs = optimizer.state_dict()["state"], twin.state_dict()["state"]
        for one, other in zip(mine.values(), theirs.values(), strict=True):
            assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_hook_of_an_optimizer_is_heard() -> None:
    own, heard = parameters(0), list[int]()
    optimizer = torch.optim.AdamW(own, lr=0.1, fused=True)
    optimizer.register_step_post_hook(lambda *rest: heard.append(1))
    quick = Quick(optimizer)
    for parameter in own:
        parameter.grad = torch.ones_like(parameter)
    for _ in range(3):
        quick.step()
    assert len(heard) == 3
