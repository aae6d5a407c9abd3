"""Weighted replicates on the CPU: Philox, Poisson weights, and the three sums that metrics are made of.

Shapes: N rows, R replicates, S segments (runs of rows that share a slice), K summed columns.

A weight is a pure function of (seed, row id, replicate): Philox4x32-10 is called with the counter
(row id low, row id high, replicate // 8, stream), and the four 32-bit words it returns are eight 16-bit
uniforms, one for each of eight neighbouring replicates. Rows may therefore be visited in any order (by score,
by slice), in any chunks and on any number of threads, and every row still has the same weight in replicate r.

The loops run row-outer, replicate-inner over a tile of TILE replicates, so that one row's label and tie flags
are uniform over the inner loop, which the compiler turns into vector code. Only a tile's state is stored,
never rows x replicates. All sums are integers (real values arrive as fixed point), thus exact, independent of
order, and equal on every backend.
"""

# mypy: disable-error-code="no-untyped-def, assignment"
# The compiled loops are typed by Numba from their arguments, not by annotations.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from kernels.cpu.threads import map_columns
from kernels.primitives import GROUP_END, POISSON, POSITIVE

LANES = 8
TILE_BLOCKS = 32
TILE = LANES * TILE_BLOCKS
# Rows after which a tile's 32-bit counters are folded into 64 bits: 4096 rows x weight 8 = 2^15, so a sum of
# pairs is at most 2^30.
FOLD_ROWS = 4096

M0 = np.uint64(0xD2511F53)
M1 = np.uint64(0xCD9E8D57)
W0 = np.uint32(0x9E3779B9)
W1 = np.uint32(0xBB67AE85)
MASK = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)


def weights(ids: Any, replicate: int, *, seed: int, stream: int, kind: int, flips: Any = None) -> Any:
    """Weights of rows `ids` (N,) in one replicate, int64 (N,); for tests and for a look at single
    replicates."""
    out = np.empty(ids.shape[0], np.int64)
    ids, flips, key = _words(ids, flips, seed, stream)
    _weights(ids, flips, kind, replicate, *key, out)
    return out


def sums(
    ids: Any, values: Any, offsets: Any, *, start: int, stop: int, seed: int, stream: int = 0,
    kind: int = POISSON, flips: Any = None,
) -> Any:  # fmt: skip
    """Weighted sums of values (N, K) int64 by segment, then of the weight: int64 (S, K + 1, stop - start).

    Rows of segment s are offsets[s] to offsets[s + 1]. start is a multiple of 8.
    """
    out = np.empty((offsets.shape[0] - 1, values.shape[1] + 1, stop - start), np.int64)
    ids, flips, key = _words(ids, flips, seed, stream)
    values = np.ascontiguousarray(values)
    _by_tile(_sums, (ids, values, flips, offsets, kind, start // LANES, *key), out)
    return out


def auroc(
    ids: Any, flags: Any, offsets: Any, *, start: int, stop: int, seed: int, stream: int = 0,
    kind: int = POISSON, flips: Any = None,
) -> Any:  # fmt: skip
    """Rows in descending order of score: twice the pairs in order, positive and negative weight,
    int64 (3, S, stop - start)."""
    out = np.empty((3, offsets.shape[0] - 1, stop - start), np.int64)
    ids, flips, key = _words(ids, flips, seed, stream)
    _by_tile(_auroc, (ids, flags, flips, offsets, kind, start // LANES, *key), out)
    return out


def average_precision(
    ids: Any, flags: Any, offsets: Any, *, scale: float, start: int, stop: int, seed: int, stream: int = 0,
    kind: int = POISSON, flips: Any = None,
) -> Any:  # fmt: skip
    """As auroc, but the first row is the sum over positives of floor(scale * precision at their score)."""
    out = np.empty((3, offsets.shape[0] - 1, stop - start), np.int64)
    ids, flips, key = _words(ids, flips, seed, stream)
    arguments = (ids, flags, flips, offsets, kind, float(scale), start // LANES, *key)
    _by_tile(_average_precision, arguments, out)
    return out


def _by_tile(loop: Any, arguments: tuple[Any, ...], out: Any) -> None:
    """Run a compiled loop once for every tile of replicates, in threads; a tile writes its own part of
    out."""
    tiles = -(-out.shape[-1] // TILE)
    map_columns(lambda tile: loop(*arguments, tile, out), tiles, arguments[0].shape[0] * TILE * tiles)


def _words(ids: Any, flips: Any, seed: int, stream: int) -> tuple[Any, Any, tuple[Any, Any, Any]]:
    """Arguments as the compiled loops take them: uint64 ids, no flips as an empty array, the key in
    halves."""
    ids = np.ascontiguousarray(ids).astype(np.uint64, copy=False)
    flips = np.zeros(0, np.uint8) if flips is None else flips
    return ids, flips, (np.uint32(stream), np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32))


@njit(cache=True, nogil=True, inline="always")
def _round(c0, c1, c2, c3, k0, k1):
    p0 = M0 * np.uint64(c0)
    p1 = M1 * np.uint64(c2)
    return (
        np.uint32(p1 >> SHIFT) ^ c1 ^ k0,
        np.uint32(p1 & MASK),
        np.uint32(p0 >> SHIFT) ^ c3 ^ k1,
        np.uint32(p0 & MASK),
    )


@njit(cache=True, nogil=True)
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Ten rounds of Philox4x32 (Salmon et al. 2011) on uint32 words: (counter, key) -> four words."""
    for _ in range(10):
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0 = np.uint32(k0 + W0)
        k1 = np.uint32(k1 + W1)
    return c0, c1, c2, c3


@njit(cache=True, nogil=True)
def _tile_words(row_id, block, stream, k0, k1, words):
    """Fill words (4, TILE_BLOCKS) with the Philox output of one row for TILE_BLOCKS replicate blocks."""
    low = np.uint32(row_id & MASK)
    high = np.uint32(row_id >> SHIFT)
    for b in range(TILE_BLOCKS):
        c0, c1, c2, c3 = low, high, np.uint32(block + b), stream
        q0, q1 = k0, k1
        # Unrolled by hand: the vectoriser works on a loop body without inner loops.
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, q0, q1)
        q0, q1 = np.uint32(q0 + W0), np.uint32(q1 + W1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, q0, q1)
        q0, q1 = np.uint32(q0 + W0), np.uint32(q1 + W1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, q0, q1)
        q0, q1 = np.uint32(q0 + W0), np.uint32(q1 + W1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, q0, q1)
        q0, q1 = np.uint32(q0 + W0), np.uint32(q1 + W1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, q0, q1)
        q0, q1 = np.uint32(q0 + W0), np.uint32(q1 + W1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, q0, q1)
        q0, q1 = np.uint32(q0 + W0), np.uint32(q1 + W1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, q0, q1)
        q0, q1 = np.uint32(q0 + W0), np.uint32(q1 + W1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, q0, q1)
        q0, q1 = np.uint32(q0 + W0), np.uint32(q1 + W1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, q0, q1)
        q0, q1 = np.uint32(q0 + W0), np.uint32(q1 + W1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, q0, q1)
        words[b] = c0
        words[TILE_BLOCKS + b] = c1
        words[2 * TILE_BLOCKS + b] = c2
        words[3 * TILE_BLOCKS + b] = c3


@njit(cache=True, nogil=True)
def _tile_weights(kind, flip, halves, weights):
    """Turn 16-bit uniforms into weights; flip = 1 gives the other side of every coin."""
    if kind == POISSON:
        for t in range(TILE):
            u = halves[t]
            w = np.uint16(u >= 24109) + np.uint16(u >= 48219) + np.uint16(u >= 60273)
            w += np.uint16(u >= 64292) + np.uint16(u >= 65296) + np.uint16(u >= 65497)
            w += np.uint16(u >= 65531) + np.uint16(u >= 65535)
            weights[t] = np.uint32(w)
    else:
        for t in range(TILE):
            weights[t] = np.uint32(np.uint16(halves[t] >> 15) ^ np.uint16(flip))


@njit(cache=True, nogil=True)
def _store(tile, out, start):
    """Write a tile's lanes to out in replicate order; the tile begins at replicate `start` of out."""
    for t in range(TILE):
        half, column = t % 2, t // 2
        replicate = start + (column % TILE_BLOCKS) * LANES + (column // TILE_BLOCKS) * 2 + half
        if replicate < out.shape[0]:
            out[replicate] = tile[t]


@njit(cache=True, nogil=True)
def _fold(pairs, run, local, wide, negatives, base):
    """Book a run of untied rows in 64 bits: its own pairs, and its negatives against all positives before."""
    for t in range(TILE):
        wide[t] += 2 * (np.int64(pairs[t]) + np.int64(run[t]) * base[t])
        negatives[t] += np.int64(run[t])
        base[t] += np.int64(local[t])
        pairs[t] = 0
        run[t] = 0
        local[t] = 0


@njit(cache=True, nogil=True)
def _auroc_segment(ids, flags, flips, first, last, kind, block, stream, k0, k1, wide, base, negatives):
    words = np.empty(4 * TILE_BLOCKS, np.uint32)
    halves = words.view(np.uint16)
    weight = np.empty(TILE, np.uint32)
    pairs = np.zeros(TILE, np.uint32)  # in this run of untied rows: sum over negatives of weight * local
    run = np.zeros(TILE, np.uint32)  # weight of the run's negatives
    local = np.zeros(TILE, np.uint32)  # weight of the run's positives
    group_p = np.zeros(TILE, np.int64)
    group_n = np.zeros(TILE, np.int64)
    rows = 0
    for i in range(first, last):
        _tile_words(ids[i], block, stream, k0, k1, words)
        _tile_weights(kind, flips[i] if flips.size else 0, halves, weight)
        flag = flags[i]
        if flag == 0:
            for t in range(TILE):
                pairs[t] += weight[t] * local[t]
                run[t] += weight[t]
        elif flag == POSITIVE:
            for t in range(TILE):
                local[t] += weight[t]
        elif flag & POSITIVE:
            for t in range(TILE):
                group_p[t] += np.int64(weight[t])
        else:
            for t in range(TILE):
                group_n[t] += np.int64(weight[t])
        rows += 1
        if flag & GROUP_END or rows == FOLD_ROWS:
            _fold(pairs, run, local, wide, negatives, base)
            rows = 0
        if flag & GROUP_END:
            for t in range(TILE):
                wide[t] += group_n[t] * (2 * base[t] + group_p[t])
                negatives[t] += group_n[t]
                base[t] += group_p[t]
                group_p[t] = 0
                group_n[t] = 0
    _fold(pairs, run, local, wide, negatives, base)


@njit(cache=True, nogil=True)
def _auroc(ids, flags, flips, offsets, kind, first_block, stream, k0, k1, tile, out):
    """out (3, S, R): twice the pairs in order, the positive weight, the negative weight. See Resample."""
    start = tile * TILE
    block = np.uint32(first_block + tile * TILE_BLOCKS)
    for s in range(offsets.shape[0] - 1):
        wide = np.zeros(TILE, np.int64)
        positives = np.zeros(TILE, np.int64)
        negatives = np.zeros(TILE, np.int64)
        first, last = offsets[s], offsets[s + 1]
        _auroc_segment(ids, flags, flips, first, last, kind, block, stream, k0, k1, wide, positives, negatives)
        _store(wide, out[0, s], start)
        _store(positives, out[1, s], start)
        _store(negatives, out[2, s], start)


@njit(cache=True, nogil=True)
def _precision_segment(ids, flags, flips, first, last, kind, scale, block, stream, k0, k1, total, tp, fp):
    words = np.empty(4 * TILE_BLOCKS, np.uint32)
    halves = words.view(np.uint16)
    weight = np.empty(TILE, np.uint32)
    group_p = np.zeros(TILE, np.int64)
    for i in range(first, last):
        _tile_words(ids[i], block, stream, k0, k1, words)
        _tile_weights(kind, flips[i] if flips.size else 0, halves, weight)
        flag = flags[i]
        if flag & POSITIVE:
            for t in range(TILE):
                group_p[t] += np.int64(weight[t])
                tp[t] += np.int64(weight[t])
        else:
            for t in range(TILE):
                fp[t] += np.int64(weight[t])
        if flag & GROUP_END or flag == POSITIVE:
            for t in range(TILE):
                precision = np.float64(tp[t]) / np.float64(max(tp[t] + fp[t], 1))
                total[t] += group_p[t] * np.int64(precision * scale)
                group_p[t] = 0


@njit(cache=True, nogil=True)
def _average_precision(ids, flags, flips, offsets, kind, scale, first_block, stream, k0, k1, tile, out):
    """out (3, S, R): sum over positives of floor(scale * precision), positive and negative weight."""
    start = tile * TILE
    block = np.uint32(first_block + tile * TILE_BLOCKS)
    for s in range(offsets.shape[0] - 1):
        total = np.zeros(TILE, np.int64)
        tp = np.zeros(TILE, np.int64)
        fp = np.zeros(TILE, np.int64)
        first, last = offsets[s], offsets[s + 1]
        _precision_segment(ids, flags, flips, first, last, kind, scale, block, stream, k0, k1, total, tp, fp)
        _store(total, out[0, s], start)
        _store(tp, out[1, s], start)
        _store(fp, out[2, s], start)


@njit(cache=True, nogil=True)
def _sums(ids, values, flips, offsets, kind, first_block, stream, k0, k1, tile, out):
    """out (S, K + 1, R): the weighted sums of the columns of values (N, K) int64, then the weight itself."""
    columns = out.shape[1] - 1
    start = tile * TILE
    block = np.uint32(first_block + tile * TILE_BLOCKS)
    words = np.empty(4 * TILE_BLOCKS, np.uint32)
    halves = words.view(np.uint16)
    weight = np.empty(TILE, np.uint32)
    total = np.empty((columns + 1, TILE), np.int64)
    for s in range(offsets.shape[0] - 1):
        total[:] = 0
        for i in range(offsets[s], offsets[s + 1]):
            _tile_words(ids[i], block, stream, k0, k1, words)
            _tile_weights(kind, flips[i] if flips.size else 0, halves, weight)
            for k in range(columns):
                value = values[i, k]
                for t in range(TILE):
                    total[k, t] += value * np.int64(weight[t])
            for t in range(TILE):
                total[columns, t] += np.int64(weight[t])
        for k in range(columns + 1):
            _store(total[k], out[s, k], start)


@njit(cache=True, nogil=True)
def _weights(ids, flips, kind, replicate, stream, k0, k1, out):
    words = np.empty(4 * TILE_BLOCKS, np.uint32)
    halves = words.view(np.uint16)
    weight = np.empty(TILE, np.uint32)
    lane = replicate % LANES
    for i in range(ids.shape[0]):
        _tile_words(ids[i], np.uint32(replicate // LANES), stream, k0, k1, words)
        _tile_weights(kind, flips[i] if flips.size else 0, halves, weight)
        out[i] = weight[2 * (lane // 2) * TILE_BLOCKS + lane % 2]
