"""Realised performance of a prediction column against a label column, in tables that no model of ours belongs to."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.monitor import columns as arrays
from engine.monitor.kinds import FEW
from engine.records import Performance, Task
from engine.scoring.intervals import Rows, estimate


@dataclass(kw_only=True)
class _Conf:
    confidence_level: float = 0.95
    n_resamples: int = 500
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """The rows of one table that have both."""

    target: np.ndarray
    prediction: np.ndarray
    ids: np.ndarray = field(repr=False)

    def rows(self, task: Task) -> Rows:
        """As intervals take them."""
        return Rows(task=task, target=self.target, ids=self.ids, cluster=None)


def performances(
    tables: tuple[pa.Table, pa.Table], names: tuple[str, str], prediction: str, label: str
) -> tuple[tuple[Performance, ...], str]:
    """Metrics with 95 % intervals on the reference and the live rows that have both; or () and why there is none.

    Two classes and numbers from 0 to 1 are scored as probabilities of the class that sorts last; categories on both
    sides by accuracy; numbers on both sides by their errors.
    """
    if any(name not in table.column_names for table in tables for name in (prediction, label)):
        return (), "realised performance needs prediction and label in both"
    labels = sorted({c for table in tables for c in _texts(table, label)})
    scores = [arrays.numbers(table, [prediction])[0].get(prediction) for table in tables]
    values = [arrays.numbers(table, [label])[0].get(label) for table in tables]
    if all(s is not None for s in scores):
        low, high = _range(scores)
        if len(labels) == 2 and low >= 0 and high <= 1:
            made = [_binary(table, prediction, label, labels[1]) for table in tables]
            metrics = ["roc_auc_score", "log_loss", "brier_score_loss"]
            return _all(made, names, Task.BINARY, metrics), f"the positive class of {label} is {labels[1]!r}"
        if all(v is not None for v in values) and len(labels) > FEW:
            made = [_regression(table, prediction, label) for table in tables]
            return _all(made, names, Task.REGRESSION, ["mean_absolute_error", "root_mean_squared_error"]), ""
    guesses = sorted({c for table in tables for c in _texts(table, prediction)})
    if set(guesses) <= set(labels) and 2 <= len(labels) <= 1000:
        made = [_classes(table, prediction, label, labels) for table in tables]
        return _all(made, names, Task.MULTICLASS, ["accuracy_score", "balanced_accuracy_score"]), ""
    return (), f"no metric fits {prediction} and {label}: name probabilities of two classes, classes, or numbers"


def _all(made: list[_Scored], names: tuple[str, str], task: Task, metrics: list[str]) -> tuple[Performance, ...]:
    return tuple(
        Performance(
            model="",
            window=name,
            n_rows=len(scored.ids),
            metrics=tuple(estimate(metric, scored.rows(task), scored.prediction, _Conf()) for metric in metrics),
        )
        for name, scored in zip(names, made, strict=True)
    )


def _texts(table: pa.Table, name: str) -> arrays.Counts:
    found = arrays.categories(table, name)
    return {} if isinstance(found, str) else found[0]


def _range(columns: list[pa.ChunkedArray | None]) -> tuple[float, float]:
    values = np.concatenate([arrays.floats(column) for column in columns if column is not None])
    values = values[~np.isnan(values)]
    return (float(values.min()), float(values.max())) if values.size else (np.nan, np.nan)


def _column(table: pa.Table, name: str) -> np.ndarray:
    return arrays.floats(arrays.numbers(table, [name])[0][name])


def _kept(target: np.ndarray, prediction: np.ndarray, known: np.ndarray) -> _Scored:
    return _Scored(target=target[known], prediction=prediction[known], ids=np.flatnonzero(known))


def _binary(table: pa.Table, prediction: str, label: str, positive: str) -> _Scored:
    scores = _column(table, prediction)
    code = _codes(table, label, [positive])
    known = _there(table, label) & ~np.isnan(scores)
    return _kept((code == 0).astype(np.int64), scores, known)


def _regression(table: pa.Table, prediction: str, label: str) -> _Scored:
    scores, values = _column(table, prediction), _column(table, label)
    return _kept(values, scores, np.isfinite(scores) & np.isfinite(values))


def _classes(table: pa.Table, prediction: str, label: str, classes: list[str]) -> _Scored:
    said, true = (_codes(table, name, classes) for name in (prediction, label))
    known = (said >= 0) & (true >= 0)
    hot = np.zeros((len(said), len(classes)))
    hot[np.arange(len(said)), np.maximum(said, 0)] = 1.0
    return _kept(true, hot, known)


def _codes(table: pa.Table, name: str, classes: list[str]) -> np.ndarray:
    """(N,) int64 place of each value among `classes`, -1 where it is none of them."""
    text = arrays.plain(table[name]).cast(pa.string())
    return np.asarray(pc.index_in(text, value_set=pa.array(classes)).fill_null(-1).to_numpy(), dtype=np.int64)


def _there(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].is_valid().to_numpy(), dtype=bool)
