from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.records import Check, CheckOutcome
from engine.validate.conf import ValidateConf
from engine.validate.facts import Column
from engine.validate.rows import Rows, check_groups
from engine.validate.schema import Schema

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


def clustered(rng: np.random.Generator, k: int) -> tuple[np.ndarray, np.ndarray]:
    """k clusters of 10 to 60 rows; each leans its own way, a half of all rows is `a`."""
    sizes = rng.integers(10, 61, k)
    lean = rng.beta(2, 2, k)
    codes = np.repeat(np.arange(k), sizes)
    return np.where(rng.random(len(codes)) < lean[codes], "a", "b"), codes


@pytest.mark.parametrize("k", [8, 60])
def test_groups_hold_their_error_rate_over_clusters(
    schema: Schema, k: int, record_property: Callable[[str, object], None]
) -> None:
    """Of 400 fair windows whose rows share their luck, at tolerance 0 and 95 %: 5 in 100 at most; by row, most."""
    rng = np.random.default_rng(11)
    store = dataclasses.replace(schema.columns["shop"], role="cluster")
    fair = dataclasses.replace(schema, groups={"shop": {"a": 0.5, "b": 0.5}}, columns={"shop": store, "store": store})
    conf, alarms = ValidateConf(group_tolerance=0.0, confidence_level=0.95), {"store": 0, "": 0}
    for _ in range(400):
        values, codes = clustered(rng, k)
        found = {"shop": Column("shop", pa.chunked_array([values]))}
        found["store"] = Column("store", pa.chunked_array([codes.astype(str)]))
        for cluster in alarms:
            rows = Rows(found, len(codes), dataclasses.replace(fair, cluster=cluster), None)
            alarms[cluster] += check_groups(rows, "shop", conf).outcome is VIOLATED
    record_property(
        f"fair groups called biased, {k} clusters, at 5 %",
        f"{alarms['store'] / 4:.2f} % of 400 windows; by row {alarms[''] / 4:.2f} %",
    )
    assert alarms["store"] <= 32  # P(Binomial(400, .05) > 32) = .004
    assert alarms[""] > 120


def test_clusters_may_be_hours_or_days(good: pa.Table, schema: Schema, look: Look) -> None:
    """A day in 24 hours, of which the first 12 are all north: by row that is sure, by hour it is luck."""
    declared = dataclasses.replace(schema, groups={"region": {"x": 0.7, "y": 0.3}})
    half = put(good, "region", ["x"] * 500 + ["y"] * 500)
    assert look(half, against=declared)["groups", "region"].outcome is VIOLATED
    assert look(half, against=dataclasses.replace(declared, cluster="hour"))["groups", "region"].outcome is OK
    few = look(half, against=dataclasses.replace(declared, cluster="day"))["groups", "region"]
    assert (few.outcome, few.reason) == (UNDECIDABLE, "1 clusters by day: at least 5 can tell")
    gone = look(half, against=dataclasses.replace(declared, cluster="store"))["groups", "region"]
    assert (gone.outcome, gone.reason) == (UNDECIDABLE, "cannot be computed: column 'store' is not there")


def test_a_group_that_no_row_belongs_to_is_worth_its_clusters(good: pa.Table, schema: Schema, look: Look) -> None:
    """Zero rows of a group in 24 hours that share their luck: less than 0 of 1000 says, but not nothing."""
    rows = dataclasses.replace(schema, groups={"region": {"x": 0.485, "y": 0.485, "z": 0.03}})
    declared = dataclasses.replace(rows, cluster="hour")
    exact = ValidateConf(group_tolerance=0.0)
    assert look(good, exact, against=rows)["groups", "region"].observed.startswith("z 0.00% [0.00%, 0.")
    assert look(good, exact, against=declared)["groups", "region"].outcome is OK
    many = dataclasses.replace(declared, groups={"region": {"x": 0.3, "y": 0.2, "z": 0.5}})
    assert look(good, exact, against=many)["groups", "region"].observed.startswith("z 0.00% [0.00%, 3")
    certain = look(put(good, "region", ["x"] * 1000), against=declared)["groups", "region"]
    assert certain.outcome is VIOLATED
    assert certain.observed.startswith("x 100.00% [")


def test_a_declared_band_of_rows_counts(good: pa.Table, schema: Schema, look: Look) -> None:
    banded = dataclasses.replace(schema, fewest=900, most=1000)
    assert look(good, against=banded)["rows", ""].outcome is OK
    check = look(good.slice(0, 899), against=banded)["rows", ""]
    assert (check.outcome, check.observed, check.expected) == (VIOLATED, "899 rows", "900 to 1000")
    assert look(good, against=dataclasses.replace(schema, most=999))["rows", ""].outcome is VIOLATED


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([*range(1000)], (OK, "0 repeated")),
        ([0, *range(999)], (VIOLATED, "1 repeated")),
        ([None, None, *range(998)], (OK, "0 repeated")),
        ([0.0, -0.0, float("nan"), float("nan"), *map(float, range(1, 997))], (VIOLATED, "1 repeated")),
    ],
)
def test_a_column_may_be_declared_unique(
    good: pa.Table, schema: Schema, look: Look, values: list[Any], expected: tuple[CheckOutcome, str]
) -> None:
    size = dataclasses.replace(schema.columns["size"], unique=True, missing=1.0, minimum=None, maximum=None)
    declared = dataclasses.replace(schema, columns={**schema.columns, "size": size})
    check = look(put(good, "size", values), against=declared)["unique", "size"]
    assert (check.outcome, check.observed) == expected
    assert ("unique", "size") not in look(good)
    text = look(put(good, "size", [f"{v}" for v in range(1000)]), against=declared)["unique", "size"]
    assert text.outcome is UNDECIDABLE


@pytest.mark.parametrize(
    ("labels", "outcome"), [([0, 1] * 500, OK), ([1] * 1000, VIOLATED), ([None] * 1000, UNDECIDABLE)]
)
def test_labels_of_one_kind_are_said(good: pa.Table, look: Look, labels: list[Any], outcome: CheckOutcome) -> None:
    table = put(good, "y", pa.array(labels, pa.int64()))
    assert look(table, labelled=True)["label", "y"].outcome is outcome
