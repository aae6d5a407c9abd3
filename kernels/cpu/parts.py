"""The rank primitive of two columns that come in parts: ascending ranges of values, one after the other.

A part is given as tie groups: each distinct value with the rows up to it on either side, counted from the very
first row. So a value that fills half a window is one entry, whatever its rows, and the sums of the parts are those of
one merge (`kernels.cpu.rank`): the integers equal bit for bit, the float sums up to the order of additions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from kernels.cpu.rank import _BLOCK, _FLOATS, _INTEGERS, _LANES, _absorb
from kernels.sums import Groups, RankCounts, RankSums, scale_rank_sums


def groups_of_sorted(x: Any, y: Any, below_x: int, below_y: int) -> Groups:
    """The groups of two sorted columns of one dtype without NaN, behind `below_x` and `below_y` smaller rows."""
    size = x.size + y.size
    value, left, right = np.empty(size, x.dtype), np.empty(size, np.int64), np.empty(size, np.int64)
    groups = _group(x, y, value, left, right)
    return Groups(value[:groups], left[:groups] + below_x, right[:groups] + below_y)


class PartialSums:
    """Sums of one pair of columns of n and m rows; add the groups of all parts in ascending order, then `sums`."""

    def __init__(self, n: int, m: int) -> None:
        self.n, self.m = n, m
        self._integers = np.zeros(_INTEGERS, np.int64)
        self._lanes = np.zeros((_FLOATS, _LANES))
        self._terms = np.zeros((_FLOATS, _BLOCK + _LANES))
        self._last: Groups | None = None

    def add(self, part: Groups) -> None:
        """Add the groups of one part; none of them may reach back into the part before."""
        if part.value.size == 0:
            return
        before = self._last or Groups(part.value[:1], np.zeros(1, np.int64), np.zeros(1, np.int64))
        value, left, right = (np.concatenate(pair) for pair in zip(before, part, strict=True))
        _absorb_all(value, left, right, self.n, self.m, self._integers, self._lanes, self._terms)
        self._last = Groups(value[-1:], left[-1:], right[-1:])

    def sums(self) -> RankSums:
        """(1,) sums of all parts."""
        floats = np.zeros((_FLOATS, 1))
        for lane in range(_LANES):
            floats[:, 0] += self._lanes[:, lane]
        sizes = np.array([self.n]), np.array([self.m])
        return scale_rank_sums(np, RankCounts(*sizes, *self._integers[:, None]), floats)


@njit(cache=True, nogil=True)
def _group(x, y, value, left, right):  # type: ignore[no-untyped-def]
    i = j = k = 0
    while i < x.size or j < y.size:
        from_x = j == y.size or (i < x.size and x[i] <= y[j])
        z = x[i] if from_x else y[j]
        while i < x.size and x[i] == z:
            i += 1
        while j < y.size and y[j] == z:
            j += 1
        value[k], left[k], right[k] = z, i, j
        k += 1
    return k


@njit(cache=True, nogil=True, error_model="numpy")
def _absorb_all(value, left, right, n, m, integers, lanes, terms):  # type: ignore[no-untyped-def]
    """All groups but the first, which is the one before them, block by block."""
    for start in range(0, value.size - 1, _BLOCK):
        stop = min(start + _BLOCK + 1, value.size)
        _absorb(
            value[start:stop], left[start:stop], right[start:stop], stop - start, n, m, integers, lanes, terms, True
        )
