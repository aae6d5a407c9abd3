"""The custom primitive on the CPU: a user's step, compiled by Numba into the merge of two sorted columns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numba.core.errors import NumbaError

from kernels.cpu.rank import _gap
from kernels.cpu.threads import map_columns
from kernels.errors import OptionError
from kernels.sums import SortedColumns


def walk(reference: SortedColumns, live: SortedColumns, step: Callable[..., float], *, largest: bool) -> Any:
    """(F,) float64: see `kernels.reference.custom.walk`. Compiles once a step and dtype, for about a second."""
    compiled = _compiled(step)

    def column(f: int) -> float:
        x, y = reference.values[f], live.values[f]
        return float(_walk(x, y, compiled, largest)) if x.size and y.size else 0.0

    work = int(reference.n.sum() + live.n.sum())
    try:
        return np.array(map_columns(column, len(reference.values), work), dtype=np.float64)
    except NumbaError as error:
        reason = " ".join(str(error).split())[:200]
        raise OptionError(
            f"step: Numba cannot compile it ({reason}) - use numbers and the module math alone"
        ) from error


@functools.lru_cache(maxsize=64)
def _compiled(step: Callable[..., float]) -> Any:
    return step if hasattr(step, "py_func") else njit(nogil=True, error_model="numpy")(step)


@njit(nogil=True, error_model="numpy")
def _walk(x, y, step, largest):  # type: ignore[no-untyped-def]
    n, m = x.size, y.size
    i = j = 0
    total = -np.inf if largest else 0.0
    while i < n or j < m:
        z = x[i] if i < n and (j == m or x[i] <= y[j]) else y[j]
        while i < n and x[i] == z:
            i += 1
        while j < m and y[j] == z:
            j += 1
        width = 0.0
        if i < n or j < m:
            width = _gap(x[i] if i < n and (j == m or x[i] <= y[j]) else y[j], z)
        value = np.float64(step(i, j, n, m, width))
        if not largest:
            total += value
        elif value > total or value != value:
            total = value
            if value != value:
                return total
    return total
