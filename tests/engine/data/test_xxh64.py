from __future__ import annotations

import numpy as np
import pytest

from engine.data.xxh64 import BLOCK, hashes


def packed(rows: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Rows as Arrow holds them: all bytes, and where each row begins and ends."""
    offsets = np.cumsum([0, *map(len, rows)])
    return np.frombuffer(b"".join(rows), dtype=np.uint8), offsets.astype(np.int64)


def test_published_values() -> None:
    """Of the specification's own test suite and of other implementations, seed 0."""
    known = {
        b"": 0xEF46DB3751D8E999,
        b"a": 0xD24EC4F1A98C6E5B,
        b"abc": 0x44BC2CF5AD770999,
        b"Nobody inspects the spammish repetition": 0xFBCEA83C8A378BF1,
    }
    assert hashes(*packed(list(known))).tolist() == list(known.values())


def test_every_length_is_hashed_as_the_reference_does() -> None:
    xxhash = pytest.importorskip("xxhash")
    rng = np.random.default_rng(3)
    rows = [rng.bytes(int(n)) for n in rng.permutation(np.repeat(np.arange(130), 3))]
    assert hashes(*packed(rows)).tolist() == [xxhash.xxh64_intdigest(row) for row in rows]


def test_rows_of_one_length_and_of_many_are_hashed_alike_across_blocks() -> None:
    rows = [b"%012d" % i for i in range(BLOCK // 12 + 5)]
    alike = hashes(*packed(rows))
    mixed = hashes(*packed([*rows, b"short"]))
    assert np.array_equal(alike, mixed[:-1])
    assert len(np.unique(alike)) == len(rows)
    assert not len(hashes(*packed([])))
