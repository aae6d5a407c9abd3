"""Arguments of the metrics: one device, one length, missing values by policy, classes as codes.

Shapes: N rows, C classes. Checks of shape and dtype read metadata; looking for missing values and for classes
reads the data, which on CUDA waits for the device once (marked `# synchronises`).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from kernels.arrays import (
    Array,
    as_native,
    check_nan_policy,
    check_ndim,
    check_same_length,
    library_of,
    refuse_missing,
    working_dtype,
    wrap_like,
)
from kernels.dispatch import backend_for, load


class Rows(NamedTuple):
    """Native arrays on one device, missing rows dropped or refused, and the backend that serves them."""

    y_true: Any  # (N,) or (N, K)
    y_pred: Any  # (N,) or (N, C)
    weight: Any  # (N,) float64, or None
    backend: str
    undefined: bool  # a NaN under nan_policy="propagate": the result is NaN


def rows(
    y_true: Array, y_pred: Array, sample_weight: Array | None, *, nan_policy: str, backend: str | None,
    ndims: tuple[int, ...] = (1,), true_ndims: tuple[int, ...] = (1,),
) -> Rows:  # fmt: skip
    """Check, align and clean the arguments of a metric; errors name the argument."""
    check_nan_policy(nan_policy)
    given = (y_true, y_pred) if sample_weight is None else (y_true, y_pred, sample_weight)
    chosen = backend_for(*given, backend=backend)
    true, pred = as_native(y_true, "y_true"), as_native(y_pred, "y_pred")
    check_ndim(true, "y_true", *true_ndims)
    check_ndim(pred, "y_pred", *ndims)
    weight = None if sample_weight is None else as_native(sample_weight, "sample_weight").astype(np.float64)
    if weight is not None:
        check_ndim(weight, "sample_weight", 1)
    check_same_length(y_true=true, y_pred=pred, sample_weight=weight)
    missing = _missing(true) | _missing(pred) | _missing(weight)
    if isinstance(missing, bool) or not missing.any():  # synchronises
        return Rows(true, pred, weight, chosen, False)
    if nan_policy == "raise":
        refuse_missing(int(missing.sum()), "y_true, y_pred, sample_weight")
    if nan_policy == "propagate":
        return Rows(true, pred, weight, chosen, True)
    kept = ~missing
    return Rows(true[kept], pred[kept], None if weight is None else weight[kept], chosen, False)


def _missing(x: Any) -> Any:
    """Rows of x (N,) or (N, C) that hold a NaN, or False when there are none."""
    if x is None or x.dtype.kind != "f" or x.size == 0:
        return False
    # One NaN makes the sum NaN, and a sum is far cheaper than a mask; inf - inf only costs the slower look.
    with np.errstate(invalid="ignore", over="ignore"):
        if not np.isnan(x.sum()):  # synchronises
            return False
    mask = np.isnan(x)
    return mask if mask.ndim == 1 else mask.any(axis=1)


def floating(x: Any, name: str) -> Any:
    """x as float32 or float64, contiguous; integers become float64."""
    dtype = working_dtype(x.dtype, name)
    return x.astype(dtype if dtype.kind == "f" else np.float64, order="C", copy=False)


def result(value: Any, template: Array) -> Any:
    """A scalar or an array in the library of the argument that decided the backend."""
    wrapped = wrap_like(value, template)
    if library_of(template) == "torch" and np.ndim(value) == 0:
        return wrapped.reshape(())
    return wrapped[()] if isinstance(wrapped, np.ndarray) and wrapped.ndim == 0 else wrapped


def primitive(name: str, backend: str) -> ModuleType:
    """The module of a primitive for a backend that `rows` chose."""
    return load(name, backend)
