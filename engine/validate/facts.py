"""What the checks need to know of a column, each thing computed once. N rows."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.records.fields import classes_of, were_text

KINDS = ("integer", "float", "string", "time", "boolean", "text")  # text: ids that were texts, known by their keys
PERIODS = ("hour", "day", "week")  # what a cluster may cut time into
MISSING_WORD = np.uint64(0x7FF8DEADBEEF0001)  # a NaN that no computation gives


class Column:
    """One column of a window; a missing value is null or NaN."""

    def __init__(self, name: str, values: pa.ChunkedArray) -> None:
        self.name = name
        self.values: pa.Array = _whole(values)
        self.kind = kind_of(self.values.type)
        self.n = len(self.values)

    @classmethod
    def of(cls, table: pa.Table, name: str) -> Column:
        """A column as people know it: a label as words where its codes have names, and what its ids were."""
        field, values = table.schema.field(name), table[name]
        if words := classes_of(field):
            values = pa.array(words).take(values)
        column = cls(name, values)
        column.kind = "text" if were_text(field) else column.kind
        return column

    @cached_property
    def missing(self) -> int:
        """Rows without a value."""
        return int(self.values.null_count) + self._nans

    @property
    def present(self) -> int:
        """Rows with a value."""
        return self.n - self.missing

    @cached_property
    def extremes(self) -> tuple[Any, Any]:
        """Smallest and largest value, infinities left out where there are others; (None, None) of nothing."""
        found = pc.min_max(self.values, skip_nulls=True)
        low, high = found["min"].as_py(), found["max"].as_py()
        if self.kind == "float" and low is not None and not (math.isfinite(low) and math.isfinite(high)):
            finite = self.values.filter(pc.is_finite(self.values))
            found = pc.min_max(finite)
            low, high = found["min"].as_py(), found["max"].as_py()
        return low, high

    @cached_property
    def infinite(self) -> int:
        """Rows with plus or minus infinity."""
        return count(pc.is_inf(self.values)) if self.kind == "float" else 0

    @cached_property
    def encoded(self) -> pa.DictionaryArray:
        """Distinct values and a code a row."""
        return self.values.dictionary_encode()

    @cached_property
    def longest(self) -> int:
        """Characters of the longest string."""
        lengths = pc.max(pc.utf8_length(self.encoded.dictionary)).as_py()
        return int(lengths or 0)

    @cached_property
    def constant(self) -> bool:
        """Is there exactly one value, and no missing one."""
        if self.missing or not self.n:
            return False
        if self.kind == "string":
            return len(self.encoded.dictionary) == 1
        low, high = self.extremes
        return bool(low == high) and not self.infinite

    def shares(self) -> dict[str, int]:
        """Rows of each category, as text; missing ones are left out."""
        codes = self.encoded.indices.drop_null().to_numpy()
        counts = np.bincount(codes, minlength=len(self.encoded.dictionary))
        texts = self.encoded.dictionary.cast(pa.string()).to_pylist()
        return dict(zip(texts, counts.tolist(), strict=True))

    @cached_property
    def _nans(self) -> int:
        return count(pc.is_nan(self.values)) if self.kind == "float" else 0

    def words(self) -> np.ndarray:
        """(N,) uint64, equal where the values are equal, a missing value included."""
        if self.kind == "string":
            codes = self.encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            return np.asarray(codes, dtype=np.int64).view(np.uint64)
        values = self.values.cast(pa.int64()) if self.kind == "time" else self.values
        numbers = values.fill_null(False if self.kind == "boolean" else 0).to_numpy(zero_copy_only=False)
        floating = numbers.dtype.kind == "f"
        if floating:
            words = (numbers.astype(np.float64) + 0.0).view(np.uint64)  # + 0.0 makes -0.0 a 0.0
        else:
            words = numbers.astype(np.int64).view(np.uint64)
        if self.missing:
            gone = self.values.is_null(nan_is_null=floating).to_numpy(zero_copy_only=False)
            words = np.where(gone, MISSING_WORD, words)
        return np.asarray(words)


def kind_of(dtype: pa.DataType) -> str:
    """The kind of values: integer, float, string, time, boolean; else the name of the Arrow type."""
    if pa.types.is_dictionary(dtype):
        return kind_of(dtype.value_type)
    if pa.types.is_integer(dtype):
        return "integer"
    if pa.types.is_floating(dtype):
        return "float"
    if pa.types.is_string(dtype) or pa.types.is_large_string(dtype):
        return "string"
    if pa.types.is_timestamp(dtype) or pa.types.is_date(dtype):
        return "time"
    return "boolean" if pa.types.is_boolean(dtype) else str(dtype)


def copies(columns: list[Column]) -> int:
    """Rows that equal an earlier row in every column. Exact but for collisions of 64 bits."""
    if not columns or not columns[0].n:
        return 0
    mixed = np.zeros(columns[0].n, dtype=np.uint64)
    for column in columns:
        mixed ^= column.words()
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    mixed.sort()
    return int((mixed[1:] == mixed[:-1]).sum())


def count(mask: pa.Array) -> int:
    """How many are true; a null is not."""
    return int(pc.sum(mask).as_py() or 0)


def _whole(values: pa.ChunkedArray) -> pa.Array:
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_dictionary(whole.type):
        whole = whole.cast(whole.type.value_type)
    return whole
