"""What every window table obeys, whoever wrote its file.

Ids are int64 keys (engine/data/ids.py). Whole numbers are int64, other numbers float32 or float64 as they were (a
decimal is float64); categories are strings; time is timestamp[us, UTC]; the label is int64 codes (binary, multiclass;
engine/data/classes.py) or float64 (regression). A missing value is null, never NaN, so that there is one notion of
missing. Infinities stay: they are values.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.data.conf import PERIODS, DataConf
from engine.data.ids import first_duplicate
from engine.errors import ClassError, DataError
from engine.records import Task, Window, digest, fields
from engine.system import durable

TIME = pa.timestamp("us", "UTC")


def numeric_column(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """A column of numbers in its canonical type; DataError if it holds something else."""
    kind = column.type
    if pa.types.is_floating(kind):
        column = column.cast(pa.float32()) if pa.types.is_float16(kind) else column
        return _nan_to_null(column)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return _cast(column, pa.int64(), where)
    if pa.types.is_decimal(kind):
        return _cast(column, pa.float64(), where)
    if pa.types.is_null(kind):
        return column.cast(pa.float64())
    cure = "store numbers, or move it to data.categorical"
    if pa.types.is_temporal(kind):
        cure = "store a number made of it, such as days before data.time, or a category such as the weekday"
    raise DataError(where, f"is {kind}, not a number", cure)


def categorical_column(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """A column of categories as strings; DataError if it holds something that is no category."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    ):
        return _cast(column, pa.string(), where)
    raise DataError(where, f"is {kind}, not a category", "store strings or whole numbers, or move it to data.numeric")


def time_column(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """A column of times in UTC, microseconds; DataError if it holds something else, or nothing in some
    row."""
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        raise DataError(where, f"is {column.type}, not a time", "store timestamps or dates")
    if column.null_count:
        raise DataError(where, f"{column.null_count} rows have no time", "give every row its time")
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    fine = column.type.unit == "ns"  # finer than a microsecond is cut: it orders rows, it is no feature
    try:
        return column.cast(TIME, safe=not fine)
    except pa.ArrowInvalid:
        raise DataError(where, "holds a time that no clock shows", "write it again: was its unit mistaken?") from None


def label_column(column: pa.ChunkedArray, task: Task, classes: int, where: str) -> pa.ChunkedArray:
    """A column of labels: int64 class codes or float64 numbers, null where unknown; ClassError for a code that is none
    of the classes, DataError for other values."""
    top = 1 if task is Task.BINARY else classes - 1
    codes_cure = "store 0 and 1" if task is Task.BINARY else f"store codes 0..{top}"
    if pa.types.is_dictionary(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        cure = "store numbers" if task is Task.REGRESSION else f"{codes_cure}, one for each class"
        raise DataError(where, f"is {column.type}, not a number", cure)
    column = numeric_column(column, where)
    if task is Task.REGRESSION:
        column = column.cast(pa.float64())
        if pc.any(pc.is_inf(column)).as_py():
            raise DataError(where, "holds an infinite label", "store finite numbers, null where unknown")
        return column
    try:
        codes = column.cast(pa.int64())
    except pa.ArrowInvalid:
        raise DataError(where, "holds a fraction, not class codes", "store whole numbers from 0") from None
    extremes = pc.min_max(codes).as_py()
    if extremes["min"] is not None and (extremes["min"] < 0 or extremes["max"] > top):
        wrong = extremes["min"] if extremes["min"] < 0 else extremes["max"]
        more = f", or found a loop with data.classes={wrong + 1}" if task is Task.MULTICLASS and wrong > top else ""
        more = ", or list both labels in data.classes, the positive one last" if task is Task.BINARY else more
        n = pc.sum(pc.or_(pc.less(codes, 0), pc.greater(codes, top))).as_py()
        raise ClassError(where, f"{n} rows have a label that is none of 0..{top}, such as {wrong}", codes_cure + more)
    return codes


def concat(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of several windows, in order. Whole numbers in one window and fractions in another become
    float64."""
    for name in tables[0].column_names:
        named = [fields.classes_of(t.schema.field(name)) for t in tables if name in t.column_names]
        if len(set(named)) > 1:
            what = "its labels are words in one window and codes in another, or of other classes"
            raise DataError(name, what, "store the labels of all windows as one kind")
    return pa.concat_tables(list(tables), promote_options="permissive").combine_chunks()


def join(windows: Sequence[Window], id: str) -> Window:
    """Several windows as one, under the name and place of the last; its fingerprint is a hash of theirs.

    Where a row id comes in two of them, rows get new ones: rows that are resampled together must not share a weight.
    """
    table = concat([window.table for window in windows])
    if first_duplicate(table[id]) is not None:
        table = table.set_column(table.schema.get_field_index(id), id, pa.array(np.arange(table.num_rows)))
    return replace(windows[-1], table=table, fingerprint=digest("join", [w.fingerprint for w in windows]))


def fingerprint(table: pa.Table) -> str:
    """sha256, hexadecimal, of the content: column names, types, values and order.

    Equal for equal content, however the file was cut into row groups, compressed or encoded; a null counts as
    a null and not as the bytes beneath it.
    """
    sha = hashlib.sha256(json.dumps([[f.name, str(f.type), *fields.classes_of(f)] for f in table.schema]).encode())
    for column in table.columns:
        if pa.types.is_string(column.type):
            codes = column.combine_chunks().dictionary_encode()
            sha.update(json.dumps(codes.dictionary.to_pylist()).encode())
            sha.update(codes.indices.fill_null(-1).to_numpy().tobytes())
        else:
            values = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
            sha.update(np.packbits(column.is_valid().to_numpy()).tobytes())
            sha.update(values.fill_null(0).to_numpy().tobytes())
    return sha.hexdigest()


def label_digest(table: pa.Table, id: str, label: str) -> str:
    """sha256, hexadecimal, of the labels of rows by their ids: the same in whatever order they come; a row without a
    label does not count."""
    known = table.select([id, label]).filter(table.column(label).is_valid())
    return fingerprint(known.sort_by(id).combine_chunks())


def split_by_time(table: pa.Table, time_column: str, fraction: float) -> tuple[pa.Table, pa.Table]:
    """Cut a table into its earlier rows, about `fraction` of them, and its later ones, both in order of time.

    Rows of equal time stay together. DataError if a side would be empty; ValueError unless 0 < fraction < 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, not {fraction}")
    times = table[time_column].cast(pa.int64()).to_numpy()
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    at = min(round(fraction * len(ordered)), len(ordered) - 1)
    starts = np.flatnonzero(np.diff(ordered)) + 1  # where a new time begins: the only places to cut
    if not len(starts):
        raise DataError(time_column, f"all {len(ordered)} rows have one time", "give rows their own time, or more rows")
    cut = int(starts[np.argmin(np.abs(starts - at))])
    return table.take(order[:cut]), table.take(order[cut:])


def align(table: pa.Table, id_column: str, rows: np.ndarray) -> pa.Table:
    """The rows of `table` with the ids `rows` (N,), in that order: what a Dataset knows only by id.

    DataError if an id is not there.
    """
    at = pc.index_in(pa.array(rows, pa.int64()), value_set=table[id_column].combine_chunks())
    if at.null_count:
        raise DataError(id_column, f"{at.null_count} of {len(rows)} ids are not in the window", "use its own rows")
    return table.take(at)


def clusters(table: pa.Table, conf: DataConf) -> np.ndarray | None:
    """Cluster codes (N,) int64 from 0 of the rows of `table`; None if `conf.cluster` is empty.

    Rows without a value form one cluster, the last: to call them independent would narrow an interval.
    """
    if not conf.cluster:
        return None
    periods = conf.cluster in PERIODS
    column = pc.floor_temporal(table[conf.time], unit=conf.cluster) if periods else table[conf.cluster]
    found = column.combine_chunks().dictionary_encode()
    return np.asarray(found.indices.fill_null(len(found.dictionary)).to_numpy(), dtype=np.int64)


def write_parquet(table: pa.Table, path: str | Path) -> None:
    """Write a Parquet file that is either there in full or not at all; equal tables give equal bytes.

    Its pages carry checksums, so that a reader finds a flipped bit.
    """
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd", write_page_checksum=True)
    durable.write_bytes(path, content.getvalue())


def _nan_to_null(column: pa.ChunkedArray) -> pa.ChunkedArray:
    nan = pc.is_nan(column)
    return pc.if_else(nan, pa.scalar(None, column.type), column) if pc.any(nan).as_py() else column


def _cast(column: pa.ChunkedArray, kind: pa.DataType, where: str) -> pa.ChunkedArray:
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        raise DataError(where, f"holds a value that does not fit {kind}", f"store it as {kind}") from None
