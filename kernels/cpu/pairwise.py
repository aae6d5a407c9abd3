"""The pairwise primitive on the CPU: one strip of the kernel matrix at a time, blocks in parallel threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.cpu.threads import map_columns

_STRIP = 1 << 18  # kernel values a thread holds at once: 2 MB


def block_sums(rows: Any, offsets: Any, gamma: float) -> Any:
    """(S, S) sums of exp(-gamma |a - b|**2) over pairs of different rows in each pair of blocks.

    rows      (N, D) float64, centred: |a|**2 + |b|**2 - 2 a.b loses digits far from the origin
    offsets   (S + 1,) int64 borders of the blocks, none empty
    O(N**2 D / 2) time, 2 MB a thread; the N x N matrix never exists.
    """
    blocks = len(offsets) - 1
    sums = np.zeros((blocks, blocks))
    squares = (rows * rows).sum(1)

    def strip(block: int) -> None:
        first, last = int(offsets[block]), int(offsets[block + 1])
        others = offsets[block:-1] - first
        width = rows.shape[0] - first
        height = max(1, _STRIP // width)
        for start in range(first, last, height):
            end = min(start + height, last)
            kernel = rows[start:end] @ rows[first:].T
            kernel *= -2.0
            kernel += squares[start:end, None]
            kernel += squares[first:]
            np.maximum(kernel, 0.0, out=kernel)
            kernel *= -gamma
            np.exp(kernel, out=kernel)
            kernel[np.arange(end - start), np.arange(start - first, end - first)] = 0.0  # a row with itself
            sums[block, block:] += np.add.reduceat(kernel.sum(0), others)

    map_columns(strip, blocks, rows.shape[0] ** 2)
    upper = np.triu(sums, 1)
    return upper + upper.T + np.diag(np.diag(sums))
