"""Inference that holds at any time looked, compiled. See kernels.reference.sequences."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

from numba import njit

from kernels.primitives import MEMORIES


@njit(cache=True, nogil=True, error_model="numpy")
def bernstein(value, s, p):
    n = s[0] + 1
    mean, variance = (0.5 + s[1]) / n, (0.25 + s[2]) / n
    bet = min(math.sqrt(2 * p[0] / (variance * n * math.log(1 + n))), p[1])
    s[0] = n
    s[3] += bet
    s[4] += bet * value
    s[5] += (value - mean) * (value - mean) * (-math.log(1 - bet) - bet)
    s[1] += value
    off = value - (0.5 + s[1]) / (n + 1)
    s[2] += off * off
    centre, half = s[4] / s[3], (p[0] + s[5]) / s[3]
    s[6], s[7] = max(s[6], centre - half), min(s[7], centre + half)
    return 0


@njit(cache=True, nogil=True, error_model="numpy")
def betting(value, s, p):
    bound, every = p[0], p[2]
    joins = s[0] % every == 0
    bettor = s[0] // every + 1
    s[0] += 1
    n = s[0]
    top = -math.log(bettor + 1)
    for k in range(len(MEMORIES)):
        at = 3 + 3 * k
        if n == 1:
            s[at], s[at + 1], s[at + 2] = -math.inf, bound, 0.25
        if joins:
            share = -math.log(bettor * (bettor + 1) * len(MEMORIES))
            s[at] = max(s[at], share) + math.log1p(math.exp(-abs(s[at] - share)))
        edge = s[at + 1] - bound
        if edge > 0:
            bet = min(edge / (s[at + 2] + edge * edge), p[3] / bound)
            s[at] += math.log1p(bet * (value - bound))
        off = value - s[at + 1]
        pace = max(1 / (n + 1), 1 / MEMORIES[k])
        s[at + 1] += pace * off
        s[at + 2] += pace * (off * off - s[at + 2])
        top = max(top, s[at])
    total = math.exp(-math.log(bettor + 1) - top)
    for k in range(len(MEMORIES)):
        total += math.exp(s[3 + 3 * k] - top)
    s[2] = max(s[2], top + math.log(total))
    if s[2] >= p[1] and s[1] == 0:
        s[1] = 1
        return 1
    return 0
