"""Resampling in NumPy: the executable definition of the resample primitive.

Shapes: N rows, R replicates, S segments, K summed columns. A replicate's weights are a pure function of
(seed, row id, replicate); see `words`. Memory is O(N) for one replicate at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.primitives import GROUP_END, POISSON, POISSON_THRESHOLDS, POSITIVE, TIED

MASK = np.uint64(0xFFFFFFFF)


def philox4x32(counter: Any, key: Any) -> Any:
    """Ten rounds of Philox4x32 (Salmon et al. 2011): counter (4, ...) and key (2,) uint32 -> (4, ...)
    uint32."""
    c0, c1, c2, c3 = (np.asarray(c, dtype=np.uint64) for c in counter)
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ k0, p1 & MASK, (p0 >> np.uint64(32)) ^ c3 ^ k1, p0 & MASK,
        )  # fmt: skip
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & MASK, (k1 + np.uint64(0xBB67AE85)) & MASK
    return np.stack(np.broadcast_arrays(c0, c1, c2, c3)).astype(np.uint32)


def weights(ids: Any, replicate: int, *, seed: int, stream: int, kind: int, flips: Any = None) -> Any:
    """Weights of rows `ids` (N,) in one replicate, int64 (N,).

    The counter is (id low, id high, replicate // 8, stream), the key the low and high half of the seed; the
    16-bit uniform is half (replicate % 2) of word (replicate % 8) // 2.
    """
    ids = np.asarray(ids).astype(np.uint64)
    counter = (ids & MASK, ids >> np.uint64(32), np.uint64(replicate // 8), np.uint64(stream))
    word = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))[(replicate % 8) // 2]
    uniform = (word >> np.uint32(16 * (replicate % 2))) & np.uint32(0xFFFF)
    if kind == POISSON:
        return np.searchsorted(POISSON_THRESHOLDS, uniform, side="right").astype(np.int64)
    coin = (uniform >> np.uint32(15)).astype(np.int64)
    return coin if flips is None else coin ^ flips


def sums(
    ids: Any, values: Any, offsets: Any, *, start: int, stop: int, seed: int, stream: int = 0,
    kind: int = POISSON, flips: Any = None,
) -> Any:  # fmt: skip
    """Weighted sums of values (N, K) int64 by segment, then of the weight: int64 (S, K + 1, stop - start)."""
    out = np.zeros((offsets.shape[0] - 1, values.shape[1] + 1, stop - start), np.int64)
    columns = np.concatenate([values, np.ones((values.shape[0], 1), np.int64)], axis=1)
    for r in range(start, stop):
        w = weights(ids, r, seed=seed, stream=stream, kind=kind, flips=flips)
        for s in range(out.shape[0]):
            rows = slice(offsets[s], offsets[s + 1])
            out[s, :, r - start] = w[rows] @ columns[rows]
    return out


def auroc(
    ids: Any, flags: Any, offsets: Any, *, start: int, stop: int, seed: int, stream: int = 0,
    kind: int = POISSON, flips: Any = None,
) -> Any:  # fmt: skip
    """Rows in descending order of score: twice the pairs in order, positive and negative weight,
    int64 (3, S, stop - start)."""
    out = np.zeros((3, offsets.shape[0] - 1, stop - start), np.int64)
    for r in range(start, stop):
        w = weights(ids, r, seed=seed, stream=stream, kind=kind, flips=flips)
        for s in range(out.shape[1]):
            rows = slice(offsets[s], offsets[s + 1])
            tp, fp = _grouped(flags[rows], w[rows])
            before = np.cumsum(tp) - tp
            out[:, s, r - start] = (fp * (2 * before + tp)).sum(), tp.sum(), fp.sum()
    return out


def average_precision(
    ids: Any, flags: Any, offsets: Any, *, scale: float, start: int, stop: int, seed: int, stream: int = 0,
    kind: int = POISSON, flips: Any = None,
) -> Any:  # fmt: skip
    """As auroc, but the first row is the sum over positives of floor(scale * precision at their score)."""
    out = np.zeros((3, offsets.shape[0] - 1, stop - start), np.int64)
    for r in range(start, stop):
        w = weights(ids, r, seed=seed, stream=stream, kind=kind, flips=flips)
        for s in range(out.shape[1]):
            rows = slice(offsets[s], offsets[s + 1])
            tp, fp = _grouped(flags[rows], w[rows])
            above = np.cumsum(tp)
            precision = above / np.maximum(above + np.cumsum(fp), 1)
            out[:, s, r - start] = (tp * (precision * scale).astype(np.int64)).sum(), tp.sum(), fp.sum()
    return out


def _grouped(flags: Any, w: Any) -> tuple[Any, Any]:
    """Positive and negative weight by tie group, along the order."""
    new = np.ones(flags.shape[0], bool)
    new[1:] = ((flags[:-1] & GROUP_END) > 0) | ((flags[1:] & TIED) == 0) | ((flags[:-1] & TIED) == 0)
    group = np.cumsum(new) - 1
    count = int(new.sum())
    positive = (flags & POSITIVE) > 0
    tp, fp = np.zeros(count, np.int64), np.zeros(count, np.int64)
    np.add.at(tp, group[positive], w[positive])
    np.add.at(fp, group[~positive], w[~positive])
    return tp, fp
