"""A rank statistic of the user's own.

Shapes: N reference rows, M live rows, F columns; inputs (N,) with (M,), or (N, F) with (M, F), results () or (F,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels import dispatch
from kernels.arrays import Array
from kernels.drift.pairs import paired
from kernels.errors import OptionError


def custom(
    reference: Array,
    live: Array,
    step: Callable[..., float],
    *,
    largest: bool = False,
    nan_policy: str = "omit",
    backend: str | None = None,
) -> Any:
    """The sum, or the `largest`, of ``step(f, g, n, m, width)`` over the distinct values z of both windows together.

    step      a plain Python function of numbers. f and g are the reference and live rows <= z, n and m the rows that
              are not NaN, width the distance from z to the next distinct value, 0 at the last and inf next to an
              infinite one. Any statistic of the two distribution functions f/n and g/m is one line.
    float64 () or (F,). Dtypes, NaN and errors as in `kernels.drift.univariate`; OptionError where Numba cannot compile
    `step`, BackendUnavailable on CUDA, for Numba's CUDA target is no longer developed.
    Cost: two sorts and one merge a column, and a compilation of about a second a step and dtype.

    Example: Kolmogorov-Smirnov is ``custom(x, y, lambda f, g, n, m, width: abs(f / n - g / m), largest=True)``, and
    Wasserstein is ``custom(x, y, lambda f, g, n, m, width: abs(f / n - g / m) * width)``.
    """
    if not callable(step):
        raise OptionError(f"step: {step!r} is not a function - pass one of (f, g, n, m, width)")
    with paired(reference, live, "custom", nan_policy, backend) as pair:
        rank = dispatch.load("rank", pair.backend)
        a, b = (rank.sort_columns(rank.split_columns(table)) for table in (pair.reference, pair.live))
        values = pair.primitive.walk(a, b, step, largest=largest)
        return pair.finish(values, a.missing, b.missing, (a.n > 0) & (b.n > 0))
