"""The schema as YAML: what a person edits and git keeps.

A column is one line; keys at their default are left out, so that what stands there matters.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import DataError
from engine.records.plain import to_plain
from engine.system import durable
from engine.validate.facts import KINDS, PERIODS
from engine.validate.schema import FORMAT, SERVING, TRAINING, ColumnSchema, Schema

HEAD = """\
# What a good window looks like. Made by `tidegate validate --infer`; edit it, and keep it in git.
# missing: share of rows without a value. Without minimum, maximum, categories or longest anything goes.
# max_age_hours: how old the newest row may be when its window comes; left out: not checked.
# unique: true where no value may come twice. fewest, most: the band of rows of a window, beside rows.
# environments: where a column must be; training has labels, serving has not.
# groups: the share of each group in the population, which the rows ought to represent.
"""
ROLES = ("id", "time", "feature", "slice", "cluster", "label")
ENVIRONMENTS = (TRAINING, SERVING)
SCALARS = ("format", "reference", "rows", "fewest", "most", "copies", "until", "cluster", "max_age_hours")
SCHEMA_KEYS = (*SCALARS, "columns", "groups")
NUMBER, INTEGER, TEXT, FLAG, LIST = "a number", "a whole number", "a text", "true or false", "a list"
COLUMN_KEYS = {
    "kind": TEXT,
    "role": TEXT,
    "missing": NUMBER,
    "minimum": NUMBER,
    "maximum": NUMBER,
    "categories": LIST,
    "longest": INTEGER,
    "constant": FLAG,
    "infinite": FLAG,
    "unique": FLAG,
    "environments": LIST,
}
TYPES: dict[str, tuple[type, ...]] = {
    NUMBER: (int, float),
    INTEGER: (int,),
    TEXT: (str,),
    FLAG: (bool,),
    LIST: (list,),
}


def to_yaml(schema: Schema) -> str:
    """The schema as YAML text; `from_yaml` gives the equal schema back."""
    import yaml

    plain = schema.to_dict()
    scalars = {key: plain[key] for key in SCALARS if plain[key] not in (None, "")}
    text = HEAD + str(yaml.safe_dump(scalars, sort_keys=False))
    columns = {name: _changed(column) for name, column in schema.columns.items()}
    flow = {"sort_keys": False, "default_flow_style": True, "width": 10**6, "allow_unicode": True}
    for title, entries in (("columns", columns), ("groups", plain["groups"])):
        lines = (str(yaml.safe_dump({name: entry}, **flow)).strip()[1:-1] for name, entry in entries.items())
        text += f"{title}:\n" + "".join(f"  {line}\n" for line in lines)
    return text


def from_yaml(text: str, where: str = "schema.yaml") -> Schema:
    """The schema of a YAML text; DataError naming `where` and the key if a person made a mistake in it."""
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        what = f"is no YAML{line} ({getattr(error, 'problem', error)})"
        raise DataError(where, what, "mend it there") from None
    data = _mapping(data, where)
    _known(data, SCHEMA_KEYS, where)
    if data.get("format") != FORMAT:
        what = f"is {data.get('format')!r}, not {FORMAT}"
        raise DataError(f"{where}:format", what, "infer the schema again")
    columns = {}
    for name, entry in _mapping(data.get("columns"), f"{where}:columns").items():
        columns[str(name)] = _column(entry, f"{where}:columns.{name}")
    for role in ("id", "time"):
        if sum(column.role == role for column in columns.values()) != 1:
            raise DataError(f"{where}:columns", f"not exactly one has the role {role}", "give it to one")
    groups = {}
    for name, shares in _mapping(data.get("groups") or {}, f"{where}:groups").items():
        if name not in columns:
            raise DataError(f"{where}:groups.{name}", "is no column", "declare it under columns")
        groups[str(name)] = _shares(shares, f"{where}:groups.{name}")
    band = {key: _rows(data[key], f"{where}:{key}") for key in ("fewest", "most") if data.get(key) is not None}
    if band.get("fewest", 1) > band.get("most", math.inf):
        raise DataError(f"{where}:fewest", "is above most", "swap them")
    return Schema(
        reference=str(data.get("reference", "")),
        rows=_rows(data.get("rows"), f"{where}:rows"),
        fewest=band.get("fewest"),
        most=band.get("most"),
        cluster=_cluster(data.get("cluster", ""), columns, f"{where}:cluster"),
        copies=_share(data.get("copies", 0.0), f"{where}:copies"),
        until=_moment(data.get("until", ""), f"{where}:until"),
        max_age_hours=_hours(data.get("max_age_hours"), f"{where}:max_age_hours"),
        columns=columns,
        groups=groups,
    )


def save(schema: Schema, path: str | Path) -> None:
    """Write the schema as YAML, in full or not at all."""
    durable.write_text(path, to_yaml(schema))


def load(path: str | Path) -> Schema:
    """Read a schema; DataError naming the file if it is missing or wrong."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        cure = "make it with `tidegate validate --infer`"
        raise DataError(str(path), "there is no such file", cure) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(path), f"cannot be read ({error})", "make it a text file you may read") from None
    return from_yaml(text, str(path))


def _changed(column: ColumnSchema) -> dict[str, Any]:
    """The keys of a column that are not at their default; kind and role, which have none, always."""
    defaults = {f.name: f.default for f in dataclasses.fields(column)}
    changed = {name: getattr(column, name) for name in defaults if getattr(column, name) != defaults[name]}
    return dict(to_plain(changed))


def _column(entry: Any, where: str) -> ColumnSchema:
    data = _mapping(entry, where)
    _known(data, tuple(COLUMN_KEYS), where)
    values = {k: _typed(data[k], kind, f"{where}.{k}") for k, kind in COLUMN_KEYS.items() if k in data}
    for key, choices in (("kind", KINDS), ("role", ROLES)):
        if key not in values:
            raise DataError(f"{where}.{key}", "is missing", f"use one of {', '.join(choices)}")
        _choice(values[key], choices, f"{where}.{key}")
    if values.get("minimum", -math.inf) > values.get("maximum", math.inf):
        raise DataError(f"{where}.minimum", "is above the maximum", "swap them")
    if "missing" in values:
        values["missing"] = _share(values["missing"], f"{where}.missing")
    if "categories" in values:
        values["categories"] = tuple(_text(each, f"{where}.categories") for each in values["categories"])
    if "environments" in values:
        for each in values["environments"]:
            _choice(each, ENVIRONMENTS, f"{where}.environments")
        values["environments"] = tuple(values["environments"])
    return ColumnSchema(**values)


def _typed(value: Any, kind: str, where: str) -> Any:
    if not isinstance(value, TYPES[kind]) or isinstance(value, bool) != (kind == FLAG):
        raise DataError(where, f"is {value!r}", f"use {kind}")
    return value


def _mapping(value: Any, where: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise DataError(where, "is no table of keys", "write `key: value` lines")
    return value


def _known(data: Mapping[Any, Any], keys: tuple[str, ...], where: str) -> None:
    for key in data:
        if key not in keys:
            raise DataError(where, f"there is no key {key!r}", f"use {', '.join(keys)}")


def _choice(value: Any, choices: tuple[str, ...], where: str) -> None:
    if value not in choices:
        raise DataError(where, f"is {value!r}", f"use one of {', '.join(choices)}")


def _share(value: Any, where: str) -> float:
    if not 0 <= _typed(value, NUMBER, where) <= 1:
        raise DataError(where, f"is {value}", "use a share from 0 to 1")
    return float(value)


def _shares(entry: Any, where: str) -> dict[str, float]:
    shares = {_text(k, where): _share(v, f"{where}.{k}") for k, v in _mapping(entry, where).items()}
    if sum(shares.values()) > 1 + 1e-6:
        raise DataError(where, f"its shares sum to {sum(shares.values()):.3g}", "let them sum to 1 at most")
    return shares


def _cluster(value: Any, columns: Mapping[str, ColumnSchema], where: str) -> str:
    if value not in ("", *PERIODS, *columns):
        raise DataError(where, f"{value!r} is no column", f"declare it under columns, or use {', '.join(PERIODS)}")
    return str(value)


def _hours(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if not 0 < _typed(value, NUMBER, where) < math.inf:
        raise DataError(where, f"is {value}", "use hours above 0, such as 36")
    return float(value)


def _rows(value: Any, where: str) -> int:
    if _typed(value, INTEGER, where) < 1:
        raise DataError(where, f"is {value}", "use 1 or more")
    return int(value)


def _text(value: Any, where: str) -> str:
    """YAML reads NO as false and 07 as 7: only what is surely a text will do."""
    if not isinstance(value, str):
        raise DataError(where, f"{value!r} is no text in YAML", "write it in quotes")
    return value


def _moment(value: Any, where: str) -> str:
    text = value.isoformat() if isinstance(value, dt.datetime) else value
    try:
        dt.datetime.fromisoformat(text or "1970-01-01")
    except (TypeError, ValueError):
        what, cure = f"is {value!r}", "use a time such as 2013-02-28T23:59:00+00:00"
        raise DataError(where, what, cure) from None
    return str(text)
