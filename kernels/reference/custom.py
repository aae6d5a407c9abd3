"""The custom primitive by definition: a user's step at every distinct pooled value, in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.sums import SortedColumns


def walk(reference: SortedColumns, live: SortedColumns, step: Callable[..., float], *, largest: bool) -> Any:
    """(F,) float64: the sum, or the largest, of step(f, g, n, m, width) of each pair of columns; 0 without values.

    f and g are the rows not above a distinct value, width the distance to the next one, 0 at the last.
    """
    columns = zip(reference.values, live.values, strict=True)
    return np.array([_column(x, y, step, largest) for x, y in columns], dtype=np.float64)


def _column(x: Any, y: Any, step: Callable[..., float], largest: bool) -> float:
    if not x.size or not y.size:
        return 0.0
    values = np.unique(np.concatenate([x, y]))
    steps = []
    for k, z in enumerate(values):
        width = _distance(values[k + 1], z) if k + 1 < len(values) else 0.0
        f, g = (int(v.searchsorted(z, side="right")) for v in (x, y))
        steps.append(float(step(f, g, int(x.size), int(y.size), width)))
    return float(np.max(steps)) if largest else float(np.cumsum(steps)[-1])


def _distance(upper: Any, lower: Any) -> float:
    if isinstance(upper, np.floating):
        with np.errstate(over="ignore"):
            return float(np.float64(upper) - np.float64(lower))
    return float(int(upper) - int(lower))
