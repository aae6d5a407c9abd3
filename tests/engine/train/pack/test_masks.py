from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.train.model import Dropout
from engine.train.pack.masks import SEGMENT, draw, drop, keep, moved, size_of


@pytest.mark.parametrize("seed", [0, 5489, 2**40 + 1])
def test_bits_are_those_of_torch_and_the_stream_goes_on_from_there(seed: int) -> None:
    """Across the ends of blocks of 624 words, and between draws of other kinds that leave half a pair."""
    ours, theirs = (torch.Generator().manual_seed(seed) for _ in range(2))
    for n in (1, 3, 311, 312, 313, 624, 1000, 40_000, 7):
        expected = torch.empty(n, dtype=torch.int64).random_(-(2**63), None, generator=theirs)
        found = np.empty(n, dtype=np.int64)
        draw(found, ours)
        assert np.array_equal(found, expected.numpy())
        assert torch.equal(ours.get_state(), theirs.get_state())
        for generator in (ours, theirs) if n in (3, 312) else ():
            torch.empty(3).bernoulli_(0.3, generator=generator)
            torch.randn(5, generator=generator)
            torch.randint(9, (1,), generator=generator)


def layer_of(p: float) -> tuple[Dropout, np.int16, np.float32]:
    """A layer with a stream, and what the kernels want of it."""
    layer = Dropout(p)
    layer.generator = torch.Generator().manual_seed(2)
    return layer, np.int16(layer.dropped - 32_768), np.float32(65_536 / (65_536 - layer.dropped))


def bits(x: torch.Tensor) -> list[int]:
    return x.detach().numpy().view(np.int32).reshape(-1).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.999])
@pytest.mark.parametrize("size", [1, 6, 1027, SEGMENT, 3 * SEGMENT + 5])
@pytest.mark.parametrize("part", [300, SEGMENT + 300])
def test_products_are_those_of_the_layer(p: float, size: int, part: int) -> None:
    """Zeros with their signs, and what is not a number; both ways, in parts; and the stream goes on."""
    x = torch.randn(size, generator=torch.Generator().manual_seed(1))
    x[: size // 3] *= torch.inf
    x.requires_grad_()
    layer, least, scale = layer_of(p)
    expected = layer(x)
    slopes = torch.linspace(-1, 1, size)
    expected.backward(slopes)
    kept, ours = np.empty(size_of(size), dtype=np.uint8), torch.Generator().manual_seed(2)
    found = x.detach().clone()
    with moved(ours) as known:
        keep(known, least, kept, size)
    for first in range(0, size, part):
        drop(found.numpy()[first : first + part], scale, kept, first)
    assert torch.equal(ours.get_state(), layer.generator.get_state())
    drop(slopes.numpy(), scale, kept, 0)
    assert bits(found) == bits(expected)
    assert x.grad is not None
    assert bits(slopes) == bits(x.grad)
