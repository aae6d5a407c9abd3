from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.records import Check, CheckOutcome
from engine.validate import Schema, ValidateConf
from engine.validate.facts import Column
from engine.validate.rows import Rows, check_groups

Look = Callable[..., dict[tuple[str, str], Check]]
OK, VIOLATED, UNDECIDABLE = CheckOutcome.OK, CheckOutcome.VIOLATED, CheckOutcome.UNDECIDABLE
DAY = 86_400_000_000


def put(table: pa.Table, column: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, pa.array(values))


def later(table: pa.Table, microseconds: int) -> pa.Table:
    moved = (table["at"].cast(pa.int64()).to_numpy() + microseconds).astype("M8[us]")
    return put(table, "at", pa.array(moved, pa.timestamp("us", "UTC")))


def test_rows_at_or_before_the_end_of_what_came_before_overlap(good: pa.Table, reference: pa.Table, look: Look) -> None:
    assert look(good)["overlap", ""].outcome is OK
    hour = later(good, -3_600_000_000)
    check = look(hour)["overlap", ""]
    assert check.outcome is VIOLATED
    n = (hour["at"].cast(pa.int64()).to_numpy() <= reference["at"].cast(pa.int64()).to_numpy().max()).sum()
    assert check.observed == f"{n} rows up to 2024-05-01 23:58:48"
    # The window before stands in for the reference, whose end is long past.
    yesterday = later(good, DAY)
    assert look(later(yesterday, DAY), previous=yesterday)["overlap", ""].outcome is OK
    assert look(yesterday, previous=yesterday)["overlap", ""].outcome is VIOLATED


def test_a_time_without_rows_is_a_gap(good: pa.Table, look: Look) -> None:
    assert look(later(good, DAY))["gap", ""].outcome is VIOLATED
    check = look(later(good, DAY // 2))["gap", ""]
    assert (check.outcome, check.observed[:4]) == (OK, "0.50")
    assert look(later(good, DAY), ValidateConf(max_gap=1.5))["gap", ""].outcome is OK
    one = good["at"][0]
    assert look(put(good, "at", [one] * 1000))["gap", ""].outcome is UNDECIDABLE


def test_where_the_end_is_not_known_nothing_is_claimed(good: pa.Table, schema: Schema, look: Look) -> None:
    edited = dataclasses.replace(schema, until="")
    checks = look(good, against=edited)
    assert checks["overlap", ""].outcome is UNDECIDABLE
    assert checks["gap", ""].outcome is UNDECIDABLE


def test_rows_of_the_window_before_are_counted(good: pa.Table, reference: pa.Table, look: Look) -> None:
    again = put(good, "id", [*range(5), *range(2_000_000, 2_000_995)])
    check = look(again, previous=reference)["repeated", ""]
    assert (check.outcome, check.observed) == (VIOLATED, "5 ids of the window before")
    assert ("repeated", "") not in look(again)
    blind = look(again, previous=reference.drop_columns(["id"]))
    assert blind["repeated", ""].outcome is UNDECIDABLE


def test_group_shares_are_judged_by_their_interval(good: pa.Table, schema: Schema, look: Look) -> None:
    declared = {"north": 0.5, "south": 0.3, "west": 0.2}
    edited = dataclasses.replace(schema, groups={"shop": declared})
    shops = ["north"] * 400 + ["south"] * 350 + ["west"] * 250  # off by .1, .05, .05
    biased = put(good, "shop", shops)
    check = look(biased, against=edited)["groups", "shop"]
    assert check.outcome is VIOLATED
    assert check.observed.startswith("north 40.00% [")
    assert check.observed.endswith("], declared 50.00%")
    assert check.reason == "1 of 3 groups are over- or underrepresented"
    # The same shares in fewer rows say nothing yet; a wider tolerance allows them.
    few = biased.take(list(range(0, 1000, 25)))
    assert look(few, against=edited)["groups", "shop"].outcome is OK
    assert look(biased, ValidateConf(group_tolerance=0.1), against=edited)["groups", "shop"].outcome is OK


def test_a_declared_group_without_rows_is_underrepresented(good: pa.Table, schema: Schema, look: Look) -> None:
    edited = dataclasses.replace(schema, groups={"shop": {"north": 0.4, "south": 0.2, "west": 0.2, "east": 0.2}})
    check = look(good, against=edited)["groups", "shop"]
    assert check.outcome is VIOLATED
    assert check.observed.startswith("east 0.00% [0.00%, ")


def test_groups_hold_their_error_rate(good: pa.Table, schema: Schema) -> None:
    """Of 300 fair windows of 20 groups, at tolerance 0, about 1 in 100 at most is called biased."""
    rng = np.random.default_rng(5)
    shares = rng.dirichlet(np.full(20, 5.0))
    declared = {f"g{i:02d}": float(share) for i, share in enumerate(shares)}
    edited = dataclasses.replace(schema, groups={"shop": declared})
    conf = ValidateConf(group_tolerance=0.0, confidence_level=0.99)
    alarms = 0
    for _ in range(300):
        values = pa.chunked_array([rng.choice(list(declared), 2000, p=shares / shares.sum())])
        rows = Rows({"shop": Column("shop", values)}, 2000, edited, None)
        alarms += check_groups(rows, "shop", conf).outcome is VIOLATED
    assert alarms <= 9  # P(Binomial(300, .01) > 9) = .0009


@pytest.mark.parametrize(
    ("labels", "outcome"), [([0, 1] * 500, OK), ([1] * 1000, VIOLATED), ([None] * 1000, UNDECIDABLE)]
)
def test_labels_of_one_kind_are_said(good: pa.Table, look: Look, labels: list[Any], outcome: CheckOutcome) -> None:
    table = put(good, "y", pa.array(labels, pa.int64()))
    assert look(table, labelled=True)["label", "y"].outcome is outcome
