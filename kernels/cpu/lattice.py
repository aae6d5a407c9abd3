"""Exact two-sample Kolmogorov-Smirnov probabilities by counting lattice paths."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def path_probability(n: int, m: int, height: int) -> Any:
    """P(max |m i - n j| >= height) over all equally likely lattice paths from (0, 0) to (n, m).

    Forward recursion on the probability of having touched the border, B(i, j) = i/(i+j) B(i-1, j) +
    j/(i+j) B(i, j-1): all terms are positive, so that small probabilities keep their relative precision.
    O(n m) time, O(m) memory. Source: Viehmann, arXiv 2102.08037.
    """
    touched = np.zeros(m + 1)
    for j in range(m + 1):
        touched[j] = 1.0 if n * j >= height else 0.0
    for i in range(1, n + 1):
        if m * i >= height:
            touched[0] = 1.0
        for j in range(1, m + 1):
            distance = m * i - n * j
            if distance >= height or -distance >= height:
                touched[j] = 1.0
            else:
                share = i / (i + j)
                touched[j] = share * touched[j] + (1.0 - share) * touched[j - 1]
    return touched[m]
