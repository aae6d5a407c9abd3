"""KSWIN, a detector that keeps a window of the stream, compiled. See kernels.reference.windows."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit

from kernels.cpu.resample import philox4x32


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
