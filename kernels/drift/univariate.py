"""Rank statistics of two samples, column by column: exact under ties, exact for integers of any size.

Shapes: N reference rows, M live rows, F columns; inputs (N,) with (M,), or (N, F) with (M, F), results () or
(F,).

Common to every function here:

dtype      float16 .. float64, integers, booleans; float64 is never narrowed, integers are compared as
           integers; a pair of dtypes that cannot be compared exactly is a DTypeError
NaN        ``nan_policy``: "omit" leaves them out and counts them in the result, "propagate" makes the column
           NaN, "raise" is a MissingValueError (and reads the counts: a device synchronisation)
order      -0.0 equals 0.0; -inf and +inf are the smallest and the largest value
empty      a column without values on either side gives NaN
cost       two sorts and one merge a column, about 2 (N + M) words of memory; host work only on host arrays
device     no synchronisation on CUDA but where said; results stay on the device; work on CUDA tensors of torch runs
           on torch's current stream and takes its workspace from torch's allocator
backend    None follows the arrays; "reference", "cpu", "cuda" override it within the same memory
errors     ShapeError, DTypeError, DeviceError, OptionError, BackendUnavailable, MissingValueError
"""

from __future__ import annotations

from typing import Any

from kernels import pvalues
from kernels.arrays import Array, check_option
from kernels.drift.pairs import Pair, TestResult, paired
from kernels.sums import RankSums


def ks_2samp(
    reference: Array,
    live: Array,
    *,
    method: str = "auto",
    nan_policy: str = "omit",
    backend: str | None = None,
) -> TestResult:
    """Two-sided two-sample Kolmogorov-Smirnov: D = max_z |F(z) - G(z)|, as ``scipy.stats.ks_2samp``.

    method   of the p-value: "auto", "exact" or "asymp"; see `kernels.pvalues.kolmogorov_smirnov`. On CUDA "auto" is
             "asymp", computed on the device, and "exact" is refused
    Large columns are not sorted (on CUDA the reference is): cells bound D, and only rows near it are looked at; D
    stays exact. The p-value assumes continuous data and is conservative under ties.

    Example: reference [1, 2, 3], live [2, 3, 4] -> D = 1/3.
    """
    check_option(method, "method", ("auto", "exact", "asymp"))
    with paired(reference, live, "rank", nan_policy, backend) as pair:
        d_max, d_min, sizes = _extremes(pair, both=False)
        n, m = sizes[0], sizes[1]
        d = _share(pair.xp.maximum(d_max, -d_min), n, m, pair)
        return _result(pair, d, pvalues.kolmogorov_smirnov(d, n, m, method=method), *sizes)


def kuiper_2samp(reference: Array, live: Array, *, nan_policy: str = "omit", backend: str | None = None) -> TestResult:
    """Two-sample Kuiper: V = max(F - G) + max(G - F), as sensitive in the tails as in the middle.

    The p-value is Stephens' (1970), and conservative under ties.

    Example: reference [1, 4], live [2, 3] -> V = 1/2 + 1/2 = 1.
    """
    with paired(reference, live, "rank", nan_policy, backend) as pair:
        d_max, d_min, sizes = _extremes(pair, both=True)
        v = _share(d_max - d_min, sizes[0], sizes[1], pair)
        return _result(pair, v, pvalues.kuiper(v, sizes[0], sizes[1]), *sizes)


def cramervonmises_2samp(
    reference: Array, live: Array, *, nan_policy: str = "omit", backend: str | None = None
) -> TestResult:
    """Two-sample Cramer-von Mises T with midranks, as ``scipy.stats.cramervonmises_2samp``, method
    "asymptotic".

    Example: reference [1, 3], live [2, 4] -> T = 0.125.
    """
    with paired(reference, live, "rank", nan_policy, backend) as pair:
        sums, sizes = _sums(pair)
        return _result(pair, sums.cvm, pvalues.cramer_von_mises(sums.cvm, *sizes[:2]), *sizes)


def anderson_2samp(
    reference: Array, live: Array, *, nan_policy: str = "omit", backend: str | None = None
) -> TestResult:
    """Two-sample Anderson-Darling with midranks (Scholz and Stephens 1987, eq. 7), standardised.

    The statistic is that of ``scipy.stats.anderson_ksamp`` (midranks); the p-value comes from the limit law
    and is neither interpolated in a table nor clamped to [0.001, 0.25]. NaN below 4 rows in all, and where
    all values are equal.
    """
    with paired(reference, live, "rank", nan_policy, backend) as pair:
        sums, sizes = _sums(pair)
        n, m = sizes[:2]
        varied = ~_all_equal(sums, n + m)
        statistic = pair.xp.where(varied, pvalues.anderson_standardised(sums.ad, n, m), pair.xp.nan)
        return _result(pair, statistic, pvalues.anderson_darling(statistic), *sizes)


def mannwhitneyu(reference: Array, live: Array, *, nan_policy: str = "omit", backend: str | None = None) -> TestResult:
    """Mann-Whitney U of the reference, as ``scipy.stats.mannwhitneyu(reference, live, method="asymptotic")``.

    U counts pairs with reference > live, ties half; 1 - U / (N M) is the probability that a live value is the
    larger one. Corrected for ties and continuity. The p-value is NaN where all values are equal.

    Example: reference [1, 2, 3], live [2, 3, 4] -> U = 2.
    """
    with paired(reference, live, "rank", nan_policy, backend) as pair:
        sums, sizes = _sums(pair)
        n, m = sizes[:2]
        u = n.astype("float64") * m - 0.5 * sums.counts.u2
        return _result(pair, u, pvalues.mann_whitney(u, n, m, sums.tie_cubes), *sizes)


def wasserstein_distance(reference: Array, live: Array, *, nan_policy: str = "omit", backend: str | None = None) -> Any:
    """First Wasserstein distance, the integral of |F - G|, in the unit of the column; float64 () or (F,).

    As ``scipy.stats.wasserstein_distance``, but integers are subtracted as integers, and infinite values that
    both sides hold in equal shares cancel; where they do not the distance is inf.

    Example: reference [0, 1, 3], live [5, 6, 8] -> 5.
    """
    with paired(reference, live, "rank", nan_policy, backend) as pair:
        sums, sizes = _sums(pair)
        return pair.finish(sums.wasserstein, *sizes[2:], (sizes[0] > 0) & (sizes[1] > 0))


def energy_distance(reference: Array, live: Array, *, nan_policy: str = "omit", backend: str | None = None) -> Any:
    """Energy distance sqrt(2 int (F - G)**2), in the square root of the column's unit; float64 () or (F,).

    As ``scipy.stats.energy_distance``; infinite values as in `wasserstein_distance`.

    Example: reference [0], live [8] -> 4.
    """
    with paired(reference, live, "rank", nan_policy, backend) as pair:
        sums, sizes = _sums(pair)
        distance = pair.xp.sqrt(2.0 * sums.energy)
        return pair.finish(distance, *sizes[2:], (sizes[0] > 0) & (sizes[1] > 0))


def _sums(pair: Pair) -> tuple[RankSums, tuple[Any, Any, Any, Any]]:
    """All sums, and (n, m, missing in the reference, missing in the live window)."""
    module = pair.primitive
    reference = module.sort_columns(module.split_columns(pair.reference))
    live = module.sort_columns(module.split_columns(pair.live))
    return module.rank_sums(reference, live), (reference.n, live.n, reference.missing, live.missing)


def _extremes(pair: Pair, *, both: bool) -> tuple[Any, Any, tuple[Any, Any, Any, Any]]:
    module = pair.primitive
    found = module.extremes(module.split_columns(pair.reference), module.split_columns(pair.live), both=both)
    sizes = (found.n, found.m, found.missing_reference, found.missing_live)
    return found.d_max, found.d_min, sizes


def _share(d: Any, n: Any, m: Any, pair: Pair) -> Any:
    """An integer d as a share of n m; one rounding. NaN where a side is empty."""
    pairs = n.astype("float64") * m
    return pair.xp.where(pairs > 0, d / pair.xp.where(pairs > 0, pairs, 1.0), pair.xp.nan)


def _all_equal(sums: RankSums, total: Any) -> Any:
    size = total.astype("float64")
    return sums.tie_cubes >= size * size * size - size


def _result(
    pair: Pair, statistic: Any, pvalue: Any, n: Any, m: Any, missing_reference: Any, missing_live: Any
) -> TestResult:
    known = (n > 0) & (m > 0)
    return pair.test(statistic, pvalue, n, m, missing_reference, missing_live, known)
