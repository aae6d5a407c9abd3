"""Detectors that keep a window of the stream, by definition: ADWIN and KSWIN. See kernels.reference.stream."""

from __future__ import annotations

import math
from bisect import bisect_right

from kernels.reference.resample import philox4x32

HEAD = 5  # numbers of ADWIN's state before its buckets: total, variance, width, values since the last look, levels


def adwin(value: float, s: list[float], p: list[float], row: int, column: int) -> int:
    """ADWIN (Bifet and Gavalda 2007) with the variance of Babcock et al. (2003).

    Level k holds up to `max_buckets` buckets of 2**k values, each as (sum, sum of squared deviations), oldest first.
    """
    delta, clock, most, shortest, grace = p
    levels = _unpack(s, int(most) + 1)
    total, variance, width, tick = s[:4]
    width += 1
    if width > 1:
        off = value - total / (width - 1)
        variance += (width - 1) * off * off / width
    total += value
    levels[0].append((value, 0.0))
    _compress(levels, int(most))
    tick += 1
    side = 0
    looks = tick == clock
    tick = 0 if looks else tick
    while looks and width > grace:
        cut = _cut(levels, total, variance, width, delta, shortest)
        if not cut:
            break
        side = side or cut
        size = 2.0 ** (len(levels) - 1)
        (lost, inside) = levels[-1].pop(0)
        width, total = width - size, total - lost
        off = lost / size - total / width
        variance -= inside + size * width * off * off / (size + width)
        if not levels[-1]:
            levels.pop()
    s[:4] = total, variance, width, tick
    _pack(levels, s, int(most) + 1)
    return side


def _compress(levels: list[list[tuple[float, float]]], most: int) -> None:
    """Merge the two oldest buckets of every level that has one too many."""
    k = 0
    while len(levels[k]) > most:
        (a, v), (b, w) = levels[k].pop(0), levels[k].pop(0)
        size = 2.0**k
        off = a / size - b / size
        if k + 1 == len(levels):
            levels.append([])
        levels[k + 1].append((a + b, v + w + size * 0.5 * off * off))
        k += 1


def _cut(
    levels: list[list[tuple[float, float]]], total: float, variance: float, width: float, delta: float, shortest: float
) -> int:
    """+1 or -1 where the values after some border between buckets are larger or smaller than those before it."""
    old, young, old_sum, young_sum = 0.0, width, 0.0, total
    confidence = math.log(2 * math.log(width) / delta)
    for k in range(len(levels) - 1, -1, -1):
        for bucket in levels[k]:
            old, young = old + 2.0**k, young - 2.0**k
            old_sum, young_sum = old_sum + bucket[0], young_sum - bucket[0]
            if old < shortest or young < shortest:
                continue
            harmonic = 1 / (old - shortest + 1) + 1 / (young - shortest + 1)
            spread = max(2 * harmonic * (variance / width) * confidence, 0.0)
            difference = old_sum / old - young_sum / young
            if abs(difference) > math.sqrt(spread) + 2.0 / 3.0 * confidence * harmonic:
                return 1 if difference < 0 else -1
    return 0


def _unpack(s: list[float], room: int) -> list[list[tuple[float, float]]]:
    most = (len(s) - HEAD) // (1 + 2 * room)
    levels: list[list[tuple[float, float]]] = []
    for k in range(max(1, int(s[4]))):
        first = HEAD + most + 2 * room * k
        levels.append([(s[first + 2 * i], s[first + 2 * i + 1]) for i in range(int(s[HEAD + k]))])
    return levels


def _pack(levels: list[list[tuple[float, float]]], s: list[float], room: int) -> None:
    most = (len(s) - HEAD) // (1 + 2 * room)
    s[4] = len(levels)
    s[HEAD:] = [0.0] * (len(s) - HEAD)
    for k, buckets in enumerate(levels):
        s[HEAD + k] = len(buckets)
        for i, (total, variance) in enumerate(buckets):
            first = HEAD + most + 2 * room * k + 2 * i
            s[first : first + 2] = total, variance


def kswin(value: float, s: list[float], p: list[float], row: int, column: int) -> int:
    """KSWIN (Raab, Heusinger and Schleif 2020): the youngest values against as many drawn from the older ones.

    s[0] values in the window, s[1] where its oldest lies, then the window as a ring.
    """
    critical, size, recent, low, high = (int(number) for number in p)
    held, first = int(s[0]), int(s[1])
    s[2 + (first + held) % size] = value
    if held < size:
        held += 1
    else:
        first = (first + 1) % size
    s[:2] = held, first
    if held < size:
        return 0
    window = [s[2 + (first + i) % size] for i in range(size)]
    young = sorted(window[size - recent :])
    old = sorted(window[i] for i in _draw(size - recent, recent, row, column, (low, high)))
    above = below = 0
    for z in (*old, *young):
        gap = bisect_right(old, z) - bisect_right(young, z)
        above, below = max(above, gap), min(below, gap)
    if max(above, -below) < critical:
        return 0
    return 1 if above >= -below else -1


def _draw(n: int, k: int, row: int, column: int, key: tuple[int, int]) -> list[int]:
    """k of the numbers below n without replacement: Fisher-Yates over Philox words, one counter for four of them."""
    words: list[int] = []
    for block in range((k + 3) // 4):
        counter = (row & 0xFFFFFFFF, row >> 32, column, block)
        words += [int(word) for word in philox4x32(counter, key)]
    left = list(range(n))
    for i in range(k):
        j = i + ((words[i] * (n - i)) >> 32)
        left[i], left[j] = left[j], left[i]
    return left[:k]
