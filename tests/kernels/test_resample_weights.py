"""Weights: the generator is Philox; a weight depends on (seed, row id, replicate) alone and is Poisson(1)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from kernels.cpu import ordering as cpu_ordering
from kernels.cpu import resample as cpu
from kernels.dispatch import load
from kernels.primitives import COIN, POISSON, POISSON_THRESHOLDS
from kernels.reference import resample as reference
from tests.kernels.conftest import Backend
from tests.kernels.placed import get, put

# The known answers of Random123 (kat_vectors): counter and key all zeros, all ones, and digits of pi.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_known_answers(counter: Any, key: Any, expected: Any) -> None:
    assert tuple(reference.philox4x32(counter, key).tolist()) == expected
    words = cpu.philox4x32(*(np.uint32(x) for x in (*counter, *key)))
    assert tuple(int(x) for x in words) == expected


def test_thresholds_are_the_poisson_distribution() -> None:
    cumulative = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(8)])
    assert np.round(cumulative * 65536).clip(max=65535).astype(int).tolist() == list(POISSON_THRESHOLDS)
    mass = np.diff([0, *POISSON_THRESHOLDS, 65536]) / 65536
    mean = (mass * np.arange(9)).sum()
    variance = (mass * np.arange(9) ** 2).sum() - mean**2
    assert mean == pytest.approx(1.0, abs=2e-5)
    assert variance == pytest.approx(1.0, abs=1e-4)


def test_weights_look_independent_across_rows_replicates_and_seeds() -> None:
    ids = np.arange(4000, dtype=np.uint64)
    w = np.stack([cpu.weights(ids, r, seed=3, stream=0, kind=POISSON) for r in range(64)])
    z = np.corrcoef(w)[np.triu_indices(64, 1)] * math.sqrt(4000)
    assert abs(z.mean()) < 4 / math.sqrt(z.size)
    assert z.std() == pytest.approx(1.0, abs=0.08)
    lag = (w[:, 1:] - 1.0) * (w[:, :-1] - 1.0)
    assert abs(lag.mean()) < 4 / math.sqrt(lag.size)
    counts = np.bincount(w.ravel(), minlength=9)
    expected = np.diff([0, *POISSON_THRESHOLDS, 65536]) / 65536 * w.size
    assert ((counts - expected) ** 2 / expected)[:6].sum() < 20.5  # chi-squared, 5 degrees, p = 0.001
    other = cpu.weights(ids, 0, seed=4, stream=0, kind=POISSON)
    assert abs(np.corrcoef(w[0], other)[0, 1]) < 4 / math.sqrt(4000)


@pytest.mark.parametrize("kind", [POISSON, COIN])
def test_a_row_has_its_weight_wherever_it_stands(kind: int) -> None:
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 2**63, 300).astype(np.uint64)
    order = rng.permutation(300)
    for replicate in (0, 1, 7, 8, 255, 256, 1999):
        w = cpu.weights(ids, replicate, seed=2**63 + 5, stream=0, kind=kind)
        moved = cpu.weights(ids[order], replicate, seed=2**63 + 5, stream=0, kind=kind)
        assert np.array_equal(w[order], moved)
        assert np.array_equal(w, reference.weights(ids, replicate, seed=2**63 + 5, stream=0, kind=kind))


def case(seed: int) -> dict[str, Any]:
    """Rows in order with heavy ties, empty and single-class segments, fixed-point values."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 260))
    score = np.round(rng.normal(size=n), int(rng.integers(0, 4)))
    label = (rng.random(n) < rng.choice([0.02, 0.5, 0.9])).astype(np.uint8)
    codes = rng.integers(-1, 5, n)
    ordered = cpu_ordering.split(cpu_ordering.order(score), codes, 6)
    rows = ordered.rows.shape[0]
    return {
        "ids": rng.integers(0, 2**63, rows).astype(np.uint64),
        "flags": cpu_ordering.flags(ordered, label),
        "offsets": ordered.offsets,
        "values": rng.integers(-(2**40), 2**40, (rows, int(rng.integers(0, 4)))),
        "flips": rng.integers(0, 2, rows).astype(np.uint8),
    }


@pytest.mark.parametrize("kind", [POISSON, COIN])
@pytest.mark.parametrize("seed", range(6))
def test_replicates_equal_the_reference_bit_for_bit(seed: int, kind: int, backend: Backend) -> None:
    data = case(seed)
    module = load("resample", backend.name)
    where = {"start": 8, "stop": 31, "seed": 2**40 + seed, "kind": kind}
    flips = data["flips"] if kind == COIN else None
    ids, offsets = data["ids"], data["offsets"]
    placed_ids, placed_offsets, placed_flips = put(backend, ids, offsets, flips)
    for name, argument, extra in (
        ("auroc", data["flags"], {}),
        ("average_precision", data["flags"], {"scale": 2.0**45}),
        ("sums", data["values"], {}),
    ):
        expected = getattr(reference, name)(ids, argument, offsets, flips=flips, **extra, **where)
        got = getattr(module, name)(
            placed_ids, put(backend, argument), placed_offsets, flips=placed_flips, **extra, **where
        )
        assert np.array_equal(get(got), expected), name


def test_threads_and_chunks_change_nothing(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    data = case(11)
    module = load("resample", backend.name)
    ids, offsets = put(backend, data["ids"], data["offsets"])
    for name, argument, extra in (
        ("auroc", data["flags"], {}),
        ("average_precision", data["flags"], {"scale": 2.0**45}),
        ("sums", data["values"], {}),
    ):
        placed = put(backend, argument)
        whole = get(getattr(module, name)(ids, placed, offsets, start=0, stop=600, seed=1, **extra))
        for threads in ("1", "5"):
            monkeypatch.setenv("KERNELS_NUM_THREADS", threads)
            parts = [
                get(getattr(module, name)(ids, placed, offsets, start=start, stop=stop, seed=1, **extra))
                for start, stop in ((0, 8), (8, 264), (264, 600))
            ]
            assert np.array_equal(np.concatenate(parts, axis=2), whole), (name, threads)


@pytest.mark.parametrize("ties", [False, True])
def test_long_runs_are_folded_without_overflow(ties: bool) -> None:
    n = 20_000
    label = np.zeros(n, np.uint8)
    label[: n // 2] = 1
    score = np.zeros(n) if ties else np.arange(n)[::-1].astype(float)
    ordered = cpu_ordering.order(score)
    flags = cpu_ordering.flags(ordered, label)
    ids = np.arange(n, dtype=np.uint64)[ordered.rows]
    pairs, positives, negatives = cpu.auroc(ids, flags, ordered.offsets, start=0, stop=64, seed=9)[:, 0]
    assert np.array_equal(pairs, positives * negatives * (1 if ties else 2))
    w = cpu.weights(np.arange(n, dtype=np.uint64), 5, seed=9, stream=0, kind=POISSON)
    assert positives[5] == w[: n // 2].sum()
    assert negatives[5] == w[n // 2 :].sum()
