"""What the columns of two tables are, where nobody says it: numbers, categories, or nothing to compare.

Guesses look at the rows of both tables together, never at one side: so they cannot bias the tests that follow. What
is guessed beyond a column's type is told, and so is what is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import ConfigError, DataError
from engine.monitor.columns import floats_of_text, is_text, plain
from engine.records.contrast import Guess, LeftOut

FEW = 10
"""Whole numbers with at most this many values are codes of categories ..."""
FEW_ROWS = 100
"""... where this many rows show that there are no more."""
HEAD = 5000
"""Rows that are looked at before a whole column is."""
TEXT = 0.5
"""Share of different values from which text is an id or free text."""
TWO_KINDS = "two kinds"
IDS = re.compile(r"(^|[_\W])(id|ids|uuid|guid|key|index|idx|rowid)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the command line says of columns."""

    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()
    ignore: Sequence[str] = ()
    roles: Sequence[str] = ()  # prediction and label: never left out

    def check(self, names: Sequence[str]) -> None:
        """ConfigError where a column is named twice, or is in neither table."""
        said = {"numeric": self.numeric, "categorical": self.categorical, "ignore": self.ignore}
        seen: dict[str, str] = {}
        for key, columns in said.items():
            for column in columns:
                if column not in names:
                    import difflib

                    near = difflib.get_close_matches(column, names, 1)
                    cure = f"did you mean {near[0]!r}?" if near else f"the files have {', '.join(names[:8])}"
                    raise ConfigError(key, f"there is no column {column!r}", cure)
                if column in seen:
                    where = key if seen[column] == key else f"{seen[column]} and {key}"
                    raise ConfigError(key, f"{column!r} is named twice, under {where}", "name it once")
                seen[column] = key


@dataclass(kw_only=True)
class Kinds:
    """The columns to compare, and what was decided about the others; filled column by column."""

    numeric: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    guesses: list[Guess] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    parsed: list[str] = field(default_factory=list)
    """Numbers that are written as text: to be read by `numbers_of_text`."""

    def take(self, column: str, kind: str, reason: str = "") -> None:
        """Compare a column as numbers or as categories."""
        (self.numeric if kind == "numeric" else self.categorical).append(column)
        if reason:
            self.guesses.append(Guess(column=column, kind=kind, reason=reason))

    def leave(self, column: str, reason: str) -> None:
        """Do not compare a column."""
        self.left_out.append(LeftOut(column=column, reason=reason))


def kinds_of(
    reference: pa.Table,
    live: pa.Table,
    wanted: Wanted,
    names: tuple[str, str],
    is_constant: Callable[[str], bool] | None = None,
) -> Kinds:
    """What each column of both tables is.

    `names` are those of the tables, for errors. Where the tables are the first rows of files that are scanned,
    `is_constant` tells what holds in all of them, and what else is guessed from these rows says so.
    """
    there = list(dict.fromkeys([*reference.column_names, *live.column_names]))
    wanted.check(there)
    kinds = Kinds()
    for name in there:
        if name in wanted.ignore:
            kinds.leave(name, "ignore names it")
        elif name not in reference.column_names:
            kinds.leave(name, f"is new: {names[0]} has no such column")
        elif name not in live.column_names:
            _lost(kinds, name, reference[name], wanted)
        else:
            _Judge(name, reference[name], live[name], names, is_constant).into(kinds, wanted)
    return kinds


def numbers_of_text(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The table with these columns of text read as numbers; blank text is missing."""
    for name in columns:
        if name in table.column_names and is_text(table[name].type):
            table = table.set_column(table.column_names.index(name), name, floats_of_text(table[name]))
    return table


def _lost(kinds: Kinds, name: str, column: pa.ChunkedArray, wanted: Wanted) -> None:
    """A column that the live table does not have: it stays, and will be undecidable."""
    kind = _kind(column.type)
    if kind or name in (*wanted.numeric, *wanted.categorical, *wanted.roles):
        kinds.take(name, "categorical" if name in wanted.categorical else kind or "categorical")
    else:
        kinds.leave(name, f"holds {column.type}, neither numbers nor categories")


class _Judge:
    """One column that both tables have."""

    def __init__(
        self,
        name: str,
        old: pa.ChunkedArray,
        new: pa.ChunkedArray,
        tables: tuple[str, str],
        is_constant: Callable[[str], bool] | None,
    ) -> None:
        self.name, self.sides, self.tables, self.is_constant = name, (old, new), tables, is_constant
        self.within = " in the first rows" if is_constant else ""  # where a guess rests on these alone

    def into(self, kinds: Kinds, wanted: Wanted) -> None:
        name, free = self.name, self.name not in wanted.roles
        types = [side.type for side in self.sides]
        kind = self._common(wanted)
        if name in wanted.categorical:
            kinds.take(name, "categorical")
        elif name in wanted.numeric:
            self._as_numbers(kinds)
            kinds.take(name, "numeric")
        elif kind == TWO_KINDS:  # it is compared, so that the answer is undecidable, and hides no other column
            kinds.take(name, "numeric", f"{types[1]} in {self.tables[1]}, and {types[0]} in {self.tables[0]}")
        elif all(pa.types.is_null(t) for t in types):
            kinds.leave(name, "has no value in either")
        elif not kind:
            temporal = any(pa.types.is_temporal(t) for t in types)
            what = f"is a time ({types[0]})" if temporal else f"holds {types[0]}, neither numbers nor categories"
            kinds.leave(name, what)
        elif free and (constant := self._constant()) is not None:
            kinds.leave(name, f"is constant: {constant} in every row of both")
        elif free and (why := self._id(kind)):
            kinds.leave(name, why + self.within)
        else:
            self._take(kinds, kind)

    def _take(self, kinds: Kinds, kind: str) -> None:
        if kind == "text numbers" and max(map(_distinct, self.sides)) <= FEW:
            kinds.take(self.name, "categorical")
        elif kind == "text numbers":
            kinds.parsed.append(self.name)
            kinds.take(self.name, "numeric", f"numbers written as text{self.within}")
        elif kind == "numeric" and (few := self._few()):
            kinds.take(self.name, "categorical", f"whole numbers with {few} values{self.within}")
        else:
            kinds.take(self.name, kind)

    def _common(self, wanted: Wanted) -> str:
        """The kind of both sides; TWO_KINDS where they are of two, and nobody said how to take them."""
        old, new = (_kind(side.type) for side in self.sides)
        nulls = [pa.types.is_null(side.type) for side in self.sides]
        if nulls[0] != nulls[1]:
            return new if nulls[0] else old
        if any(is_text(side.type) for side in self.sides) and {old, new} <= {"numeric", "categorical"}:
            texts = [side for side in self.sides if is_text(side.type)]
            others = [side for side in self.sides if not is_text(side.type) and _kind(side.type) == "categorical"]
            if not others and all(_reads_as_numbers(side) and not _coded(side) for side in texts):
                return "text numbers"
        if old != new and self.name not in (*wanted.numeric, *wanted.categorical):
            return TWO_KINDS
        return old

    def _as_numbers(self, kinds: Kinds) -> None:
        for side, table in zip(self.sides, self.tables, strict=True):
            if is_text(side.type):
                if not _reads_as_numbers(side):
                    cure = "list it under categorical or ignore"
                    raise DataError(f"{table}:{self.name}", "holds text that is no number", cure)
                kinds.parsed.append(self.name)
            elif _kind(side.type) != "numeric" and not pa.types.is_boolean(side.type):
                cure = "list it under categorical or ignore"
                raise DataError(f"{table}:{self.name}", f"holds {side.type}, not numbers", cure)

    def _constant(self) -> str | None:
        """The one value of every row of both sides, as text."""
        if any(side.null_count for side in self.sides):
            return None
        values = [side.slice(0, 1)[0].as_py() for side in self.sides]
        if values[0] != values[1] or any(_distinct(side.slice(0, HEAD)) > 1 for side in self.sides):
            return None
        if any(_distinct(side) != 1 for side in self.sides) or (self.is_constant and not self.is_constant(self.name)):
            return None
        return str(values[0])

    def _id(self, kind: str) -> str:
        """Why the values name rows and describe nothing; empty where they do not."""
        text = all(is_text(side.type) for side in self.sides)
        whole = all(pa.types.is_integer(side.type) for side in self.sides)
        if not ((text and kind == "categorical") or whole) or min(map(len, self.sides)) < FEW_ROWS:
            return ""
        limit = TEXT if text else 1.0
        for side in self.sides:
            for part in (side.slice(0, HEAD), side):
                if _distinct(part) < limit * (len(part) - part.null_count):
                    return ""
        if text:
            return "is an id or free text: there are more than half as many values as rows"
        return "is an id: every value is another" if IDS.search(self.name) or self._counts_up() else ""

    def _counts_up(self) -> bool:
        """Whether different whole numbers lie as close as numbers of rows do, on both sides."""
        for side in self.sides:
            ends = pc.min_max(side).as_py()
            if ends["min"] is None or ends["max"] - ends["min"] >= 2 * len(side):
                return False
        return True

    def _few(self) -> int:
        """How many values whole numbers have, where these are few; 0 where they are many, or not whole."""
        if not all(pa.types.is_integer(side.type) for side in self.sides):
            return 0
        if sum(map(len, self.sides)) < FEW_ROWS or any(_distinct(side.slice(0, HEAD)) > FEW for side in self.sides):
            return 0
        values = {value for side in self.sides for value in pc.unique(side).to_pylist() if value is not None}
        return len(values) if len(values) <= FEW else 0


def _distinct(column: pa.ChunkedArray) -> int:
    return int(pc.count_distinct(plain(column), mode="only_valid").as_py())


def _reads_as_numbers(column: pa.ChunkedArray) -> bool:
    """Whether every text is a number, and some are there; a few values are looked at before all are."""
    try:
        return all(floats_of_text(part).null_count < len(part) for part in (column.slice(0, HEAD), column) if len(part))
    except pa.ArrowInvalid:
        return False


def _coded(column: pa.ChunkedArray) -> bool:
    """Whether a number has a zero in front: 01097 is a code."""
    return bool(pc.any(pc.match_substring_regex(plain(column), r"^\s*[-+]?0\d")).as_py())


def _kind(kind: pa.DataType) -> str:
    """numeric or categorical; empty where it is neither."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numeric"
    return "categorical" if is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_dictionary(kind) else ""
