"""The histogram primitive on CUDA: all columns of a dtype in one launch, one read of the data, no host wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.cuda.source import launch, module, pointers, suffix
from kernels.sums import HistogramCounts

_THREADS = 256  # kThreads and kFew of histogram.cu
_FEW = 16
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
        width = max(1, *(len(edges[f]) for f in members))
        padded = np.zeros((len(members), width), dtype)
        for borders, f in zip(padded, members, strict=True):
            borders[: len(edges[f])] = edges[f]
        sizes = np.array([len(edges[f]) for f in members], dtype=np.int64)
        found = xp.zeros((len(members), width + 2), np.uint64)
        name = "few" if width <= _FEW else "many"
        head, grid = _columns([listed[f] for f in members])
        args = (*head, xp.asarray(padded), xp.asarray(sizes), np.int32(width), found)
        launch("histogram", f"histogram_{name}_{suffix(dtype)}", grid, _THREADS, args)
        tallied = found.astype(np.int64)
        for row, f in enumerate(members):
            used = len(edges[f])
            if name == "many":
                counts[f] = tallied[row, : used + 1]
            else:  # entry k counts x >= edge k
                all_rows = tallied[row, width : width + 1]
                above = xp.concatenate([all_rows, tallied[row, :used], xp.zeros(1, np.int64)])
                counts[f] = above[:-1] - above[1:]
            missing[f] = tallied[row, width + 1]
    return HistogramCounts(tuple(counts), missing)


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
