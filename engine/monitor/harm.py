"""What a drift can cost this model: the importance of each column, times how many rows of it lie elsewhere.

Importance is the permutation importance of Breiman (2001) in the form of Fisher, Rudin and Dominici (2019): the points
of the metric that the model loses when a column is shuffled over the rows, so that it tells nothing. A raw column is
shuffled before it is encoded, so that all that is made of it goes together. A drift moves at most `effect` of the rows;
where the model lost on each of them what shuffling costs, it would lose importance x effect.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from engine.monitor.drift import MISSING
from engine.records import DriftReport
from engine.scoring.intervals import Rows
from engine.scoring.scores import GREATER_IS_BETTER, score

ROWS = 2000
"""Rows that are shuffled: a standard error of about one point of an AUROC, at F + 1 predictions of these rows."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Column -> points of `metric` that the model loses without it, at least 0; NaN where it cannot be known."""

    metric: str
    points: Mapping[str, float]


def importance(
    predict: Callable[[pa.Table], np.ndarray],
    table: pa.Table,
    rows: Rows,
    columns: Sequence[str],
    metric: str,
    *,
    seed: int = 0,
) -> Importance:
    """Of each column for one model on labelled rows that it was not trained on.

    predict   (N,) or (N, C) predictions of a table
    table     the rows before they are encoded; a seeded sample of ROWS of them is used
    rows      their labels, in the same order

    The shuffle of a column depends on the seed and its name alone: the same rows give the same numbers, whatever other
    columns there are.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:ROWS])
    table, rows = table.take(pa.array(chosen)), rows.take(chosen)

    def scored(some: pa.Table) -> float:
        predicted = predict(some)  # the metrics raise where a model answers NaN: then nothing is known of it
        return score(metric, rows.task, rows.target, predicted) if np.isfinite(predicted).all() else math.nan

    whole = scored(table)
    sign = 1.0 if GREATER_IS_BETTER[metric] else -1.0
    points = {}
    for name in columns:
        shuffle = np.random.default_rng([seed, zlib.crc32(name.encode())]).permutation(len(rows))
        place = table.column_names.index(name)
        shuffled = table.set_column(place, name, table[name].take(pa.array(shuffle)))
        loss = sign * (whole - scored(shuffled))
        points[name] = max(loss, 0.0) if math.isfinite(loss) else math.nan
    return Importance(metric=metric, points=points)


def with_harm(report: DriftReport, known: Importance) -> DriftReport:
    """The report with the importance of each column and the harm of its drift; a column's missing values weigh as it
    does. Outcomes stay what they are."""
    columns = []
    for column in report.columns:
        name = column.column.removesuffix(MISSING) if column.kind == "missing" else column.column
        weight = known.points.get(name) if column.kind in ("numeric", "categorical", "missing") else None
        if weight is not None:
            column = replace(column, importance=weight, harm=weight * column.effect)
        columns.append(column)
    return replace(report, columns=tuple(columns), metric=known.metric)
