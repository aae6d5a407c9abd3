"""Pointwise scores on the CPU: one pass over labels and predictions gives every sum that they need.

Shapes: N rows, C classes, B calibration bins. Rows are taken in blocks of BLOCK; each block is reduced in 16
lanes and the block sums are added in order, so a result does not depend on the number of threads.

The logarithm is our own (`_negative_log`), made of additions, multiplications and one division alone. It is
vectorised by the compiler, is within 2 units in the last place, and has the same bits on every backend.
"""

# mypy: disable-error-code="no-untyped-def, assignment"
# The compiled loops are typed by Numba from their arguments, not by annotations.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from kernels.cpu.threads import map_columns, thread_count
from kernels.primitives import BinarySums, CalibrationSums, MulticlassSums, RegressionSums

BLOCK = 2048
LANES = 16
HELD = 1 << 20
"""Block sums of one kind held at a time: 8 MB, whatever the number of bins."""

MANTISSA = np.int64(0x000FFFFFFFFFFFFF)
ONE = np.int64(0x3FF0000000000000)
SQRT2 = 1.4142135623730951
LN2_HIGH = 0.6931471803691238  # the upper 32 bits of ln 2, so that exponent * LN2_HIGH is exact
LN2_LOW = 1.9082149292705877e-10


def binary_sums(labels: Any, proba: Any, *, n_bins: int, threshold: float, eps: float) -> BinarySums:
    """labels (N,) uint8 in {0, 1}; proba (N,) float32 or float64. Bin b holds (b / B, (b + 1) / B]; 0 is in
    0."""
    edges = _edges(n_bins)
    cells = 4 * n_bins
    floats, counts, confidence = _by_block(
        _binary,
        (np.ascontiguousarray(labels), np.ascontiguousarray(proba), edges, float(threshold), float(eps)),
        (2, np.float64), (cells + 2, np.int64), (cells, np.float64),
    )  # fmt: skip
    by_cell = counts[:cells].reshape(n_bins, 2, 2)  # (bin, label, predicted)
    return BinarySums(
        floats[0], floats[1], by_cell.sum(axis=(1, 2)), by_cell[:, 1].sum(axis=1),
        confidence.reshape(n_bins, 4).sum(axis=1), by_cell.sum(axis=0), counts[cells], counts[cells + 1],
    )  # fmt: skip


def multiclass_sums(codes: Any, proba: Any, *, n_bins: int, eps: float) -> MulticlassSums:
    """codes (N,) int64 in [0, C); proba (N, C) float32 or float64, C order."""
    edges = _edges(n_bins)
    tolerance = float(np.sqrt(np.finfo(proba.dtype).eps))
    floats, counts, confidence = _by_block(
        _multiclass,
        (np.ascontiguousarray(codes), np.ascontiguousarray(proba), edges, float(eps), tolerance),
        (2, np.float64), (3 + 2 * n_bins, np.int64), (n_bins, np.float64),
    )  # fmt: skip
    return MulticlassSums(
        floats[0], floats[1], counts[3 : 3 + n_bins], counts[3 + n_bins :], confidence,
        counts[0], counts[1], counts[2],
    )  # fmt: skip


def calibration_sums(outcome: Any, confidence: Any, *, n_bins: int) -> CalibrationSums:
    """outcome (N,) uint8 in {0, 1}; confidence (N,) float32 or float64. Bins as for binary_sums."""
    arguments = (np.ascontiguousarray(outcome), np.ascontiguousarray(confidence), _edges(n_bins))
    cells = 2 * n_bins
    floats, counts = _by_block(_calibration, arguments, (2 * cells, np.float64), (cells + 1, np.int64))
    by_cell = floats.reshape(n_bins, 2, 2)  # (bin, outcome, first or second moment)
    return CalibrationSums(counts[:cells].reshape(n_bins, 2), by_cell[:, :, 0], by_cell[:, :, 1], counts[cells])


def regression_sums(y_true: Any, y_pred: Any, *, alpha: float) -> RegressionSums:
    """Both (N,) float64; pinball is the sum of the quantile loss at level alpha."""
    arguments = (np.ascontiguousarray(y_true), np.ascontiguousarray(y_pred), float(alpha))
    floats, missing = _by_block(_regression, arguments, (3, np.float64), (1, np.int64))
    return RegressionSums(floats[0], floats[1], floats[2], missing[0])


def _edges(n_bins: int) -> Any:
    """Edges of equal bins of [0, 1], whose ends take what lies beyond."""
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    edges[0], edges[-1] = -np.inf, np.inf
    return edges


def _by_block(loop: Any, arguments: tuple[Any, ...], *outputs: tuple[int, Any]) -> list[Any]:
    """Run a compiled loop over all blocks, in threads; outputs name (columns, dtype) and come back summed.

    The first two arguments are by row. Blocks are taken in turns that hold HELD sums, a number of blocks that does
    not depend on threads.
    """
    turn = BLOCK * max(1, HELD // max(columns for columns, _ in outputs))
    rows = arguments[0].shape[0]
    total = [np.zeros(columns, dtype) for columns, dtype in outputs]
    for first in range(0, rows, turn):
        here = (arguments[0][first : first + turn], arguments[1][first : first + turn], *arguments[2:])
        partial = _turn(loop, here, outputs)
        total = [whole + part.sum(axis=0) for whole, part in zip(total, partial, strict=True)]
    return total


def _turn(loop: Any, arguments: tuple[Any, ...], outputs: tuple[tuple[int, Any], ...]) -> list[Any]:
    """The sums of each block of these rows, (blocks, columns) an output."""
    rows = arguments[0].shape[0]
    blocks = -(-rows // BLOCK)
    partial = [np.zeros((blocks, columns), dtype) for columns, dtype in outputs]
    tasks = min(thread_count(), blocks)
    border = [blocks * task // tasks for task in range(tasks + 1)]
    map_columns(lambda task: loop(*arguments, border[task], border[task + 1], *partial), tasks, rows)
    return partial


def negative_log(p: Any) -> Any:
    """-log of p (N,) float64, every p a positive normal number; the same bits as inside the sums."""
    p = np.ascontiguousarray(p, dtype=np.float64)
    out = np.empty(p.shape[0], np.float64)
    _negative_log(p, p.view(np.int64), out, p.shape[0])
    return out


def binary_labels(values: Any) -> Any:
    """values (N,) as uint8 when all are 0 or 1, else None: the fast way past a search for the classes."""
    out = np.empty(values.shape[0], np.uint8)
    return out if _binary_labels(values, out) == 0 else None


def bin_of(p: Any, n_bins: int) -> Any:
    """The bin of each probability (N,), int64: b with b / B < p <= (b + 1) / B; the ends take what lies
    beyond."""
    out = np.empty(p.shape[0], np.int64)
    _bins(np.ascontiguousarray(p), _edges(n_bins), out)
    return out


def joint_counts(true: Any, pred: Any, low: int, span: int) -> Any:
    """Rows by pair of integer labels (N,), each in [low, low + span): int64 (span, span)."""
    counts = np.zeros((4, span, span), np.int64)
    _joint_counts(true, pred, low, counts)
    return counts.sum(axis=0)


def cell_counts(codes: Any, n_cells: int) -> Any:
    """Rows by code: codes (N,) integers in [0, n_cells) -> int64 (n_cells,)."""
    return _cell_counts(codes, n_cells)


@njit(cache=True, nogil=True, error_model="numpy")
def _binary_labels(values, out):
    others = 0
    for i in range(values.shape[0]):
        value = values[i]
        out[i] = np.uint8(value != 0)
        others += np.int64(value != 0 and value != 1)
    return others


@njit(cache=True, nogil=True, error_model="numpy")
def _bins(p, edges, out):
    for i in range(p.shape[0]):
        out[i] = _bin_of(np.float64(p[i]), edges, edges.shape[0] - 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _joint_counts(true, pred, low, counts):
    n = true.shape[0]
    whole = n - n % 4
    for i in range(0, whole, 4):
        for copy in range(4):
            counts[copy, np.int64(true[i + copy]) - low, np.int64(pred[i + copy]) - low] += 1
    for i in range(whole, n):
        counts[0, np.int64(true[i]) - low, np.int64(pred[i]) - low] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _cell_counts(codes, n_cells):
    counts = np.zeros((4, n_cells), np.int64)  # four copies break the chain of dependent increments
    n = codes.shape[0]
    whole = n - n % 4
    for i in range(0, whole, 4):
        counts[0, codes[i]] += 1
        counts[1, codes[i + 1]] += 1
        counts[2, codes[i + 2]] += 1
        counts[3, codes[i + 3]] += 1
    for i in range(whole, n):
        counts[0, codes[i]] += 1
    return counts.sum(axis=0)


@njit(cache=True, nogil=True, error_model="numpy")
def _negative_log(p, bits, out, n):
    """out = -log(p) for p[:n]; `bits` is p viewed as int64. With m in [sqrt 1/2, sqrt 2) and s = (m-1)/(m+1),
    log p = e ln 2 + 2 (s + s^3/3 + s^5/5 + ...), where s^2 < 0.0295 lets eleven terms reach full
    precision."""
    mantissa = np.empty(n, np.int64)
    exponent = np.empty(n, np.float64)
    for i in range(n):
        mantissa[i] = (bits[i] & MANTISSA) | ONE
        exponent[i] = np.float64((bits[i] >> 52) - 1023)
    fraction = mantissa.view(np.float64)
    for i in range(n):
        m, e = fraction[i], exponent[i]
        high = m > SQRT2
        m = m * 0.5 if high else m
        e = e + 1.0 if high else e
        s = (m - 1.0) / (m + 1.0)
        z = s * s
        q = 1.0 / 23.0
        q = q * z + 1.0 / 21.0
        q = q * z + 1.0 / 19.0
        q = q * z + 1.0 / 17.0
        q = q * z + 1.0 / 15.0
        q = q * z + 1.0 / 13.0
        q = q * z + 1.0 / 11.0
        q = q * z + 1.0 / 9.0
        q = q * z + 1.0 / 7.0
        q = q * z + 1.0 / 5.0
        q = q * z + 1.0 / 3.0
        tail = 2.0 * s * (z * q) + e * LN2_LOW
        out[i] = -(e * LN2_HIGH + (2.0 * s + tail))


@njit(cache=True, nogil=True, error_model="numpy")
def _lane_sum(x, n):
    """Sum of x[:n] by 16 lanes, then lanes in a tree of halves."""
    lanes = np.zeros(LANES, np.float64)
    whole = n - n % LANES
    for i in range(0, whole, LANES):
        for lane in range(LANES):
            lanes[lane] += x[i + lane]
    for i in range(whole, n):
        lanes[i - whole] += x[i]
    width = LANES // 2
    while width:
        for lane in range(width):
            lanes[lane] += lanes[lane + width]
        width //= 2
    return lanes[0]


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _bin_of(p, edges, n_bins):
    """The bin b with edges[b] < p <= edges[b + 1], where edges end in -inf and inf; a product guesses it
    within one bin and the edges decide. Unsigned numbers spare the loop a test for negative indices."""
    guess = p * n_bins
    guess = guess if guess > 0.0 else 0.0
    guess = guess if guess < n_bins - 1.0 else n_bins - 1.0
    b = np.uint64(np.int64(guess))
    b = b - np.uint64(p <= edges[b])
    return np.int64(b + np.uint64(p > edges[b + np.uint64(1)]))


@njit(cache=True, nogil=True, error_model="numpy")
def _cells(labels, proba, edges, threshold, n, cell, known):
    """The joint cell (bin, label, predicted) of each row, and its probability; NaN goes to a cell of its
    own."""
    n_bins = edges.shape[0] - 1
    for i in range(n):
        p = np.float64(proba[i])
        missing = p != p
        q = 0.0 if missing else p
        b = _bin_of(q, edges, n_bins)
        joint = (2 * b + np.int64(labels[i])) * 2 + np.int64(q >= threshold)
        cell[i] = 4 * n_bins if missing else joint
        known[i] = q


@njit(cache=True, nogil=True, error_model="numpy")
def _tally(cell, known, n, count, total):
    """Rows and summed probability by cell; four copies, because neighbours in one cell would wait for each
    other's store."""
    whole = n - n % 4
    for i in range(0, whole, 4):
        for copy in range(4):
            count[copy, cell[i + copy]] += 1
            total[copy, cell[i + copy]] += known[i + copy]
    for i in range(whole, n):
        count[0, cell[i]] += 1
        total[0, cell[i]] += known[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _binary(labels, proba, edges, threshold, eps, start, stop, floats, counts, confidence):
    rows, cells = labels.shape[0], 4 * (edges.shape[0] - 1)
    for block in range(start, stop):
        first = block * BLOCK
        n = min(BLOCK, rows - first)
        # Slices let the compiler see that no index is negative.
        label, prob = labels[first : first + n], proba[first : first + n]
        truth = np.empty(n, np.float64)
        square = np.empty(n, np.float64)
        loss = np.empty(n, np.float64)
        known = np.empty(n, np.float64)
        cell = np.empty(n, np.int32)
        missing, outside = 0, 0
        for i in range(n):
            p = np.float64(prob[i])
            missing += np.int64(p != p)
            outside += np.int64(p < 0.0) + np.int64(p > 1.0)
            t = p if label[i] else 1.0 - p
            d = np.float64(label[i]) - p
            # A NaN row must add exactly nothing: its loss is -log(1) = 0.
            square[i] = d * d if p == p else 0.0
            t = min(max(t, eps), 1.0 - eps)
            truth[i] = t if p == p else 1.0
        _negative_log(truth, truth.view(np.int64), loss, n)
        floats[block, 0] = _lane_sum(loss, n)
        floats[block, 1] = _lane_sum(square, n)
        count = np.zeros((4, cells + 1), np.int64)
        total = np.zeros((4, cells + 1), np.float64)
        _cells(label, prob, edges, threshold, n, cell, known)
        _tally(cell, known, n, count, total)
        counts[block, :cells] = count[0, :cells] + count[1, :cells] + count[2, :cells] + count[3, :cells]
        counts[block, cells] = missing
        counts[block, cells + 1] = outside
        confidence[block] = total[0, :cells] + total[1, :cells] + total[2, :cells] + total[3, :cells]


@njit(cache=True, nogil=True, error_model="numpy")
def _calibration(outcome, confidence, edges, start, stop, floats, counts):
    rows, n_bins = outcome.shape[0], edges.shape[0] - 1
    cell = np.empty(BLOCK, np.int64)
    for block in range(start, stop):
        first = block * BLOCK
        n = min(BLOCK, rows - first)
        hit, sure = outcome[first : first + n], confidence[first : first + n]
        outside = 0
        for i in range(n):
            p = np.float64(sure[i])
            outside += np.int64(not (p >= 0.0 and p <= 1.0))
            cell[i] = 2 * _bin_of(p if p == p else 0.0, edges, n_bins) + np.int64(hit[i])
        count = np.zeros((4, 2 * n_bins), np.int64)  # four copies, as in _tally
        total = np.zeros((4, 4 * n_bins), np.float64)
        whole = n - n % 4
        for i in range(0, whole, 4):
            for copy in range(4):
                p, at = np.float64(sure[i + copy]), cell[i + copy]
                count[copy, at] += 1
                total[copy, 2 * at] += p
                total[copy, 2 * at + 1] += p * p
        for i in range(whole, n):
            p, at = np.float64(sure[i]), cell[i]
            count[0, at] += 1
            total[0, 2 * at] += p
            total[0, 2 * at + 1] += p * p
        counts[block, : 2 * n_bins] = count[0] + count[1] + count[2] + count[3]
        counts[block, 2 * n_bins] = outside
        floats[block] = total[0] + total[1] + total[2] + total[3]


@njit(cache=True, nogil=True, error_model="numpy")
def _multiclass(codes, proba, edges, eps, tolerance, start, stop, floats, counts, confidence):
    rows, classes, n_bins = proba.shape[0], proba.shape[1], edges.shape[0] - 1
    for block in range(start, stop):
        first = block * BLOCK
        n = min(BLOCK, rows - first)
        truth = np.ones(n, np.float64)
        square = np.zeros(n, np.float64)
        loss = np.empty(n, np.float64)
        for i in range(n):
            code = codes[first + i]
            total, squares, best, top, outside = 0.0, 0.0, 0, np.float64(proba[first + i, 0]), False
            for c in range(classes):
                p = np.float64(proba[first + i, c])
                total += p
                d = p - np.float64(c == code)
                squares += d * d
                if p > top:
                    best, top = c, p
                outside |= p < 0.0 or p > 1.0
            if total != total:
                counts[block, 0] += 1
                continue
            counts[block, 1] += np.int64(outside)
            counts[block, 2] += np.int64(abs(total - 1.0) > tolerance)
            t = np.float64(proba[first + i, code])
            truth[i] = min(max(t, eps), 1.0 - eps)
            square[i] = squares
            b = _bin_of(top, edges, n_bins)
            counts[block, 3 + b] += 1
            counts[block, 3 + n_bins + b] += np.int64(best == code)
            confidence[block, b] += top
        _negative_log(truth, truth.view(np.int64), loss, n)
        floats[block, 0] = _lane_sum(loss, n)
        floats[block, 1] = _lane_sum(square, n)


@njit(cache=True, nogil=True, error_model="numpy")
def _regression(y_true, y_pred, alpha, start, stop, floats, missing):
    rows = y_true.shape[0]
    for block in range(start, stop):
        first = block * BLOCK
        n = min(BLOCK, rows - first)
        true, pred = y_true[first : first + n], y_pred[first : first + n]
        absolute = np.empty(n, np.float64)
        square = np.empty(n, np.float64)
        pinball = np.empty(n, np.float64)
        lost = 0
        for i in range(n):
            d = true[i] - pred[i]
            # inf - inf is NaN as well, but such a row is wrong, not missing: it keeps its NaN.
            nan = true[i] != true[i] or pred[i] != pred[i]
            lost += np.int64(nan)
            d = 0.0 if nan else d
            absolute[i] = abs(d)
            square[i] = d * d
            pinball[i] = alpha * d if d >= 0.0 else (alpha - 1.0) * d
        floats[block, 0] = _lane_sum(absolute, n)
        floats[block, 1] = _lane_sum(square, n)
        floats[block, 2] = _lane_sum(pinball, n)
        missing[block, 0] = lost
