"""The classes of a label that is words: which there are, in which order, and how a column of them becomes codes.

A binary label has two classes, and the positive one is code 1. Which one that is, a person says (`data.positive`, or
the last of `data.classes`); only where the words themselves say it (false and true, no and yes, 0 and 1) nobody need.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from engine.data.conf import DataConf
from engine.errors import ClassError, ConfigError, DataError
from engine.records import Task
from engine.records.fields import quoted

CLEAR = (("false", "true"), ("no", "yes"), ("0", "1"), ("f", "t"), ("n", "y"))  # the positive one last
MOST_LEARNT = 1000  # more different words than this are no classes: free text, ids
SHOWN = 5
LISTED, LONGEST = 8, 20  # more classes than this, or longer ones, are too long for one line of a log


@dataclass(frozen=True)
class Classes:
    """The words of a label, in the order of their codes."""

    words: tuple[str, ...]

    def codes(self, column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
        """int64 codes of labels, null where unknown. ClassError where a label is none of the classes."""
        texts = spelled(column, where)
        codes = pc.index_in(texts, value_set=pa.array(self.words, pa.string())).cast(pa.int64())
        if codes.null_count > texts.null_count:
            strange = texts.filter(pc.and_(codes.is_null(), texts.is_valid()))
            new = _distinct([strange])
            what = f"{len(strange)} rows have the label {_listed(new)}, none of the classes {_listed(self.words)}"
            raise ClassError(where, what, f"mend the labels, or found a new loop with {self._with(new)}")
        return codes

    def _with(self, new: Sequence[str]) -> str:
        """The overrides of a loop that knows these words, too; two classes and one more are no binary label."""
        every = [*self.words, *new]
        if len(every) > LISTED or any(len(word) > LONGEST for word in every):
            return "it in data.classes"
        task = "data.task=multiclass " if len(self.words) == 2 else ""
        return f"{task}data.classes=[{','.join(map(quoted, every))}]"


def are_words(kind: pa.DataType) -> bool:
    """Are labels of this type words, which nothing but a list of classes turns into codes."""
    if pa.types.is_dictionary(kind):
        return are_words(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def spelled(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Labels as words: strings as they are, booleans as false and true, whole numbers as their digits. NaN is null."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        try:
            column = column.cast(pa.float64())
            column = pc.if_else(pc.is_nan(column), None, column).cast(pa.int64())
        except pa.ArrowInvalid:
            raise DataError(where, "holds a fraction, not a class", "store words or whole numbers") from None
        kind = column.type
    if not (are_words(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        raise DataError(where, f"is {kind}, not a label", "store words, whole numbers or booleans")
    texts = column.cast(pa.string())
    if empty := int(pc.sum(pc.equal(texts, "")).as_py() or 0):
        raise DataError(where, f"{empty} rows have an empty label", "store null where the label is not known")
    return texts


def learn(columns: Iterable[pa.ChunkedArray], conf: DataConf, where: str) -> Classes:
    """The classes that spelled labels of the founding windows have; of a binary label, the positive one last.

    ConfigError where the positive class is not said, or the config says something else than the labels; DataError
    where they are no classes. `where` is file and column of the newest of them.
    """
    found = sorted(_distinct(columns))
    if len(found) > MOST_LEARNT:
        what = f"has {len(found)} different labels, such as {_listed(found)}"
        raise DataError(where, what, "list the classes in data.classes, or check data.label")
    if conf.kind is Task.BINARY:
        return Classes(_pair(found, conf.positive_word, where))
    if len(found) < 2:
        raise DataError(where, f"every label is {_listed(found)}", "list all of them: data.classes=[...]")
    said = conf.n_classes
    if said not in (2, len(found)):  # 2 is what stands there where nobody says a number
        what = f"is {said}, and the founding windows have {len(found)} labels: {_listed(found)}"
        raise ConfigError("data.classes", what, "list the classes: data.classes=[...]")
    return Classes(tuple(found))


def _pair(found: Sequence[str], positive: str, where: str) -> tuple[str, str]:
    """The two classes of a binary label, the positive one last."""
    if len(found) > 2:
        what = f"has {len(found)} labels ({_listed(found)}), and the task is binary"
        raise DataError(where, what, "use data.task=multiclass, or mend the labels")
    if positive and positive not in found:
        if len(found) == 1:
            return found[0], positive
        what = f"{positive!r} is none of the labels {_listed(found)}"
        raise ConfigError("data.positive", what, "name one of them")
    if len(found) < 2:
        raise DataError(
            where, f"every label is {_listed(found)}", "name both, the positive one last: data.classes=[...]"
        )
    if positive:
        return (found[0], found[1]) if found[1] == positive else (found[1], found[0])
    for pair in CLEAR:
        if tuple(word.lower() for word in found) == pair:
            return found[0], found[1]
    what = f"the labels are {found[0]!r} and {found[1]!r}, and which one is the positive class is not said"
    raise ConfigError("data.positive", what, f"set data.positive={quoted(found[0])} or ={quoted(found[1])}")


def _distinct(columns: Iterable[pa.ChunkedArray]) -> list[str]:
    """Every word once, the missing ones left out, in the order in which they come."""
    return list(dict.fromkeys(word for column in columns for word in column.drop_null().unique().to_pylist()))


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(repr(word[:40]) for word in words[:SHOWN]) + more
