"""ADWIN, compiled: values go in by the block, up to the next look. See kernels.reference.windows.

Between two looks nothing is asked of the window, and what is merged depends on counts alone. So a block of values is
summed in one loop and merged level by level. The numbers are those of one value after the other, bit for bit.

A stream's memory within a chunk: `b` (4, levels room) buckets, oldest first in their level; `counts` (levels,);
`h` (6,) total, variance, width, values since the last look, levels, and the width at which CONFIDENCE was taken.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

import numpy as np
from numba import njit

HEAD = 5  # see kernels.reference.windows
BLOCK = 32  # values that go in at once, at most
SURE = 1.0 - 1e-9  # of the coarse look that spares the exact one: far more than its rounding
SUM, SQUARE, UPTO, AGE = 0, 1, 2, 3  # of a bucket; then sum and number of all values up to its last one
TOTAL, VARIANCE, WIDTH, SINCE, TOP, CONFIDENCE, TAKEN = range(7)
MEMORY = 7


@njit(cache=True, nogil=True, error_model="numpy")
def unfold(s, room, b, counts, h):
    """Read a stream's state (S,)."""
    first = HEAD + counts.size
    h[:HEAD], h[CONFIDENCE:] = s[:HEAD], 0.0
    for k in range(counts.size):
        counts[k] = int(s[HEAD + k])
        for i in range(counts[k]):
            b[SUM, k * room + i] = s[first + 2 * (k * room + i)]
            b[SQUARE, k * room + i] = s[first + 2 * (k * room + i) + 1]
    _number(room, b, counts, h)


@njit(cache=True, nogil=True, error_model="numpy")
def fold(s, room, b, counts, h):
    """Write a stream's state (S,)."""
    first = HEAD + counts.size
    s[:HEAD], s[first:] = h[:HEAD], 0.0
    for k in range(counts.size):
        s[HEAD + k] = counts[k]
        for i in range(counts[k]):
            s[first + 2 * (k * room + i)] = b[SUM, k * room + i]
            s[first + 2 * (k * room + i) + 1] = b[SQUARE, k * room + i]


@njit(cache=True, nogil=True, error_model="numpy")
def _number(room, b, counts, h):
    """Sums and numbers up to each bucket, anew."""
    total, width, size = 0.0, 0.0, 2.0 ** (h[TOP] - 1)
    for k in range(int(h[TOP]) - 1, -1, -1):
        for i in range(k * room, k * room + counts[k]):
            total, width = total + b[SUM, i], width + size
            b[UPTO, i], b[AGE, i] = total, width
        _pad(room, b, k, counts[k])
        size *= 0.5


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _pad(room, b, k, count):
    """Empty places of a level repeat its youngest border, so that the coarse look goes through all of them."""
    last = k * room + count - 1
    for i in range(last + 1, (k + 1) * room):
        b[UPTO, i], b[AGE, i] = b[UPTO, last], b[AGE, last]


@njit(cache=True, nogil=True, error_model="numpy")
def adwin(x, p, fresh, restart, b, counts, h, q, rows, sides):
    """Read values `x`; rows and sides of the alarms among them are written, and their number is returned.

    q   (2, 4, room + BLOCK) to work in
    """
    room, clock, alarms, i = int(p[2]) + 1, int(p[1]), 0, 0
    new = np.empty(BLOCK)
    while i < x.size:
        wanted, size = min(BLOCK, clock - int(h[SINCE])), 0
        while size < wanted and i < x.size:
            new[size] = x[i]
            size += x[i] == x[i]
            i += 1
        if size == 0:
            break
        _insert(new, size, room, b, counts, h, q)
        h[SINCE] += size
        if h[SINCE] < clock:
            continue
        h[SINCE] = 0
        side = _look(p, room, b, counts, h)
        if side != 0:
            rows[alarms], sides[alarms] = i - 1, side
            alarms += 1
            if restart:
                unfold(fresh, room, b, counts, h)
    return alarms


@njit(cache=True, nogil=True, error_model="numpy")
def _insert(new, size, room, b, counts, h, q):
    total, width, c = h[TOTAL], h[WIDTH], counts[0]
    before, grown = q[1, SUM], q[1, SQUARE]
    for j in range(size):
        before[j] = total
        total += new[j]
        q[0, UPTO, c + j] = total
    for j in range(size):
        n = width + j
        off = new[j] - before[j] / n
        grown[j] = n * off * off / (n + 1)
    if width == 0:
        grown[0] = 0.0
    variance = h[VARIANCE]
    for j in range(size):
        variance += grown[j]
    for j in range(size):
        q[0, SUM, c + j], q[0, SQUARE, c + j], q[0, AGE, c + j] = new[j], 0.0, width + (j + 1)
    h[TOTAL], h[VARIANCE], h[WIDTH] = total, variance, width + size
    _compress(size, room, b, counts, h, q)


@njit(cache=True, nogil=True, error_model="numpy")
def _compress(m, room, b, counts, h, q):
    """Level k gets `m` buckets, which lie in `q` behind room for those that it has; what is too many moves on."""
    k, size = 0, 1.0
    while m > 0:
        into, out = q[k % 2], q[1 - k % 2]
        c, at = counts[k], k * room
        h[TOP] = max(h[TOP], k + 1)
        held, merges = c + m, 0
        if held < room:
            for part in range(4):
                for j in range(c, held):
                    b[part, at + j] = into[part, j]
        else:
            merges = (held - room + 2) // 2
            above = counts[k + 1]
            for part in range(4):
                for j in range(c):
                    into[part, j] = b[part, at + j]
            for j in range(merges):
                off = into[SUM, 2 * j] / size - into[SUM, 2 * j + 1] / size
                out[SUM, above + j] = into[SUM, 2 * j] + into[SUM, 2 * j + 1]
                out[SQUARE, above + j] = into[SQUARE, 2 * j] + into[SQUARE, 2 * j + 1] + size * 0.5 * off * off
                out[UPTO, above + j] = into[UPTO, 2 * j + 1]
                out[AGE, above + j] = into[AGE, 2 * j + 1]
            held -= 2 * merges
            for part in range(4):
                for j in range(held):
                    b[part, at + j] = into[part, 2 * merges + j]
        counts[k] = held
        _pad(room, b, k, held)
        k, size, m = k + 1, 2 * size, merges


@njit(cache=True, nogil=True, error_model="numpy")
def _look(p, room, b, counts, h):
    """+1 or -1 where the younger values are larger or smaller; the oldest are forgotten until they no longer are."""
    side = 0
    while h[WIDTH] > p[4]:
        if not _may_cut(p, room, b, h):
            break
        cut = _cut(p, room, b, counts, h)
        if cut == 0:
            break
        if side == 0:
            side = cut
        _drop(room, b, counts, h)
    return side


@njit(cache=True, nogil=True, error_model="numpy")
def _may_cut(p, room, b, h):
    """False where no border can pass the test of `_cut`; without divisions, roots or branches.

    A border passes only if d**2 > 2 (1/a + 1/b) V/W c, for the difference d of the two means and a + b = W values:
    times (a b)**2 that is (W A - a T)**2 > 2 V c a b, for the sums A of the old values and T of all. A is a running
    sum here, whose rounding grows with W: at most W eps sum |x|, and (sum |x|)**2 <= W sum x**2 = W V + T**2.
    """
    total, width = h[TOTAL], h[WIDTH]
    if not h[TAKEN] <= width <= 1.25 * h[TAKEN]:  # c grows with W: an older one spares less, and no logarithm
        h[TAKEN], h[CONFIDENCE] = width, math.log(2 * math.log(width) / p[0])
    least = 2 * h[VARIANCE] * h[CONFIDENCE] * SURE
    slack = width * (2e-14 + 2.5e-16 * width) * 1.01 * math.sqrt(width * h[VARIANCE] + total * total)
    shortest, found = p[3], 0
    upto, age = b[UPTO], b[AGE]
    for i in range(int(h[TOP]) * room):
        old = age[i]
        young = width - old
        apart = abs(width * upto[i] - old * total) + slack
        found |= (not apart * apart <= least * old * young) & (old >= shortest) & (young >= shortest)
    return found != 0


@njit(cache=True, nogil=True, error_model="numpy")
def _cut(p, room, b, counts, h):
    old, young, old_sum, young_sum = 0.0, h[WIDTH], 0.0, h[TOTAL]
    confidence = math.log(2 * math.log(young) / p[0])
    shortest, spreads = p[3], h[VARIANCE] / h[WIDTH]
    size = 2.0 ** (h[TOP] - 1)
    for k in range(int(h[TOP]) - 1, -1, -1):
        for i in range(k * room, k * room + counts[k]):
            old, young = old + size, young - size
            old_sum, young_sum = old_sum + b[SUM, i], young_sum - b[SUM, i]
            if old < shortest or young < shortest:
                continue
            harmonic = 1 / (old - shortest + 1) + 1 / (young - shortest + 1)
            spread = max(2 * harmonic * spreads * confidence, 0.0)
            difference = old_sum / old - young_sum / young
            if abs(difference) > math.sqrt(spread) + 2.0 / 3.0 * confidence * harmonic:
                return 1 if difference < 0 else -1
        size *= 0.5
    return 0


@njit(cache=True, nogil=True, error_model="numpy")
def _drop(room, b, counts, h):
    """Forget the oldest bucket."""
    k = int(h[TOP]) - 1
    at, size = k * room, 2.0**k
    lost, inside = b[SUM, at], b[SQUARE, at]
    h[WIDTH] -= size
    h[TOTAL] -= lost
    off = lost / size - h[TOTAL] / h[WIDTH]
    h[VARIANCE] -= inside + size * h[WIDTH] * off * off / (size + h[WIDTH])
    counts[k] -= 1
    for i in range(at, at + counts[k]):
        b[SUM, i], b[SQUARE, i] = b[SUM, i + 1], b[SQUARE, i + 1]
    if counts[k] == 0:
        h[TOP] -= 1
    _number(room, b, counts, h)
