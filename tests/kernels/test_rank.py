"""The rank primitive: against counting every pair, and the CPU against the reference bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import dispatch
from kernels.cpu import rank as cpu
from kernels.cpu import splitter, threads
from kernels.reference import rank as reference

SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 1e308, -1e308, 1.5]


def sorted_pair(module: Any, x: Any, y: Any) -> tuple[Any, Any]:
    return module.sort_columns([x]), module.sort_columns([y])


def assert_same(x: Any, y: Any) -> None:
    a, b = sorted_pair(reference, x, y), sorted_pair(cpu, x, y)
    expected, got = reference.rank_sums(*a), cpu.rank_sums(*b)
    for left, right in zip(expected.counts, got.counts, strict=True):
        assert left.tolist() == right.tolist()
    for left, right in zip(expected.counts, cpu.rank_counts(*b), strict=True):
        assert left.tolist() == right.tolist()
    for name in expected._fields[1:]:
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-11, atol=1e-13)
    for left, right in zip(reference.placement_sums(*a), cpu.placement_sums(*b), strict=True):
        assert left.tolist() == right.tolist()


def columns(dtype: Any, elements: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(elements, max_size=40).map(lambda values: np.array(values, dtype=dtype))


floats = columns(np.float64, st.one_of(st.sampled_from(SPECIAL), st.floats(width=64)))
singles = columns(np.float32, st.one_of(st.sampled_from([0.0, -0.0, 1e-45, np.nan, np.inf]), st.floats(width=32)))
integers = columns(
    np.int64, st.one_of(st.integers(-3, 3), st.integers(2**53, 2**53 + 2), st.integers(-(2**63), 2**63 - 1))
)
unsigned = columns(np.uint64, st.integers(2**64 - 3, 2**64 - 1))


@pytest.mark.parametrize("kind", [floats, singles, integers, unsigned], ids=["f64", "f32", "i64", "u64"])
def test_cpu_equals_reference(kind: st.SearchStrategy[Any]) -> None:
    @settings(max_examples=120)
    @given(kind, kind)
    def check(x: Any, y: Any) -> None:
        assert_same(x, y)

    check()


@pytest.mark.parametrize("sizes", [(511, 513), (512, 512), (1, 3000), (3000, 1), (1030, 40), (2049, 2047)])
@pytest.mark.parametrize("step", [0.0, 1.0, 0.01], ids=["continuous", "heavy ties", "some ties"])
def test_buffers_and_cuts_do_not_show(sizes: tuple[int, int], step: float) -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=sizes[0]), rng.normal(0.3, 1.2, size=sizes[1])
    if step:
        x, y = np.round(x / step) * step, np.round(y / step) * step
    assert_same(x, y)


def test_worked_example(backend: Any) -> None:
    """Reference [1, 2, 2], live [2, 3]: D after 1 is 2 * 1 - 3 * 0 = 2, after 2 is 2 * 3 - 3 * 1 = 3, then
    0."""
    module = dispatch.load("rank", backend.name)
    a, b = (module.sort_columns([backend.put(np.array(v))]) for v in ([2.0, 1.0, 2.0], [3.0, np.nan, 2.0]))
    sums = module.rank_sums(a, b)
    assert [int(backend.get(v)[0]) for v in sums.counts] == [3, 2, 3, 0, 10]
    assert int(backend.get(b.missing)[0]) == 1
    assert float(backend.get(sums.tie_cubes)[0]) == 24.0
    assert float(backend.get(sums.wasserstein)[0]) == pytest.approx(2 / 6 + 3 / 6)
    assert float(backend.get(sums.energy)[0]) == pytest.approx(1 / 9 + 1 / 4)
    placed = module.placement_sums(a, b)
    assert [int(backend.get(v)[0]) for v in placed] == [3, 2, 10, 0, 16 + 36, 0, 16 + 9 + 9]


def test_sums_are_what_counting_pairs_gives() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 9, 60).astype(float), rng.integers(2, 11, 45).astype(float)
    counts = cpu.rank_counts(*sorted_pair(cpu, x, y))
    below, equal = (x[:, None] < y).sum(), (x[:, None] == y).sum()
    assert counts.u2[0] == 2 * below + equal
    steps = [45 * (x <= z).sum() - 60 * (y <= z).sum() for z in np.unique([*x, *y])]
    assert counts.d_max[0] == max(0, *steps)
    assert counts.d_min[0] == min(0, *steps)
    placed = cpu.placement_sums(*sorted_pair(cpu, x, y))
    p = 2 * (x[:, None] < y).sum(0) + (x[:, None] == y).sum(0)
    assert placed.live_high[0] * 2**32 + placed.live_low[0] == (p * p).sum()


def test_squares_beyond_64_bits_are_exact() -> None:
    x, y = np.arange(3_000_000, dtype=np.float32), np.full(900_000, 4e6, np.float32)
    placed = cpu.placement_sums(*sorted_pair(cpu, x, y))
    assert int(placed.live_high[0]) * 2**32 + int(placed.live_low[0]) == 900_000 * 6_000_000**2
    assert 900_000 * 6_000_000**2 > 2**63


def test_counts_pass_two_to_the_24() -> None:
    """A float32 counter would stop at 2**24: all live values lie above 20 million reference values."""
    x = np.zeros((1 << 24) + 5, np.float32)
    counts = cpu.rank_counts(*sorted_pair(cpu, x, np.ones(3, np.float32)))
    assert counts.u2[0] == 2 * 3 * ((1 << 24) + 5)


@pytest.mark.parametrize("order", ["C", "F"])
def test_split_columns_is_the_transpose(order: str) -> None:
    table = np.asarray(np.arange(37 * 601, dtype=np.float32).reshape(601, 37), order=order)
    for f, column in enumerate(cpu.split_columns(table)):
        assert column.flags.c_contiguous
        assert (column == table[:, f]).all()
    strided = table[::3, ::2]
    assert all((c == strided[:, f]).all() for f, c in enumerate(cpu.split_columns(strided)))


GENERATORS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "shifted": lambda rng, n: rng.normal(0.5, 1.0, n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "outlier": lambda rng, n: np.append(rng.normal(size=n - 1), 1e300),
    "missing": lambda rng, n: np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
    "infinite": lambda rng, n: np.where(rng.random(n) < 0.1, -np.inf, rng.normal(size=n)),
    "integers": lambda rng, n: rng.integers(-(2**62), 2**62, n),
    "atoms": lambda rng, n: np.where(rng.random(n) < 0.3, 0.0, rng.normal(size=n)),
}


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("both", [True, False])
def test_splitter_finds_the_extremes_of_the_sort(name: str, both: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitter, "MINIMUM_ROWS", 100)
    monkeypatch.setattr(splitter, "_HEAVIEST_CELL", 1.0)  # even where cells do not pay, they must be exact
    rng = np.random.default_rng(11)
    for n, m in ((9000, 7000), (5000, 300)):
        x, y = GENERATORS[name](rng, n), GENERATORS["normal" if name == "shifted" else name](rng, m)
        if x.dtype == np.float64 and name != "outlier":
            x, y = x.astype(np.float32), y.astype(np.float32)
        expected = cpu.rank_counts(*sorted_pair(cpu, x, y))
        ordered = cpu.sort_columns([x])
        cells = cpu.fit_cells(ordered)
        assert cells[0] is not None
        for found in (
            splitter.extremes(x, y, both=both),
            splitter.extremes_fitted(ordered.values[0], cells[0], y, both=both),
        ):
            assert found is not None
            got_n, got_m, d_max, d_min = found
            assert (got_n, got_m) == (expected.n[0], expected.m[0])
            if both:
                assert (d_max, d_min) == (expected.d_max[0], expected.d_min[0])
            assert max(d_max, -d_min) == max(expected.d_max[0], -expected.d_min[0])


def test_splitter_declines_what_it_cannot_speed_up() -> None:
    rng = np.random.default_rng(5)
    few = rng.normal(size=1000)
    assert splitter.extremes(few, few, both=True) is None
    coarse = rng.integers(0, 5, 60_000).astype(float)
    assert splitter.extremes(coarse, coarse, both=True) is None
    assert splitter.extremes(np.full(60_000, np.nan), np.full(60_000, np.nan), both=True) is None


def test_threads_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    x, y = (list(rng.normal(size=(7, 9000))) for _ in range(2))
    results = []
    for count in ("1", "3"):
        monkeypatch.setenv("KERNELS_NUM_THREADS", count)
        assert threads.thread_count() == int(count)
        results.append(cpu.rank_sums(cpu.sort_columns(x), cpu.sort_columns(y)))
    one, three = results
    for left, right in zip([*one.counts, *one[1:]], [*three.counts, *three[1:]], strict=True):
        assert left.tobytes() == right.tobytes()
