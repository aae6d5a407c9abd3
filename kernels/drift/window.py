"""A window taken apart into named columns, numeric or categorical, whatever container brings it.

Accepted: an (N,) or (N, F) array (NumPy, CuPy, torch); a mapping of name to (N,) array; an Arrow table or
record batch, and a pandas frame, by their methods, so that kernels imports neither. Arrow nulls, None and NaN
are missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernels import dispatch
from kernels.arrays import as_native, as_table, as_working, library_of
from kernels.errors import DTypeError, OptionError, ShapeError


def column_sources(window: Any, names: Sequence[str] | None) -> dict[str, Any]:
    """Name -> raw column of a window; `names` are for arrays, which bring none (default "0", "1", ...)."""
    if isinstance(window, Mapping):
        return _named(list(window), list(window.values()), names)
    if hasattr(window, "schema") and hasattr(window, "column"):  # Arrow table or record batch
        keys = list(window.schema.names)
        return _named(keys, [window.column(i) for i in range(len(keys))], names)
    if hasattr(window, "columns") and hasattr(window, "iloc"):  # pandas frame
        keys = [str(key) for key in window.columns]
        return _named(keys, [window.iloc[:, i] for i in range(len(keys))], names)
    native = as_native(window, "window")
    if native.ndim not in (1, 2):
        raise ShapeError(f"window: {native.ndim} axes - pass (N,), (N, F) or named columns")
    table = as_table(native, "window")
    keys = list(names) if names is not None else [str(f) for f in range(table.shape[1])]
    if table.dtype.kind in "biuf":  # one blocked copy, not F strided ones
        table = as_working(table, "window")
        columns = dispatch.implementation("rank", table).module.split_columns(table)
    else:
        columns = [table[:, f] for f in range(table.shape[1])]
    return _named(keys, columns, None)


def live_sources(live: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Name -> raw column of a live window; the columns of an array take the names of the profile by
    position."""
    shape = getattr(live, "shape", None)
    if shape is None or hasattr(live, "schema") or hasattr(live, "iloc"):
        return column_sources(live, None)
    width = shape[1] if len(shape) == 2 else 1
    if width != len(names):
        raise ShapeError(f"live: {width} columns against {len(names)} of the profile - pass the same columns")
    return column_sources(live, names)


def _named(keys: list[Any], columns: list[Any], names: Sequence[str] | None) -> dict[str, Any]:
    if len(keys) != len(columns):
        raise ShapeError(f"names: {len(keys)} names for {len(columns)} columns - pass one a column")
    listed = [str(key) for key in keys]
    if len(set(listed)) != len(listed):
        repeated = next(key for key in listed if listed.count(key) > 1)
        raise OptionError(f"names: {repeated!r} occurs twice - name every column once")
    sources = dict(zip(listed, columns, strict=True))
    if names is None:
        return sources
    absent = [name for name in names if name not in sources]
    if absent:
        raise OptionError(f"names: {absent[0]!r} is not a column of the window - use {', '.join(listed)}")
    return {name: sources[name] for name in names}


def is_arrow(column: Any) -> bool:
    """Whether the column is an Arrow array or chunked array."""
    return hasattr(column, "null_count") and hasattr(column, "type") and hasattr(column, "to_pylist")


def looks_categorical(column: Any) -> bool:
    """Strings, objects and dictionary columns are categories; numbers are not unless the caller says so."""
    if is_arrow(column):
        return str(column.type).startswith(("string", "large_string", "dictionary", "bool", "string_view"))
    if library_of(column) != "numpy":
        return False
    dtype = getattr(column, "dtype", None)
    kind = dtype.kind if isinstance(dtype, np.dtype) else np.asarray(column).dtype.kind
    return kind in "OUST"


def numeric_values(column: Any, name: str) -> tuple[Any, int]:
    """The column as an (N,) array of a working dtype, and how many Arrow nulls were left out of it.

    DTypeError for what is not a number, ShapeError for what is not one axis.
    """
    nulls = 0
    if is_arrow(column):
        kind, nulls = str(column.type), int(column.null_count)
        if kind.startswith(("timestamp", "date", "time", "duration")):
            column = column.cast("int64" if "32" not in kind else "int32")
        elif not kind.startswith(("int", "uint", "float", "double", "halffloat", "bool")):
            raise DTypeError(f"{name}: Arrow type {kind} is not numeric - list it under categorical")
        column = _arrow_values(column.drop_null() if nulls else column)
    kind = getattr(getattr(column, "dtype", None), "kind", "")
    if kind in ("m", "M"):  # instants and spans are integers; NaT is missing
        stamps = np.asarray(column)
        nulls, column = int(np.isnat(stamps).sum()), stamps[~np.isnat(stamps)].view(np.int64)
    values = as_working(column, name)
    if values.ndim != 1:
        raise ShapeError(f"{name}: shape {tuple(values.shape)} - pass one axis a column")
    return values, nulls


def _arrow_values(column: Any) -> Any:
    """An Arrow column without nulls as a NumPy array, over DLPack: `to_numpy` would import pandas, 0.35 s of it.

    Read-only, and without a copy of one chunk, which `combine_chunks` would make.
    """
    chunks = getattr(column, "num_chunks", None)
    whole = column if chunks is None else column.chunk(0) if chunks == 1 else column.combine_chunks()
    if hasattr(whole, "num_chunks") or str(whole.type) == "bool" or not len(whole):
        return whole.to_numpy() if hasattr(whole, "num_chunks") else whole.to_numpy(zero_copy_only=False)
    return np.from_dlpack(whole)


def count_values(column: Any, name: str) -> tuple[dict[Any, int], int]:
    """Category -> rows, and the missing rows. Categories are str, int, float or bool; equal numbers are
    one."""
    if is_arrow(column):
        pairs = column.value_counts()
        counts = Counter(dict(zip(pairs.field("values").to_pylist(), pairs.field("counts").to_pylist(), strict=True)))
        return _without_missing(counts, name)
    if library_of(column) == "numpy":
        host = np.asarray(column)
    else:
        native = as_native(column, name)
        host = native if isinstance(native, np.ndarray) else native.get()  # synchronises: categories are host data
    if host.ndim != 1:
        raise ShapeError(f"{name}: shape {tuple(host.shape)} - pass one axis a column")
    if host.dtype.kind in "biuf":
        kept = host[host == host]
        values, sizes = np.unique(kept, return_counts=True)
        numbers = (int(v) if float(v).is_integer() else float(v) for v in values.tolist())
        return dict(zip(numbers, sizes.tolist(), strict=True)), int(host.size - kept.size)
    try:
        counts = Counter(host.tolist())
    except TypeError as error:  # a list, a dictionary
        raise DTypeError(f"{name}: holds values that are no categories - use strings or numbers") from error
    return _without_missing(counts, name)


def _without_missing(counts: Counter[Any], name: str) -> tuple[dict[Any, int], int]:
    kept: dict[Any, int] = {}
    missing = 0
    for value, rows in counts.items():
        if value is None or type(value).__name__ == "NAType" or value != value:  # pandas.NA is not even a bool
            missing += rows
        elif isinstance(value, str | int | float | bool):
            kept[value] = kept.get(value, 0) + rows
        else:
            raise DTypeError(f"{name}: a {type(value).__name__} is no category - use strings or numbers")
    return kept, missing
