"""Detectors of streams on the CPU: one compiled pass a part of the columns, parts in parallel threads.

See kernels.reference.stream for what each step does; numbers, alarms and states are those of it.
"""

# mypy: disable-error-code="no-untyped-def"
# The compiled steps are typed by Numba from their arguments, not by annotations.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from kernels.cpu.adaptive import BUCKET, HEAD, MEMORY, adwin, fold, ring, unfold
from kernels.cpu.lanes import LANES, NUMBERS, P0, SIDE, VALUE, cusum, ddm, eddm, page_hinkley
from kernels.cpu.sequences import bernstein, betting
from kernels.cpu.threads import map_columns, thread_count
from kernels.cpu.windows import kswin
from kernels.sums import Advance

KINDS = ("cusum", "page_hinkley", "ddm", "eddm", "adwin", "kswin", "betting", "bernstein")
BESIDE = 4  # kinds whose streams go side by side
ROWS = 64  # that are taken at a time: few enough for the first cache
STRETCH = 1032  # rows of one column after the other; no power of 2, or all columns would share one set of the cache


def advance(
    kind: str, table: Any, state: Any, params: Any, initial: Any, start: int, span: tuple[float, float]
) -> Advance:
    """See `kernels.reference.stream.advance`. O(M) a column; ADWIN O(log W) and KSWIN O(window) a value at worst."""
    number, (flat, along, across) = KINDS.index(kind), _flat(table)
    rows, columns = table.shape
    restart = initial is not None
    fresh = initial if restart else state[0]
    missing = np.zeros(columns, np.int64)
    share = -(-columns // thread_count())  # a thread takes neighbours: it reads whole stretches of a row
    run = _pass_beside if number < BESIDE else _pass_adaptive if kind == "adwin" else _pass

    def part(task: int) -> tuple[Any, Any, int]:
        first = task * share
        mine = slice(first, first + share)
        size = rows * len(missing[mine])
        places, sides = np.empty(size, np.int64), np.empty(size, np.int8)  # touched only where there are alarms
        alarms = run(
            number, flat, along, across, rows, first, state[mine], params[mine], fresh, restart, start,
            *map(float, span), missing[mine], places, sides,
        )  # fmt: skip
        return places[:alarms] + first, sides[:alarms].copy(), alarms

    found = map_columns(part, -(-columns // share), table.size)
    if any(alarms < 0 for *_, alarms in found):
        return Advance([], [], missing, _refused(table, start, span))
    places, sides = (np.concatenate([told[k] for told in found]) for k in (0, 1))
    order = np.lexsort((places, places % columns))
    ends = np.cumsum(np.bincount(places % columns, minlength=columns))[:-1]
    return Advance(
        np.split(places[order] // columns + start, ends), np.split(sides[order], ends), missing,
        np.full(columns, -1, np.int64),
    )  # fmt: skip


def _flat(table: Any) -> tuple[Any, int, int]:
    """(N F,) float64 of (N, F), and the steps from row to row and from column to column: one type for the compiler."""
    if table.dtype == np.float64 and table.flags.f_contiguous:
        return table.T.reshape(-1), 1, table.shape[0]
    return np.ascontiguousarray(table, np.float64).reshape(-1), table.shape[1], 1


def _refused(table: Any, start: int, span: tuple[float, float]) -> Any:
    """(F,) row of the first value outside the span in each column, -1 where there is none."""
    outside = (table < span[0]) | (table > span[1])
    return np.where(outside.any(0), outside.argmax(0) + start, -1).astype(np.int64)


@njit(cache=True, nogil=True, error_model="numpy")
def _pass_beside(
    kind, flat, along, across, rows, first, state, params, fresh, restart, start, low, high, missing, places, sides
):
    """How many alarms there were, -1 where a value is refused. A place is row F + column, from `first`."""
    columns, alarms, every = missing.size, 0, flat.size // rows
    groups = (columns + LANES - 1) // LANES
    w = np.ones((groups, NUMBERS))
    for c in range(columns):
        g, f = c // LANES, c % LANES
        for k in range(fresh.size):
            w[g, k * LANES + f] = state[c, k]
        for k in range(params.shape[1]):
            w[g, P0 + k * LANES + f] = params[c, k]
    tile = np.full((ROWS, groups * LANES), np.nan)
    for top in range(0, rows, ROWS):
        size = min(ROWS, rows - top)
        absent, outside = 0, 0
        for i in range(size):
            at = (top + i) * along + first * across
            for c in range(columns):
                value = flat[at + c * across]
                tile[i, c] = value
                absent |= value != value
                outside |= (value < low) | (value > high)
        if outside:
            return -1
        if absent:
            for i in range(size):
                for c in range(columns):
                    missing[c] += tile[i, c] != tile[i, c]
        for g in range(groups):
            v = w[g]
            lanes = min(LANES, columns - g * LANES)
            wide = LANES if lanes > LANES // 2 else LANES // 2
            for i in range(size):
                for f in range(wide):
                    v[VALUE + f] = tile[i, g * LANES + f]
                if kind == 0:
                    found = cusum(v, wide)
                elif kind == 1:
                    found = page_hinkley(v, wide)
                elif kind == 2:
                    found = ddm(v, wide)
                else:
                    found = eddm(v, wide)
                if found != 0:
                    for f in range(lanes):
                        if v[SIDE + f] != 0:
                            places[alarms], sides[alarms] = (top + i) * every + g * LANES + f, v[SIDE + f]
                            alarms += 1
                            if restart:
                                for k in range(fresh.size):
                                    v[k * LANES + f] = fresh[k]
    for c in range(columns):
        for k in range(fresh.size):
            state[c, k] = w[c // LANES, k * LANES + c % LANES]
    return alarms


@njit(cache=True, nogil=True, error_model="numpy")
def _turned(tile, flat, at, along, across, low, high, missing):
    """Fill (columns, rows) from place `at`; False where a value lies outside the span."""
    absent, outside = 0, 0
    for i in range(tile.shape[1]):
        for c in range(missing.size):
            value = flat[at + i * along + c * across]
            tile[c, i] = value
            absent |= value != value
            outside |= (value < low) | (value > high)
    if absent:
        for c in range(missing.size):
            for i in range(tile.shape[1]):
                missing[c] += tile[c, i] != tile[c, i]
    return outside == 0


@njit(cache=True, nogil=True, error_model="numpy")
def _pass(
    kind, flat, along, across, rows, first, state, params, fresh, restart, start, low, high, missing, places, sides
):
    """How many alarms there were, -1 where a value is refused. A place is row F + column, from `first`."""
    columns, alarms, every = missing.size, 0, flat.size // rows
    tile = np.empty((columns, STRETCH))
    for top in range(0, rows, STRETCH):
        part = tile[:, : min(STRETCH, rows - top)]
        if not _turned(part, flat, top * along + first * across, along, across, low, high, missing):
            return -1
        for c in range(columns):
            s, p = state[c], params[c]
            for i in range(part.shape[1]):
                value = tile[c, i]
                if value != value:
                    continue
                if kind == 5:
                    side = kswin(value, s, p, start + top + i, first + c)
                elif kind == 6:
                    side = betting(value, s, p)
                else:
                    side = bernstein(value, s, p)
                if side != 0:
                    places[alarms], sides[alarms] = (top + i) * every + c, side
                    alarms += 1
                    if restart:
                        for k in range(fresh.size):
                            s[k] = fresh[k]
    return alarms


@njit(cache=True, nogil=True, error_model="numpy")
def _pass_adaptive(
    kind, flat, along, across, rows, first, state, params, fresh, restart, start, low, high, missing, places, sides
):
    """`_pass` of ADWIN, which reads by the block."""
    columns, alarms, every = missing.size, 0, flat.size // rows
    room = int(params[0, 2]) + 1
    levels = (fresh.size - HEAD) // (1 + 2 * room)
    b, h = np.zeros((columns, levels * ring(room) * BUCKET)), np.zeros((columns, MEMORY))
    heads, counts = np.zeros((columns, levels), np.int64), np.zeros((columns, levels), np.int64)
    for c in range(columns):
        unfold(state[c], room, b[c], heads[c], counts[c], h[c])
    tile, found, ways = np.empty((columns, STRETCH)), np.empty(STRETCH, np.int64), np.empty(STRETCH, np.int64)
    for top in range(0, rows, STRETCH):
        part = tile[:, : min(STRETCH, rows - top)]
        if not _turned(part, flat, top * along + first * across, along, across, low, high, missing):
            return -1
        for c in range(columns):
            for j in range(adwin(part[c], params[c], fresh, restart, b[c], heads[c], counts[c], h[c], found, ways)):
                places[alarms], sides[alarms] = (top + found[j]) * every + c, ways[j]
                alarms += 1
    for c in range(columns):
        fold(state[c], room, b[c], heads[c], counts[c], h[c])
    return alarms
