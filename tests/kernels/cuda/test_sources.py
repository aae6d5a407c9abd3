"""Every CUDA source compiles for the GPUs we serve, without spills, and gives the same whatever the thread order."""

from __future__ import annotations

from typing import Any

import numpy as np
import nvrtc
import pytest
import shim

from kernels.cuda import histogram, pairwise, rank, source
from kernels.reference import histogram as reference_histogram
from kernels.reference import rank as reference_rank

SOURCES = sorted(path.stem for path in source.HERE.glob("*.cu"))
REGISTERS = {"rank": 96, "histogram": 128, "pairwise": 64, "splitter": 64}
"""Upper bounds, so that a change that costs occupancy is seen; measured 16 to 80."""


@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
@pytest.mark.parametrize("name", SOURCES)
def test_source_compiles_without_spills(name: str, architecture: str, record_property: Any) -> None:
    usage = nvrtc.compile_source(name, architecture)
    assert usage
    for kernel, used in usage.items():
        assert used.spill_bytes == 0, f"{kernel} spills {used.spill_bytes} bytes"
        assert used.shared_bytes <= 48 * 1024, kernel
        assert used.registers <= REGISTERS.get(name, 128), f"{kernel} uses {used.registers} registers"
    most = max(usage, key=lambda kernel: usage[kernel].registers)
    figure = f"{min(used.registers for used in usage.values())} to {usage[most].registers} ({most}), 0 spills"
    record_property(f"registers of {name}.cu, {architecture}", figure)


def test_spills_are_read_from_the_log() -> None:
    log = (
        "ptxas info    : Compiling entry function 'k' for 'sm_90'\n"
        "    8 bytes stack frame, 12 bytes spill stores, 4 bytes spill loads\n"
        "ptxas info    : Used 40 registers, used 1 barriers, 1024 bytes smem, 384 bytes cmem[0]\n"
    )
    assert nvrtc.parse(log) == {"k": nvrtc.Usage(40, 16, 1024)}


@pytest.mark.parametrize("name", SOURCES)
def test_no_source_asks_for_fast_math_or_float_atomics(name: str) -> None:
    text = (source.HERE / f"{name}.cu").read_text()
    for word in ("__fdividef", "__expf", "use_fast_math", "asm"):
        assert word not in text
    assert "fast" not in " ".join(source.OPTIONS)


def test_launchers_name_the_sizes_of_their_sources() -> None:
    for launcher, name, constants in (
        (rank, "rank", {"kThreads": "_THREADS", "kIntegers": "_INTEGERS", "kFloats": "_FLOATS"}),
        (histogram, "histogram", {"kThreads": "_THREADS", "kFew": "_FEW", "kShared": "_SHARED"}),
        (pairwise, "pairwise", {"kThreads": "_THREADS"}),
    ):
        text = (source.HERE / f"{name}.cu").read_text()
        for constant, python in constants.items():
            assert f"constexpr int {constant} = {getattr(launcher, python)};" in text
    assert f"constexpr int kItems = {rank._TILE // rank._THREADS};" in (source.HERE / "rank.cu").read_text()


@pytest.mark.parametrize(("shared", "asked"), [(0, None), (48 * 1024, None), (160_000, 160_000)])
def test_shared_memory_beyond_48_kilobytes_is_asked_for(
    shared: int, asked: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    class Function:
        max_dynamic_shared_size_bytes = None

        def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int) -> None:
            calls.append((grid, block, args, shared_mem, self.max_dynamic_shared_size_bytes))

    compiled = type("Compiled", (), {"get_function": lambda self, kernel: Function()})()
    monkeypatch.setattr(source, "_compiled", lambda name: compiled)
    source.launch("splitter", "splitter_count_f32", (2, 3), 1024, (1,), shared)
    assert calls == [((2, 3), (1024,), (1,), shared, asked)]


WINDOWS = {
    "normal": lambda rng, n: rng.normal(size=n).astype(np.float32),
    "doubles": lambda rng, n: rng.normal(size=n),
    "ties": lambda rng, n: rng.integers(0, 5, n).astype(np.float64),
    "one tie": lambda rng, n: np.zeros(n, np.float32),
    "missing": lambda rng, n: np.where(rng.random(n) < 0.3, np.nan, np.round(rng.normal(size=n), 1)),
    "infinite": lambda rng, n: rng.choice([np.inf, -np.inf, 0.0, -0.0, 5e-324], n),
    "integers": lambda rng, n: rng.integers(2**53, 2**53 + 3, n),
    "int64 ends": lambda rng, n: rng.choice(np.array([-(2**63), 0, 2**63 - 1]), n),
    "unsigned": lambda rng, n: rng.integers(2**64 - 5, 2**64 - 1, n, dtype=np.uint64),
}


@pytest.mark.parametrize("shimmed", [1, 2, 3], indirect=True)
@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.usefixtures("shimmed")
def test_rank_sums_are_the_references(name: str) -> None:
    rng = np.random.default_rng(21)
    sizes = [(1, 1), (1500, 2600), (5, 4200), (1024, 1024)]
    x = [WINDOWS[name](rng, n) for n, _ in sizes]
    y = [WINDOWS[name](rng, m) for _, m in sizes]
    a, b = rank.sort_columns(x), rank.sort_columns(y)
    expected_a, expected_b = reference_rank.sort_columns(x), reference_rank.sort_columns(y)
    for ordered, expected in ((a, expected_a), (b, expected_b)):
        assert ordered.n.tolist() == expected.n.tolist()
        assert ordered.missing.tolist() == expected.missing.tolist()
        for values, n, truth in zip(ordered.values, ordered.n, expected.values, strict=True):
            assert (values[:n] == truth).all()
            assert (values[n:] != values[n:]).all()
    got, truth = rank.rank_sums(a, b), reference_rank.rank_sums(expected_a, expected_b)
    for left, right in zip(got.counts, truth.counts, strict=True):
        assert left.tolist() == right.tolist()
    for left, right in zip(rank.rank_counts(a, b), truth.counts, strict=True):
        assert left.tolist() == right.tolist()
    for field in truth._fields[1:]:
        np.testing.assert_allclose(getattr(got, field), getattr(truth, field), rtol=1e-11, atol=1e-13)
    placed = reference_rank.placement_sums(expected_a, expected_b)
    for left, right in zip(rank.placement_sums(a, b), placed, strict=True):
        assert left.tolist() == right.tolist()


@pytest.mark.usefixtures("shimmed")
def test_columns_of_several_dtypes_and_empty_ones_share_a_call() -> None:
    x = [np.array([3.0, 1.0], np.float32), np.empty(0), np.array([2**60, 1]), np.array([np.nan, 2.0])]
    y = [np.array([2.0], np.float32), np.array([1.0]), np.array([5]), np.array([np.nan])]
    got = rank.rank_sums(rank.sort_columns(x), rank.sort_columns(y))
    truth = reference_rank.rank_sums(reference_rank.sort_columns(x), reference_rank.sort_columns(y))
    for left, right in zip(got.counts, truth.counts, strict=True):
        assert left.tolist() == right.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_float_sums_do_not_depend_on_the_thread_order(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    x, y = np.sort(rng.normal(size=3000)), np.sort(rng.normal(size=2000))
    outputs = []
    for order in (seed, seed + 100):
        integers, floats = np.empty((1, 5, 3), np.int64), np.empty((1, 5, 6))
        addresses = [np.array([v.ctypes.data], np.uint64) for v in (x, y)]
        sizes = np.array([3000]), np.array([2000])
        args = (*addresses, *sizes, np.int64(5), np.int32(1), integers, floats)
        shim.build("rank").launch("rank_tiles_f64", grid=(5, 1), block=128, args=args, seed=order)
        outputs.append((integers.tobytes(), floats.tobytes()))
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("shimmed", [1, 2], indirect=True)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint64"])
@pytest.mark.parametrize("bins", [0, 1, 9, 16, 17, 300, 2500])
@pytest.mark.usefixtures("shimmed")
def test_bins_are_the_references(dtype: str, bins: int) -> None:
    rng = np.random.default_rng(bins)
    table = np.abs(rng.normal(0, 300, size=(1200, 3))).astype("int64").astype(dtype)
    if table.dtype.kind == "f":
        table[::7, 1] = np.nan
        table[::9, 2] = np.inf
    kept = table[table == table]
    edges = [np.unique(rng.choice(np.unique(kept), bins + f)) for f in range(3)]
    for order in ("C", "F"):
        got = histogram.bin_counts(np.asarray(table, order=order), edges)
        truth = reference_histogram.bin_counts(table, edges)
        assert [c.tolist() for c in got.counts] == [c.tolist() for c in truth.counts]
        assert got.missing.tolist() == truth.missing.tolist()


@pytest.mark.parametrize("categories", [1, 7, 2048, 2049])
@pytest.mark.parametrize("dtype", ["int64", "uint64"])
@pytest.mark.usefixtures("shimmed")
def test_codes_are_the_references(categories: int, dtype: str) -> None:
    rng = np.random.default_rng(categories)
    columns = [rng.integers(0 if dtype == "uint64" else -3, categories + 3, 900).astype(dtype) for _ in range(2)]
    columns[1][0] = np.iinfo(dtype).max
    got = histogram.code_counts(columns, [categories, 3])
    truth = reference_histogram.code_counts(columns, [categories, 3])
    assert [c.tolist() for c in got] == [c.tolist() for c in truth]
