"""The merge that yields the DeLong placements of one pair of columns."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def place(x, y, sums):  # type: ignore[no-untyped-def]
    """u2 and the sums of squares of both placements, 32 bits a word so that nothing overflows."""
    n, m = x.size, y.size
    i = j = 0
    while i < n or j < m:
        z = x[i] if i < n and (j == m or x[i] <= y[j]) else y[j]
        i0, j0 = i, j
        while i < n and x[i] == z:
            i += 1
        while j < m and y[j] == z:
            j += 1
        p, q = i0 + i, 2 * m - j0 - j
        sums[0] += (j - j0) * p
        for side, size, placement in ((1, j - j0, p), (3, i - i0, q)):
            square = placement * placement
            low = size * (square & 0xFFFFFFFF)
            sums[side] += size * (square >> 32) + (low >> 32)
            sums[side + 1] += low & 0xFFFFFFFF
    for side in (1, 3):
        sums[side] += sums[side + 1] >> 32
        sums[side + 1] &= 0xFFFFFFFF
