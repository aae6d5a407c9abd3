"""Rows in descending order of a score, and what one walk along that order yields.

Shapes: N rows, S segments (runs of rows that share a slice).

NumPy's argsort moves 8-byte indices through a comparison of gathered keys; its sort of plain uint64 uses
vector registers and is three times faster. So the upper bits of the monotone key and the row number are
packed into one uint64 and sorted as plain integers. A float32 key always fits whole; float64 and int64 keys
lose their lowest bits, and rows that agree in the rest are put right afterwards by their full keys.
"""

# mypy: disable-error-code="no-untyped-def, assignment"
# The compiled loops are typed by Numba from their arguments, not by annotations.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from kernels.cpu.threads import map_columns
from kernels.primitives import GROUP_END, TIED, Order, RankingSums

# Runs of rows that agree in the packed bits are put right by insertion up to this length; longer ones that
# are out of order send the whole column to argsort.
INSERTION = 48
BLOCK = 1024


def order(scores: Any) -> Order:
    """Order scores (N,) of a working dtype without NaN; -0.0 equals 0.0 and +-inf are ordered."""
    n = scores.shape[0]
    low = np.uint64((1 << max(int(n - 1).bit_length(), 1)) - 1)
    keys = np.empty(n, np.uint64)
    packed = np.empty(n, np.uint64)
    scores = np.ascontiguousarray(scores)
    if scores.dtype == np.float32:
        _pack32(scores.view(np.uint32), low, keys, packed)
    elif scores.dtype == np.float64:
        _pack64(scores.view(np.uint64), low, keys, packed)
    else:
        sign = np.uint64(1 << 63 if scores.dtype.kind == "i" else 0)
        _pack_integers(scores.view(np.uint64), sign, low, keys, packed)
    packed.sort()
    rows = np.empty(n, np.int64)
    if not _unpack(packed, keys, low, rows):
        rows = np.argsort(keys, kind="stable")
    groups = np.empty(n, np.int64)
    _number(packed, keys, low, rows, groups)
    return Order(rows, groups, np.array([0, n], np.int64))


def split(ordered: Order, codes: Any, n_segments: int) -> Order:
    """The order within each segment: codes (N,) int64 in [0, S), or -1 for rows in no segment."""
    rows = np.empty_like(ordered.rows)
    groups = np.empty_like(ordered.groups)
    offsets = np.zeros(n_segments + 1, np.int64)
    kept = _split(ordered.rows, ordered.groups, codes, rows, groups, offsets)
    return Order(rows[:kept], groups[:kept], offsets)


def flags(ordered: Order, labels: Any) -> Any:
    """Row flags for the resampling kernels, in order: uint8 (N,) of POSITIVE | TIED | GROUP_END."""
    out = np.empty(ordered.rows.shape[0], np.uint8)
    _flags(ordered.rows, ordered.groups, ordered.offsets, labels, out)
    return out


def ranking_sums(ordered: Order, labels: Any) -> RankingSums:
    """Walk every segment once: labels (N,) uint8 by row. int64 holds pairs up to 2 * positives *
    negatives."""
    segments = ordered.offsets.shape[0] - 1
    counts = np.zeros((3, segments), np.int64)
    precision = np.zeros(segments, np.float64)
    _ranking_sums(ordered.rows, ordered.groups, ordered.offsets, labels, counts, precision)
    return RankingSums(counts[0], counts[1], counts[2], precision)


def partition(labels: Any, scores: Any) -> tuple[Any, Any]:
    """Scores (N,) of negatives and of positives, each in row order; labels (N,) uint8."""
    down, up = np.empty_like(scores), np.empty_like(scores)
    negatives = _partition(labels, np.ascontiguousarray(scores), down, up)
    return down[:negatives], up[: scores.shape[0] - negatives]


def precision_sum(down: Any, up: Any) -> float:
    """Sum over positives of the precision at their score, from ascending scores of negatives and
    positives."""
    return float(_precision_sum(down, up))


def placements(ordered: Order, labels: Any) -> Any:
    """Twice each row's placement, int64 (N,) by row, within its segment.

    For a positive: 2 * negatives below + negatives tied; for a negative: 2 * positives above + positives
    tied. Rows in no segment get 0. Example: scores [1, 2, 2], labels [0, 1, 0] -> [2, 3, 1].
    """
    out = np.zeros(labels.shape[0], np.int64)
    _placements(ordered.rows, ordered.groups, ordered.offsets, labels, out)
    return out


def placements_of(scores: Sequence[Any], labels: Any) -> list[Any]:
    """The placements of each model's scores (N,), all rows one segment; models run in threads."""
    work = sum(score.shape[0] for score in scores)
    return map_columns(lambda model: placements(order(scores[model]), labels), len(scores), work)


def comoments(
    a: Any, b: Any, labels: Any, scale_up: float, scale_down: float, center_a: float, center_b: float
) -> tuple[Any, Any]:
    """Sums over positives and over negatives of (a[i] * size - center_a) * (b[i] * size - center_b), float64.

    a and b (N,) are placements; size is scale_up for a positive and scale_down for a negative.
    """
    blocks = -(-a.shape[0] // BLOCK)
    sums = np.zeros((2, blocks), np.float64)
    scales = np.array([scale_down, scale_up])
    _comoments(a, b, labels, scales, center_a, center_b, sums)
    return sums[1].sum(), sums[0].sum()


@njit(cache=True, nogil=True)
def _comoments(a, b, labels, scales, center_a, center_b, sums):
    for block in range(sums.shape[1]):
        first = block * BLOCK
        part = slice(first, min(first + BLOCK, a.shape[0]))
        x, y, label = a[part], b[part], labels[part]
        up, down = 0.0, 0.0
        for i in range(x.shape[0]):
            scale = scales[1] if label[i] else scales[0]
            product = (x[i] * scale - center_a) * (y[i] * scale - center_b)
            up += product if label[i] else 0.0
            down += 0.0 if label[i] else product
        sums[1, block] = up
        sums[0, block] = down


@njit(cache=True, nogil=True)
def _pack32(raw, low, keys, packed):
    """keys: unsigned and descending with a float32 score; packed: their upper bits above the row number."""
    for i in range(raw.shape[0]):
        x = raw[i] if raw[i] != np.uint32(0x80000000) else np.uint32(0)
        # A positive number sets its sign bit, a negative one flips all bits; then all are flipped to descend.
        mask = np.uint32(np.int32(x) >> 31) | np.uint32(0x80000000)
        key = np.uint64(~(x ^ mask) & np.uint32(0xFFFFFFFF)) << np.uint64(32)
        keys[i] = key
        packed[i] = (key & ~low) | np.uint64(i)


@njit(cache=True, nogil=True)
def _pack64(raw, low, keys, packed):
    """As _pack32, for float64 scores."""
    top = np.uint64(1) << np.uint64(63)
    for i in range(raw.shape[0]):
        x = raw[i] if raw[i] != top else np.uint64(0)
        key = ~(x ^ (np.uint64(np.int64(x) >> 63) | top))
        keys[i] = key
        packed[i] = (key & ~low) | np.uint64(i)


@njit(cache=True, nogil=True)
def _pack_integers(raw, sign, low, keys, packed):
    """As _pack32, for 64-bit integers; sign is 2^63 for int64 and 0 for uint64."""
    for i in range(raw.shape[0]):
        key = ~(raw[i] ^ sign)
        keys[i] = key
        packed[i] = (key & ~low) | np.uint64(i)


@njit(cache=True, nogil=True)
def _unpack(packed, keys, low, rows):
    """Row numbers in order of the full keys; False when a long run is out of order."""
    start = 0
    previous = ~packed[0] if packed.shape[0] else np.uint64(0)
    for i in range(packed.shape[0]):
        rows[i] = np.int64(packed[i] & low)
        if (packed[i] ^ previous) & ~low:
            start = i
        previous = packed[i]
        if i > start and keys[rows[i]] < keys[rows[i - 1]]:
            if i - start > INSERTION:
                return False
            row, j = rows[i], i
            while j > start and keys[rows[j - 1]] > keys[row]:
                rows[j] = rows[j - 1]
                j -= 1
            rows[j] = row
    return True


@njit(cache=True, nogil=True)
def _number(packed, keys, low, rows, groups):
    """Groups of equal keys; the full keys are looked up only where the packed bits agree."""
    group = -1
    for i in range(rows.shape[0]):
        if i == 0 or (packed[i] ^ packed[i - 1]) & ~low or keys[rows[i]] != keys[rows[i - 1]]:
            group += 1
        groups[i] = group


@njit(cache=True, nogil=True)
def _split(rows, groups, codes, out_rows, out_groups, offsets):
    """A stable counting sort by code keeps the order by score inside every segment."""
    for i in range(codes.shape[0]):
        if codes[i] >= 0:
            offsets[codes[i] + 1] += 1
    for s in range(1, offsets.shape[0]):
        offsets[s] += offsets[s - 1]
    place = offsets[:-1].copy()
    for i in range(rows.shape[0]):
        code = codes[rows[i]]
        if code >= 0:
            out_rows[place[code]] = rows[i]
            out_groups[place[code]] = groups[i]
            place[code] += 1
    return offsets[-1]


@njit(cache=True, nogil=True)
def _flags(rows, groups, offsets, labels, out):
    for s in range(offsets.shape[0] - 1):
        first = offsets[s]
        while first < offsets[s + 1]:
            last = first
            positives = 0
            while last < offsets[s + 1] and groups[last] == groups[first]:
                out[last] = labels[rows[last]]
                positives += out[last]
                last += 1
            if last - first > 1 and positives:
                for i in range(first, last):
                    out[i] |= TIED
                out[last - 1] |= GROUP_END
            first = last


@njit(cache=True, nogil=True)
def _ranking_sums(rows, groups, offsets, labels, counts, precision):
    for s in range(offsets.shape[0] - 1):
        tp, fp, pairs, total = 0, 0, 0, 0.0
        first = offsets[s]
        while first < offsets[s + 1]:
            group = groups[first]
            positives, last = 0, first
            while last < offsets[s + 1] and groups[last] == group:
                positives += np.int64(labels[rows[last]])
                last += 1
            negatives = last - first - positives
            pairs += negatives * (2 * tp + positives)
            tp += positives
            fp += negatives
            if positives:
                total += positives * (tp / (tp + fp))
            first = last
        counts[0, s] = pairs
        counts[1, s] = tp
        counts[2, s] = fp
        precision[s] = total


@njit(cache=True, nogil=True)
def _placements(rows, groups, offsets, labels, out):
    for s in range(offsets.shape[0] - 1):
        begin, end = offsets[s], offsets[s + 1]
        row, group = rows[begin:end], groups[begin:end]
        n = end - begin
        label = np.empty(n, np.int64)
        total = 0
        for i in range(n):
            label[i] = labels[row[i]]
            total += 1 - label[i]
        tp, fp, first = 0, 0, 0
        while first < n:
            if first + 1 == n or group[first + 1] != group[first]:  # no tie, and no branch on the label
                positive = label[first]
                out[row[first]] = 2 * (total - fp) if positive else 2 * tp
                tp += positive
                fp += 1 - positive
                first += 1
                continue
            positives, last = 0, first
            while last < n and group[last] == group[first]:
                positives += label[last]
                last += 1
            negatives = last - first - positives
            above, below = 2 * tp + positives, 2 * (total - fp - negatives) + negatives
            for i in range(first, last):
                out[row[i]] = below if label[i] else above
            tp += positives
            fp += negatives
            first = last


@njit(cache=True, nogil=True)
def _partition(labels, scores, down, up):
    """Both sides are written, and only the right one moves on: no branch to mispredict."""
    i, j = 0, 0
    for row in range(scores.shape[0]):
        label = np.int64(labels[row] != 0)
        down[i] = scores[row]
        up[j] = scores[row]
        i += 1 - label
        j += label
    return i


@njit(cache=True, nogil=True, error_model="numpy")
def _precision_sum(down, up):
    total, tp, fp = 0.0, 0, 0
    i = up.shape[0] - 1
    j = down.shape[0] - 1
    while i >= 0:
        score = up[i]
        group = 1
        while i - group >= 0 and up[i - group] == score:
            group += 1
        while j >= 0 and down[j] >= score:
            j -= 1
        tp += group
        fp = down.shape[0] - 1 - j
        total += group * (np.float64(tp) / np.float64(tp + fp))
        i -= group
    return total
