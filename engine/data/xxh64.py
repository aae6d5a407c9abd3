"""XXH64 of many texts at once, in NumPy: a 64-bit hash of each row's bytes, the same on every machine and in every run.

The algorithm is that of Yann Collet's xxHash (xxhash_spec.md, XXH64, seed 0). Rows of equal length take the same steps,
so each step is one operation on a block of them.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

P1, P2, P3, P4, P5 = (
    np.uint64(prime)
    for prime in (
        0x9E3779B185EBCA87,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )
)
SEED = 0
BLOCK = 1 << 19  # bytes of rows that are hashed together: they stay in the cache
LOW = np.uint64(0xFFFFFFFF)


def hashes(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Hashes (N,) uint64 of N texts: row i is the bytes `offsets[i]` to `offsets[i + 1]` of `data`.

    Args:
        data: uint8, the bytes of all rows, as an Arrow array of strings holds them.
        offsets: (N + 1,) int64, ascending.

    Cost: one sort of N lengths, about 40 operations on (N,) for rows of 36 bytes; memory is 8 bytes a row, and a block.
    """
    starts, lengths = offsets[:-1], np.diff(offsets)
    found = np.empty(len(starts), dtype=np.uint64)
    if not len(starts):
        return found
    order = None if lengths.min() == lengths.max() else np.argsort(lengths, kind="stable")
    ordered = lengths if order is None else lengths[order]
    edges = [0, *(np.flatnonzero(np.diff(ordered)) + 1).tolist(), len(ordered)]
    for low, high in pairwise(edges):
        length = int(ordered[low])
        step = max(1, BLOCK // max(1, length))
        for begin in range(low, high, step):
            end = min(begin + step, high)
            if order is None:  # one row lies behind the other
                rows = data[starts[begin] : starts[begin] + (end - begin) * length].reshape(end - begin, length)
                found[begin:end] = of_length(rows)
            else:
                at = order[begin:end]
                found[at] = of_length(data[starts[at][:, None] + np.arange(length)])
    return found


def of_length(rows: np.ndarray) -> np.ndarray:
    """Hashes (N,) uint64 of N rows of L bytes each, (N, L) uint8."""
    n, length = rows.shape
    padded = np.zeros((n, -(-length // 8) * 8), dtype=np.uint8)
    padded[:, :length] = rows
    words = np.ascontiguousarray(padded.view("<u8").T)
    at = 0
    if length >= 32:
        found, at = _stripes(words[: length // 32 * 4]), length // 32 * 4
    else:
        found = np.full(n, SEED, dtype=np.uint64) + P5
    found += np.uint64(length)
    while (at + 1) * 8 <= length:
        found = _rotated(found ^ _round(np.zeros(n, dtype=np.uint64), words[at]), 27) * P1 + P4
        at += 1
    if length % 8:
        found = _tail(found, words[at], length % 8)
    found = (found ^ (found >> np.uint64(33))) * P2
    found = (found ^ (found >> np.uint64(29))) * P3
    return np.asarray(found ^ (found >> np.uint64(32)))


def _stripes(words: np.ndarray) -> np.ndarray:
    """The hash of whole stripes of 32 bytes, words (4 x stripes, N): four lanes, each a chain of rounds."""
    zero = np.full(words.shape[1], SEED, dtype=np.uint64)
    lanes = [zero + P1 + P2, zero + P2, zero, zero - P1]
    for at, word in enumerate(words):
        lanes[at % 4] = _round(lanes[at % 4], word)
    found = _rotated(lanes[0], 1) + _rotated(lanes[1], 7) + _rotated(lanes[2], 12) + _rotated(lanes[3], 18)
    for lane in lanes:
        found = (found ^ _round(zero, lane)) * P1 + P4
    return np.asarray(found)


def _tail(found: np.ndarray, word: np.ndarray, left: int) -> np.ndarray:
    """The last bytes, fewer than eight: four of them at once where there are as many, then one by one."""
    at = 0
    if left >= 4:
        found, at = _rotated(found ^ ((word & LOW) * P1), 23) * P2 + P3, 4
    for byte in range(at, left):
        found = _rotated(found ^ (((word >> np.uint64(8 * byte)) & np.uint64(0xFF)) * P5), 11) * P1
    return found


def _round(lane: np.ndarray, word: np.ndarray) -> np.ndarray:
    return np.asarray(_rotated(lane + word * P2, 31) * P1)


def _rotated(value: np.ndarray, bits: int) -> np.ndarray:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))
