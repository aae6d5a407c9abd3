"""Schema: what the reference looked like. Inferred from rows, edited by a person, compared with another."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from engine.errors import DataError
from engine.records import digest, record
from engine.records.plain import from_plain, to_plain
from engine.scoring import student
from engine.validate.facts import Column, copies

T = TypeVar("T")

FORMAT = 1
TRAINING, SERVING = "training", "serving"
ABSENT = {
    "fewest": "by the config",
    "most": "by the config",
    "copies": "",
    "until": "not known",
    "cluster": "none",
    "max_age_hours": "not declared",
}
LATER = ("max_age_hours",)  # keys that came after the first ledgers
MIN_HISTORY = 3  # windows that set a band of rows
MOST_LOG = 10.0  # a band of e^10 to either side is none
MAX_CATEGORIES = 1000  # more distinct values than this are no closed set: ids, free text


class Columns(Protocol):
    """Which column is what; a DataConf is one."""

    id: str
    time: str
    label: str
    numeric: list[str]
    categorical: list[str]
    slices: list[str]


@record
class ColumnSchema:
    """One column. A bound of None is not checked."""

    kind: str  # integer, float, string, time or boolean; text: ids that are texts
    role: str  # id, time, feature, slice, cluster or label
    missing: float = 0.0  # share of rows without a value
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None  # in order of their names
    longest: int | None = None  # characters
    constant: bool = False
    infinite: bool = False  # infinities are allowed
    unique: bool = False  # no value may come twice; declared by a person, never inferred
    environments: tuple[str, ...] = (TRAINING, SERVING)  # where the column must be


@record
class Schema:
    """The columns, rows and groups of the reference."""

    format: int = FORMAT
    reference: str = ""  # what it was inferred from
    rows: int  # in one window
    fewest: int | None = None  # the band of rows; None: by the config, around `rows`
    most: int | None = None
    copies: float = 0.0  # share of rows that equal an earlier one in every feature
    until: str = ""  # time of the last row, ISO 8601; empty: not known
    cluster: str = ""  # what rows that share their luck have in common: a column, or hour, day, week of the time
    max_age_hours: float | None = None  # of the newest row when the window comes; None: nobody declared it
    columns: dict[str, ColumnSchema]
    groups: dict[str, dict[str, float]]  # column -> group -> its share of the rows

    def named(self, role: str) -> tuple[str, ...]:
        """The columns of that role, in order."""
        return tuple(name for name, column in self.columns.items() if column.role == role)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` gives the equal schema back."""
        return dict(to_plain(self))

    def fingerprint(self) -> str:
        """sha256 of what it says: the same for 0 and 0.0, which a file does not tell apart, and as it was before there
        were keys that it does not use.
        """
        said = Schema.from_dict(self.to_dict()).to_dict()
        return digest("schema", {key: value for key, value in said.items() if key not in LATER or value is not None})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Schema:
        """The schema that `to_dict` wrote. DataError if it is of another format or misses something."""
        if data.get("format") != FORMAT:
            raise DataError("schema:format", f"is {data.get('format')!r}, not {FORMAT}", "infer the schema again")
        try:
            return from_plain(cls, data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError("schema", f"cannot be used ({error})", "infer the schema again") from None


def infer(
    table: pa.Table,
    columns: Columns,
    *,
    reference: str = "",
    windows: int = 1,
    groups: Sequence[str] | None = None,
) -> Schema:
    """What `table` looks like, taken as the rows of `windows` good windows.

    Groups (by default the slices) get the share they have here; a person may put in that of the population.
    DataError if a column that `columns` names is not there, or there is no row. One pass over each column.
    """
    if not table.num_rows:
        raise DataError(reference or "reference", "has no rows", "infer the schema from a window with rows")
    roles = {columns.id: "id", columns.time: "time"}
    roles |= dict.fromkeys([*columns.numeric, *columns.categorical], "feature")
    roles |= {column: "slice" for column in columns.slices if column not in roles}
    if columns.label in table.column_names:
        roles[columns.label] = "label"
    cluster = getattr(columns, "cluster", "")  # a date, a customer: known, but its values are new in every window
    if cluster in table.column_names and cluster not in roles:
        roles[cluster] = "cluster"
    for name in roles:
        times = table.column_names.count(name)
        if times != 1:
            what = f"the reference has {times} columns of that name" if times else "the reference has no such column"
            raise DataError(name, what, "read it with the same data config")
    found = {name: Column.of(table, name) for name in roles}
    categorical = {*columns.categorical, *columns.slices}
    features = [found[name] for name, role in roles.items() if role == "feature"]
    until = found[columns.time].extremes[1]
    return Schema(
        reference=reference,
        rows=max(1, round(table.num_rows / windows)),
        copies=copies(features) / table.num_rows,
        until=until.isoformat() if until is not None else "",
        cluster=cluster,
        columns={n: _column(found[n], role, n in categorical) for n, role in roles.items()},
        groups={name: _shares(found[name]) for name in (columns.slices if groups is None else groups)},
    )


def widen(schema: Schema, other: Schema) -> Schema:
    """A schema that accepts what either accepts: how a history of good windows sets ranges and missing rates.

    Rows, groups and roles stay those of `schema`, which a person may have declared. A column of one of them only
    is taken as it is. DataError where a column holds different kinds of values.
    """
    columns = dict(schema.columns)
    for name, column in other.columns.items():
        columns[name] = _widened(name, columns[name], column) if name in columns else column
    return dataclasses.replace(
        schema,
        reference=", ".join(filter(None, (schema.reference, other.reference))),
        copies=max(schema.copies, other.copies),
        until=max(schema.until, other.until, key=_instant),
        columns=columns,
    )


def learn(schema: Schema, seen: Sequence[Schema], confidence_level: float) -> Schema:
    """`schema`, with what good windows taught: their ranges, categories, lengths, missing rates and copies are allowed.

    From three windows on, the band of rows is their prediction interval: of the logarithm of their rows, normal, with
    no less spread than a Poisson count has. A band that a person wrote stands; so do roles, groups, kinds and `until`.
    A column that is new or of another kind teaches nothing, and no window opens a bound by having no values.
    """
    columns = dict(schema.columns)
    for other in seen:
        columns |= {n: _learnt(columns[n], column) for n, column in other.columns.items() if n in columns}
    learnt = dataclasses.replace(schema, columns=columns, copies=max([schema.copies, *(s.copies for s in seen)]))
    if len(seen) < MIN_HISTORY or schema.fewest is not None or schema.most is not None:
        return learnt
    logs = [math.log(s.rows) for s in seen]
    k, centre = len(logs), sum(logs) / len(logs)
    spread = max(sum((x - centre) ** 2 for x in logs) / (k - 1), math.exp(-centre))
    half = student.within(confidence_level, k - 1) * math.sqrt(spread * (1 + 1 / k))
    half = min(half, MOST_LOG)
    fewest, most = math.floor(math.exp(centre - half)), math.ceil(math.exp(centre + half))
    return dataclasses.replace(learnt, fewest=max(1, fewest), most=most)


def diff(old: Schema, new: Schema) -> tuple[str, ...]:
    """What changed, a line each, in words: `temp: maximum 61 -> 95`. Empty if nothing did."""
    lines = []
    if old.rows != new.rows:
        lines.append(f"rows a window: {old.rows} -> {new.rows} ({new.rows / old.rows - 1:+.0%})")
    for field, absent in ABSENT.items():
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            words = (absent if value in (None, "") else _word(value) for value in (before, after))
            lines.append(f"{field}: {' -> '.join(words)}")
    lines += [f"{name}: column is gone" for name in old.columns if name not in new.columns]
    for name, column in new.columns.items():
        if name not in old.columns:
            lines.append(f"{name}: new column ({column.kind}, {column.role})")
        else:
            lines += [f"{name}: {line}" for line in _column_diff(old.columns[name], column)]
    for name in {**old.groups, **new.groups}:
        lines += _group_diff(name, old.groups.get(name), new.groups.get(name))
    return tuple(lines)


def _column(column: Column, role: str, categorical: bool) -> ColumnSchema:
    numeric = column.kind in ("integer", "float") and role in ("feature", "label") and not categorical
    low, high = column.extremes if numeric else (None, None)
    words = role == "label" and column.kind == "string"  # classes
    closed = (categorical or words) and len(column.encoded.dictionary) <= MAX_CATEGORIES
    return ColumnSchema(
        kind=column.kind,
        role=role,
        missing=column.missing / column.n,
        minimum=low,
        maximum=high,
        categories=tuple(sorted(column.shares())) if closed else None,
        longest=column.longest if column.kind == "string" else None,
        constant=column.constant,
        infinite=column.infinite > 0,
        environments=(TRAINING,) if role == "label" else (TRAINING, SERVING),
    )


def _widened(name: str, one: ColumnSchema, two: ColumnSchema) -> ColumnSchema:
    kinds = {one.kind, two.kind}
    if len(kinds) > 1 and kinds != {"integer", "float"}:
        raise DataError(name, f"is {one.kind} in one window and {two.kind} in another", "mend the windows")
    same = (one.minimum, one.maximum, one.categories) == (two.minimum, two.maximum, two.categories)
    return dataclasses.replace(
        one,
        kind="float" if len(kinds) > 1 else one.kind,
        missing=max(one.missing, two.missing),
        minimum=_looser(min, one.minimum, two.minimum),
        maximum=_looser(max, one.maximum, two.maximum),
        categories=_looser(_union, one.categories, two.categories),
        longest=_looser(max, one.longest, two.longest),
        constant=one.constant and two.constant and same,
        infinite=one.infinite or two.infinite,
    )


def _learnt(one: ColumnSchema, two: ColumnSchema) -> ColumnSchema:
    if one.kind != two.kind and (one.kind, two.kind) != ("float", "integer"):
        return one
    bounds = {b: getattr(one, b) for b in ("minimum", "maximum", "categories", "longest") if getattr(two, b) is None}
    wide = _widened("", one, dataclasses.replace(two, kind=one.kind, **bounds))
    return dataclasses.replace(wide, constant=one.constant, infinite=one.infinite)


def _looser(pick: Callable[[T, T], T], one: T | None, two: T | None) -> T | None:
    """What both bounds allow; None, which allows anything, is the loosest."""
    return None if one is None or two is None else pick(one, two)


def _union(one: tuple[str, ...], two: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*one, *two}))


def _instant(until: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(until or "0001-01-02")
    return moment.replace(tzinfo=moment.tzinfo or dt.UTC)


def _shares(column: Column) -> dict[str, float]:
    counts = column.shares()
    total = sum(counts.values())
    return {group: counts[group] / total for group in sorted(counts)}


def _column_diff(old: ColumnSchema, new: ColumnSchema) -> list[str]:
    lines = []
    for field in ("kind", "role", "missing", "minimum", "maximum", "longest", "constant", "infinite", "unique"):
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            lines.append(f"{field} {_word(before)} -> {_word(after)}")
    if old.environments != new.environments:
        lines.append(f"environments {', '.join(old.environments)} -> {', '.join(new.environments)}")
    if (old.categories is None) != (new.categories is None):
        lines.append("categories are now " + ("open" if new.categories is None else "a closed set"))
    elif old.categories is not None and new.categories is not None:
        came, went = (sorted(set(a) - set(b)) for a, b in (
            (new.categories, old.categories), (old.categories, new.categories)
        ))  # fmt: skip
        lines += [f"categories {sign} {', '.join(names)}" for sign, names in (("+", came), ("-", went)) if names]
    return lines


def _group_diff(name: str, old: dict[str, float] | None, new: dict[str, float] | None) -> list[str]:
    if old is None or new is None:
        return [f"{name}: its groups are " + ("no longer declared" if new is None else "now declared")]
    lines = []
    for group in sorted({**old, **new}):
        before, after = old.get(group, 0.0), new.get(group, 0.0)
        if before != after:
            lines.append(f"{name}: share of {group} {_word(before)} -> {_word(after)}")
    return lines


def _word(value: Any) -> str:
    if value is None:
        return "not checked"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
