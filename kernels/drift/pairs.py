"""Two windows made ready for the primitives, and results made ready for the caller.

Shapes: N reference rows, M live rows, F columns. Internal to `kernels.drift`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from kernels import dispatch
from kernels.arrays import (
    Array,
    as_native,
    as_table,
    check_nan_policy,
    common_device,
    common_working,
    namespace,
    refuse_missing,
    stream_of,
    wrap_like,
)
from kernels.errors import ShapeError


@dataclass(frozen=True, slots=True, eq=False)
class TestResult:
    """Statistic and p-value of shape () for one column or (F,) for a table, where the live window lives.

    Unpacks as ``statistic, pvalue = result``. Both are NaN where a side has no value that is not NaN, and
    under ``nan_policy="propagate"`` where a column holds a NaN.
    """

    __test__ = False  # the name is SciPy's habit, not a test case

    statistic: Any
    """float64"""
    pvalue: Any
    """float64, two-sided, not corrected over columns"""
    n_reference: Any
    """int64, reference values that are not NaN"""
    n_live: Any
    """int64, live values that are not NaN"""
    missing_reference: Any
    """int64, NaN in the reference"""
    missing_live: Any
    """int64, NaN in the live window"""
    backend: str
    """The backend that ran: reference, cpu or cuda."""

    def __iter__(self) -> Iterator[Any]:
        yield self.statistic
        yield self.pvalue


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Both windows as (N, F) and (M, F) tables of one working dtype on one device."""

    reference: Any
    live: Any
    primitive: ModuleType
    backend: str
    xp: Any
    nan_policy: str
    template: Any
    single: bool

    def finish(self, values: Any, missing_reference: Any, missing_live: Any, known: Any) -> Any:
        """(F,) `values` with NaN where unknown, reduced to () for a single column, in the caller's
        library."""
        if self.nan_policy == "raise":  # reads the counts: a device synchronisation on CUDA
            refuse_missing(int(missing_reference.sum()), "reference")  # synchronises
            refuse_missing(int(missing_live.sum()), "live")  # synchronises
        if self.nan_policy == "propagate":
            known = known & (missing_reference == 0) & (missing_live == 0)
        return self.shape(self.xp.where(known, values, self.xp.nan))

    def test(
        self,
        statistic: Any,
        pvalue: Any,
        n: Any,
        m: Any,
        missing_reference: Any,
        missing_live: Any,
        known: Any,
    ) -> TestResult:
        """A result from (F,) arrays of this device."""
        return TestResult(
            statistic=self.finish(statistic, missing_reference, missing_live, known),
            pvalue=self.finish(pvalue, missing_reference, missing_live, known),
            n_reference=self.shape(n),
            n_live=self.shape(m),
            missing_reference=self.shape(missing_reference),
            missing_live=self.shape(missing_live),
            backend=self.backend,
        )

    def shape(self, values: Any) -> Any:
        """An (F,) array, or its only entry as a () array, in the library of the live window."""
        return self.wrap(values[0] if self.single else values)

    def wrap(self, values: Any) -> Any:
        """An array of this device in the library of the live window."""
        return wrap_like(values, self.template)


@contextmanager
def paired(reference: Array, live: Array, primitive: str, nan_policy: str, backend: str | None) -> Iterator[Pair]:
    """Check, join and hold two windows; work inside runs on the stream of the live window."""
    check_nan_policy(nan_policy)
    module, chosen = dispatch.implementation(primitive, reference, live, backend=backend)
    with stream_of(live):
        a, b = as_native(reference, "reference"), as_native(live, "live")
        if a.ndim != b.ndim:
            raise ShapeError(f"live: {b.ndim} axes against {a.ndim} of the reference - pass the same columns")
        a, b = common_working(a, b, "reference", "live")
        table_a, table_b = as_table(a, "reference"), as_table(b, "live")
        if table_a.shape[1] != table_b.shape[1]:
            raise ShapeError(
                f"live: {table_b.shape[1]} columns against {table_a.shape[1]} of the reference - "
                "pass the same columns in the same order"
            )
        xp = namespace(common_device(a, b))
        yield Pair(table_a, table_b, module, chosen, xp, nan_policy, live, a.ndim == 1)
