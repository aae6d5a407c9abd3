from __future__ import annotations

import numpy as np
import pyarrow as pa

from engine.records import CheckOutcome, Severity
from engine.validate.skew import skew

OK, VIOLATED, UNDECIDABLE = CheckOutcome.OK, CheckOutcome.VIOLATED, CheckOutcome.UNDECIDABLE


def test_rows_are_paired_by_key_not_by_position() -> None:
    rng = np.random.default_rng(0)
    n = 500
    training = pa.table(
        {
            "id": np.arange(n),
            "same": rng.normal(size=n),
            "single": rng.normal(size=n).astype(np.float32),
            "count": rng.integers(2**60, 2**62, n),
            "gaps": pa.array(rng.normal(size=n), mask=np.arange(n) % 3 == 0),
            "name": pa.array(rng.choice(["a", "b"], n), mask=np.arange(n) % 4 == 0),
            "late": rng.normal(size=n),
            "gone": np.zeros(n),
        }
    )
    serving = training.set_column(2, "single", training["single"].cast(pa.float64()))
    late = serving["late"].to_numpy().copy()
    late[:50] += 1.0
    serving = serving.set_column(6, "late", pa.array(late)).drop_columns(["gone"])
    serving = serving.take(rng.permutation(n)).slice(0, 480)
    names = ["same", "single", "count", "gaps", "name", "late", "gone"]
    checks = {check.column: check for check in skew(training, serving, "id", names)}
    assert [checks[name].outcome for name in names] == [OK, OK, OK, OK, OK, VIOLATED, UNDECIDABLE]
    differing = len(set(range(50)) & set(serving["id"].to_pylist()))
    assert checks["late"].observed == f"{differing / 480:.2%} differ ({differing} of 480)"
    assert checks["late"].severity is Severity.WARN


def test_one_more_is_another_whole_number() -> None:
    training = pa.table({"id": [1, 2], "n": [2**60, 5]})
    serving = pa.table({"id": [1, 2], "n": [2**60 + 1, 5]})
    (check,) = skew(training, serving, "id", ["n"])
    assert check.observed == "50.00% differ (1 of 2)"


def test_missing_on_one_side_differs() -> None:
    training = pa.table({"id": [1, 2, 3], "x": [1.0, None, float("nan")], "c": ["a", None, None]})
    serving = pa.table({"id": [3, 2, 1], "x": [None, 2.0, 1.0], "c": [None, "b", "a"]})
    for check in skew(training, serving, "id", ["x", "c"]):
        assert check.observed == "33.33% differ (1 of 3)"


def test_a_tolerance_allows_a_share() -> None:
    training = pa.table({"id": range(100), "x": [0.0] * 100})
    serving = pa.table({"id": range(100), "x": [1.0] * 5 + [0.0] * 95})
    assert skew(training, serving, "id", ["x"])[0].outcome is VIOLATED
    assert skew(training, serving, "id", ["x"], tolerance=0.05)[0].outcome is OK


def test_without_a_common_row_nothing_is_claimed() -> None:
    one, two = pa.table({"id": [1], "x": [1.0]}), pa.table({"id": [2], "x": [1.0]})
    (check,) = skew(one, two, "id", ["x"])
    assert (check.outcome, check.reason) == (UNDECIDABLE, "no row is on both sides")
