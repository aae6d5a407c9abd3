"""The histogram primitive on CUDA: all columns of a dtype in one launch, one read of the data, no host wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.cuda.source import launch, module, pointers, suffix
from kernels.sums import HistogramCounts

_THREADS = 256  # kThreads, kFew and kShared of histogram.cu
_FEW = 16
_SHARED = 2048
_ROWS_A_BLOCK = 1 << 14  # enough rows to pay for the write at the end of a block


def bin_counts(columns: Any, edges: Sequence[Any]) -> HistogramCounts:
    """Counts of each column between its ascending edges; see HistogramCounts.

    columns   (N, F) array, or F arrays of shape (N_f,), working dtype, any stride: nothing is transposed
    edges     F ascending host arrays of shape (B_f - 1,), the dtype of their column
    """
    xp = module()
    listed = [columns[:, f] for f in range(len(edges))] if hasattr(columns, "ndim") else list(columns)
    counts: list[Any] = [None] * len(listed)
    missing = xp.zeros(len(listed), np.int64)
    for dtype in {str(column.dtype) for column in listed}:
        members = [f for f, column in enumerate(listed) if str(column.dtype) == dtype]
        found, lost = bin_matrix([listed[f] for f in members], *edge_matrix([edges[f] for f in members]))
        missing[members] = lost
        for row, f in enumerate(members):
            counts[f] = found[row, : len(edges[f]) + 1]
    return HistogramCounts(tuple(counts), missing)


def edge_matrix(edges: Sequence[Any]) -> tuple[Any, Any]:
    """F ascending host arrays of one dtype as an (F, W) device array, filled up with zeros, and their (F,) lengths."""
    xp = module()
    padded = np.zeros((len(edges), max(1, *(len(edge) for edge in edges))), edges[0].dtype)
    for row, edge in zip(padded, edges, strict=True):
        row[: len(edge)] = edge
    return xp.asarray(padded), xp.asarray(np.array([len(edge) for edge in edges], dtype=np.int64))


def bin_matrix(columns: Any, edges: Any, used: Any) -> tuple[Any, Any]:
    """(F, W + 1) int64 counts between device edges, 0 beyond the bins of a column, and the (F,) NaN.

    columns   (N, F) array, or F arrays of shape (N_f,), one working dtype, any stride
    edges     (F, W) of that dtype, each row ascending over its first `used` (F,) int64 entries
    """
    xp, (count, width) = module(), edges.shape
    listed = [columns[:, f] for f in range(count)] if hasattr(columns, "ndim") else list(columns)
    found = xp.zeros((count, width + 2), np.uint64)
    head, grid = _columns(listed)
    name = suffix(edges.dtype)
    args = (*head, xp.ascontiguousarray(edges), xp.ascontiguousarray(used), np.int32(width))
    if width <= _FEW:  # entry k counts x >= edge k, entry `width` all rows
        launch("histogram", f"histogram_few_{name}", grid, _THREADS, (*args, found))
        tallied = found.astype(np.int64)
        above = xp.concatenate([tallied[:, width : width + 1], tallied[:, :width]], axis=1)
        counts = above.copy()
        counts[:, :-1] -= above[:, 1:]
    else:
        cells = np.int32(min(_SHARED, 1 << (2 * width - 1).bit_length()))
        start, mapping = xp.empty((count, int(cells) + 1), np.uint16), xp.empty((count, 2), np.float64)
        launch("histogram", f"histogram_table_{name}", (count, 1), _THREADS, (*args[3:], cells, start, mapping))
        launch("histogram", f"histogram_many_{name}", grid, _THREADS, (*args, start, mapping, cells, found))
        tallied = found.astype(np.int64)
        counts = tallied[:, : width + 1]
    return counts, tallied[:, width + 1]


def code_counts(columns: Sequence[Any], categories: Sequence[int]) -> tuple[Any, ...]:
    """Counts of integer codes 0 .. C_f - 1 of each column, then of codes >= C_f, then of negative ones.

    Returns F arrays of shape (C_f + 2,) int64. Negative codes mean missing.
    """
    xp = module()
    width = max(1, *categories) if categories else 1
    found = xp.zeros((len(columns), width + 2), np.uint64)
    for dtype in {str(column.dtype) for column in columns}:
        members = [f for f, column in enumerate(columns) if str(column.dtype) == dtype]
        head, grid = _columns([columns[f] for f in members])
        part = xp.zeros((len(members), width + 2), np.uint64)
        sizes = xp.asarray(np.array([categories[f] for f in members], dtype=np.int64))
        launch("histogram", f"histogram_codes_{suffix(dtype)}", grid, _THREADS, (*head, sizes, np.int32(width), part))
        found[xp.asarray(np.array(members))] = part
    tallied = found.astype(np.int64)
    return tuple(tallied[f, : size + 2] for f, size in enumerate(categories))


def _columns(columns: Sequence[Any]) -> tuple[tuple[Any, Any, Any], tuple[int, int]]:
    """Addresses, strides in values and sizes of the columns, and the grid that covers them."""
    xp = module()
    strides = np.array([column.strides[0] // column.itemsize for column in columns], dtype=np.int64)
    sizes = np.array([column.shape[0] for column in columns], dtype=np.int64)
    blocks = max(1, -(-int(sizes.max()) // _ROWS_A_BLOCK))
    return (pointers(columns), xp.asarray(strides), xp.asarray(sizes)), (blocks, len(columns))
