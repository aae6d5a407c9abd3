"""Detectors with a few numbers of state, compiled: a group of streams side by side, one step of all of them at a time.

One stream is a chain of steps that wait for each other; the streams of a group do not, and share vector instructions.
A step has no branch: what a NaN must not change is chosen back. Numbers are those of kernels.reference.stream, bit for
bit. All that a step needs lies in one array, at distances that the compiler knows: where it must look at run time
whether two arrays overlap, it does not vectorise. Lane f of number k of the state lies at k LANES + f.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

from numba import njit

LANES = 16
"""Streams of a group at most."""
STATE, PARAMS = 8, 5  # numbers at most
P0, P1, P2, P3, P4 = (LANES * (STATE + k) for k in range(PARAMS))
S0, S1, S2, S3, S4, S5, S6 = (LANES * k for k in range(7))
VALUE, SIDE = LANES * (STATE + PARAMS), LANES * (STATE + PARAMS + 1)
NUMBERS = LANES * (STATE + PARAMS + 2)


@njit(cache=True, nogil=True, error_model="numpy")
def cusum(w, lanes):
    alarm = 0
    for f in range(min(lanes, LANES)):
        z = (w[VALUE + f] - w[P0 + f]) / w[P1 + f]
        up, down = w[S0 + f] + z - w[P2 + f], w[S1 + f] - z - w[P2 + f]
        up, down = (up if up > 0.0 else 0.0), (down if down > 0.0 else 0.0)
        there = w[VALUE + f] == w[VALUE + f]
        w[S0 + f], w[S1 + f] = (up if there else w[S0 + f]), (down if there else w[S1 + f])
        found = (1 if up > w[P3 + f] else (-1 if down > w[P3 + f] else 0)) if there else 0
        w[SIDE + f] = found
        alarm |= found
    return alarm


@njit(cache=True, nogil=True, error_model="numpy")
def page_hinkley(w, lanes):
    alarm = 0
    for f in range(min(lanes, LANES)):
        value = w[VALUE + f]
        there = value == value
        n = w[S0 + f] + 1
        mean = w[S1 + f] + (1 / n) * (value - w[S1 + f])
        rise = w[P3 + f] * w[S2 + f] + (value - mean) - w[P1 + f]
        fall = w[P3 + f] * w[S3 + f] + (value - mean) + w[P1 + f]
        lowest = rise if rise < w[S4 + f] else w[S4 + f]
        highest = fall if fall > w[S5 + f] else w[S5 + f]
        rose = (w[P4 + f] >= 0) & (rise - lowest > w[P2 + f])
        fell = (w[P4 + f] <= 0) & (highest - fall > w[P2 + f])
        found = (1 if rose else (-1 if fell else 0)) if there & (n >= w[P0 + f]) else 0
        w[S0 + f] = n if there else w[S0 + f]
        w[S1 + f] = mean if there else w[S1 + f]
        w[S2 + f] = rise if there else w[S2 + f]
        w[S3 + f] = fall if there else w[S3 + f]
        w[S4 + f] = lowest if there else w[S4 + f]
        w[S5 + f] = highest if there else w[S5 + f]
        w[SIDE + f] = found
        alarm |= found
    return alarm


@njit(cache=True, nogil=True, error_model="numpy")
def ddm(w, lanes):
    alarm = 0
    for f in range(min(lanes, LANES)):
        value = w[VALUE + f]
        there = value == value
        n = w[S0 + f] + 1
        rate = w[S1 + f] + (1 / n) * (value - w[S1 + f])
        spread = rate * (1 - rate)
        now = math.sqrt((spread if spread > 0.0 else 0.0) / n)
        looks = there & (n > w[P0 + f])
        best = looks & (rate + now <= w[S2 + f] + w[S3 + f])
        lowest, deviation = (rate if best else w[S2 + f]), (now if best else w[S3 + f])
        warns = looks & (rate + now > lowest + w[P1 + f] * deviation)
        found = 1 if looks & (rate + now > lowest + w[P2 + f] * deviation) else 0
        w[S0 + f] = n if there else w[S0 + f]
        w[S1 + f] = rate if there else w[S1 + f]
        w[S2 + f], w[S3 + f] = lowest, deviation
        w[S4 + f] = (1.0 if warns else 0.0) if there else w[S4 + f]
        w[SIDE + f] = found
        alarm |= found
    return alarm


@njit(cache=True, nogil=True, error_model="numpy")
def eddm(w, lanes):
    alarm = 0
    for f in range(min(lanes, LANES)):
        value = w[VALUE + f]
        n = w[S0 + f] + (1.0 if value == value else 0.0)
        error = value == 1.0
        errors, distance, before = w[S2 + f] + 1, n - w[S1 + f], w[S3 + f]
        mean = before + (1 / errors) * (distance - before)
        square = w[S4 + f] + (distance - before) * (distance - mean)
        far = mean + 2 * math.sqrt(square / (errors - 1) if errors > 1 else 0.0)
        looks = error & (n > w[P0 + f])
        farther = far > w[S5 + f]
        judges = looks & (not farther) & (errors > w[P0 + f])
        share = far / w[S5 + f]
        found = 1 if judges & (share < w[P2 + f]) else 0
        w[S6 + f] = (1.0 if share < w[P1 + f] else 0.0) if judges else w[S6 + f]
        w[S5 + f] = far if looks & farther else w[S5 + f]
        w[S0 + f] = n
        w[S1 + f] = n if error else w[S1 + f]
        w[S2 + f] = errors if error else w[S2 + f]
        w[S3 + f] = mean if error else w[S3 + f]
        w[S4 + f] = square if error else w[S4 + f]
        w[SIDE + f] = found
        alarm |= found
    return alarm
