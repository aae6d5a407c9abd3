"""Encoder: what a model eats, fitted on training rows only.

Shape letters: N rows, P numeric features, Q categorical features.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.data import ids
from engine.data.conf import MAX_CLASSES, DataConf
from engine.errors import ArtifactError, DataError
from engine.records import Dataset, FeatureSpec, Task, fields

FORMAT = 1
CLIP = 8.0  # standard deviations: one broken sensor must not drown a batch
MISSING = ":missing"  # suffix of an indicator's name; no column of the conf can be mistaken for it unnoticed


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Standardised numbers and category codes.

    Numbers: (value - mean) / scale in float64 with the mean and standard deviation of the finite training
    values (scale 1 where they do not vary), clipped at +-8, then float32; infinities become the clip. A
    missing value becomes 0, the mean; a column that missed values in training also has an indicator, 1 where
    missing. Categories: codes by frequency in training, most frequent first, from 1; 0 is unknown, missing or
    rarer than `min_category_rows`. The regression target stays in its own unit; its mean and scale are kept
    for the model.
    """

    conf_id: str
    conf_label: str
    task: Task
    classes: int
    numeric: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    indicators: tuple[str, ...]  # numeric columns with an indicator
    categorical: tuple[str, ...]
    vocabularies: tuple[tuple[str, ...], ...]  # per categorical column: the category of code 1, 2, ...
    target_mean: float  # of the training labels; 0 unless regression
    target_scale: float  # of the training labels; 1 unless regression
    words: tuple[str, ...] = ()  # the classes in the order of their codes; empty where the labels were codes

    @classmethod
    def fit(cls, table: pa.Table, conf: DataConf) -> Encoder:
        """Fit on the labelled rows of `table`. DataError if there are none, or if their labels are all the
        same."""
        if conf.label not in table.column_names:
            raise DataError(conf.label, "the training rows have no label column", "train on labelled windows")
        table = _labelled_rows(table, conf.label)
        labels = table[conf.label]
        extremes = pc.min_max(labels).as_py()
        if extremes["min"] == extremes["max"]:
            only = fields.word(table.schema.field(conf.label), extremes["min"])
            what = f"all {table.num_rows} training rows have the label {only}"
            raise DataError(conf.label, what, "train on more windows, or check the label")
        moments = [_mean_and_scale(table[column]) for column in conf.numeric]
        regression, words = conf.kind is Task.REGRESSION, fields.classes_of(table.schema.field(conf.label))
        target_mean, target_scale = _mean_and_scale(labels) if regression else (0.0, 1.0)
        return cls(
            conf_id=conf.id,
            conf_label=conf.label,
            task=conf.kind,
            classes=len(words) or conf.n_classes,
            numeric=tuple(conf.numeric),
            means=tuple(mean for mean, _ in moments),
            scales=tuple(scale for _, scale in moments),
            indicators=tuple(column for column in conf.numeric if table[column].null_count),
            categorical=tuple(conf.categorical),
            vocabularies=tuple(_vocabulary(table[c], conf.min_category_rows) for c in conf.categorical),
            target_mean=target_mean,
            target_scale=target_scale,
            words=words,
        )

    @property
    def spec(self) -> FeatureSpec:
        """What a model must know of its input: names and sizes. Indicators stand behind the numbers."""
        return FeatureSpec(
            numeric=self.numeric + tuple(column + MISSING for column in self.indicators),
            categorical=self.categorical,
            cardinalities=tuple(len(vocabulary) + 1 for vocabulary in self.vocabularies),
            task=self.task,
            n_outputs=self.classes if self.task is Task.MULTICLASS else 1,
            target_mean=self.target_mean,
            target_scale=self.target_scale,
        )

    def transform(self, table: pa.Table, *, labelled: bool) -> Dataset:
        """The rows as arrays; with their targets, and without the rows that have none, if `labelled`.

        numeric (N, P) float32 and categorical (N, Q) int64, both C order; target (N,) float32, or int64 codes
        for multiclass; rows (N,) int64 ids. DataError if a column is missing or of a type
        that is no number or no category, or if `labelled` and no row has a label.
        """
        needed = [self.conf_id, *self.numeric, *self.categorical, *([self.conf_label] if labelled else [])]
        for column in needed:
            if column not in table.column_names:
                raise DataError(column, "the rows lack this column", "read them with the model's data config")
        self._check_types(table)
        if labelled:
            self._check_classes(fields.classes_of(table.schema.field(self.conf_label)))
            table = _labelled_rows(table, self.conf_label)
        target = table[self.conf_label].to_numpy() if labelled else None
        if target is not None:
            target = target.astype(np.int64 if self.task is Task.MULTICLASS else np.float32)
        return Dataset(
            numeric=self._numbers(table),
            categorical=self._codes(table),
            target=target,
            rows=self._keys(table[self.conf_id]).to_numpy().astype(np.int64, copy=False),
        )

    def _keys(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """What pairs rows: a client may send one row many times, so keys need not be unique."""
        return ids.row_keys(ids.id_column(column, self.conf_id))

    def _check_types(self, table: pa.Table) -> None:
        """DataError for a column that cannot be read as what it was in training: what a client sends is anything."""
        for name in self.numeric:
            if not _is_number(table[name].type):
                what = f"is {table[name].type}, not a number"
                raise DataError(name, what, "send numbers, null where a value is missing")
        for name in self.categorical:
            if pa.types.is_nested(table[name].type) or _is_bytes(table[name].type):
                raise DataError(name, f"is {table[name].type}, not a category", "send strings")

    def _check_classes(self, read: tuple[str, ...]) -> None:
        """DataError where the codes of labels mean other classes than those that the model was trained on."""
        if read != self.words:
            mine, theirs = (", ".join(words) if words else "codes without names" for words in (self.words, read))
            cure = "train a model on these labels in a new loop"
            if self.words:
                cure = f"set data.classes=[{','.join(map(fields.quoted, self.words))}], or {cure}"
            raise DataError(self.conf_label, f"the model knows the classes {mine}, and the labels are {theirs}", cure)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` gives the equal encoder back. Without `words` they are as they were before these."""
        values = {"format": FORMAT, **dataclasses.asdict(self), "task": self.task.value}
        return values if self.words else {name: value for name, value in values.items() if name != "words"}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Encoder:
        """The encoder that `to_dict` wrote. ArtifactError if it was altered or has another format."""
        data = {"words": [], **data}
        names = {f.name for f in dataclasses.fields(cls)}
        if data.get("format") != FORMAT or set(data) != names | {"format"}:
            cure = "load the model with the version that wrote it"
            raise ArtifactError("encoder", f"is not of format {FORMAT}", cure)
        values = {name: _tuples(data[name]) for name in names}
        values["task"] = Task(data["task"])
        encoder = cls(**values)
        if not encoder._consistent():
            raise ArtifactError("encoder", "contradicts itself", "use an intact copy of the model")
        return encoder

    def _consistent(self) -> bool:
        """Do its parts belong together: what is read back may have been written by anybody."""
        names = (self.conf_id, self.conf_label, *self.numeric, *self.categorical, *self.indicators, *self.words)
        numbers = (*self.means, *self.scales, self.target_mean, self.target_scale)
        return (
            all(
                isinstance(part, tuple)
                for part in (self.numeric, self.categorical, self.indicators, self.vocabularies, self.words)
            )
            and all(isinstance(name, str) for name in names)
            and all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
            and all(scale > 0 for scale in (*self.scales, self.target_scale))
            and isinstance(self.classes, int)
            and 2 <= self.classes <= MAX_CLASSES
            and len(set(self.words)) in (0, self.classes)
            and len(self.numeric) == len(self.means) == len(self.scales)
            and set(self.indicators) <= set(self.numeric)
            and len(self.categorical) == len(self.vocabularies)
            and all(isinstance(v, tuple) and all(isinstance(name, str) for name in v) for v in self.vocabularies)
        )

    def _numbers(self, table: pa.Table) -> np.ndarray:
        width = len(self.numeric) + len(self.indicators)
        out = np.zeros((table.num_rows, width), dtype=np.float32)
        for j, (column, mean, scale) in enumerate(zip(self.numeric, self.means, self.scales, strict=True)):
            values = (_floats(table[column]) - mean) / scale
            missing = np.isnan(values)
            values[missing] = 0.0
            out[:, j] = np.clip(values, -CLIP, CLIP)
            if column in self.indicators:
                out[:, len(self.numeric) + self.indicators.index(column)] = missing
        return out

    def _codes(self, table: pa.Table) -> np.ndarray:
        out = np.zeros((table.num_rows, len(self.categorical)), dtype=np.int64)
        for j, (column, vocabulary) in enumerate(zip(self.categorical, self.vocabularies, strict=True)):
            known = pc.index_in(table[column].cast(pa.string()), value_set=pa.array(vocabulary, pa.string()))
            out[:, j] = known.fill_null(-1).to_numpy() + 1
        return out


def _labelled_rows(table: pa.Table, label: str) -> pa.Table:
    if table[label].null_count:
        table = table.filter(table[label].is_valid())
    if table.num_rows == 0:
        raise DataError(label, "no row has a label", "wait for the labels of this window")
    return table


def _is_number(kind: pa.DataType) -> bool:
    known = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
    return any(is_(kind) for is_ in known)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    """float64 values, NaN where null."""
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _mean_and_scale(column: pa.ChunkedArray) -> tuple[float, float]:
    values = _floats(column)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    mean, std = float(values.mean()), float(values.std())
    # Rounding gives a constant column a spread of some 1e-16 of its value: dividing by it would make noise a
    # feature.
    return mean, std if std > 1e-12 * max(abs(mean), np.finfo(np.float64).tiny) else 1.0


def _vocabulary(column: pa.ChunkedArray, min_rows: int) -> tuple[str, ...]:
    counts = column.cast(pa.string()).drop_null().value_counts()
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    frequent = [(-count, value) for value, count in pairs if count >= min_rows]
    return tuple(value for _, value in sorted(frequent))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
