"""AdamW of several trials in launches, against torch's own of each."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine.train.pack.capturable import CapturableAdam

SHAPES = ((4, 3), (4,))
SPANS = ((0, 12), (12, 16))
KINDS: dict[str, list[Any]] = {
    "adamw": [torch.optim.AdamW] * 3,
    "adam": [torch.optim.Adam] * 3,
    "both": [torch.optim.AdamW, torch.optim.Adam, torch.optim.AdamW],
}


def nets(kinds: list[Any], dtype: torch.dtype) -> list[tuple[list[torch.nn.Parameter], Any]]:
    """Parameters and optimizer of each trial, with hyperparameters of its own."""
    made = []
    for i, kind in enumerate(kinds):
        torch_generator = torch.Generator().manual_seed(i)
        own = [torch.nn.Parameter(torch.randn(shape, generator=torch_generator).to(dtype)) for shape in SHAPES]
        words = {"lr": 0.01 * (i + 1), "betas": (0.9 - 0.1 * i, 0.99), "eps": 10.0 ** -(8 - i), "weight_decay": 0.1 * i}
        made.append((own, kind(own, **words)))
    return made


def stacked(made: list[tuple[list[torch.nn.Parameter], Any]]) -> tuple[torch.Tensor, CapturableAdam]:
    weights = torch.stack([torch.cat([p.detach().reshape(-1) for p in own]) for own, _ in made])
    for row, (own, _) in enumerate(made):
        for parameter, (start, end) in zip(own, SPANS, strict=True):
            parameter.data = weights[row, start:end].view(parameter.shape)
    return weights, CapturableAdam([optimizer for _, optimizer in made], weights, SPANS)


@pytest.mark.parametrize("kinds", list(KINDS))
@pytest.mark.parametrize("begun", [0, 2])
def test_each_trial_steps_as_torchs_optimizer_does(kinds: str, begun: int) -> None:
    """In float64 by torch; with rates that move meanwhile, from state that was there, in parts and in one."""
    truth, ours = nets(KINDS[kinds], torch.float64), nets(KINDS[kinds], torch.float32)
    generator = torch.Generator().manual_seed(9)
    gradients = [torch.randn(3, 16, generator=generator) for _ in range(begun + 4)]

    def alone(made: Any, step: int) -> None:
        for row, (own, optimizer) in enumerate(made):
            for parameter, (start, end) in zip(own, SPANS, strict=True):
                parameter.grad = gradients[step][row, start:end].view(parameter.shape).to(parameter.dtype)
            optimizer.step()

    for step in range(begun):
        alone(truth, step)
        alone(ours, step)
    weights, adam = stacked(ours)
    for step in range(begun, begun + 4):
        for made in (truth, ours):
            for _, optimizer in made:
                optimizer.param_groups[0]["lr"] *= 0.5
        alone(truth, step)
        adam.refresh()
        for part in (slice(0, 3),) if step % 2 else (slice(0, 2), slice(2, 3)):
            adam.step(gradients[step][part].clone(), part)
    for row, (own, optimizer) in enumerate(truth):
        expected = torch.cat([parameter.detach().reshape(-1) for parameter in own])
        torch.testing.assert_close(weights[row].double(), expected, rtol=2e-6, atol=1e-7)
        for mine, other in zip(ours[row][0], own, strict=True):
            state, there = ours[row][1].state[mine], optimizer.state[other]
            assert float(state["step"]) == float(there["step"]) == begun + 4
            for name in ("exp_avg", "exp_avg_sq"):
                torch.testing.assert_close(state[name].double(), there[name], rtol=2e-6, atol=1e-8)


def test_a_rate_that_is_not_taken_up_stands_still() -> None:
    """As in a graph: `refresh` alone looks at the optimizers."""
    made = nets(KINDS["adamw"], torch.float32)
    weights, adam = stacked(made)
    adam.refresh()
    for _, optimizer in made:
        optimizer.param_groups[0].update(lr=0.0, weight_decay=0.0)
    before = weights.clone()
    adam.step(torch.ones(3, 16))
    assert not torch.equal(weights, before)
    adam.refresh()
    before = weights.clone()
    adam.step(torch.ones(3, 16))
    assert torch.equal(weights, before)


def test_apart_every_optimizer_has_a_state_of_its_own() -> None:
    made = nets(KINDS["adamw"], torch.float32)
    _, adam = stacked(made)
    adam.refresh()
    adam.step(torch.ones(3, 16))
    adam.apart()
    for tensor in adam.state:
        tensor.zero_()
    for own, optimizer in made:
        assert all(float(optimizer.state[parameter]["step"]) == 1 for parameter in own)
        assert all(bool(optimizer.state[parameter]["exp_avg"].any()) for parameter in own)
