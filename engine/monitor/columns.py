"""Arrow columns as kernels.drift takes them. What cannot be compared says why, and hides nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Counts = dict[str, int]
"""Category -> rows."""


def numbers(table: pa.Table, names: Iterable[str]) -> tuple[dict[str, pa.ChunkedArray], dict[str, str]]:
    """Columns of numbers by name, and why the others are none. Integers stay integers: no value is rounded."""
    good, refused = {}, {}
    for name in names:
        if name not in table.column_names:
            refused[name] = "has no such column"
            continue
        column = table.column(name)
        kind = column.type
        if pa.types.is_decimal(kind) or pa.types.is_null(kind):
            column = column.cast(pa.float64())
        elif not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            refused[name] = f"holds {kind} here, not numbers"
            continue
        good[name] = column
    return good, refused


def categories(table: pa.Table, name: str) -> tuple[Counts, int] | str:
    """Rows of each category, as text, and the rows without one (null or NaN); or why they cannot be counted."""
    if name not in table.column_names:
        return "has no such column"
    column = table.column(name)
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        pairs = column.value_counts()
        values, counts = pairs.field("values"), pairs.field("counts").to_pylist()
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        text = values.cast(pa.string()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return f"holds {column.type} here, not categories"
    known: Counts = {}
    missing = 0
    for value, rows in zip(text, counts, strict=True):
        if value is None:
            missing += rows
        else:
            known[value] = known.get(value, 0) + rows
    return known, missing


def floats(column: pa.ChunkedArray) -> np.ndarray:
    """(N,) float64 of numbers; NaN where nothing is there."""
    return np.asarray(column.cast(pa.float64()).fill_null(math.nan).to_numpy(), dtype=np.float64)


def is_text(kind: pa.DataType) -> bool:
    """Text, or a dictionary of it."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def plain(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Dictionary-encoded values as themselves."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def floats_of_text(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Text read as numbers, blank text as missing; ArrowInvalid where it is none."""
    trimmed = pc.utf8_trim_whitespace(plain(column))
    blank = pc.match_substring_regex(trimmed, "^$")  # a comparison with "" would import pandas
    return pc.if_else(blank, None, trimmed).cast(pa.float64()) if pc.any(blank).as_py() else trimmed.cast(pa.float64())


def texts(column: pa.ChunkedArray) -> np.ndarray:
    """(N,) objects: the values as text, None where nothing is there."""
    return np.array(plain(column).cast(pa.string()).to_pylist(), dtype=object)
