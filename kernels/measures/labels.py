"""Labels as codes: two classes as 0 and 1, many classes as positions in their sorted list.

Shapes: N rows, C classes. Finding the classes reads the data, which on CUDA waits for the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.dispatch import load
from kernels.errors import OptionError

JOINT_SPAN = 64
"""Integer labels whose range is at most this are counted by pair of true and predicted label in one pass."""
SPAN = 1 << 12
"""Integer labels whose range is at most this are counted directly instead of sorted for their classes."""
SIGNED = 1 << 63
"""Labels from here on fit uint64 alone and are sorted."""


def binary_codes(y_true: Any, backend: str, *, pos_label: Any = None, alone: bool = False) -> Any:
    """Labels (N,) as uint8, 1 for pos_label, or for the greater of two labels.

    A label alone is negative when it is 0 or -1 and positive when it is 1; OptionError for any other, unless
    `alone` says that it does not matter, and for a third one.
    """
    scores = load("scores", backend)
    if y_true.dtype.kind in "biuf" and pos_label in (None, 1):
        fast = scores.binary_labels(y_true)
        if fast is not None:
            return fast
    classes = np.unique(y_true)
    if classes.shape[0] > 2:
        raise OptionError(f"y_true: {classes.shape[0]} classes where two are expected - use the multiclass form")
    if pos_label is not None and pos_label not in classes.tolist() and classes.shape[0] == 2:
        raise OptionError(f"pos_label: {pos_label!r} is not a label of y_true - use one of {classes.tolist()}")
    if pos_label is None and classes.shape[0] == 1 and not alone:
        pos_label = two_labels(classes[0])[1]
    positive = classes[-1] if pos_label is None and classes.shape[0] else pos_label
    return (y_true == positive).astype(np.uint8)


def two_labels(only: Any) -> tuple[Any, Any]:
    """The negative and the positive label when only one occurs: 0, 1 and -1 say it themselves, others do not."""
    if only in (0, 1):
        return 0, 1
    if only == -1:
        return -1, 1
    raise OptionError(f"y_true: the one label {only} says not whether it is positive - pass labels of 0 and 1")


def span_of(*labels: Any) -> tuple[int, int] | None:
    """Lowest label and width of the range of integer labels, when a table of all pairs is small; else
    None."""
    if not all(y.dtype.kind in "iu" and y.size for y in labels):
        return None
    low = min(int(y.min()) for y in labels)  # synchronises
    high = max(int(y.max()) for y in labels)
    return (low, high - low + 1) if high - low < JOINT_SPAN and high < SIGNED else None


def encode(y: Any, classes: Any, name: str) -> Any:
    """Labels (N,) as int64 codes into sorted `classes`, -1 for a label that is not among them."""
    if classes.shape[0] == 0:
        return np.full_like(y, -1, dtype=np.int64)
    if y.dtype.kind in "biu" and y.size and classes.dtype.kind in "biu":
        low, high = int(y.min()), int(y.max())  # synchronises
        if high - low < SPAN and high < SIGNED and int(classes.max()) < SIGNED:
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
        if high - low < SPAN and high < SIGNED:
            present = np.zeros_like(labels[0], shape=(high - low + 1,), dtype=bool)
            for y in labels:
                present[y.astype(np.int64) - low] = True
            return np.nonzero(present)[0] + low
    return np.unique(np.concatenate([np.unique(y) for y in labels]))
