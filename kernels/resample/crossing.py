"""Codes of the crossing of several slicing columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.arrays import Array, check_same_length, common_device, namespace, wrap_like
from kernels.errors import OptionError
from kernels.resample.inputs import distinct, integers


def crossing(*columns: Array) -> tuple[Any, Any]:
    """One slicing column out of several, so that slices are the combinations that occur.

    columns are integer codes (N,), on one device. Returns codes (N,) int64, in the library and on the device of the
    first column, and the combinations (S, columns) int64 on the host: rows of code s have the values of row s. Codes
    ascend with the first column, then the second. Missing combinations cost nothing. On CUDA it synchronises.

    Example: [1, 1, 2], [5, 6, 5] -> [0, 1, 2], [[1, 5], [1, 6], [2, 5]].
    Errors: OptionError without columns, ShapeError, DTypeError (codes that are not integers), DeviceError.
    """
    if not columns:
        raise OptionError("columns: none given - pass at least one column of integer codes")
    xp = namespace(common_device(*columns))
    names = [f"columns[{place}]" for place in range(len(columns))]
    given = [integers(column, name) for column, name in zip(columns, names, strict=True)]
    check_same_length(**dict(zip(names, given, strict=True)))
    joint = xp.zeros(given[0].shape[0], dtype=np.int64)
    table = np.zeros((1, 0), np.int64)
    for column in given:
        values, index, _ = distinct(column, xp)
        count = max(int(values.shape[0]), 1)
        # Numbered anew after every column: no product of many columns can leave int64.
        present, joint, _ = distinct(joint * count + index, xp)
        table = np.concatenate([table[present // count], values[present % count][:, None]], axis=1)
    return wrap_like(joint, columns[0]), table
