"""Detectors of streams in plain Python: the executable definition of the stream primitive, one value after the other.

Shapes: M rows of a chunk, F streams (columns), S numbers of state and P parameters a stream. Which number means what is
said by `STATE` and `PARAMS` of the detector in kernels.stream. A stream begins anew with the value after its alarm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.reference import sequences, windows
from kernels.sums import Advance


def advance(
    kind: str, table: Any, state: Any, params: Any, initial: Any, start: int, span: tuple[float, float]
) -> Advance:
    """Take a chunk `table` (M, F); `state` (F, S) and nothing else is changed.

    start     row number of the first value in the stream
    initial   (S,) state in which a stream begins anew after an alarm; None: it goes on
    span      smallest and largest value that is taken; a column with another one is `refused` there
    """
    step = STEPS[kind]
    found = [_column(step, x, state[f], params[f], initial, start, f, span) for f, x in enumerate(table.T)]
    rows, sides, missing, refused = zip(*found, strict=True)
    return Advance(list(rows), list(sides), np.array(missing, np.int64), np.array(refused, np.int64))


def _column(
    step: Callable[..., int], x: Any, state: Any, params: Any, initial: Any, start: int, column: int,
    span: tuple[float, float],
) -> tuple[Any, Any, int, int]:  # fmt: skip
    numbers, parameters = [float(s) for s in state], [float(p) for p in params]
    rows, sides, missing, refused = [], [], 0, -1
    for row, value in enumerate(map(float, x), start):
        if math.isnan(value):
            missing += 1
        elif not span[0] <= value <= span[1]:
            refused = row
            break
        elif side := step(value, numbers, parameters, row, column):
            rows.append(row)
            sides.append(side)
            if initial is not None:
                numbers[:] = [float(s) for s in initial]
    state[:] = numbers
    return np.array(rows, np.int64), np.array(sides, np.int8), missing, refused


def cusum(value: float, s: list[float], p: list[float], row: int, column: int) -> int:
    """Tabular CUSUM of standardised values (Page 1954): +1 above, -1 below, 0 no alarm."""
    mean, std, slack, threshold = p
    z = (value - mean) / std
    s[0] = max(0.0, s[0] + z - slack)
    s[1] = max(0.0, s[1] - z - slack)
    return 1 if s[0] > threshold else -1 if s[1] > threshold else 0


def page_hinkley(value: float, s: list[float], p: list[float], row: int, column: int) -> int:
    """Page-Hinkley with fading sums, about the running mean."""
    n, mean, rise, fall, lowest, highest = s
    warm_start, delta, threshold, fading, mode = p
    n += 1
    mean += (1 / n) * (value - mean)
    rise = fading * rise + (value - mean) - delta
    fall = fading * fall + (value - mean) + delta
    lowest, highest = min(lowest, rise), max(highest, fall)
    s[:] = n, mean, rise, fall, lowest, highest
    if n < warm_start:
        return 0
    if mode >= 0 and rise - lowest > threshold:
        return 1
    return -1 if mode <= 0 and highest - fall > threshold else 0


def ddm(value: float, s: list[float], p: list[float], row: int, column: int) -> int:
    """DDM (Gama et al. 2004): the error rate against the lowest it has been, in standard deviations."""
    n, rate, lowest, deviation, _ = s
    warm_start, warning_threshold, threshold = p
    n += 1
    rate += (1 / n) * (value - rate)
    now = math.sqrt(max(rate * (1 - rate), 0.0) / n)
    warning = 0.0
    if n > warm_start:
        if rate + now <= lowest + deviation:
            lowest, deviation = rate, now
        warning = float(rate + now > lowest + warning_threshold * deviation)
    s[:] = n, rate, lowest, deviation, warning
    return int(n > warm_start and rate + now > lowest + threshold * deviation)


def eddm(value: float, s: list[float], p: list[float], row: int, column: int) -> int:
    """EDDM (Baena-Garcia et al. 2006): the distance between errors against the longest it has been."""
    n, last, errors, mean, square, largest, warning = s
    warm_start, warning_level, level = p
    n += 1
    alarm = 0
    if value == 1.0:
        errors += 1
        distance, before = n - last, mean
        mean += (1 / errors) * (distance - mean)
        square += (distance - before) * (distance - mean)
        if n > warm_start:
            far = mean + 2 * math.sqrt(square / (errors - 1) if errors > 1 else 0.0)
            if far > largest:
                largest = far
            elif errors > warm_start:
                alarm = int(far / largest < level)
                warning = float(far / largest < warning_level)
        last = n
    s[:] = n, last, errors, mean, square, largest, warning
    return alarm


STEPS: dict[str, Callable[..., int]] = {
    "cusum": cusum,
    "page_hinkley": page_hinkley,
    "ddm": ddm,
    "eddm": eddm,
    "adwin": windows.adwin,
    "kswin": windows.kswin,
    "betting": sequences.betting,
    "bernstein": sequences.bernstein,
}
