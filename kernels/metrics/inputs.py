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
    as_working,
    check_nan_policy,
    check_ndim,
    check_same_length,
    library_of,
    missing_rows,
    refuse_missing,
    working_dtype,
    wrap_like,
)
from kernels.dispatch import backend_for, load
from kernels.errors import OptionError


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
    weight = None if sample_weight is None else as_working(sample_weight, "sample_weight").astype(np.float64)
    if weight is not None:
        check_ndim(weight, "sample_weight", 1)
        if weight.size and (float(weight.min()) < 0.0 or float(weight.max()) == np.inf):  # synchronises
            raise OptionError("sample_weight: a weight below 0 or infinite - pass finite weights of 0 and above")
    check_same_length(y_true=true, y_pred=pred, sample_weight=weight)
    missing = missing_rows(true) | missing_rows(pred) | (False if weight is None else missing_rows(weight))
    if isinstance(missing, bool) or not missing.any():  # synchronises
        return Rows(true, pred, weight, chosen, False)
    if nan_policy == "raise":
        refuse_missing(int(missing.sum()), "y_true, y_pred, sample_weight")
    kept = ~missing  # what propagates is scored on the rest, so that its shape is known, and then made NaN
    undefined = nan_policy == "propagate"
    return Rows(true[kept], pred[kept], None if weight is None else weight[kept], chosen, undefined)


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
