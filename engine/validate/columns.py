"""Checks of one column against its schema, one function each: (Column, ColumnSchema, conf) -> Finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.records import CheckOutcome
from engine.records.estimates import wilson
from engine.validate.conf import ValidateConf
from engine.validate.facts import MISSING_WORD, Column, count
from engine.validate.schema import ColumnSchema


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, in words."""

    outcome: CheckOutcome
    observed: str
    expected: str
    reason: str = ""


def verdict(violated: bool, observed: str, expected: str, reason: str) -> Finding:
    """A finding whose reason is said only where it is violated."""
    outcome = CheckOutcome.VIOLATED if violated else CheckOutcome.OK
    return Finding(outcome, observed, expected, reason if violated else "")


def undecidable(expected: str, reason: str) -> Finding:
    """A finding of nothing, and why."""
    return Finding(CheckOutcome.UNDECIDABLE, "", expected, reason)


def share(rows: int, n: int, limit: float, conf: ValidateConf, words: tuple[str, str]) -> Finding:
    """Is a share of rows surely above its limit. `words`: what these rows are, and why they should not be."""
    what, reason = words
    expected = f"at most {limit:.2%}"
    if n == 0:
        return undecidable(expected, "there are no values to look at")
    low, _ = wilson(rows, n, conf.confidence_level)
    return verdict(low > limit, f"{rows / n:.2%} {what} ({rows} of {n})", expected, reason)


def check_type(column: Column, schema: ColumnSchema, conf: ValidateConf) -> Finding:
    """The kind of values. Whole numbers may come as floats (some store gaps so) and where floats are due."""
    same = column.kind == schema.kind or (column.kind == "integer" and schema.kind == "float")
    if column.kind == "float" and schema.kind == "integer":
        fraction = pc.not_equal(column.values, pc.floor(column.values))
        same = count(fraction) == column._nans
    reason = "models read it as something else than in training"
    reason = "no id pairs with one of another kind" if schema.role == "id" else reason
    return verdict(not same, column.kind, schema.kind, reason)


def check_empty(column: Column, schema: ColumnSchema, conf: ValidateConf) -> Finding:
    """Are there values where the reference had some."""
    gone = column.present == 0 and schema.missing < 1
    return verdict(gone, f"{column.present} values", "at least one", "the column stopped being filled")


def check_missing(column: Column, schema: ColumnSchema, conf: ValidateConf) -> Finding:
    """Share of missing values against that of the reference."""
    limit = min(1.0, schema.missing + conf.missing_tolerance)
    words = ("missing", f"in the reference {schema.missing:.2%} were")
    return share(column.missing, column.n, limit, conf, words)


def check_infinite(column: Column, schema: ColumnSchema, conf: ValidateConf) -> Finding:
    """Infinities where the reference had none."""
    return verdict(
        column.infinite > 0 and not schema.infinite,
        f"{column.infinite} infinite",
        "some" if schema.infinite else "none",
        "a division by zero or an overflow upstream",
    )


def check_range(column: Column, schema: ColumnSchema, conf: ValidateConf) -> Finding:
    """Share of the values outside the range."""
    values, low, high = column.values, schema.minimum, schema.maximum
    outside = pa.scalar(False)
    if low is not None:
        outside = pc.or_(outside, pc.less(values, low))
    if high is not None:
        outside = pc.or_(outside, pc.greater(values, high))
    bounds = f"[{_bound(low)}, {_bound(high)}]"
    words = (
        f"outside {bounds}",
        f"it runs from {_bound(column.extremes[0])} to {_bound(column.extremes[1])}",
    )
    return share(count(outside), column.present, conf.range_tolerance, conf, words)


def check_categories(column: Column, schema: ColumnSchema, conf: ValidateConf) -> Finding:
    """Share of the values in categories that the schema does not know."""
    known = set(schema.categories or ())
    unseen = {name: rows for name, rows in column.shares().items() if name not in known}
    most = sorted(unseen, key=lambda name: (-unseen[name], name))[:5]
    rest = f" and {len(unseen) - len(most)} more" if len(unseen) > len(most) else ""
    words = ("unseen", f"new: {', '.join(name[:40] for name in most)}{rest}")
    return share(sum(unseen.values()), column.present, conf.category_tolerance, conf, words)


def check_length(column: Column, schema: ColumnSchema, conf: ValidateConf) -> Finding:
    """The longest string against that of the reference."""
    limit = schema.longest or 0
    longer = column.longest > limit
    return verdict(longer, f"{column.longest} characters", f"at most {limit}", "a field may be cut or joined wrongly")


def check_constant(column: Column, schema: ColumnSchema, conf: ValidateConf) -> Finding:
    """One value only, where the reference had several."""
    stuck = column.constant and not schema.constant
    observed = "one value" if column.constant else "several values"
    return verdict(stuck, observed, "one or several" if schema.constant else "several values", "a sensor may be stuck")


def check_unique(column: Column, schema: ColumnSchema, conf: ValidateConf) -> Finding:
    """Values that come more than once; missing ones do not count."""
    words = np.sort(column.words()[column.values.is_valid().to_numpy(zero_copy_only=False)])
    words = words[words != MISSING_WORD] if column.kind == "float" else words
    twice = int((words[1:] == words[:-1]).sum())
    return verdict(twice > 0, f"{twice} repeated", "none", "it is declared unique")


Check = Callable[[Column, ColumnSchema, ValidateConf], Finding]

CHECKS: tuple[tuple[str, Check, Callable[[ColumnSchema], bool]], ...] = (
    ("type", check_type, lambda s: True),
    ("empty", check_empty, lambda s: True),
    ("missing", check_missing, lambda s: True),
    ("infinite", check_infinite, lambda s: s.kind == "float"),
    ("range", check_range, lambda s: s.minimum is not None or s.maximum is not None),
    ("categories", check_categories, lambda s: s.categories is not None),
    ("length", check_length, lambda s: s.longest is not None and s.categories is None),
    ("constant", check_constant, lambda s: s.role == "feature"),
    ("unique", check_unique, lambda s: s.unique),
)
"""Name, check, and whether it applies to a column of that schema."""

READS_VALUES = frozenset({"infinite", "range", "categories", "length", "unique"})  # pointless on values of another kind
NEEDS_VALUES = READS_VALUES | {"constant"}  # says nothing of a column without any


def _bound(value: float | None) -> str:
    return "any" if value is None else f"{value:.6g}"
