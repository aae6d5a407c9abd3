"""Our AdamW against torch's: the same bits, and its state is torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.train.optimizer import AdamW


def trained(kind: type[Any], steps: int, state: Any = None, **conf: Any) -> tuple[list[Tensor], Any]:
    """Weights after so many steps of a small network, and the state of its optimizer; `state`: to go on from."""
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(5, 7, generator=generator), torch.randn(7, generator=generator)]
    weights = [weight.requires_grad_() for weight in weights]
    made = kind([{"params": weights[:1]}], lr=0.01, **conf)
    made.add_param_group({"params": weights[1:], "weight_decay": 0.3})
    if state is not None:
        made.load_state_dict(state)
    schedule = torch.optim.lr_scheduler.LambdaLR(made, lambda epoch: 0.9**epoch)
    for _ in range(steps):
        made.zero_grad()
        (torch.randn(16, 5, generator=generator) @ weights[0] + weights[1]).square().mean().backward()
        made.step()
        schedule.step()
    return weights, made.state_dict()


@pytest.mark.parametrize("conf", [{"fused": True}, {"foreach": True}, {"amsgrad": True}, {"maximize": True}])
def test_its_steps_are_torchs_bit_for_bit(conf: dict[str, Any]) -> None:
    ours, state = trained(AdamW, 4, **conf)
    theirs, expected = trained(torch.optim.AdamW, 4, **conf)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert str(state) == str(expected)
    assert state["state"][0]["step"] == 4


def test_either_goes_on_from_the_others_state() -> None:
    _, state = trained(torch.optim.AdamW, 3)
    ours, ends = trained(AdamW, 2, state)
    theirs, expected = trained(torch.optim.AdamW, 2, trained(AdamW, 3)[1])
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert str(ends) == str(expected)
    assert ends["state"][1]["step"] == 5


def test_a_closure_is_differentiated_and_the_step_is_not() -> None:
    weight = torch.ones(3, requires_grad=True)
    made = AdamW([weight], lr=0.1)

    def loss() -> Tensor:
        made.zero_grad()
        found = weight.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    assert float(made.step(loss).detach()) == 3.0
    assert weight.is_leaf
    assert bool((weight < 1).all())
