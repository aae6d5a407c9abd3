"""Distances between histograms on reference quantiles, column by column.

Shapes: N reference rows, M live rows, F columns, B bins; inputs (N,) with (M,), or (N, F) with (M, F),
results () or (F,) float64. NaN policy, dtypes, devices and errors as in `kernels.drift.univariate`. On CUDA edges,
counts, distances and p-values stay on the device, and the host does not wait.

Bins are defined here once. ``bins=B`` takes the reference order statistics at floor(k n / B), k = 1 .. B - 1,
as edges: values of the column, never interpolated. A bin is [e, next e), the first and last are open, so live
values outside the reference range have a bin. A value so frequent that it fills two quantiles gets a bin of
its own between itself and the next representable number: a constant column has the bins below, equal, above.
``bins=edges`` takes a sorted sequence for every column, or a list of one a column. NumPy's quantiles
interpolate and its last bin is closed: results differ from tools that use those, by little.

``pseudocount`` (0.5, Krichevsky and Trofimov) is added to every bin on both sides, so that an empty bin is
finite; 0 gives the plain definition, inf where a logarithm meets an empty bin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from kernels import dispatch, pvalues
from kernels.arrays import Array, device_of, namespace
from kernels.drift.pairs import Pair, TestResult, paired
from kernels.drift.quantiles import quantile_bins, quantile_grid, quantile_positions
from kernels.errors import OptionError, ShapeError

Bins = int | Sequence[Any]

Formula = Callable[[Any, Any], Any]
"""(F, B) shares of the reference and of the live window -> (F,) distances."""

FORMULAS: dict[str, Formula] = {}
"""Short name -> formula of each distance below."""


class Distance(Protocol):
    """How every distance of this module is called."""

    def __call__(
        self,
        reference: Array,
        live: Array,
        *,
        bins: Bins = 10,
        pseudocount: float = 0.5,
        nan_policy: str = "omit",
        backend: str | None = None,
    ) -> Any: ...


def _distance(name: str) -> Callable[[Formula], Distance]:
    """Make a formula of shares the public distance of two windows, with its name and its docstring."""

    def public(formula: Formula) -> Distance:
        FORMULAS[name] = formula

        def distance(
            reference: Array,
            live: Array,
            *,
            bins: Bins = 10,
            pseudocount: float = 0.5,
            nan_policy: str = "omit",
            backend: str | None = None,
        ) -> Any:
            if not pseudocount >= 0:
                raise OptionError(f"pseudocount: {pseudocount!r} - use 0 or a positive number")
            with paired(reference, live, "rank", nan_policy, backend) as pair:
                counted = _histograms(pair, bins)
                values = distances(name, counted.p, counted.q, pseudocount, counted.bins)
                known = (counted.p.sum(1) > 0) & (counted.q.sum(1) > 0)
                return pair.finish(values, counted.missing_reference, counted.missing_live, known)

        distance.__name__ = distance.__qualname__ = formula.__name__
        distance.__doc__ = formula.__doc__
        return distance

    return public


@_distance("psi")
def psi(p: Any, q: Any) -> Any:
    """Population stability index, sum (q - p) log(q / p): symmetric, in nats, 0 when equal.

    Under no drift PSI (1/n + 1/m)**-1 is about chi-square with B - 1 degrees of freedom (Yurdakul 2018), so
    the common thresholds 0.1 and 0.25 mean nothing without the sizes: `DriftTable` gives the p-value.
    """
    return np.where(p == q, 0.0, (q - p) * (np.log(q) - np.log(p))).sum(1)


@_distance("kl")
def kl_divergence(p: Any, q: Any) -> Any:
    """Kullback-Leibler divergence of the live from the reference histogram, sum q log(q / p), in nats."""
    return np.maximum(_relative_entropy(q, p), 0.0)


@_distance("js")
def jensen_shannon_distance(p: Any, q: Any) -> Any:
    """Square root of the Jensen-Shannon divergence in base 2: a metric between 0 and 1.

    As ``scipy.spatial.distance.jensenshannon(p, q, base=2)`` of the two histograms.
    """
    middle = 0.5 * (p + q)
    divergence = 0.5 * (_relative_entropy(p, middle) + _relative_entropy(q, middle))
    return np.sqrt(np.clip(divergence / np.log(2.0), 0.0, 1.0))


@_distance("hellinger")
def hellinger_distance(p: Any, q: Any) -> Any:
    """Hellinger distance sqrt(sum (sqrt p - sqrt q)**2 / 2): a metric between 0 and 1."""
    return np.sqrt(np.clip(0.5 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(1), 0.0, 1.0))


def chisquare(
    reference: Array,
    live: Array,
    *,
    bins: Bins = 10,
    nan_policy: str = "omit",
    backend: str | None = None,
) -> TestResult:
    """Chi-square test that both windows share the bin probabilities; both are samples, at their own sizes.

    Equals ``scipy.stats.chi2_contingency`` (no continuity correction) of the 2 x B table without bins that
    both sides leave empty. NaN where fewer than two bins are filled.

    Edges on the quantiles of a small reference fit it too well: below about 300 reference rows this test alarms too
    often (11 to 14 % at a level of 5 % for 60 reference rows and 300 to 1000 live rows, 10 bins). `Profile` has a
    p-value that holds there, too (`kernels.drift.values.binned_chance`).
    """
    with paired(reference, live, "rank", nan_policy, backend) as pair:
        p, q, _, missing, missing_live = _histograms(pair, bins)
        statistic, df = chi_square_statistic(p, q)
        n, m = p.sum(1), q.sum(1)
        known = (n > 0) & (m > 0) & (df > 0)
        return pair.test(statistic, pvalues.chi_square(statistic, df), n, m, missing, missing_live, known)


def given_edges(bins: Sequence[Any], columns: int, dtype: Any) -> list[Any]:
    """The caller's edges as one ascending host array a column; OptionError unless strictly ascending."""
    nested = len(bins) > 0 and np.ndim(bins[0]) > 0
    listed = list(bins) if nested else [bins] * columns
    if len(listed) != columns:
        raise ShapeError(f"bins: {len(listed)} lists of edges for {columns} columns - pass one a column")
    edges = [_rounded(np.asarray(edge), np.dtype(dtype)) for edge in listed]
    for edge in edges:
        if edge.ndim != 1 or edge.size == 0 or not (edge[1:] > edge[:-1]).all():
            raise OptionError("bins: edges must ascend strictly and hold no NaN - sort them and drop repeats")
    return edges


def _rounded(edge: Any, dtype: Any) -> Any:
    """Edges in the dtype of their column: an integer lies below a fraction where it lies below the next integer."""
    if dtype.kind in "iu" and edge.dtype.kind == "f":
        if not np.isfinite(edge).all():
            raise OptionError("bins: edges of an integer column must be finite - leave out NaN and infinity")
        edge = np.ceil(edge)
    return edge.astype(dtype)


def padded(counts: Sequence[Any]) -> Any:
    """Ragged counts as an (F, B) host int64 matrix, filled up with zeros on the right; device counts synchronise."""
    matrix = np.zeros((len(counts), max((c.shape[0] for c in counts), default=0)), np.int64)
    for row, c in zip(matrix, counts, strict=True):
        row[: c.shape[0]] = c if isinstance(c, np.ndarray) else c.get()
    return matrix


def distances(name: str, p: Any, q: Any, pseudocount: float, bins: Any) -> Any:
    """The named distance of (F, B) counts of the reference `p` and the live window `q`; float64 (F,).

    bins   (F,) the number of bins of each column; entries beyond it are no bins
    Host or device arrays: NumPy's functions follow the array that they get.
    """
    xp = namespace(device_of(p))
    inside = xp.arange(p.shape[1]) < xp.asarray(bins)[:, None]
    a, b = (xp.where(inside, counts + pseudocount, 0.0) for counts in (p, q))
    with np.errstate(divide="ignore", invalid="ignore"):
        return FORMULAS[name](a / a.sum(1, keepdims=True), b / b.sum(1, keepdims=True))


def _relative_entropy(p: Any, q: Any) -> Any:
    return np.where(p > 0, p * (np.log(p) - np.log(q)), 0.0).sum(1)


def chi_square_statistic(p: Any, q: Any) -> tuple[Any, Any]:
    """Homogeneity statistic and degrees of freedom of (F, B) counts; bins empty on both sides do not
    count."""
    n, m = p.sum(1, dtype=np.float64), q.sum(1, dtype=np.float64)
    pooled = (p + q).astype(np.float64)
    filled = pooled > 0
    gap = p / np.maximum(n, 1.0)[:, None] - q / np.maximum(m, 1.0)[:, None]
    terms = np.where(filled, gap * gap / np.where(filled, pooled, 1.0), 0.0)
    return n * m * terms.sum(1), filled.sum(1) - 1


class Histograms(NamedTuple):
    """Both windows between the same edges, where the windows live."""

    p: Any
    """(F, B) int64 reference counts; 0 beyond the bins of a column"""
    q: Any
    """(F, B) int64 live counts"""
    bins: Any
    """(F,) bins of each column"""
    missing_reference: Any
    missing_live: Any
    """(F,) int64"""


def _histograms(pair: Pair, bins: Bins) -> Histograms:
    """Counts of both windows. Finding the edges in the reference counts it on the way."""
    if pair.backend == "cuda":
        return _device_histograms(pair, bins)
    histogram = dispatch.load("histogram", pair.backend)
    if isinstance(bins, int | np.integer):
        split = pair.primitive.split_columns(pair.reference)
        found = pair.primitive.order_statistics(split, lambda n: quantile_positions(n, int(bins)), keep=False)
        edges, reference = quantile_bins(found, int(bins))
    else:
        edges = given_edges(bins, pair.reference.shape[1], str(pair.reference.dtype))
        reference = histogram.bin_counts(pair.reference, edges)
    live = histogram.bin_counts(pair.live, edges)
    used = np.array([c.shape[0] for c in reference.counts], dtype=np.int64)
    return Histograms(padded(reference.counts), padded(live.counts), used, reference.missing, live.missing)


def _device_histograms(pair: Pair, bins: Bins) -> Histograms:
    """As above with edges that stay on the device, as a matrix of fixed width: the host does not wait for them."""
    xp, histogram = pair.xp, dispatch.load("histogram", pair.backend)
    if isinstance(bins, int | np.integer):
        quantile_positions(0, int(bins))  # refuses a bad number
        ordered = pair.primitive.sort_columns(pair.primitive.split_columns(pair.reference))
        at, low, high = pair.primitive.quantiles(ordered, int(bins))
        edges, below, used = quantile_grid(xp, at, low, high, ordered.n)
        borders = xp.concatenate([xp.zeros_like(below[:, :1]), below, ordered.n[:, None]], axis=1)
        p, missing = borders[:, 1:] - borders[:, :-1], ordered.missing
    else:
        listed = given_edges(bins, pair.reference.shape[1], str(pair.reference.dtype))
        edges, used = histogram.edge_matrix(listed)
        p, missing = histogram.bin_matrix(pair.reference, edges, used)
    q, missing_live = histogram.bin_matrix(pair.live, edges, used)
    return Histograms(p, q, used + 1, missing, missing_live)
