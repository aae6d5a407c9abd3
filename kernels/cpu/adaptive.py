"""ADWIN, compiled: values go in by the block, up to the next look. See kernels.reference.windows.

Between two looks nothing is asked of the window, and what is merged depends on counts alone. So a block of values is
summed in one loop and merged level by level. The numbers are those of one value after the other, bit for bit.

A stream's memory within a chunk: `b` (levels ring(room),) buckets of three numbers, each level a ring whose oldest is
number heads[k] of it, and which holds counts[k]; `h` (MEMORY,) the head of the state, a confidence with the width that
it was taken at, and what `_spare` found.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

import numpy as np
from numba import njit

HEAD = 5  # see kernels.reference.windows
BLOCK = 32  # values that go in at once, at most
SURE = 1.0 - 1e-9  # of the coarse look that spares the exact one: far more than its rounding
SUM, SQUARE, UPTO = 0, 1, 2  # of a bucket; then the sum of all values up to its last one
BUCKET = 3
PLACE = (1 << 40) - 1  # a place after `& PLACE` is not negative: the compiler need not look for that
FAR = 5  # level from which on borders are spared a look (`_spare`)
TOTAL, VARIANCE, WIDTH, SINCE, TOP, CONFIDENCE, TAKEN = range(7)
SPARED, SPARED_WIDTH, SPARED_TOTAL, MEAN, LEFT, APART, OLDEST = range(7, 14)
MEMORY = 14


@njit(cache=True, nogil=True, error_model="numpy")
def ring(room):
    """Places of a level, a power of 2: for a block beside the buckets that it may hold."""
    size = 2 * BLOCK
    while size < room + BLOCK:
        size *= 2
    return size


@njit(cache=True, nogil=True, error_model="numpy")
def _at(k, i, mask):
    """Where number i of level k lies."""
    return (BUCKET * (k * (mask + 1) + (i & mask))) & PLACE


@njit(cache=True, nogil=True, error_model="numpy")
def unfold(s, room, b, heads, counts, h):
    """Read a stream's state (S,)."""
    first, mask = HEAD + counts.size, ring(room) - 1
    for i in range(MEMORY):  # a loop: Numba takes seconds for a slice into a slice
        h[i] = s[i] if i < HEAD else 0.0
    for k in range(counts.size):
        heads[k], counts[k] = 0, int(s[HEAD + k])
        for i in range(counts[k]):
            at = _at(k, i, mask)
            b[at + SUM] = s[first + 2 * (k * room + i)]
            b[at + SQUARE] = s[first + 2 * (k * room + i) + 1]
    _add_up(mask, b, heads, counts, h)


@njit(cache=True, nogil=True, error_model="numpy")
def fold(s, room, b, heads, counts, h):
    """Write a stream's state (S,)."""
    first, mask = HEAD + counts.size, ring(room) - 1
    for i in range(s.size):
        s[i] = h[i] if i < HEAD else 0.0
    for k in range(counts.size):
        s[HEAD + k] = counts[k]
        for i in range(counts[k]):
            at = _at(k, heads[k] + i, mask)
            s[first + 2 * (k * room + i)] = b[at + SUM]
            s[first + 2 * (k * room + i) + 1] = b[at + SQUARE]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_up(mask, b, heads, counts, h):
    """Sums up to each bucket, anew."""
    total = 0.0
    for k in range(int(h[TOP]) - 1, -1, -1):
        for i in range(heads[k], heads[k] + counts[k]):
            at = _at(k, i, mask)
            total += b[at + SUM]
            b[at + UPTO] = total


@njit(cache=True, nogil=True, error_model="numpy")
def adwin(x, p, fresh, restart, b, heads, counts, h, rows, sides):
    """Read values `x`; rows and sides of the alarms among them are written, and their number is returned."""
    room, clock, alarms, i = int(p[2]) + 1, int(p[1]), 0, 0
    mask = ring(room) - 1
    work = np.empty((3, BLOCK))
    while i < x.size:
        wanted, size = min(BLOCK, clock - int(h[SINCE])), 0
        while size < wanted and i < x.size:
            work[0, size] = x[i]
            size += x[i] == x[i]
            i += 1
        if size == 0:
            break
        _insert(size, room, mask, b, heads, counts, h, work)
        h[SINCE] += size
        if h[SINCE] < clock:
            continue
        h[SINCE] = 0
        side = _look(p, mask, b, heads, counts, h)
        if side != 0:
            rows[alarms], sides[alarms] = i - 1, side
            alarms += 1
            if restart:
                unfold(fresh, room, b, heads, counts, h)
    return alarms


@njit(cache=True, nogil=True, error_model="numpy")
def _insert(size, room, mask, b, heads, counts, h, work):
    """Take the first values of `work`; what else lies there is written over."""
    new, before, grown = work[0], work[1], work[2]
    total, variance, width = h[TOTAL], h[VARIANCE], h[WIDTH]
    tail = heads[0] + counts[0]
    for j in range(size):
        before[j] = total
        total += new[j]
        at = _at(0, tail + j, mask)
        b[at + SUM], b[at + SQUARE], b[at + UPTO] = new[j], 0.0, total
    for j in range(size):
        n = width + j
        off = new[j] - before[j] / n
        grown[j] = n * off * off / (n + 1)
    if width == 0:
        grown[0] = 0.0
    for j in range(size):
        variance += grown[j]
    h[TOTAL], h[VARIANCE], h[WIDTH] = total, variance, width + size
    _compress(size, room, mask, b, heads, counts, h)


@njit(cache=True, nogil=True, error_model="numpy")
def _compress(m, room, mask, b, heads, counts, h):
    """Level 0 has got `m` buckets behind its own. What is too many in a level is merged by twos, and moves on."""
    k, share, half = 0, 1.0, 0.5
    while True:
        h[TOP] = max(h[TOP], k + 1)
        counts[k] += m
        if counts[k] < room:
            return
        m = (counts[k] - room + 2) // 2
        head, tail = heads[k], heads[k + 1] + counts[k + 1]
        for j in range(m):
            one, two, to = _at(k, head + 2 * j, mask), _at(k, head + 2 * j + 1, mask), _at(k + 1, tail + j, mask)
            off = b[one + SUM] * share - b[two + SUM] * share  # the means: by a power of 2, nothing is rounded
            b[to + SQUARE] = b[one + SQUARE] + b[two + SQUARE] + half * off * off
            b[to + SUM] = b[one + SUM] + b[two + SUM]
            b[to + UPTO] = b[two + UPTO]
        heads[k] += 2 * m
        counts[k] -= 2 * m
        k, share, half = k + 1, 0.5 * share, 2 * half


@njit(cache=True, nogil=True, error_model="numpy")
def _look(p, mask, b, heads, counts, h):
    """+1 or -1 where the younger values are larger or smaller; the oldest are forgotten until they no longer are."""
    side = 0
    while h[WIDTH] > p[4] and _may_cut(p, mask, b, heads, counts, h):
        cut = _cut(p, mask, b, heads, counts, h)
        if cut == 0:
            break
        if side == 0:
            side = cut
        _drop(mask, b, heads, counts, h)
    return side


@njit(cache=True, nogil=True, error_model="numpy")
def _may_cut(p, mask, b, heads, counts, h):
    """False where no border can pass the test of `_cut`.

    A border passes only if d**2 > 2 (1/a + 1/b) V/W c, for the difference d of the two means and a + b = W values:
    times (a b)**2 that is (W A - a T)**2 > 2 V c a b, for the sums A of the old values and T of all. A is a running
    sum here, whose rounding grows with W: at most W eps sum |x|, and (sum |x|)**2 <= W sum x**2 = W V + T**2.

    With n more values of sum t, W A - a T has moved by a (n A/a - t), and the right side has not shrunk. So borders
    far back that were looked at once stay below it until t is far from n times their means (`_spare`).
    """
    total, width = h[TOTAL], h[WIDTH]
    if not h[TAKEN] <= width <= 1.25 * h[TAKEN]:  # c grows with W: an older one spares less, and no logarithm
        h[TAKEN], h[CONFIDENCE] = width, math.log(2 * math.log(width) / p[0])
    least = 2 * h[VARIANCE] * h[CONFIDENCE] * SURE
    slack = width * (2e-14 + 2.5e-16 * width) * 1.01 * math.sqrt(width * h[VARIANCE] + total * total)
    n, t, spared = width - h[SPARED_WIDTH], total - h[SPARED_TOTAL], h[SPARED]
    if not abs(t - n * h[MEAN]) + n * h[APART] + slack / h[OLDEST] <= h[LEFT]:
        spared = 0.0
    shortest, found, young, size = p[3], 0, 0.0, 1.0
    for k in range(int(h[TOP])):
        if width - young <= spared:
            return found != 0
        for i in range(heads[k] + counts[k] - 1, heads[k] - 1, -1):
            old = width - young
            apart = abs(width * b[_at(k, i, mask) + UPTO] - old * total) + slack
            found |= (not apart * apart <= least * old * young) & (old >= shortest) & (young >= shortest)
            young += size
        size *= 2
    if found == 0:
        _spare(mask, b, heads, counts, h, least, slack)
    return found != 0


@njit(cache=True, nogil=True, error_model="numpy")
def _spare(mask, b, heads, counts, h, least, slack):
    """How far the mean of the next values may stray before a border of the levels from FAR on must be looked at."""
    total, width = h[TOTAL], h[WIDTH]
    left, apart, mean, old, size = math.inf, 0.0, total / width, 0.0, 2.0 ** (h[TOP] - 1)
    for k in range(int(h[TOP]) - 1, FAR - 1, -1):
        for i in range(heads[k], heads[k] + counts[k]):
            old += size
            upto = b[_at(k, i, mask) + UPTO]
            now = abs(width * upto - old * total) + slack
            left = min(left, (math.sqrt(least * old * (width - old)) - now) / old)
            apart = max(apart, abs(upto / old - mean))
        size *= 0.5
    h[SPARED], h[SPARED_WIDTH], h[SPARED_TOTAL], h[MEAN] = old, width, total, mean
    h[LEFT], h[APART], h[OLDEST] = left * SURE, apart, 2.0 ** (h[TOP] - 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _cut(p, mask, b, heads, counts, h):
    old, young, old_sum, young_sum = 0.0, h[WIDTH], 0.0, h[TOTAL]
    confidence = math.log(2 * math.log(young) / p[0])
    shortest, spreads = p[3], h[VARIANCE] / h[WIDTH]
    size = 2.0 ** (h[TOP] - 1)
    for k in range(int(h[TOP]) - 1, -1, -1):
        for i in range(heads[k], heads[k] + counts[k]):
            old, young = old + size, young - size
            part = b[_at(k, i, mask) + SUM]
            old_sum, young_sum = old_sum + part, young_sum - part
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
def _drop(mask, b, heads, counts, h):
    """Forget the oldest bucket."""
    k = int(h[TOP]) - 1
    size = 2.0**k
    at = _at(k, heads[k], mask)
    lost, inside = b[at + SUM], b[at + SQUARE]
    h[WIDTH] -= size
    h[TOTAL] -= lost
    off = lost / size - h[TOTAL] / h[WIDTH]
    h[VARIANCE] -= inside + size * h[WIDTH] * off * off / (size + h[WIDTH])
    h[SPARED] = 0.0
    heads[k] += 1
    counts[k] -= 1
    if counts[k] == 0:
        h[TOP] -= 1
    _add_up(mask, b, heads, counts, h)
