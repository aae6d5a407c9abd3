from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from engine.train.pack import mapped

SIZE = 32 * 2**20  # bytes


def resident() -> int:
    """Anonymous memory of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


@pytest.mark.parametrize("shape", [(3,), (0, 5), (200, 1000)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_zeros_of_any_size_can_be_written(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    found = mapped.zeros(*shape, dtype=dtype)
    assert (found.shape, found.dtype, int(found.sum())) == (shape, dtype, 0)
    found += 1
    assert int(found.sum()) == found.numel()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_memory_is_taken_by_what_is_written_and_given_back_at_once() -> None:
    before = resident()
    found = mapped.zeros(SIZE // 4)
    assert resident() - before < SIZE // 8
    part = found[: SIZE // 8].fill_(1.0)  # half of it
    assert SIZE // 4 < resident() - before < SIZE * 3 // 4
    del found
    assert float(part[-1]) == 1.0
    del part
    gc.collect()
    assert resident() - before < SIZE // 8


def test_what_is_resident_is_what_was_written() -> None:
    gc.collect()
    before = mapped.resident()
    found = mapped.zeros(SIZE // 4)
    assert mapped.resident() == before
    part = found[: SIZE // 8].fill_(1.0)  # half of it
    assert SIZE // 4 < mapped.resident() - before < SIZE * 3 // 4
    del found, part
    assert mapped.resident() == before
