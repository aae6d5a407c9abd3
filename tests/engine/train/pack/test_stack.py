from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from engine.train.pack import stack as stacks
from engine.train.pack.stack import Stack, stacked


def made(seed: int, kind: Any = torch.optim.AdamW) -> Any:
    """A trial of 2 x 3 and a bias, after a step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Linear(3, 2)
        optimizer = kind(model.parameters(), lr=0.1)
        model(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return SimpleNamespace(model=model, optimizer=optimizer)


def held(trial: Any) -> list[torch.Tensor]:
    """Copies of all that a trial has."""
    return [
        value.detach().clone()
        for p in trial.model.parameters()
        for value in (p, *(v for v in trial.optimizer.state[p].values() if v is not None))
    ]


def is_in(stack: Stack, trial: Any) -> bool:
    """Do all its numbers lie in its row, and nowhere else."""
    row = stack.place(trial)
    assert stack.moments is not None
    places = [(p, stack.weights) for p in trial.model.parameters()]
    for state in trial.optimizer.state.values():
        places += [(state["exp_avg"], stack.moments[0]), (state["exp_avg_sq"], stack.moments[1])]
        places.append((state["step"], stack.counts))
    return all(
        tensor.untyped_storage().data_ptr() == matrix.untyped_storage().data_ptr()
        and row * matrix[0].numel() <= tensor.storage_offset() < (row + 1) * matrix[0].numel()
        for tensor, matrix in places
    )


def test_trials_keep_what_they_have_wherever_their_row_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """They join, more than there are rows; some leave, the others are put in another order; one gets its own back."""
    monkeypatch.setattr(stacks, "ROWS", 2)
    trials = [made(seed) for seed in range(7)]
    before = [held(trial) for trial in trials]
    stack = stacked(trials[:5])
    stack.arrange([trials[i] for i in (4, 0, 3)])
    assert [trial in stack for trial in trials] == [True, False, False, True, True, False, False]
    for trial in trials[5:]:
        stack.take(trial)
        stack.take(trial)  # once
    stack.release(trials[0])
    stays = [4, 3, 5, 6]
    assert [stack.place(trials[i]) for i in stays] == [0, 1, 2, 3]
    assert all(is_in(stack, trials[i]) for i in stays)
    stack.weights[4:] = torch.nan
    for i in (0, *stays):
        assert all(map(torch.equal, held(trials[i]), before[i]))
    assert trials[0] not in stack


def test_a_step_moves_the_rows_it_is_asked_for_alone() -> None:
    trials = [made(seed) for seed in range(4)]
    before = [held(trial) for trial in trials]
    stack = stacked(trials)
    gradients = [torch.ones(2, *shape) for shape in stack.shapes]
    stack.descend(slice(1, 3), gradients)
    same = [all(map(torch.equal, held(trial), old)) for trial, old in zip(trials, before, strict=True)]
    assert same == [True, False, False, True]
    assert stack.counts[:4].tolist() == [1.0, 2.0, 2.0, 1.0]


def test_the_moments_of_another_optimizer_stay_its_own() -> None:
    trials = [made(seed, torch.optim.Adagrad) for seed in range(2)]
    before = [held(trial) for trial in trials]
    stack = stacked(trials)
    assert stack.moments is None
    stack.arrange(trials[::-1])
    assert all(all(map(torch.equal, held(trial), old)) for trial, old in zip(trials, before, strict=True))
