from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from engine.train.model import Dropout
from engine.train.pack import streams

Layer = Callable[[float], nn.Module]


@pytest.mark.parametrize("layer", [Dropout, nn.Dropout])
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_a_stream_of_its_own_gives_what_torchs_generator_gives(layer: Layer, p: float) -> None:
    x = torch.ones(7, 5)
    net = nn.Sequential(layer(p), layer(p))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        alone = [net(x) for _ in range(3)]
    before = torch.get_rng_state()
    streams.give(net, torch.Generator().manual_seed(4))
    for expected in alone:
        assert torch.equal(net(x), expected)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(net.eval()(x), x)


@pytest.mark.parametrize("layer", [Dropout, nn.Dropout])
def test_together_each_trial_drops_with_its_own_share_and_stream(layer: Layer) -> None:
    shares = (0.0, 0.2, 0.5)
    layers, twins = [[nn.Sequential(layer(p)) for p in shares] for _ in range(2)]
    for seed, (one, other) in enumerate(zip(layers, twins, strict=True)):
        streams.give(one, torch.Generator().manual_seed(seed))
        streams.give(other, torch.Generator().manual_seed(seed))
    together = streams.TogetherDropout([net[0] for net in layers])
    x = torch.randn(3, 6, 4, requires_grad=True)
    for dims in (0, 1):  # the trials come first, or second
        moved = x.movedim(0, dims)
        found = torch.func.vmap(together, in_dims=dims, randomness="error")(moved)
        expected = torch.stack([net(row) for net, row in zip(twins, x, strict=True)])
        assert torch.equal(found, expected)
        (mine,) = torch.autograd.grad((found**2).sum(), x)
        (theirs,) = torch.autograd.grad((expected**2).sum(), x)
        assert torch.equal(mine, theirs)
    assert torch.equal(torch.func.vmap(together.eval())(x), x)


def test_what_is_not_stacked_over_trials_is_refused() -> None:
    together = streams.TogetherDropout([Dropout(0.5)])
    with pytest.raises(RuntimeError, match="needs activations of each"):
        together(torch.ones(3))
    with pytest.raises(RuntimeError, match="needs activations of each"):
        torch.func.vmap(lambda row: row + together(torch.ones(3)), randomness="error")(torch.ones(2, 3))


def test_dropout_in_place_stays_torchs_own() -> None:
    """The trial is then seen to draw random numbers that are not its own, and trains alone."""
    net = nn.Sequential(nn.Dropout(0.5, inplace=True))
    streams.give(net, torch.Generator())
    assert type(net[0]) is nn.Dropout
