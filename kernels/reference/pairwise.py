"""The pairwise primitive by definition: one kernel value a pair of rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def block_sums(rows: Any, offsets: Any, gamma: float) -> Any:
    """(S, S) sums of exp(-gamma |a - b|**2) over pairs of different rows in each pair of blocks.

    rows      (N, D) float64
    offsets   (S + 1,) int64 borders of the blocks
    """
    blocks = len(offsets) - 1
    sums = np.zeros((blocks, blocks))
    of_row = np.repeat(np.arange(blocks), np.diff(offsets))
    for i, left in enumerate(of_row):
        for j, right in enumerate(of_row):
            if i != j:
                sums[left, right] += math.exp(-gamma * float(((rows[i] - rows[j]) ** 2).sum()))
    return sums
