"""Null distributions of the two-sample statistics, vectorised over columns, and corrections over many tests.

Every function takes arrays of shape () or (F,), NumPy or CuPy, and returns float64 of that shape on the same
device. Statistics that are NaN, and sizes of 0, give NaN. Nothing is looked up in a table of critical values
and no p-value is clamped, but for [0, 1]. No device synchronisation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.arrays import check_option, library_of
from kernels.errors import OptionError

EXACT_PAIRS = 1_000_000
"""``method="auto"`` counts lattice paths while n m is at most this (about 3 ms a column)."""


def _module(x: Any) -> Any:
    if library_of(x) == "cupy":
        from kernels.dispatch import load_cupy

        return load_cupy()
    return np


def _special(x: Any, name: str) -> Callable[..., Any] | None:
    """A special function of CuPy for device arrays; None on the host, where we have our own."""
    if library_of(x) != "cupy":
        return None
    import importlib

    return getattr(importlib.import_module("cupyx.scipy.special"), name)  # type: ignore[no-any-return]


def kolmogorov_smirnov(d: Any, n: Any, m: Any, *, method: str = "auto") -> Any:
    """P(D >= d) of the two-sided two-sample test under a continuous null.

    method   "exact": paths counted on the n x m lattice, O(n m) a column, host only; "asymp":
             the one-sample distribution at the rounded effective size n m / (n + m), as SciPy does; "auto":
             exact on the host while n m <= 1e6, else asymp. Under ties all are conservative.
    Sources: Hodges 1957; Viehmann, arXiv 2102.08037; Simard and L'Ecuyer 2011.
    """
    check_option(method, "method", ("auto", "exact", "asymp"))
    xp = _module(d)
    d, n, m = xp.asarray(d, dtype=np.float64), xp.asarray(n), xp.asarray(m)
    pairs, total = n.astype(np.float64) * m, n.astype(np.float64) + m
    effective = xp.rint(pairs / xp.where(total > 0, total, 1.0))
    p = kolmogorov(d, xp.maximum(effective, 1.0))
    p = xp.where((pairs > 0) & ~xp.isnan(d), p, np.nan)
    if xp is not np:
        if method == "exact":
            raise OptionError("method: 'exact' counts paths on the host - use 'asymp' for device arrays")
        return p
    return p if method == "asymp" else _with_exact(p, d, n, m, EXACT_PAIRS if method == "auto" else None)


def _with_exact(p: Any, d: Any, n: Any, m: Any, limit: int | None) -> Any:
    from kernels.cpu.lattice import path_probability

    p, d, n, m = (np.array(v) for v in np.broadcast_arrays(p, d, n, m))
    for index in np.ndindex(p.shape):
        rows, columns = int(n[index]), int(m[index])
        if rows and columns and d[index] == d[index] and (limit is None or rows * columns <= limit):
            p[index] = path_probability(rows, columns, round(float(d[index]) * rows * columns))
    return p[()]


def kolmogorov(d: Any, n: Any) -> Any:
    """P(D_n >= d) of the one-sample two-sided statistic at size n; what SciPy calls ``kstwo.sf``.

    The tail n d**2 >= 2.2 is twice Smirnov's one-sided sum (all terms up to n = 256, an equally spaced part
    of this smooth sum above); the body is the series of Pelz and Good, and for n <= 140 the matrix of Marsaglia,
    Tsang and Wang. Relative error below 4e-6 down to p = 1e-100 against SciPy, on the host and on a device alike.
    """
    xp = _module(d)
    d, n = xp.broadcast_arrays(xp.asarray(d, dtype=np.float64), xp.asarray(n, dtype=np.float64))
    inside = xp.clip(d, 0.0, 1.0)
    squared = n * inside * inside
    tail = 2.0 * _smirnov(xp, inside, n)
    body = 1.0 - _pelz_good(xp, xp.sqrt(xp.maximum(squared, 1e-3)), n)
    p = xp.where(squared >= 2.2, tail, body)
    p = _with_matrix(xp, p, inside, n)
    p = xp.where(inside >= 1.0, 0.0, xp.where(n * inside <= 0.5, 1.0, p))
    return xp.where(xp.isnan(d), np.nan, xp.clip(p, 0.0, 1.0))


def _smirnov(xp: Any, d: Any, n: Any) -> Any:
    """P(D+_n >= d) = d sum_j C(n, j) (d + j/n)**(j-1) (1 - d - j/n)**(n-j), in Loader's saddle-point form."""
    points = 257
    d, n = d[..., None], n[..., None]
    stride = xp.ceil((n + 1.0) / points)
    j = xp.arange(points, dtype=np.float64) * stride
    hit = d + j / n
    used = (hit < 1.0) & (j < n)
    inner = xp.where(used & (j > 0), j, 1.0)
    size = xp.maximum(n, 2.0)
    inner = xp.minimum(inner, size - 1.0)
    rest = size - inner
    success = xp.clip(d + inner / size, 1e-300, 1.0 - 1e-16)

    log_term = _stirling(xp, size) - _stirling(xp, inner) - _stirling(xp, rest)
    log_term = log_term - inner * _relative(xp, size * d / inner) - rest * _relative(xp, -size * d / rest)
    log_term = log_term + 0.5 * xp.log(size / (2.0 * np.pi * inner * rest)) - xp.log(success)

    terms = xp.where(used & (j > 0), stride * xp.exp(xp.minimum(log_term, 700.0)), 0.0)
    first = xp.exp(n * xp.log1p(-xp.minimum(d, 1.0 - 1e-16)))
    return d[..., 0] * terms.sum(-1) + first[..., 0]


def _relative(xp: Any, t: Any) -> Any:
    """t - log(1 + t), so that j log(j / (j + n d)) + n d = j (t - log1p(t)) with t = n d / j."""
    t = xp.maximum(t, -1.0 + 1e-16)
    small = xp.abs(t) < 0.02
    s = xp.where(small, t, 0.0)
    series = s * s * (0.5 - s * (1 / 3 - s * (0.25 - s * (0.2 - s * (1 / 6 - s * (1 / 7 - s / 8))))))
    return xp.where(small, series, t - xp.log1p(t))


def _stirling(xp: Any, k: Any) -> Any:
    """log k! minus Stirling's formula, for k >= 1."""
    big = xp.maximum(k, 16.0)
    square = 1.0 / (big * big)
    series = (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188)))) / big
    table = xp.asarray(_STIRLING)
    return xp.where(k < 16, table[xp.clip(k, 0, 15).astype(np.int64)], series)


_STIRLING = np.array(
    [0.0] + [math.lgamma(k + 1.0) - (k + 0.5) * math.log(k) + k - 0.5 * math.log(2 * math.pi) for k in range(1, 16)]
)


def _pelz_good(xp: Any, z: Any, n: Any) -> Any:
    """P(sqrt(n) D_n <= z) by Pelz and Good (1976): K0 + K1/sqrt(n) + K2/n + K3/n**1.5."""
    z, root = z[..., None], xp.sqrt(n)
    half = (xp.arange(24, dtype=np.float64) + 0.5) ** 2 * np.pi**2
    whole = xp.arange(1, 25, dtype=np.float64) ** 2 * np.pi**2
    at_half, at_whole = xp.exp(-half / (2 * z * z)), xp.exp(-whole / (2 * z * z))
    z2, z3, z4 = z**2, z**3, z**4
    z6 = z3 * z3
    scale = math.sqrt(2 * math.pi)  # twice sqrt(pi / 2): sums over all integers are twice those over k >= 0
    k0 = (scale / z * at_half).sum(-1)
    k1 = (scale / (6 * z4) * (half - z2) * at_half).sum(-1)
    first = (6 * z6 + 2 * z4) + (2 * z4 - 5 * z2) * half + (1 - 2 * z2) * half**2
    k2 = (scale / (72 * z6 * z) * first * at_half).sum(-1) - (scale / (36 * z3) * whole * at_whole).sum(-1)
    cubic = half**3 * (5 - 30 * z2) + half**2 * (-60 * z2 + 212 * z4)
    cubic = cubic + half * (135 * z4 - 96 * z6) - (30 * z6 + 90 * z4 * z4)
    k3 = (scale / (6480 * z6 * z4) * cubic * at_half).sum(-1)
    k3 = k3 + (scale / (216 * z6) * (3 * z2 * whole - whole**2) * at_whole).sum(-1)
    return k0 + k1 / root + k2 / n + k3 / (n * root)


_SMALL = 140  # rows up to which the matrix is used
_SIZE = 47  # of the largest matrix: n d < sqrt(4 n) < 24


def _with_matrix(xp: Any, p: Any, d: Any, n: Any) -> Any:
    """`p`, but from the matrix where n is small and p above 1e-3. On a device nobody looks whether that is so."""
    small = (n <= _SMALL) & (n * d * d <= 4.0) & (n * d > 0.5)
    if xp is np and not small.any():
        return p
    size = xp.where(small, n, 1.0).ravel()
    exact = 1.0 - _marsaglia_tsang_wang(xp, size, xp.where(small, d, 0.75).ravel())
    return xp.where(small, exact.reshape(p.shape), p)


def _marsaglia_tsang_wang(xp: Any, n: Any, d: Any) -> Any:
    """P(D_n < d), (F,), as n!/n**n times the middle entry of a matrix power (Marsaglia, Tsang and Wang 2003).

    The matrices of all columns have the size of the largest, zero beyond their own; no entry nears overflow.
    """
    k = xp.floor(n * d) + 1.0
    h, size = (k - n * d)[:, None, None], (2.0 * k - 1.0)[:, None, None]
    rows, columns = (xp.asarray(v, dtype=np.float64) for v in np.indices((_SIZE, _SIZE)))
    last = rows == size - 1.0
    entries = 1.0 - xp.where(columns == 0, h ** (rows + 1.0), 0.0)
    entries = entries - xp.where(last, h ** xp.maximum(size - columns, 0.0), 0.0)
    corner = xp.maximum(2.0 * h - 1.0, 0.0) ** size
    entries = entries + xp.where(last & (columns == 0), corner, 0.0)
    inside = (rows < size) & (columns < size) & (rows - columns + 1.0 >= 0)
    factorial = xp.asarray(_FACTORIAL)[xp.clip(rows - columns + 1.0, 0.0, None).astype(np.int64)]
    power = xp.where(inside, entries / factorial, 0.0)
    result = xp.zeros_like(power) + xp.eye(_SIZE)
    whole = n.astype(np.int64)[:, None, None]
    for bit in range(_SMALL.bit_length()):
        result = xp.where((whole >> bit) & 1 == 1, xp.matmul(result, power), result)
        power = xp.matmul(power, power) if bit + 1 < _SMALL.bit_length() else power
    middle = (k - 1.0).astype(np.int64)
    value = result[xp.arange(middle.shape[0]), middle, middle]
    scale = xp.asarray(_LOG_FACTORIAL)[n.astype(np.int64)] - n * xp.log(n)
    return xp.clip(xp.exp(scale) * value, 0.0, 1.0)


_FACTORIAL = np.array([math.factorial(k) for k in range(_SIZE + 1)], dtype=np.float64)
_LOG_FACTORIAL = np.array([math.lgamma(k + 1.0) for k in range(_SMALL + 1)])


def kuiper(v: Any, n: Any, m: Any) -> Any:
    """P(V >= v) of the two-sample Kuiper statistic; Stephens' (1970) small-sample form of the limit law."""
    xp = _module(v)
    v, n, m = xp.asarray(v, dtype=np.float64), xp.asarray(n), xp.asarray(m)
    pairs = n.astype(np.float64) * m
    root = xp.sqrt(pairs / xp.maximum(n.astype(np.float64) + m, 1.0))
    z = (root + 0.155 + 0.24 / xp.where(root > 0, root, 1.0)) * v
    squared = (xp.maximum(z, 0.4)[..., None] * xp.arange(1, 33, dtype=np.float64)) ** 2
    p = 2.0 * ((4.0 * squared - 1.0) * xp.exp(-2.0 * squared)).sum(-1)
    p = xp.where(z <= 0.4, 1.0, xp.clip(p, 0.0, 1.0))
    return xp.where((pairs > 0) & ~xp.isnan(v), p, np.nan)


def cramer_von_mises(t: Any, n: Any, m: Any) -> Any:
    """P(T >= t) of the two-sample statistic: standardised to the limit law by Anderson's (1962) moments.

    SciPy's asymptotic form; the tail keeps its relative precision because the survival function is integrated
    directly. Good from about 20 rows a side.
    """
    xp = _module(t)
    t, n, m = _floats(xp, t, n, m)
    pairs, total = n * m, n + m
    safe_pairs, safe = xp.where(pairs > 0, pairs, 1.0), xp.maximum(total, 2.0)
    mean = (1.0 + 1.0 / safe) / 6.0
    spread = (safe + 1.0) * (4.0 * pairs * safe - 3.0 * (n * n + m * m) - 2.0 * pairs)
    variance = spread / (45.0 * safe * safe * 4.0 * safe_pairs)
    standard = 1.0 / 6.0 + (t - mean) / xp.sqrt(45.0 * xp.where(variance > 0, variance, 1.0))
    p = _quadratic_tail(xp, standard, "cramer_von_mises")
    return xp.where((pairs > 0) & (variance > 0) & ~xp.isnan(t), p, np.nan)


def anderson_standardised(a2: Any, n: Any, m: Any) -> Any:
    """(A2 - 1) / sigma_N: the two-sample statistic in the form of SciPy's ``anderson_ksamp``.

    sigma_N is Scholz and Stephens' (1987), its double sum in closed form by harmonic numbers.
    NaN below 4 rows.
    """
    xp = _module(a2)
    a2, n, m = _floats(xp, a2, n, m)
    size = xp.maximum(n + m, 4.0)
    inverse = 1.0 / xp.maximum(n, 1.0) + 1.0 / xp.maximum(m, 1.0)
    h, h_next = _harmonic(xp, size - 1.0), _harmonic(xp, size)
    squares = np.pi**2 / 6.0 - _trigamma(xp, size + 1.0)
    g = h * h - h_next * h_next + squares
    a = (4 * g - 6) + (10 - 6 * g) * inverse
    b = (2 * g - 4) * 4 + 16 * h + (2 * g - 14 * h - 4) * inverse - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * 4 + (4 * h - 4 * g + 6) * 2 + (2 * h - 6) * inverse + 4 * h
    d = (2 * h + 6) * 4 - 8 * h
    variance = (a * size**3 + b * size**2 + c * size + d) / ((size - 1) * (size - 2) * xp.maximum(size - 3, 1.0))
    known = (n > 0) & (m > 0) & (n + m > 3)
    return xp.where(known, (a2 - 1.0) / xp.sqrt(xp.where(variance > 0, variance, 1.0)), np.nan)


def anderson_darling(statistic: Any) -> Any:
    """P(T >= statistic) of the standardised two-sample statistic, from the limit sum chi2_j / (j (j + 1)).

    Agrees with SciPy's interpolated table to 0.005 inside its range [0.001, 0.25] and goes on outside it.
    """
    xp = _module(statistic)
    statistic = xp.asarray(statistic, dtype=np.float64)
    sigma = math.sqrt(2.0 * (math.pi**2 - 9.0) / 3.0)
    return xp.where(xp.isnan(statistic), np.nan, _quadratic_tail(xp, 1.0 + sigma * statistic, "anderson_darling"))


def mann_whitney(u: Any, n: Any, m: Any, tie_cubes: Any) -> Any:
    """Two-sided P of U by the normal limit with the corrections for ties and continuity, as SciPy's.

    tie_cubes   sum over tie groups of t**3 - t. NaN when all values are equal.
    """
    xp = _module(u)
    u, n, m = _floats(xp, u, n, m)
    pairs, total = n * m, xp.maximum(n + m, 2.0)
    variance = pairs / 12.0 * ((total + 1.0) - tie_cubes / (total * (total - 1.0)))
    deviation = xp.maximum(xp.abs(u - 0.5 * pairs) - 0.5, 0.0)
    known = (pairs > 0) & (variance > 0)
    return xp.where(
        known, xp.minimum(normal_two_sided(deviation / xp.sqrt(xp.where(known, variance, 1.0))), 1.0), np.nan
    )


def normal_two_sided(z: Any) -> Any:
    """P(|Z| >= |z|) of the standard normal law, with relative precision in the tail."""
    erfc = _special(z, "erfc") or _erfc
    return erfc(abs(z) / math.sqrt(2.0))


def _erfc(x: Any) -> Any:
    return np.vectorize(math.erfc, otypes=[np.float64])(x)[()]


def chi_square(x: Any, df: Any) -> Any:
    """P(X >= x) of the chi-square law with `df` degrees of freedom; NaN where df is 0."""
    device = _special(x, "gammaincc")
    xp = _module(x)
    x, df = xp.broadcast_arrays(xp.asarray(x, dtype=np.float64), xp.asarray(df, dtype=np.float64))
    a, y = xp.where(df > 0, df, 1.0) / 2.0, xp.maximum(xp.where(xp.isnan(x), 0.0, x), 0.0) / 2.0
    p = device(a, y) if device is not None else _upper_gamma(a, y)
    return xp.where((df > 0) & ~xp.isnan(x), p, np.nan)[()]


def _upper_gamma(a: Any, x: Any) -> Any:
    """Regularised upper incomplete gamma Q(a, x): power series below a + 1, Lentz's fraction above."""
    a, x = np.asarray(a, np.float64), np.minimum(np.asarray(x, np.float64), 1e9)  # Q is 0 there, inf is not
    with np.errstate(divide="ignore", under="ignore", over="ignore", invalid="ignore"):
        lgamma = np.vectorize(math.lgamma, otypes=[np.float64])(a)
        front = np.where(x > 0, np.exp(a * np.log(x) - x - lgamma), 0.0)
    steps = int(20 + 12 * math.sqrt(float(a.max(initial=1.0))))
    low = np.minimum(x, a + 1.0)
    term = total = 1.0 / a
    for k in range(1, 4 * steps):
        term = term * low / (a + k)
        total = total + term
        if (term <= 1e-17 * total).all():
            break
    high = np.maximum(x, a + 1.0)
    b = high + 1.0 - a
    c, d = np.full_like(b, 1e300), 1.0 / b
    fraction, done = d, x < a + 1.0
    for k in range(1, 4 * steps):
        step = -k * (k - a)
        b = b + 2.0
        d = step * d + b
        d = 1.0 / np.where(np.abs(d) < 1e-300, 1e-300, d)
        c = b + step / c
        c = np.where(np.abs(c) < 1e-300, 1e-300, c)
        fraction = np.where(done, fraction, fraction * d * c)  # what has converged stays: no value sees its neighbours
        done |= np.abs(d * c - 1.0) <= 1e-15
        if done.all():
            break
    q = np.where(x < a + 1.0, 1.0 - front * total, front * fraction)
    return np.clip(q, 0.0, 1.0)


def _floats(xp: Any, *arrays: Any) -> list[Any]:
    return [xp.asarray(array, dtype=np.float64) for array in arrays]


def _harmonic(xp: Any, n: Any) -> Any:
    """1 + 1/2 + ... + 1/n for n >= 1, by the expansion at n + 8 and eight steps back."""
    shifted = n + 8.0
    square = 1.0 / (shifted * shifted)
    value = xp.log(shifted) + np.euler_gamma + 0.5 / shifted
    value = value - square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
    for k in range(1, 9):
        value = value - 1.0 / (n + k)
    return value


def _trigamma(xp: Any, x: Any) -> Any:
    """Sum of 1 / k**2 over k >= x."""
    shifted = x + 8.0
    square = 1.0 / (shifted * shifted)
    value = 1.0 / shifted + 0.5 * square
    value = value + square / shifted * (1 / 6 - square * (1 / 30 - square * (1 / 42 - square / 30)))
    for k in range(8):
        value = value + 1.0 / ((x + k) * (x + k))
    return value


@functools.cache
def _smirnov_nodes(law: str) -> tuple[Any, Any]:
    """Nodes u and weights w of Smirnov's formula P(sum lambda_j chi2_1 > x) = sum w exp(-x u / 2).

    With the Fredholm determinant D(u) = prod (1 - lambda_j u) the tail is an alternating sum of integrals of
    exp(-x u / 2) / (pi u sqrt(-D(u))) from each odd zero of D to the next; the square-root ends are
    integrated by Gauss and Chebyshev.
    """
    intervals, points = 40, 48
    odd = np.arange(1, 2 * intervals, 2, dtype=np.float64)
    if law == "cramer_von_mises":
        start, end = (odd * np.pi) ** 2, ((odd + 1) * np.pi) ** 2
    else:
        start, end = odd * (odd + 1), (odd + 1) * (odd + 2)
    angle = (np.arange(points) + 0.5) * np.pi / points
    u = (start + end)[:, None] / 2 + (end - start)[:, None] / 2 * np.cos(angle)
    if law == "cramer_von_mises":
        determinant = np.sin(np.sqrt(u)) / np.sqrt(u)
    else:
        determinant = -np.cos(np.pi / 2 * np.sqrt(1 + 4 * u)) / (np.pi * u)
    smooth = (u - start[:, None]) * (end[:, None] - u) / np.abs(determinant)
    sign = np.where(np.arange(intervals) % 2 == 0, 1.0, -1.0)[:, None]
    return u.ravel(), (sign * np.sqrt(smooth) / (points * u)).ravel()


def _quadratic_tail(xp: Any, x: Any, law: str) -> Any:
    nodes, weights = (xp.asarray(v) for v in _smirnov_nodes(law))
    smallest = {"cramer_von_mises": 0.012, "anderson_darling": 0.07}[law]  # below it p is 1 to double precision
    at = xp.maximum(xp.where(xp.isnan(x), smallest, x), smallest)[..., None]
    p = (weights * xp.exp(-0.5 * at * nodes)).sum(-1)
    return xp.where(x <= smallest, 1.0, xp.clip(p, 0.0, 1.0))


def adjust(p: Any, method: str = "bh") -> Any:
    """p-values corrected for looking at F columns; host arrays, shape (F,) -> (F,) float64.

    method   "bh" (Benjamini and Hochberg: false discovery rate, independent or positively dependent tests),
             "by" (Benjamini and Yekutieli: any dependence), "holm" or "bonferroni" (familywise error rate)
    NaN p-values stay NaN and do not count as tests. OptionError for values outside [0, 1].
    """
    check_option(method, "method", ("bh", "by", "holm", "bonferroni"))
    values = np.asarray(p, dtype=np.float64)
    tested = ~np.isnan(values)
    known = values[tested]
    if ((known < 0) | (known > 1)).any():
        raise OptionError("p: a value lies outside [0, 1] - pass p-values")
    result, count = np.full(values.shape, np.nan), known.size
    order = np.argsort(known, kind="stable")
    rank = np.arange(1, count + 1)
    if method == "bonferroni":
        corrected = known * count
    elif method == "holm":
        corrected = np.empty(count)
        corrected[order] = np.maximum.accumulate(known[order] * (count - rank + 1))
    else:
        weight = float((1.0 / rank).sum()) if method == "by" else 1.0
        corrected = np.empty(count)
        steps = known[order] * count / rank * weight
        corrected[order] = np.minimum.accumulate(steps[::-1])[::-1]
    result[tested] = np.minimum(corrected, 1.0)
    return result


def two_rates(hits_a: int, rows_a: int, hits_b: int, rows_b: int, *, enough: float = 5.0) -> float:
    """Two-sided P that two samples share one rate: chi-square where every expected count reaches `enough`,
    else exact.

    5 (Cochran 1954) is right to a fifth at a level of 1 %; a level far below, as where many rates are looked
    at, needs far more. The exact form doubles the smaller hypergeometric tail, at most 1. NaN where a sample
    is empty.
    """
    total, hits = rows_a + rows_b, hits_a + hits_b
    if rows_a == 0 or rows_b == 0:
        return math.nan
    if hits in (0, total):
        return 1.0
    if min(hits, total - hits) * min(rows_a, rows_b) >= enough * total:
        gap = hits_a / rows_a - hits_b / rows_b
        share = hits / total
        return float(chi_square(gap * gap / (share * (1 - share) * (1 / rows_a + 1 / rows_b)), 1))
    if rows_a < rows_b:
        rows_a, rows_b, hits_a, hits_b = rows_b, rows_a, hits_b, hits_a
    if 2 * hits > total:
        hits, hits_b = total - hits, rows_b - hits_b
    mean = hits * rows_b / total
    reach = 50 + 40 * math.sqrt(mean)  # what lies beyond has no weight in float64
    first, last = max(0, hits - rows_a, math.floor(mean - reach)), min(hits, rows_b, math.ceil(mean + reach))
    support = np.arange(first, last + 1, dtype=np.float64)
    log_weight = -_log_factorial(support) - _log_factorial(hits - support)
    log_weight = log_weight - _log_factorial(rows_b - support) - _log_factorial(rows_a - hits + support)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    return float(min(1.0, 2.0 * min(weight[support <= hits_b].sum(), weight[support >= hits_b].sum())))


def _log_factorial(k: Any) -> Any:
    """log k! of non-negative float64 whole numbers."""
    one = np.maximum(k, 1.0)
    stirling = (one + 0.5) * np.log(one) - one + 0.5 * math.log(2 * math.pi) + _stirling(np, one)
    return np.where(k > 1.0, stirling, 0.0)
