"""Tables into contiguous columns on the CPU, a cache line of columns at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from kernels.cpu.threads import map_columns

_ROWS = 256
_GROUP = 16  # columns that share a cache line of float32


def split_columns(table: Any) -> list[Any]:
    """F contiguous (N,) columns of an (N, F) array: views of F order, one blocked copy of C order."""
    rows, columns = table.shape
    if columns == 1 or rows <= 1 or table.strides[0] == table.itemsize:
        return [np.ascontiguousarray(table[:, f]) for f in range(columns)]
    turned = np.empty((columns, rows), table.dtype)
    groups = range(0, columns, _GROUP)

    def turn(group: int) -> None:
        first = groups[group]
        _turn(table[:, first : first + _GROUP], turned[first : first + _GROUP])

    map_columns(turn, len(groups), table.size)
    return list(turned)


@njit(cache=True, nogil=True)
def _turn(block, turned):  # type: ignore[no-untyped-def]
    rows, columns = block.shape
    for first in range(0, rows, _ROWS):
        for f in range(columns):
            for row in range(first, min(first + _ROWS, rows)):
                turned[f, row] = block[row, f]
