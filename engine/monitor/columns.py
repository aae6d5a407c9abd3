"""Arrow columns as the arrays that kernels.drift compares. N rows of the reference, M of the live window, F columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def numbers(table: pa.Table, names: tuple[str, ...]) -> np.ndarray:
    """(N, F) float64, column-major, NaN where null."""
    out = np.empty((table.num_rows, len(names)), dtype=np.float64, order="F")
    for j, name in enumerate(names):
        out[:, j] = table.column(name).cast(pa.float64(), safe=False).to_numpy()
    return out


def vocabulary(column: pa.ChunkedArray) -> pa.Array:
    """The categories of a reference column, as text."""
    return pc.unique(column.cast(pa.string()).drop_null()).sort()


def codes(column: pa.ChunkedArray, known: pa.Array) -> np.ndarray:
    """(N,) int64: place in `known`; len(known) where unseen; -1 where null."""
    text = column.cast(pa.string())
    place = pc.index_in(text, value_set=known).fill_null(len(known))
    return np.asarray(pc.if_else(text.is_valid(), place, -1).to_numpy(), dtype=np.int64)


def missing(table: pa.Table, name: str) -> int:
    """Rows without a value: null, or NaN."""
    column = table.column(name)
    count = int(column.null_count)
    if pa.types.is_floating(column.type):
        count += int(pc.sum(pc.is_nan(column)).as_py() or 0)
    return count
