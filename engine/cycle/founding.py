"""The windows that found a loop: what they must be, found out before anything is trained or written."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from engine.cycle.conf import LoopConf
from engine.data.conf import DataConf
from engine.data.tables import concat
from engine.errors import ConfigError, DataError
from engine.records import Window
from engine.records.fields import word
from engine.validate.conf import ValidateConf
from engine.validate.schema import Schema, infer
from engine.validate.text import load
from engine.validate.window import validate


def check_names(names: list[str], loop: LoopConf, data: DataConf) -> None:
    """DataError where there are too few windows to begin with, ConfigError where the loop cannot stop as it is told."""
    first = loop.founding_windows - 1
    if len(names) < loop.founding_windows:
        cure = "wait for more, or lower loop.founding_windows"
        raise DataError(data.path, f"{len(names)} windows, and {loop.founding_windows} found the loop", cure)
    if loop.until is not None and loop.until not in names[first:]:
        what = f"{loop.until!r} is a founding window" if loop.until in names else f"there is no window {loop.until!r}"
        raise ConfigError("loop.until", f"{what}: the loop cannot stop there", f"{names[first]} to {names[-1]} may")


def check_windows(windows: list[Window], conf: ValidateConf, data: DataConf, schema: Schema | None = None) -> None:
    """DataError where a window is not fit to train the first champion on, or all labels are the same.

    `windows` are the labelled founding windows without the last one, which is the hold-out. They are held against the
    schema that a person declared, and judged by themselves where there is none.
    """
    labels = pc.min_max(pa.chunked_array([c for w in windows for c in w.table[data.label].chunks])).as_py()
    if labels["min"] == labels["max"]:
        where, only = f"{windows[-1].path}:{data.label}", word(windows[0].table.schema.field(data.label), labels["min"])
        cure = "found the loop on more windows (loop.founding_windows), or check the label"
        raise DataError(where, f"every label of the founding windows is {only}", cure)
    before: Window | None = None
    for window in windows:
        previous, before = before if schema else None, window  # the schema's own rows may end later than these
        for check in validate(window, schema, conf, columns=data, previous=previous).blocked:
            where = f"{window.path}:{check.column}" if check.column else window.path
            what = f"{check.name}: {check.observed or check.reason}, expected {check.expected}"
            raise DataError(where, what, f"mend the window, or lower validate.severity.{check.name}")


def reference_windows(loop: LoopConf) -> int:
    """How many windows, the first ones, later ones are held against: the founding ones without the hold-out."""
    return loop.founding_windows - 1


def declared(conf: ValidateConf, data: DataConf) -> Schema | None:
    """The schema of the file that `validate.schema` names, None where it names none.

    DataError where the file is wrong, or leaves a column out that the data config reads: it would never be checked.
    """
    if not conf.schema:
        return None
    schema = load(conf.schema)
    roles = {data.id: "id", data.time: "time"} | dict.fromkeys([*data.numeric, *data.categorical], "feature")
    roles |= {name: "slice" for name in data.slices if name not in roles}
    for name, role in {**roles, data.label: "label"}.items():
        column = schema.columns.get(name)
        if column is None:
            cure = "add its line, or infer the schema again and compare: tidegate validate --infer"
            raise DataError(f"{conf.schema}:columns", f"{name!r}, {role} of the data config, is not there", cure)
        if column.role != role:
            what = f"is {column.role!r}, and {name} is the {role} of the data config"
            raise DataError(f"{conf.schema}:columns.{name}.role", what, f"write {role}")
    return schema


def schema_of(windows: list[Window], data: DataConf) -> Schema:
    """What the rows look like that the first champion may be trained on: later windows are held against it."""
    table = concat([window.table for window in windows])
    name = windows[0].name if len(windows) == 1 else f"{windows[0].name} to {windows[-1].name}"
    return infer(table, data, reference=name, windows=len(windows))
