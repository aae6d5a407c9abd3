"""Worst-slice search: parts of the rows that nobody declared, in which the model does badly.

One half of the rows (whole clusters, by a hash of their id) proposes: every level of every feature and every crossing
of two is counted at once (a table of counts and of sums per pair), and the `find_slices` most striking ones are kept,
each at least `find_effect` standard deviations of the loss bad. The other half, which has had no say in the choice,
tests them: one-sided, by cluster, Holm's correction over all that were proposed. So the chance that any slice is named
in which the model is not worse is at most alpha = (1 - confidence_level) / 2, however many were looked through (Slice
Finder, Chung et al. 2019, with a split in place of alpha-investing).

Two numbers of a row are looked at, and each is bad in a slice whose mean exceeds that of all other rows:

    loss         the challenger's
    regression   the challenger's loss minus the champion's

The loss is that of a row under the primary metric: 0 or 1 for metrics of labels, log loss for the others of a
classifier, absolute or squared error in regression. Student's law stands in for the normal one. Cost:
about 6 ns a row of the proposing half (at most SEARCHED) and pair.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.evaluate.conf import EvaluateConf
from engine.records import Estimate, FoundSlice, Task
from engine.scoring import student
from engine.scoring.intervals import Rows
from engine.scoring.scores import OF_LABELS, as_scored, as_truth, row_losses
from kernels.pvalues import adjust

SEARCHED = 200_000  # rows that propose, at most: what they cannot see is too small to matter
MOST_PAIRED = 20  # features that are crossed: those with the most striking levels
MOST_LEVELS = 30  # of a categorical feature; rarer ones share a level that is never named
MIN_UNITS = 20  # clusters (or rows) of a slice and of the rest, below which no normal law holds
REST = "(rarer levels)"


@dataclass(frozen=True)
class Feature:
    """A column cut into levels: codes (N,) from 0, and the words for each."""

    name: str
    codes: np.ndarray
    levels: tuple[str, ...]


def numeric_feature(name: str, values: np.ndarray, bins: int) -> Feature:
    """Quantile bins of numbers (N,), NaN being a level of its own."""
    sample = values[:: max(1, len(values) // 100_000)]
    known = sample[np.isfinite(sample)]
    edges = np.unique(np.quantile(known, np.arange(1, bins) / bins)) if len(known) else np.empty(0)
    codes = np.searchsorted(edges, values, side="left")
    codes[np.isnan(values)] = len(edges) + 1
    shown = [f"{edge:.4g}" for edge in edges]
    inner = [f"{low} < {name} <= {high}" for low, high in itertools.pairwise(shown)]
    outer = (f"{name} <= {shown[0]}", f"{name} > {shown[-1]}") if shown else (f"{name} known", "")
    levels = [outer[0], *inner, outer[1]] if shown else [outer[0]]
    return Feature(name, codes, (*levels, f"{name} missing"))


def categorical_feature(name: str, codes: np.ndarray, names: Sequence[str]) -> Feature:
    """The levels that occur most, of codes (N,) into `names`."""
    counts = np.bincount(codes, minlength=len(names))
    kept = np.argsort(-counts, kind="stable")[:MOST_LEVELS]
    place = np.full(len(names), len(kept))
    place[kept] = np.arange(len(kept))
    return Feature(name, place[codes], (*(f"{name} = {names[i]}" for i in kept.tolist()), f"{name} = {REST}"))


def search(
    features: Sequence[Feature],
    rows: Rows,
    prediction: np.ndarray,
    champion: np.ndarray | None,
    conf: EvaluateConf,
) -> tuple[tuple[FoundSlice, ...], int]:
    """The confirmed slices, worst first, and how many were looked through.

    Nothing where a prediction is not finite or rows are too few: other estimates say so.
    """
    if not features or conf.find_slices == 0 or len(rows) < 4 * MIN_UNITS:
        return (), 0
    if not all(np.isfinite(p).all() for p in (prediction, champion) if p is not None):
        return (), 0
    loss = losses(conf.primary, rows, prediction)
    measures = {"loss": loss}
    if champion is not None:
        measures["regression"] = loss - losses(conf.primary, rows, champion)
    unit = rows.ids if rows.cluster is None else rows.cluster
    proposes = _half(unit, conf.seed)
    at = np.flatnonzero(proposes)
    at = at[:: max(1, -(-len(at) // SEARCHED))]
    seen = [Feature(f.name, f.codes[at], f.levels) for f in features]
    tested, looked = [], 0
    for by, values in measures.items():
        proposed, count = _propose(seen, values[at], conf)
        looked += count
        tested += [_test(by, cell, features, values, ~proposes, rows.cluster, conf.find_effect) for cell in proposed]
    return _confirmed(tested, conf), looked


def losses(primary: str, rows: Rows, prediction: np.ndarray) -> np.ndarray:
    """Loss of each row (N,), float64."""
    if rows.task is Task.REGRESSION:
        error: np.ndarray = np.abs(rows.target - prediction).astype(np.float64)
        return error if primary in ("mean_absolute_error", "mean_pinball_loss") else np.square(error)
    truth = as_truth(rows.task, rows.target)
    if primary in OF_LABELS:
        return np.asarray(as_scored("accuracy_score", rows.task, prediction) != truth, dtype=np.float64)
    table = prediction if prediction.ndim == 2 else np.stack([1.0 - prediction, prediction], axis=1)
    return np.asarray(row_losses("log_loss", truth, table), dtype=np.float64)


# ---- propose ------------------------------------------------------------------------------------------------------

Cell = tuple[tuple[int, int], ...]  # (feature, level), one or two of them


def _half(unit: np.ndarray, seed: int) -> np.ndarray:
    """True (N,) for the units that propose: a hash of their id (splitmix64), so that their order does not matter."""
    x = unit.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    top: np.ndarray = (x ^ (x >> np.uint64(31))) >> np.uint64(63)
    return np.asarray(top == 0, dtype=bool)


def _propose(features: Sequence[Feature], values: np.ndarray, conf: EvaluateConf) -> tuple[list[Cell], int]:
    """The most striking cells, and how many there were with rows enough."""
    single: dict[Cell, tuple[float, float]] = {}  # cell -> effect, z
    best = []
    for i, feature in enumerate(features):
        found = dict(_cells(feature.codes, len(feature.levels), values, conf))
        single |= {((i, code),): numbers for code, numbers in found.items() if _named(feature, code)}
        best.append(max((z for _, z in found.values()), default=-math.inf))
    crossed = sorted(np.argsort(-np.array(best), kind="stable")[:MOST_PAIRED].tolist())
    cells = dict(single)
    for i, j in itertools.combinations(crossed, 2):
        a, b = features[i], features[j]
        width = len(b.levels)
        for code, numbers in _cells(a.codes * width + b.codes, len(a.levels) * width, values, conf):
            sides = ((i, code // width), (j, code % width))
            if _named(a, sides[0][1]) and _named(b, sides[1][1]):
                cells[sides] = numbers
    least = conf.find_effect * float(values.std())
    bad = [cell for cell, (effect, _) in cells.items() if effect >= least and effect > 0 and _adds(cell, cells, least)]
    bad.sort(key=lambda cell: (-cells[cell][1], cell))
    return bad[: conf.find_slices], len(cells)


def _cells(
    codes: np.ndarray, count: int, values: np.ndarray, conf: EvaluateConf
) -> Iterator[tuple[int, tuple[float, float]]]:
    """(code, (effect, z)) of every level that has rows enough, and leaves enough."""
    n = np.bincount(codes, minlength=count)
    total = np.bincount(codes, weights=values, minlength=count)
    least = max(2, min(conf.min_slice_rows // 2, len(codes) // 4))
    enough = np.flatnonzero((n >= least) & (len(codes) - n >= least))
    inside, outside = n[enough], len(codes) - n[enough]
    effect = total[enough] / inside - (values.sum() - total[enough]) / outside
    error = max(float(values.std()), 1e-300) * np.sqrt(1.0 / inside + 1.0 / outside)
    yield from zip(enough.tolist(), zip(effect.tolist(), (effect / error).tolist(), strict=True), strict=True)


def _named(feature: Feature, code: int) -> bool:
    return not feature.levels[code].endswith(REST)


def _adds(cell: Cell, cells: Mapping[Cell, tuple[float, float]], least: float) -> bool:
    """Is a crossing worse than each of its sides by something: else the simpler slice says it all."""
    sides = [cells[(side,)][0] for side in cell if (side,) in cells] if len(cell) > 1 else []
    return all(cells[cell][0] > side + 0.5 * least for side in sides)


# ---- test ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tested:
    """A cell on the half that did not propose it."""

    by: str
    cell: Cell
    name: str
    n: int
    mean: float  # in the slice
    mean_error: float
    effect: float  # minus the mean of the rest
    error: float
    units: int  # clusters or rows of the smaller side
    least: float

    @property
    def pvalue(self) -> float:
        """One-sided; 1 where there are too few units."""
        if self.units < MIN_UNITS or not self.effect > 0:
            return 1.0
        return student.sf(self.effect / self.error, self.units - 1) if self.error > 0 else 0.0


def _test(
    by: str,
    cell: Cell,
    features: Sequence[Feature],
    values: np.ndarray,
    tests: np.ndarray,
    cluster: np.ndarray | None,
    floor: float,
) -> _Tested:
    inside = tests.copy()
    for i, code in cell:
        inside &= features[i].codes == code
    (mean, own, units), (rest, other, more) = (_part(values, m, cluster) for m in (inside, tests & ~inside))
    return _Tested(
        by=by,
        cell=cell,
        name=" and ".join(features[i].levels[code] for i, code in cell),
        n=int(inside.sum()),
        mean=mean,
        mean_error=math.sqrt(float(np.square(own).sum())),
        effect=mean - rest,
        error=math.sqrt(float(np.square(own - other).sum())),
        units=min(units, more),
        least=floor * float(values[tests].std()),
    )


def _part(values: np.ndarray, mask: np.ndarray, cluster: np.ndarray | None) -> tuple[float, np.ndarray, int]:
    """The mean of the rows in `mask`, what each unit adds to its error, and how many units there are."""
    n = int(mask.sum())
    units = n if cluster is None else len(np.unique(cluster[mask]))
    if units < 2:
        return math.nan, np.full(1, math.nan), units
    mean = float(values[mask].mean())
    by_row = np.where(mask, (values - mean) / n, 0.0) * math.sqrt(units / (units - 1))
    return mean, by_row if cluster is None else np.bincount(cluster, weights=by_row), units


def _confirmed(tested: Sequence[_Tested], conf: EvaluateConf) -> tuple[FoundSlice, ...]:
    """Those that hold after Holm's correction, worst first; a crossing where it is worse than its confirmed sides."""
    if not tested:
        return ()
    alpha = (1.0 - conf.confidence_level) / 2.0
    adjusted = adjust(np.array([t.pvalue for t in tested]), method="holm").tolist()
    pairs = [(t, p) for t, p in zip(tested, adjusted, strict=True) if p <= alpha and t.effect >= t.least]
    sides = {(t.by, t.cell): t.effect for t, _ in pairs if len(t.cell) == 1}
    level = 1.0 - alpha / len(tested)
    found = []
    for t, p in pairs:
        far = student.ppf(level, t.units - 1)
        known = [sides[t.by, (side,)] for side in t.cell if (t.by, (side,)) in sides] if len(t.cell) > 1 else []
        if any(t.effect - far * t.error <= side for side in known):
            continue
        numbers = ((t.effect, t.error), (t.mean, t.mean_error))
        effect, mean = (_interval(value, far * error, t.n, len(tested), conf) for value, error in numbers)
        found.append(FoundSlice(by=t.by, slice=t.name, effect=effect, mean=mean, pvalue=p))
    return tuple(sorted(found, key=lambda f: (f.by, -f.effect.value)))


def _interval(value: float, half: float, n: int, many: int, conf: EvaluateConf) -> Estimate:
    """One of `many` that hold together (Bonferroni)."""
    return Estimate(
        name="loss",
        value=value,
        low=value - half,
        high=value + half,
        n=n,
        confidence_level=conf.confidence_level,
        method=f"the half that did not propose it, {many} intervals that hold together",
    )
