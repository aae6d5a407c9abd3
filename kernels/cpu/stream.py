"""Detectors of streams on the CPU: one compiled pass a column, columns in parallel threads.

See kernels.reference.stream for what each step does; numbers, alarms and states are those of it.
"""

# mypy: disable-error-code="no-untyped-def"
# The compiled steps are typed by Numba from their arguments, not by annotations.

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from kernels.cpu.layout import split_columns
from kernels.cpu.sequences import bernstein, betting
from kernels.cpu.threads import map_columns
from kernels.cpu.windows import adwin, kswin
from kernels.sums import Advance

KINDS = ("cusum", "page_hinkley", "ddm", "eddm", "adwin", "kswin", "betting", "bernstein")


def advance(
    kind: str, table: Any, state: Any, params: Any, initial: Any, start: int, span: tuple[float, float]
) -> Advance:
    """See `kernels.reference.stream.advance`. O(M) a column; ADWIN O(log W) and KSWIN O(window) a value at worst."""
    number, columns = KINDS.index(kind), split_columns(table)
    restart = initial is not None
    fresh = initial if restart else state[0]

    def column(f: int) -> tuple[Any, Any, int, int]:
        x = np.ascontiguousarray(columns[f], np.float64)
        rows, sides = np.empty(x.size, np.int64), np.empty(x.size, np.int8)  # touched only where there are alarms
        alarms, missing, refused = _pass(
            number, x, state[f], params[f], fresh, restart, start, f, *map(float, span), rows, sides
        )
        return rows[:alarms].copy(), sides[:alarms].copy(), missing, refused

    rows, sides, missing, refused = zip(*map_columns(column, len(columns), table.size), strict=True)
    return Advance(list(rows), list(sides), np.array(missing, np.int64), np.array(refused, np.int64))


@njit(cache=True, nogil=True, error_model="numpy")
def _pass(kind, x, s, p, fresh, restart, start, column, low, high, rows, sides):
    alarms, missing = 0, 0
    for i in range(x.size):
        value = x[i]
        if value != value:
            missing += 1
            continue
        if not low <= value <= high:
            return alarms, missing, start + i
        if kind == 0:
            side = _cusum(value, s, p)
        elif kind == 1:
            side = _page_hinkley(value, s, p)
        elif kind == 2:
            side = _ddm(value, s, p)
        elif kind == 3:
            side = _eddm(value, s, p)
        elif kind == 4:
            side = adwin(value, s, p)
        elif kind == 5:
            side = kswin(value, s, p, start + i, column)
        elif kind == 6:
            side = betting(value, s, p)
        else:
            side = bernstein(value, s, p)
        if side != 0:
            rows[alarms], sides[alarms] = start + i, side
            alarms += 1
            if restart:
                s[:] = fresh
    return alarms, missing, -1


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _cusum(value, s, p):
    z = (value - p[0]) / p[1]
    s[0] = max(0.0, s[0] + z - p[2])
    s[1] = max(0.0, s[1] - z - p[2])
    return 1 if s[0] > p[3] else (-1 if s[1] > p[3] else 0)


@njit(cache=True, nogil=True, error_model="numpy")
def _page_hinkley(value, s, p):
    n = s[0] + 1
    mean = s[1] + (1 / n) * (value - s[1])
    rise = p[3] * s[2] + (value - mean) - p[1]
    fall = p[3] * s[3] + (value - mean) + p[1]
    lowest, highest = min(s[4], rise), max(s[5], fall)
    s[0], s[1], s[2], s[3], s[4], s[5] = n, mean, rise, fall, lowest, highest
    if n < p[0]:
        return 0
    if p[4] >= 0 and rise - lowest > p[2]:
        return 1
    return -1 if p[4] <= 0 and highest - fall > p[2] else 0


@njit(cache=True, nogil=True, error_model="numpy")
def _ddm(value, s, p):
    n = s[0] + 1
    rate = s[1] + (1 / n) * (value - s[1])
    now = math.sqrt(max(rate * (1 - rate), 0.0) / n)
    s[0], s[1], s[4] = n, rate, 0.0
    if n <= p[0]:
        return 0
    if rate + now <= s[2] + s[3]:
        s[2], s[3] = rate, now
    s[4] = 1.0 if rate + now > s[2] + p[1] * s[3] else 0.0
    return 1 if rate + now > s[2] + p[2] * s[3] else 0


@njit(cache=True, nogil=True, error_model="numpy")
def _eddm(value, s, p):
    s[0] += 1
    n = s[0]
    if value != 1.0:
        return 0
    alarm = 0
    s[2] += 1
    errors, distance, before = s[2], n - s[1], s[3]
    s[3] += (1 / errors) * (distance - before)
    s[4] += (distance - before) * (distance - s[3])
    if n > p[0]:
        far = s[3] + 2 * math.sqrt(s[4] / (errors - 1) if errors > 1 else 0.0)
        if far > s[5]:
            s[5] = far
        elif errors > p[0]:
            alarm = 1 if far / s[5] < p[2] else 0
            s[6] = 1.0 if far / s[5] < p[1] else 0.0
    s[1] = n
    return alarm
