from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.train.loader import TensorLoader, as_tensor, as_tensors
from tests.engine.train.made import make_rows


def loader(n: int, batch: int, seed: int = 0, epoch: int = 0) -> TensorLoader:
    made = TensorLoader((torch.arange(n), torch.arange(n) * 10), batch, seed)
    made.set_epoch(epoch)
    return made


def order(n: int, batch: int, seed: int = 0, epoch: int = 0) -> list[int]:
    return [int(row) for part, _ in loader(n, batch, seed, epoch) for row in part]


@pytest.mark.parametrize(
    ("n", "batch", "sizes"),
    [
        (10, 5, [5, 5]),
        (10, 4, [4, 4, 2]),
        (10, 3, [3, 3, 4]),  # a single row left over joins the batch before it
        (10, 10, [10]),
        (11, 10, [11]),
        (10, 100, [10]),
        (1, 100, [1]),
        (3, 1, [1, 1, 1]),
        (0, 4, []),
    ],
)
def test_every_row_comes_once_a_pass(n: int, batch: int, sizes: list[int]) -> None:
    made = loader(n, batch)
    parts = list(made)
    assert [len(first) for first, _ in parts] == sizes
    assert len(made) == len(sizes)
    assert sorted(int(row) for first, _ in parts for row in first) == list(range(n))
    assert all(torch.equal(first * 10, second) for first, second in parts)  # rows stay whole


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    torch.manual_seed(1)
    first = order(50, 8, seed=3, epoch=2)
    torch.manual_seed(2)
    assert order(50, 8, seed=3, epoch=2) == first
    assert order(50, 13, seed=3, epoch=2) == first  # not on the batches
    assert order(50, 8, seed=3, epoch=3) != first
    assert order(50, 8, seed=4, epoch=2) != first
    assert first != sorted(first)


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    order(50, 8)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_epoch_counts_when_the_first_batch_is_asked_for() -> None:
    made = loader(50, 50, epoch=0)
    iterator = iter(made)  # Lightning does this before it tells the epoch
    made.set_epoch(1)
    assert next(iterator)[0].tolist() == order(50, 50, epoch=1)


def test_read_only_arrays_are_taken_without_a_copy_or_a_warning() -> None:
    rows = make_rows(n=4)
    assert rows.target is not None
    for array in (rows.numeric, rows.categorical, rows.target):
        array.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensors = as_tensors(rows)
    for tensor, array in zip(tensors, (rows.numeric, rows.categorical, rows.target), strict=True):
        assert np.shares_memory(tensor.numpy(), array)
    assert as_tensor(rows.numeric, "cpu").dtype == torch.float32


def test_rows_without_labels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^rows without labels cannot be trained on$"):
        as_tensors(replace(make_rows(n=4), target=None))
