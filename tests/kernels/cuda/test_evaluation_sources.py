"""The evaluation kernels through the host shim, where chunk borders, thread orders and grids can be
forced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels.cuda import ordering, resample, scores, source
from kernels.primitives import COIN, POISSON
from kernels.reference import ordering as reference_ordering
from kernels.reference import resample as reference
from kernels.reference import scores as reference_scores
from tests.kernels.test_resample_weights import case


def test_launchers_name_the_sizes_of_their_sources() -> None:
    for launcher, name, constants in (
        (resample, "resample", {"kThreads": "THREADS", "kLanes": "LANES"}),
        (scores, "scores", {"kThreads": "THREADS", "kRows": "ROWS", "kClassThreads": "CLASS_THREADS"}),
    ):
        text = (source.HERE / f"{name}.cu").read_text()
        for constant, python in constants.items():
            assert f"constexpr int {constant} = {getattr(launcher, python)};" in text
    assert f"constexpr double kFixed = {scores.FIXED:.1f};" in (source.HERE / "scores.cu").read_text()


@pytest.mark.parametrize("shimmed", [1, 2, 3], indirect=True)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", [POISSON, COIN])
@pytest.mark.usefixtures("shimmed")
def test_chunks_of_rows_join_to_the_reference(kind: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 16 rows cut tie groups and segments; grids of 3 make every loop over launches turn."""
    monkeypatch.setattr(resample, "CHUNK", 16)
    monkeypatch.setattr(resample, "GRID_Y", 3)
    data = case(seed)
    where: dict[str, Any] = {"start": 16, "stop": 29, "seed": 2**41 + seed, "kind": kind}
    where["flips"] = data["flips"] if kind == COIN else None
    for name, argument, extra in (
        ("auroc", data["flags"], {}),
        ("average_precision", data["flags"], {"scale": 2.0**45}),
        ("sums", data["values"], {}),
    ):
        got = getattr(resample, name)(data["ids"], argument, data["offsets"], **extra, **where)
        expected = getattr(reference, name)(data["ids"], argument, data["offsets"], **extra, **where)
        assert np.array_equal(got, expected), name


@pytest.mark.usefixtures("shimmed")
def test_replicates_beyond_one_block() -> None:
    data = case(2)
    where: dict[str, Any] = {"start": 0, "stop": 700, "seed": 5}
    got = resample.auroc(data["ids"], data["flags"], data["offsets"], **where)
    some = reference.auroc(data["ids"], data["flags"], data["offsets"], start=504, stop=530, seed=5)
    assert np.array_equal(got[:, :, 504:530], some)


@pytest.mark.usefixtures("shimmed")
def test_single_weights() -> None:
    ids = np.random.default_rng(1).integers(0, 2**63, 700).astype(np.uint64)
    flips = (ids % 2).astype(np.uint8)
    for kind, sides in ((POISSON, None), (COIN, None), (COIN, flips)):
        got = resample.weights(ids, 77, seed=2**63 + 1, stream=3, kind=kind, flips=sides)
        expected = reference.weights(ids, 77, seed=2**63 + 1, stream=3, kind=kind, flips=sides)
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("shimmed", [1, 2], indirect=True)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("shimmed")
def test_scores_are_the_references(dtype: type) -> None:
    rng = np.random.default_rng(3)
    labels, proba = rng.integers(0, 2, 17_000).astype(np.uint8), rng.random(17_000).astype(dtype)
    proba[::50] = np.nan
    proba[1::50] = rng.choice([0.0, 1.0, 0.2, 0.6], 340)
    keywords = {"n_bins": 15, "threshold": 0.6, "eps": float(np.finfo(dtype).eps)}
    got, expected = (m.binary_sums(labels, proba, **keywords) for m in (scores, reference_scores))
    for field, left, right in zip(expected._fields, got, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12, err_msg=field)
    assert int(scores.binary_sums(labels, proba + dtype(1), **keywords).outside) == (proba > 0).sum()
    for classes in (2, 33, 70):
        table = rng.dirichlet(np.ones(classes), 900).astype(dtype)
        table[::90, 1] = np.nan
        table[5] = 1 / classes  # a tie for the largest goes to the first class
        table[7] *= dtype(0.9)
        codes = rng.integers(0, classes, 900)
        got, expected = (
            m.multiclass_sums(codes, table, n_bins=10, eps=keywords["eps"]) for m in (scores, reference_scores)
        )
        for field, left, right in zip(expected._fields, got, expected, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-11, err_msg=field)
        assert (int(got.unnormalised), int(got.outside), int(got.missing)) == (1, 0, 10)


@pytest.mark.usefixtures("shimmed")
def test_logarithms_have_the_same_bits() -> None:
    p = np.exp(np.random.default_rng(4).normal(size=5000) * 30)
    assert np.array_equal(scores.negative_log(p), reference_scores.negative_log(p))
    error = np.abs(reference_scores.negative_log(p) + np.log(p)) / np.spacing(np.abs(np.log(p)))
    assert error.max() <= 2.0


@pytest.mark.usefixtures("shimmed")
@pytest.mark.parametrize("seed", range(12))
def test_orders_are_the_references(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 300))
    score = np.round(rng.normal(size=n), seed % 3) * rng.choice([1.0, -0.0], n)
    labels, codes = rng.integers(0, 2, n).astype(np.uint8), rng.integers(-1, 4, n)
    got, expected = ordering.order(score), reference_ordering.order(score)
    assert np.array_equal(got.groups, expected.groups)
    assert np.array_equal(score[got.rows], score[expected.rows])
    for a, b in (
        (got, expected),
        (ordering.split(got, codes, 6), reference_ordering.split(expected, codes, 6)),
    ):
        assert np.array_equal(a.offsets, b.offsets)
        assert np.array_equal(ordering.flags(a, labels), reference_ordering.flags(a, labels))
        assert np.array_equal(ordering.placements(a, labels), reference_ordering.placements(b, labels))
        left, right = ordering.ranking_sums(a, labels), reference_ordering.ranking_sums(b, labels)
        for field, x, y in zip(left._fields, left, right, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12, err_msg=field)
