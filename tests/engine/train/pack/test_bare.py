from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from engine.train.pack.bare import NOTHING, TABLES, bare


def test_empty_tables_are_one_and_full_ones_stay() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    calls = []
    net[1].register_forward_hook(lambda *rest: calls.append(rest))
    twin = copy.deepcopy(net)
    bare(net)
    assert len(TABLES) > 8
    shared = [key for module in net for key in TABLES if vars(module)[key] is NOTHING]
    assert len(shared) == 2 * len(TABLES) - 1
    x = torch.randn(4, 2)
    assert torch.equal(net(x), twin(x))
    assert len(calls) == 2  # the copy has the hook, too
    assert net.state_dict().keys() == twin.state_dict().keys()


def test_a_hook_that_is_added_later_is_refused_on_copies_as_well() -> None:
    net = nn.Linear(2, 3)
    bare(net)
    for module in (net, copy.deepcopy(net)):
        with pytest.raises(RuntimeError, match="it adds a hook to a module, which trains with others"):
            module.register_forward_hook(lambda *rest: None)
