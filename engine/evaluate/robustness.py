"""What the rules of a gate ask for beyond metrics and single slices: guarded slices, and perturbed rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from engine.errors import DataError
from engine.evaluate.conf import EvaluateConf
from engine.records import AskedPerturbed, AskedSlice, Estimate, Perturbation, Perturbed, SliceEstimate
from engine.scoring.intervals import Rows, compare, difference, estimate

POOLED = "(small ones together)"


@dataclass(frozen=True)
class Elsewhere:
    """Labelled rows of another window, and what the model and its champion predict for them."""

    rows: Rows
    prediction: np.ndarray
    champion: np.ndarray | None = None  # there is none


Predictions = Mapping[str, np.ndarray | Elsewhere | str]
"""By the name of a perturbation: predictions (N,) or (N, C) of the perturbed rows, those of another window, or the
reason why there are none.
"""


def guarded(
    asked: AskedSlice,
    rows: Rows,
    prediction: np.ndarray,
    champion: np.ndarray | None,
    columns: Mapping[str, np.ndarray],
    conf: EvaluateConf,
) -> tuple[SliceEstimate, ...]:
    """A metric by the levels of one column or a crossing; undecidable below `min_slice_rows`, or pooled."""
    if not len(rows) or any(name not in columns for name in asked.columns):
        return ()
    levels = crossed([columns[name] for name in asked.columns])
    _, codes, counts = np.unique(levels, return_inverse=True, return_counts=True)
    few = counts < conf.min_slice_rows
    if asked.pool and few.any():
        levels = np.where(few[codes], POOLED, levels.astype(object)).astype(str)
    found = []
    for level in np.unique(levels).tolist():
        mask = levels == level
        part, metric = rows.take(mask), asked.metric
        reason = f"too few rows ({len(part)} of {conf.min_slice_rows})" if len(part) < conf.min_slice_rows else ""
        if reason:
            nothing = unknown(metric, len(part), conf, reason)
            own, apart = nothing, None if champion is None else nothing
        else:
            own = estimate(metric, part, prediction[mask], conf)
            apart = None if champion is None else difference(metric, part, champion[mask], prediction[mask], conf)
        found.append(SliceEstimate(column=asked.name, level=level, estimate=own, difference=apart))
    return tuple(found)


def crossed(columns: list[np.ndarray]) -> np.ndarray:
    """Levels (N,) of a crossing as text, `a x b`."""
    levels = columns[0]
    for column in columns[1:]:
        levels = np.char.add(np.char.add(levels, " x "), column)
    return levels


def perturbed(
    asked: AskedPerturbed, rows: Rows, prediction: np.ndarray, predictions: Predictions, conf: EvaluateConf
) -> Perturbed:
    """A metric under a perturbation, and its difference to the rows as they are.

    Of another window: its difference to the champion on those same rows, paired; what the window itself makes harder is
    then no fault of the model. Where there is no champion, the difference of the windows.
    """
    name, metric = asked.perturbation.name, asked.metric
    other = predictions.get(name, "it was not tried")
    if isinstance(other, str):
        nothing = unknown(metric, len(rows), conf, other)
        return Perturbed(perturbation=name, estimate=nothing, difference=nothing)
    if isinstance(other, Elsewhere) and other.champion is not None:
        both, _, there = compare(metric, other.rows, other.champion, other.prediction, conf)
        both = replace(both, method=f"{both.method}; beside the champion, on the {name}")
        return Perturbed(perturbation=name, estimate=there, difference=both)
    if isinstance(other, Elsewhere):
        here, there = estimate(metric, rows, prediction, conf), estimate(metric, other.rows, other.prediction, conf)
        return Perturbed(perturbation=name, estimate=there, difference=independent(there, here))
    return Perturbed(
        perturbation=name,
        estimate=estimate(metric, rows, other, conf),
        difference=difference(metric, rows, prediction, other, conf),
    )


def independent(there: Estimate, here: Estimate) -> Estimate:
    """there - here of two samples without a common row, from their own intervals (MOVER: Zou and Donner 2008).

    Where clusters have rows in both samples these move together, and the interval is wider than it need be.
    """
    reason = there.reason or here.reason
    below = math.hypot(there.value - there.low, here.high - here.value)
    above = math.hypot(there.high - there.value, here.value - here.low)
    value = there.value - here.value
    return Estimate(
        name=there.name,
        value=value,
        low=value - below,
        high=value + above,
        n=min(there.n, here.n),
        confidence_level=there.confidence_level,
        method=f"two intervals of independent rows (MOVER), {there.method or here.method}",
        reason=reason,
    )


def perturb(table: pa.Table, what: Perturbation, scales: Mapping[str, float], seed: int) -> pa.Table:
    """The rows with noise on numbers, or with columns gone missing (null); DataError for a column that is not there.

    Args:
        table: raw rows.
        what: "noise" or "missing".
        scales: standard deviation of each numeric feature on the training rows.
        seed: of the noise; the same rows get the same noise.
    """
    columns = what.columns or tuple(scales)
    for place, name in enumerate(columns):
        if name not in table.column_names or (what.kind == "noise" and name not in scales):
            cure = "name a numeric feature" if what.kind == "noise" else "name a feature of the model"
            raise DataError(name, f"cannot be put under {what.kind}", cure)
        at, column = table.column_names.index(name), table.column(name)
        if what.kind == "missing":
            new = pa.nulls(table.num_rows, column.type)
        else:
            noise = np.random.default_rng([seed, place]).normal(0.0, what.scale * scales[name], table.num_rows)
            values = np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
            new = pa.array(values + noise, mask=np.isnan(values))
        table = table.set_column(at, name, new)
    return table


def unknown(metric: str, n: int, conf: EvaluateConf, reason: str) -> Estimate:
    """A number that cannot be known, and why."""
    nan = math.nan
    level = conf.confidence_level
    return Estimate(name=metric, value=nan, low=nan, high=nan, n=n, confidence_level=level, method="", reason=reason)
