"""Detectors that keep a window of the stream, compiled: ADWIN and KSWIN. See kernels.reference.windows."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

import numpy as np
from numba import njit

from kernels.cpu.resample import philox4x32

HEAD = 5  # see kernels.reference.windows
SURE = 1.0 - 1e-9  # of the coarse look that spares the exact one: far more than its rounding


@njit(cache=True, nogil=True, error_model="numpy")
def adwin(value, s, p):
    room = int(p[2]) + 1
    most = (s.size - HEAD) // (1 + 2 * room)
    first = HEAD + most
    s[2] += 1
    if s[2] > 1:
        off = value - s[0] / (s[2] - 1)
        s[1] += (s[2] - 1) * off * off / s[2]
    s[0] += value
    at = first + 2 * int(s[HEAD])
    s[at], s[at + 1] = value, 0.0
    s[HEAD] += 1
    if s[4] == 0:
        s[4] = 1
    if s[HEAD] == room:
        _compress(s, room, first)
    s[3] += 1
    side = 0
    if s[3] < p[1]:
        return side
    s[3] = 0
    while s[2] > p[4]:
        confidence = math.log(2 * math.log(s[2]) / p[0])
        if not _may_cut(s, room, first, confidence):
            break
        cut = _cut(s, room, first, confidence, p[3])
        if cut == 0:
            break
        if side == 0:
            side = cut
        _drop(s, room, first)
    return side


@njit(cache=True, nogil=True, error_model="numpy")
def _compress(s, room, first):
    k, size, at = 0, 1.0, first
    while s[HEAD + k] == room:
        off = s[at] / size - s[at + 2] / size
        above = at + 2 * room + 2 * int(s[HEAD + k + 1])
        s[above] = s[at] + s[at + 2]
        s[above + 1] = s[at + 1] + s[at + 3] + size * 0.5 * off * off
        s[HEAD + k + 1] += 1
        for i in range(at, at + 2 * room - 4):
            s[i] = s[i + 4]
        for i in range(at + 2 * room - 4, at + 2 * room):
            s[i] = 0.0
        s[HEAD + k] -= 2
        k, size, at = k + 1, 2 * size, at + 2 * room
        if s[4] == k:
            s[4] = k + 1


@njit(cache=True, nogil=True, error_model="numpy")
def _may_cut(s, room, first, confidence):
    """False where no border can pass the test of `_cut`; without divisions or roots.

    A border passes only if d**2 > 2 (1/a + 1/b) V/W c, for the difference d of the two means and a + b = W values:
    times (a b)**2 that is (W A - a T)**2 > 2 V c a b, for the sums A of the old values and T of all.
    """
    total, width = s[0], s[2]
    least = 2 * s[1] * confidence * SURE
    slack = 1e-14 * width
    old, old_sum, sizes = 0.0, 0.0, 0.0
    size = 2.0 ** (s[4] - 1)
    for k in range(int(s[4]) - 1, -1, -1):
        at = first + 2 * room * k
        for i in range(at, at + 2 * int(s[HEAD + k]), 2):
            old += size
            old_sum += s[i]
            sizes += abs(s[i])
            apart = abs(width * old_sum - old * total) + slack * (sizes + abs(total))
            if apart * apart > least * old * (width - old):
                return True
        size *= 0.5
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def _cut(s, room, first, confidence, shortest):
    old, young, old_sum, young_sum = 0.0, s[2], 0.0, s[0]
    size = 2.0 ** (s[4] - 1)
    for k in range(int(s[4]) - 1, -1, -1):
        at = first + 2 * room * k
        for i in range(at, at + 2 * int(s[HEAD + k]), 2):
            old, young = old + size, young - size
            old_sum, young_sum = old_sum + s[i], young_sum - s[i]
            if old < shortest or young < shortest:
                continue
            harmonic = 1 / (old - shortest + 1) + 1 / (young - shortest + 1)
            spread = max(2 * harmonic * (s[1] / s[2]) * confidence, 0.0)
            difference = old_sum / old - young_sum / young
            if abs(difference) > math.sqrt(spread) + 2.0 / 3.0 * confidence * harmonic:
                return 1 if difference < 0 else -1
        size *= 0.5
    return 0


@njit(cache=True, nogil=True, error_model="numpy")
def _drop(s, room, first):
    """Forget the oldest bucket."""
    k = int(s[4]) - 1
    at = first + 2 * room * k
    size = 2.0**k
    lost, inside = s[at], s[at + 1]
    s[2] -= size
    s[0] -= lost
    off = lost / size - s[0] / s[2]
    s[1] -= inside + size * s[2] * off * off / (size + s[2])
    for i in range(at, at + 2 * room - 2):
        s[i] = s[i + 2]
    s[at + 2 * room - 2], s[at + 2 * room - 1] = 0.0, 0.0
    s[HEAD + k] -= 1
    if s[HEAD + k] == 0:
        s[4] -= 1


@njit(cache=True, nogil=True, error_model="numpy")
def kswin(value, s, p, row, column):
    size, recent = int(p[1]), int(p[2])
    held, first = int(s[0]), int(s[1])
    s[2 + (first + held) % size] = value
    if held < size:
        held += 1
    else:
        first = (first + 1) % size
    s[0], s[1] = held, first
    if held < size:
        return 0
    old, young = np.empty(recent), np.empty(recent)
    for i in range(recent):
        young[i] = s[2 + (first + size - recent + i) % size]
    _draw(s, first, size, old, row, column, np.uint32(p[3]), np.uint32(p[4]))
    _sort(old)
    _sort(young)
    above, below = _gaps(old, young)
    if max(above, -below) < p[0]:
        return 0
    return 1 if above >= -below else -1


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(s, first, size, old, row, column, k0, k1):
    n = size - old.size
    left = np.arange(n)
    c0, c1 = np.uint32(row & 0xFFFFFFFF), np.uint32(row >> 32)
    words = np.empty(4, np.uint32)
    for i in range(old.size):
        if i % 4 == 0:
            words[0], words[1], words[2], words[3] = philox4x32(c0, c1, np.uint32(column), np.uint32(i // 4), k0, k1)
        j = i + int((np.uint64(words[i % 4]) * np.uint64(n - i)) >> np.uint64(32))
        left[i], left[j] = left[j], left[i]
        old[i] = s[2 + (first + left[i]) % size]


@njit(cache=True, nogil=True)
def _sort(x):
    """Insertion: a few dozen values."""
    for i in range(1, x.size):
        value, j = x[i], i - 1
        while j >= 0 and x[j] > value:
            x[j + 1] = x[j]
            j -= 1
        x[j + 1] = value


@njit(cache=True, nogil=True)
def _gaps(old, young):
    """Largest and smallest number of old values up to some value beyond the young ones up to it."""
    i, j, above, below = 0, 0, 0, 0
    while i < old.size or j < young.size:
        z = old[i] if j == young.size or (i < old.size and old[i] <= young[j]) else young[j]
        while i < old.size and old[i] == z:
            i += 1
        while j < young.size and young[j] == z:
            j += 1
        above, below = max(above, i - j), min(below, i - j)
    return above, below
