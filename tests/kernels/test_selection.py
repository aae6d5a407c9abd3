"""Order statistics of unsorted columns: the CPU's cells against the definition, which sorts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels import dispatch
from kernels.cpu import rank as cpu
from kernels.cpu import splitter
from kernels.reference import rank as reference

GENERATORS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "single": lambda rng, n: rng.normal(size=n).astype(np.float32),
    "rounded": lambda rng, n: np.round(rng.normal(size=n), 2),
    "atoms": lambda rng, n: np.where(rng.random(n) < 0.3, 0.0, rng.normal(size=n)),
    "missing": lambda rng, n: np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
    "infinite": lambda rng, n: np.where(rng.random(n) < 0.3, rng.choice([np.inf, -np.inf], n), rng.normal(size=n)),
    "outlier": lambda rng, n: np.append(rng.normal(size=n - 1), 1e300),
    "integers": lambda rng, n: rng.integers(-(2**62), 2**62, n),
    "unsigned": lambda rng, n: rng.integers(0, 2**64 - 1, n, dtype=np.uint64),
    "strided": lambda rng, n: rng.normal(size=(n, 3))[:, 1],
}


def assert_same(columns: list[Any], positions: Any) -> Any:
    expected = reference.order_statistics(columns, positions, keep=True)
    got = cpu.order_statistics(columns, positions, keep=True)
    for left, right in zip(expected[:3], got[:3], strict=True):
        for a, b in zip(left, right, strict=True):
            assert a.dtype == b.dtype
            assert a.tolist() == b.tolist()
    assert expected.n.tolist() == got.n.tolist()
    assert expected.missing.tolist() == got.missing.tolist()
    for kept, ordered, want in zip(got.kept, got.ordered, expected.kept, strict=True):
        assert (kept if ordered else cpu.sort_columns([kept]).values[0]).tolist() == want.tolist()
    return got


@pytest.mark.parametrize("name", GENERATORS)
def test_cells_select_what_sorting_selects(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernels.cpu.selection.MINIMUM_ROWS", 100)
    monkeypatch.setattr(splitter, "_HEAVIEST_CELL", 1.0)  # even where cells do not pay, they must be exact
    rng = np.random.default_rng(4)
    columns = [GENERATORS[name](rng, n) for n in (9001, 256, 700)]
    got = assert_same(columns, lambda n: np.array([n // 2, 0, n - 1, n // 10, 7 * n // 10, n // 2]))
    assert got.ordered == (False, False, False)
    assert not any(np.shares_memory(kept, column) for kept, column in zip(got.kept, columns, strict=True))


def test_columns_that_cells_do_not_suit_are_sorted() -> None:
    rng = np.random.default_rng(5)
    columns = [np.full(60_000, np.nan), np.full(60_000, 3.0), np.zeros(0), rng.normal(size=99)]
    got = assert_same(columns, lambda n: np.array([0, n - 1] if n else [], dtype=np.int64))
    assert got.ordered == (True,) * 4
    assert cpu.order_statistics([], lambda n: np.zeros(0, np.int64), keep=False).n.shape == (0,)


def test_worked_example(backend: Any) -> None:
    """[2, 1, NaN, 2, 5] in order is 1 2 2 5; position 2 holds a 2, with one smaller and three up to it."""
    module = dispatch.load("rank", backend.name)
    column = backend.put(np.array([2.0, 1.0, np.nan, 2.0, 5.0]))
    found = module.order_statistics([column], lambda n: np.array([2, n - 1]), keep=False)
    assert found.values[0].tolist() == [2.0, 5.0]
    assert (found.below[0].tolist(), found.upto[0].tolist()) == ([1, 3], [3, 4])
    assert (found.n.tolist(), found.missing.tolist(), found.kept) == ([4], [1], (None,))
