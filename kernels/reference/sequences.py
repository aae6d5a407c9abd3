"""Inference that holds at any time looked, by definition, of values in [0, 1]. See kernels.reference.stream."""

from __future__ import annotations

import math

from kernels.primitives import MEMORIES


def bernstein(value: float, s: list[float], p: list[float], row: int, column: int) -> int:
    """Predictable plug-in empirical Bernstein confidence sequence (Waudby-Smith and Ramdas 2024, theorem 2).

    s: values, their sum, squared deviations from the running mean, sums of bet, bet times value, and the variance
    term; then the largest lower and the smallest upper bound so far.
    """
    n, total, square, bets, gains, terms, low, high = s
    chance, cap = p  # log(2 / delta), largest bet
    mean, variance = (0.5 + total) / (n + 1), (0.25 + square) / (n + 1)
    n += 1
    bet = min(math.sqrt(2 * chance / (variance * n * math.log(1 + n))), cap)
    bets += bet
    gains += bet * value
    terms += (value - mean) * (value - mean) * (-math.log(1 - bet) - bet)  # 4 (x - mean)**2 * psi, psi = .../4
    total += value
    off = value - (0.5 + total) / (n + 1)
    square += off * off
    centre, half = gains / bets, (chance + terms) / bets
    s[:] = n, total, square, bets, gains, terms, max(low, centre - half), min(high, centre + half)
    return 0


def betting(value: float, s: list[float], p: list[float], row: int, column: int) -> int:
    """A test by betting that the mean, given the past, is at most `bound`: +1 once the wealth exceeds 1 / delta.

    The bettor j (j = 1, 2, ...) begins with 1 / (j (j + 1)) after (j - 1) `every` values, so that a rise after a long
    calm finds a fresh one; the wealth of all is a supermartingale under the null from 1 (Ville 1939). The bets are
    aGRAPA's (Waudby-Smith and Ramdas 2024), from means and variances that forget at three paces, a third of the wealth
    at each: so bettors of one pace share their bets, and one number holds their wealth.

    s: values, alarm, largest log wealth, then for each pace log wealth of those who play, mean, variance.
    """
    bound, needed, every, cap = p  # needed = log(1 / delta)
    n, alarm, most = s[:3]
    joins = n % every == 0
    bettor = n // every + 1
    share = -math.log(bettor * (bettor + 1) * len(MEMORIES))
    n += 1
    logs = [-math.log(bettor + 1)]  # of those who have not begun
    for k, memory in enumerate(MEMORIES):
        wealth, mean, variance = s[3 + 3 * k : 6 + 3 * k] if n > 1 else (0.0, bound, 0.25)
        if joins:
            wealth = share if n == 1 else max(wealth, share) + math.log1p(math.exp(-abs(wealth - share)))
        edge = mean - bound
        bet = min(max(edge / (variance + edge * edge), 0.0), cap / bound)
        wealth += math.log1p(bet * (value - bound))
        pace = max(1 / (n + 1), 1 / memory)
        off = value - mean
        mean += pace * off
        variance += pace * (off * off - variance)
        s[3 + 3 * k : 6 + 3 * k] = wealth, mean, variance
        logs.append(wealth)
    top = max(logs)
    most = max(most, top + math.log(sum(math.exp(w - top) for w in logs)))
    crossed = most >= needed and not alarm
    s[:3] = n, float(alarm or crossed), most
    return int(crossed)
