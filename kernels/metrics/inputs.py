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
from kernels.errors import OptionError

SPAN = 1 << 12
"""Integer labels whose range is at most this are counted directly instead of sorted for their classes."""


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


def binary_codes(y_true: Any, backend: str, *, pos_label: Any = None) -> Any:
    """Labels (N,) as uint8, 1 for pos_label, or for the greater of two labels; OptionError for a third one."""
    scores = load("scores", backend)
    if y_true.dtype.kind in "biuf" and pos_label in (None, 1):
        fast = scores.binary_labels(y_true)
        if fast is not None:
            return fast
    classes = np.unique(y_true)
    if classes.shape[0] > 2:
        raise OptionError(
            f"y_true: {classes.shape[0]} classes where two are expected - use the multiclass form"
        )
    if pos_label is not None and pos_label not in classes.tolist() and classes.shape[0] == 2:
        raise OptionError(
            f"pos_label: {pos_label!r} is not a label of y_true - use one of {classes.tolist()}"
        )
    positive = classes[-1] if pos_label is None else pos_label
    return (y_true == positive).astype(np.uint8)


def encode(y: Any, classes: Any, name: str) -> Any:
    """Labels (N,) as int64 codes into sorted `classes`, -1 for a label that is not among them."""
    if classes.shape[0] == 0:
        return np.full_like(y, -1, dtype=np.int64)
    if y.dtype.kind in "biu" and y.size and classes.dtype.kind in "biu":
        low, high = int(y.min()), int(y.max())  # synchronises
        if high - low < SPAN:
            table = np.full_like(classes, -1, shape=(high - low + 1,), dtype=np.int64)
            within = (classes >= low) & (classes <= high)
            table[classes[within].astype(np.int64) - low] = np.nonzero(within)[0]
            return table[y.astype(np.int64) - low]
    code = np.searchsorted(classes, y)
    code = np.minimum(code, classes.shape[0] - 1)
    return np.where(classes[code] == y, code, -1).astype(np.int64)


def classes_of(*labels: Any) -> Any:
    """The sorted distinct labels of all arrays."""
    if all(y.dtype.kind in "biu" and y.size for y in labels):
        low = min(int(y.min()) for y in labels)  # synchronises
        high = max(int(y.max()) for y in labels)
        if high - low < SPAN:
            present = np.zeros_like(labels[0], shape=(high - low + 1,), dtype=bool)
            for y in labels:
                present[y.astype(np.int64) - low] = True
            return np.nonzero(present)[0] + low
    return np.unique(np.concatenate([np.unique(y) for y in labels]))
