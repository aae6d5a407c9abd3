"""The histogram primitive: every value in the bin that binary search gives it, on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import dispatch
from kernels.cpu import histogram as cpu
from kernels.reference import histogram as reference

value = st.one_of(st.sampled_from([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1e308, -1e308]), st.floats(width=64))


def assert_same(columns: Any, edges: list[Any]) -> None:
    expected, got = reference.bin_counts(columns, edges), cpu.bin_counts(columns, edges)
    for left, right in zip(expected.counts, got.counts, strict=True):
        assert left.tolist() == right.tolist()
    assert expected.missing.tolist() == got.missing.tolist()


@settings(max_examples=150)
@given(st.lists(value, max_size=60), st.lists(value, max_size=60))
def test_cpu_equals_reference(rows: list[float], borders: list[float]) -> None:
    edges = np.unique(np.array([b for b in borders if b == b], dtype=np.float64))
    assert_same([np.array(rows, dtype=np.float64)], [edges])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint64"])
@pytest.mark.parametrize("bins", [0, 1, 9, 48, 49, 700])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_number_of_edges_and_layout(dtype: str, bins: int, order: str) -> None:
    rng = np.random.default_rng(bins)
    table = np.asarray(rng.normal(0, 100, size=(4099, 19)).astype("int64").astype(dtype), order=order)
    edges = [np.unique(rng.choice(table[:, f], bins)) for f in range(19)]
    assert_same(table, edges)
    assert_same([table[:, f] for f in range(19)], edges)


@pytest.mark.parametrize("spread", [5e-324, 1e-300, 1e300])
def test_edges_too_close_or_too_far_for_cells(spread: float) -> None:
    edges = np.unique(np.arange(-40, 40) * spread)
    rng = np.random.default_rng(1)
    rows = np.concatenate([edges, np.nextafter(edges, np.inf), rng.choice(edges, 500), [np.inf, -np.inf, 0.0]])
    assert_same([rows], [edges])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint64"])
def test_rows_at_the_ends_of_their_dtype(dtype: str) -> None:
    """The largest number is an edge and a row, and nearly all edges share one cell."""
    kind = np.dtype(dtype)
    low, top = (-np.inf, np.inf) if kind.kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
    for ends in ([low, top], [top], []):
        edges = np.unique(np.array([*range(70), *ends], dtype=kind))
        rows = np.array([low, top, 0, 1, 69, 70, *range(50)], dtype=kind)
        assert_same([rows], [edges])


def test_worked_example(backend: Any) -> None:
    """Edges [1, 2]: -0.5 | 1, 1.5 | 2, inf and one NaN."""
    module = dispatch.load("histogram", backend.name)
    rows = backend.put(np.array([1.0, np.nan, 2.0, -0.5, 1.5, np.inf]))
    counted = module.bin_counts([rows], [np.array([1.0, 2.0])])
    assert backend.get(counted.counts[0]).tolist() == [1, 2, 2]
    assert backend.get(counted.missing).tolist() == [1]


def test_codes_count_unseen_and_missing_apart(backend: Any) -> None:
    module = dispatch.load("histogram", backend.name)
    codes = backend.put(np.array([0, 2, 2, 7, -1, 1, 2**62]))
    assert backend.get(module.code_counts([codes], [3])[0]).tolist() == [1, 1, 2, 2, 1]


def test_counts_pass_two_to_the_24() -> None:
    rows = np.zeros((1 << 24) + 3, np.float32)
    for borders in ([0.5], np.arange(1, 40) / 40):
        counted = cpu.bin_counts([rows], [np.array(borders, np.float32)])
        assert counted.counts[0][0] == (1 << 24) + 3
