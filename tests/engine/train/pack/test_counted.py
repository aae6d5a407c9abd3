"""Dropout that follows from seed, step and place, against SplitMix64 as its authors give it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from engine.train.model import Dropout
from engine.train.pack.counted import (
    CALL,
    GAMMA,
    WORD,
    CountedDropout,
    CountedTogether,
    Draws,
    Share,
    begin,
    give,
    mix,
    mixed,
    noise,
    signed,
)

Layer = Callable[[float], nn.Module]
CPU = torch.device("cpu")
# the first numbers of SplitMix64 from seed 1234567, as its reference implementation in C prints them
KNOWN = (6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821)


def test_words_are_those_of_splitmix64() -> None:
    counters = [1234567 + (i + 1) * GAMMA for i in range(5)]
    assert tuple(mix(counter) for counter in counters) == KNOWN
    drawn = mixed(torch.tensor([signed(counter) for counter in counters])).tolist()
    assert [word & WORD for word in drawn] == list(KNOWN)
    edges = [0, 1, -1, 2**63 - 1, -(2**63), 2**33]
    assert mixed(torch.tensor(edges)).tolist() == [signed(mix(edge)) for edge in edges]


def test_a_neuron_is_dropped_by_the_bits_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Python's integers: 16 bits a neuron, the lowest first, of word after word."""
    draws = Draws([5, 6], [3, 9], CPU)
    draws.begin()
    share = Share.of([nn.Dropout(0.25), nn.Dropout(0.5)], CPU)
    found = noise(draws.base, 2, share, torch.Size([3, 3]), torch.float64)
    for row, (seed, position, dropped) in enumerate([(5, 3, 16_384), (6, 9, 32_768)]):
        base = mix(mix(seed) + position * GAMMA)
        for neuron in range(9):
            word = mix(base + (2 * CALL + neuron // 4) * GAMMA)
            bits = signed((word >> 16 * (neuron % 4) & 0xFFFF) << 48) >> 48  # with its sign, as int16
            expected = 65_536 / (65_536 - dropped) if bits >= dropped - 32_768 else 0.0
            assert found[row].flatten()[neuron] == expected


@pytest.mark.parametrize("layer", [Dropout, nn.Dropout])
def test_together_each_trial_drops_as_it_does_in_turn(layer: Layer) -> None:
    shares = (0.0, 0.2, 0.5)
    nets = [nn.Sequential(layer(p), layer(p)) for p in shares]
    for seed, net in enumerate(nets):
        give(net, Draws([seed], [0], CPU))
    draws = Draws(range(3), [4, 5, 6], CPU)
    places = [CountedTogether([net[i] for net in nets], draws) for i in range(2)]  # type: ignore[misc]
    x = torch.randn(3, 6, 5, requires_grad=True)
    for dims in (0, 1):  # the trials come first, or second
        draws.begin()
        both = torch.func.vmap(lambda row: places[1](places[0](row)), in_dims=dims, randomness="error")
        found = both(x.movedim(0, dims))
        for seed, net in enumerate(nets):
            begin(net, 4 + seed)
        expected = torch.stack([net(row) for net, row in zip(nets, x, strict=True)])
        assert torch.equal(found, expected)
        (mine,) = torch.autograd.grad((found**2).sum(), x)
        (theirs,) = torch.autograd.grad((expected**2).sum(), x)
        assert torch.equal(mine, theirs)
    part = slice(1, 3)
    draws.begin(part)
    for place in places:
        place.part = part
    assert torch.equal(torch.func.vmap(lambda row: places[1](places[0](row)))(x[part]), expected[part])
    assert torch.equal(torch.func.vmap(places[0].eval())(x), x)


def test_a_step_is_drawn_again_and_no_two_are_alike() -> None:
    net = nn.Sequential(Dropout(0.5), nn.Linear(64, 64), nn.Dropout(0.5))
    give(net, Draws([7], [0], CPU))
    assert [type(module) for module in net][::2] == [CountedDropout] * 2
    before = torch.get_rng_state()
    x = torch.ones(8, 64)
    drawn = []
    for position in (0, 1, 0):
        begin(net, position)
        drawn.append(torch.cat([net[0](x), net[0](x), net[2](x)]))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    assert len({tuple(part.flatten().tolist()) for part in drawn[0].split(8)}) == 3  # calls in one step
    twin = copy.deepcopy(net)
    begin(twin, 1)
    assert torch.equal(twin[0](x), drawn[1][:8])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(net.eval()[0](x), x)
    other = nn.Sequential(Dropout(0.5))
    give(other, Draws([8], [0], CPU))
    begin(other, 0)
    assert not torch.equal(other[0](x), drawn[0][:8])


@pytest.mark.parametrize("p", [0.01, 0.3, 0.9])
def test_the_share_that_is_dropped_is_the_one_that_was_asked_for(p: float) -> None:
    """Over many trials and steps: in all, and of pairs of neighbours, steps and trials that are dropped together."""
    draws = Draws(range(64), [0] * 64, CPU)
    share = Share.of([nn.Dropout(p)] * 64, CPU)
    found = []
    for _ in range(8):
        draws.begin()
        found.append(noise(draws.base, 0, share, torch.Size([1000]), torch.float32) == 0)
        draws.positions.add_(1)
    dropped = torch.stack(found)
    asked = round(65_536 * p) / 65_536
    pairs = [dropped[..., 1:] & dropped[..., :-1], dropped[1:] & dropped[:-1], dropped[:, 1:] & dropped[:, :-1]]
    for hits, chance in [(dropped, asked), *((pair, asked**2) for pair in pairs)]:
        assert binomtest(int(hits.sum()), hits.numel(), chance).pvalue > 1e-4


def test_what_is_not_stacked_over_trials_is_refused() -> None:
    net = nn.Sequential(nn.Dropout(0.5))
    give(net, Draws([0], [0], CPU))
    together = CountedTogether([net[0]], Draws([0], [0], CPU))  # type: ignore[list-item]
    with pytest.raises(RuntimeError, match="needs activations of each"):
        together(torch.ones(3))


def test_dropout_of_everything_and_in_place_stays_torchs_own() -> None:
    """The trial is then seen to draw random numbers that are not its own, and trains alone."""
    net = nn.Sequential(nn.Dropout(0.5, inplace=True), nn.Dropout(1.0))
    give(net, Draws([0], [0], CPU))
    assert [type(module) for module in net] == [nn.Dropout] * 2
