"""Training/serving skew: the same rows, seen by both sides, must have the same features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.records import Check, CheckOutcome, Severity
from engine.records.estimates import wilson
from engine.validate.facts import count

RELATIVE = 1e-6  # a value that went through float32 on one side is the same value


def skew(
    training: pa.Table,
    serving: pa.Table,
    key: str,
    columns: Sequence[str],
    *,
    tolerance: float = 0.0,
    confidence_level: float = 0.99,
    severity: Severity = Severity.WARN,
) -> tuple[Check, ...]:
    """Compare `columns` of the rows that both tables hold, paired by `key`; one check a column.

    VIOLATED where the share of rows that differ is surely above `tolerance` (Wilson), UNDECIDABLE where
    no row is in both or a column is missing. Two missing values are equal, and numbers within 1e-6 relative.
    """
    at = pc.index_in(training[key].combine_chunks(), value_set=serving[key].combine_chunks())
    both = at.is_valid()
    left, right = training.filter(both), serving.take(at.drop_null())
    checks = []
    for column in columns:
        expected = f"at most {tolerance:.2%} of rows differ"
        outcome, observed, reason = CheckOutcome.UNDECIDABLE, "", ""
        if column not in left.column_names or column not in right.column_names:
            reason = "the column is not on both sides"
        elif not left.num_rows:
            reason = "no row is on both sides"
        else:
            differ = _differing(left[column], right[column])
            low, _ = wilson(differ, left.num_rows, confidence_level)
            outcome = CheckOutcome.VIOLATED if low > tolerance else CheckOutcome.OK
            observed = f"{differ / left.num_rows:.2%} differ ({differ} of {left.num_rows})"
            reason = "the two sides compute it differently" if outcome is CheckOutcome.VIOLATED else ""
        checks.append(
            Check(
                name="skew",
                column=column,
                severity=severity,
                outcome=outcome,
                observed=observed,
                expected=expected,
                reason=reason,
            )
        )
    return tuple(checks)


def _differing(left: pa.ChunkedArray, right: pa.ChunkedArray) -> int:
    if _numeric(left.type) and _numeric(right.type):
        if pa.types.is_integer(left.type) and pa.types.is_integer(right.type):
            return int(len(left) - count(pc.equal(left, right)) - count(pc.and_(left.is_null(), right.is_null())))
        one, two = (c.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy() for c in (left, right))
        return int((~np.isclose(one, two, rtol=RELATIVE, atol=0.0, equal_nan=True)).sum())
    one, two = (c.cast(pa.string()) for c in (left, right))
    return int(len(one) - count(pc.equal(one, two)) - count(pc.and_(one.is_null(), two.is_null())))


def _numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
