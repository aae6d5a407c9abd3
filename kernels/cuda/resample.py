"""The resample primitive on CUDA. Replicates are the reference's, bit for bit.

Shapes: N rows, R replicates, S segments, K summed columns. Rows are cut into chunks of CHUNK, at borders of
tie groups, so that a launch has enough blocks; partial sums of chunks are joined by a second kernel. Memory:
24 bytes a chunk and replicate. Reading the segments' borders waits for the device once a call.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kernels.cuda.source import launch, module
from kernels.primitives import GROUP_END, POISSON, TIED

LANES = 8
THREADS = 64  # kThreads of resample.cu
CHUNK = 4096
GRID_Y = 65535  # the most blocks along y that a launch may have
COLUMNS = 2  # value columns that one launch sums: more would not fit the registers


class Chunks(NamedTuple):
    """Runs of rows inside one segment each, as device arrays."""

    first: Any  # int64 (C,)
    last: Any  # int64 (C,)
    segment: Any  # int64 (C,)
    borders: Any  # int64 (S + 1,): chunks of segment s are borders[s] to borders[s + 1]
    total: int


def weights(ids: Any, replicate: int, *, seed: int, stream: int, kind: int, flips: Any = None) -> Any:
    """Weights of rows `ids` (N,) in one replicate, int64 (N,)."""
    xp = module()
    rows = int(ids.shape[0])
    out = xp.empty(rows, np.int64)
    if rows:
        side, has = _flips(flips)
        args = (
            _ids(ids), side, has, np.int64(rows), np.int32(kind), np.uint32(replicate // LANES),
            np.int32(replicate % LANES), *_key(seed, stream), out,
        )  # fmt: skip
        launch("resample", "resample_weights", (-(-rows // 256), 1), 256, args)
    return out


def sums(
    ids: Any, values: Any, offsets: Any, *, start: int, stop: int, seed: int, stream: int = 0,
    kind: int = POISSON, flips: Any = None,
) -> Any:  # fmt: skip
    """Weighted sums of values (N, K) int64 by segment, then of the weight: int64 (S, K + 1, stop - start)."""
    xp = module()
    chunks = _chunks(offsets, None)
    columns = int(values.shape[1])
    out = xp.zeros((int(offsets.shape[0]) - 1, columns + 1, stop - start), np.uint64)
    turned = xp.ascontiguousarray(values.T)
    side, has = _flips(flips)
    for at in range(0, max(columns, 1), COLUMNS):
        width = min(COLUMNS, columns - at)
        head = (_ids(ids), turned[at : at + width] if width else turned, np.int64(ids.shape[0]), side, has)
        tail = (
            np.int32(kind), np.uint32(start // LANES), *_key(seed, stream), np.int64(stop - start),
            np.int32(columns + 1), np.int32(at), np.int32(at + width == columns), out,
        )  # fmt: skip
        _over_chunks(f"resample_sums_{width}", head, chunks, (chunks.first, chunks.last, chunks.segment), tail)
    return out.astype(np.int64)


def auroc(
    ids: Any, flags: Any, offsets: Any, *, start: int, stop: int, seed: int, stream: int = 0,
    kind: int = POISSON, flips: Any = None,
) -> Any:  # fmt: skip
    """Rows in descending order of score: twice the pairs in order, positive and negative weight,
    int64 (3, S, stop - start)."""
    chunks, partial, out = _partial(ids, flags, offsets, start, stop, seed, stream, kind, flips)
    _by_segment("resample_join", chunks, partial, out)
    return out


def average_precision(
    ids: Any, flags: Any, offsets: Any, *, scale: float, start: int, stop: int, seed: int, stream: int = 0,
    kind: int = POISSON, flips: Any = None,
) -> Any:  # fmt: skip
    """As auroc, but the first row is the sum over positives of floor(scale * precision at their score)."""
    chunks, partial, out = _partial(ids, flags, offsets, start, stop, seed, stream, kind, flips)
    _by_segment("resample_prefix", chunks, partial, out)
    side, has = _flips(flips)
    head = (_ids(ids), flags, side, has)
    for first in range(0, chunks.total, GRID_Y):
        part = slice(first, min(first + GRID_Y, chunks.total))
        args = (
            *head, chunks.first[part], chunks.last[part], chunks.segment[part], np.int32(kind),
            np.float64(scale), np.uint32(start // LANES), *_key(seed, stream), np.int64(stop - start),
            partial[part], out,
        )  # fmt: skip
        launch("resample", "resample_precision", (_width(stop - start), part.stop - first), THREADS, args)
    return out


def _partial(
    ids: Any, flags: Any, offsets: Any, start: int, stop: int, seed: int, stream: int, kind: int, flips: Any
) -> tuple[Chunks, Any, Any]:
    """Pairs and weights of every chunk, int64 (C, 3, R), and room for the result."""
    xp = module()
    chunks = _chunks(offsets, flags)
    partial = xp.empty((chunks.total, 3, stop - start), np.int64)
    side, has = _flips(flips)
    for first in range(0, chunks.total, GRID_Y):
        part = slice(first, min(first + GRID_Y, chunks.total))
        args = (
            _ids(ids), flags, side, has, chunks.first[part], chunks.last[part], np.int32(kind),
            np.uint32(start // LANES), *_key(seed, stream), np.int64(stop - start), partial[part],
        )  # fmt: skip
        launch("resample", "resample_auroc", (_width(stop - start), part.stop - first), THREADS, args)
    return chunks, partial, xp.empty((3, int(offsets.shape[0]) - 1, stop - start), np.int64)


def _over_chunks(kernel: str, head: Any, chunks: Chunks, by_chunk: Any, tail: Any) -> None:
    for first in range(0, chunks.total, GRID_Y):
        part = slice(first, min(first + GRID_Y, chunks.total))
        args = (*head, *(array[part] for array in by_chunk), *tail)
        launch("resample", kernel, (_width(tail[5]), part.stop - first), THREADS, args)


def _by_segment(kernel: str, chunks: Chunks, partial: Any, out: Any) -> None:
    """One thread a replicate and segment; more segments than a grid allows are taken in parts."""
    xp = module()
    segments, replicates = out.shape[1], out.shape[2]
    for first in range(0, segments, GRID_Y):
        count = min(GRID_Y, segments - first)
        whole = count == segments
        target = out if whole else xp.empty((3, count, replicates), np.int64)
        args = (partial, chunks.borders[first : first + count + 1], np.int64(replicates), target)
        launch("resample", kernel, (-(-replicates // 128), count), 128, args)
        if not whole:
            out[:, first : first + count] = target


def _chunks(offsets: Any, flags: Any) -> Chunks:
    """Pieces of at most CHUNK rows of each segment; with flags, borders move on to the end of a tie group."""
    xp = module()
    border = _on_host(offsets)  # synchronises
    pieces = -(-np.diff(border) // CHUNK)
    borders = np.concatenate([[0], np.cumsum(pieces)]).astype(np.int64)
    segment = np.repeat(np.arange(pieces.shape[0]), pieces)
    first = border[segment] + (np.arange(borders[-1]) - borders[segment]) * CHUNK
    last = np.minimum(first + CHUNK, border[segment + 1])
    ends = [xp.asarray(first.astype(np.int64)), xp.asarray(last.astype(np.int64))]
    if flags is not None and flags.shape[0]:
        safe = xp.nonzero(((flags & TIED) == 0) | ((flags & GROUP_END) != 0))[0] + 1  # synchronises
        safe = xp.concatenate([xp.zeros(1, np.int64), safe.astype(np.int64)])
        ends = [safe[xp.searchsorted(safe, end)] for end in ends]
    begin, end = ends
    return Chunks(begin, end, xp.asarray(segment.astype(np.int64)), xp.asarray(borders), int(borders[-1]))


def _on_host(x: Any) -> Any:
    return x.get() if hasattr(x, "get") else np.asarray(x)


def _ids(ids: Any) -> Any:
    return module().ascontiguousarray(ids).astype(np.uint64, copy=False)


def _flips(flips: Any) -> tuple[Any, Any]:
    """The coins' sides and whether there are any; a kernel never reads the one-byte stand-in."""
    return (module().zeros(1, np.uint8), np.int32(0)) if flips is None else (flips, np.int32(1))


def _key(seed: int, stream: int) -> tuple[Any, Any, Any]:
    return np.uint32(stream), np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)


def _width(replicates: Any) -> int:
    """Blocks along x that cover the replicates."""
    return -(-int(replicates) // (THREADS * LANES))
