"""What is missing between two names."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.watch.sequence import NAMED, between, place


@pytest.mark.parametrize(
    ("before", "after", "missing"),
    [
        ("2026-01", "2026-02", ()),
        ("2025-11", "2026-02", ("2025-12", "2026-01")),
        ("flights-2013_12", "flights-2014_02", ("flights-2014_01",)),
        ("2024-02-28", "2024-03-01", ("2024-02-29",)),
        ("20240228", "20240301", ("20240229",)),
        ("2026-01-01T23", "2026-01-02T01", ("2026-01-02T00",)),
        ("2026-W53", "2027-W02", ("2027-W01",)),
        ("part-0009", "part-0011", ("part-0010",)),
        ("9", "11", ()),  # not in order of their names: nothing is told
        ("2026-13", "2026-15", ("2026-14",)),  # no month, so a number
        ("2026-01", "2026-01-15", ()),
        ("red", "blue", ()),
        ("a-1", "b-3", ()),
    ],
)
def test_between(before: str, after: str, missing: tuple[str, ...]) -> None:
    step = [] if not missing else [before, missing[0]]
    assert between(before, after, step) == missing


def test_the_step_is_the_one_that_most_names_keep() -> None:
    weekly = ["2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26"]
    assert between("2026-01-26", "2026-02-02", weekly) == ()
    assert between("2026-01-26", "2026-02-16", weekly) == ("2026-02-02", "2026-02-09")
    quarters = ["2025-01", "2025-04", "2025-07"]
    assert between("2025-07", "2026-01", quarters) == ("2025-10",)


def test_a_long_gap_names_its_beginning() -> None:
    names = ["000001", "000002"]
    found = between("000002", "999999", names)
    assert len(found) == NAMED
    assert found[:2] == ("000003", "000004")


@given(
    st.dates(date(1970, 1, 1), date(2200, 1, 1)), st.integers(2, 40), st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%G-W%V"])
)
def test_every_name_between_is_found(day: date, count: int, shape: str) -> None:
    step = timedelta(weeks=1) if "W" in shape else timedelta(days=1)
    names = [(day + k * step).strftime(shape) for k in range(count)]
    assert between(names[0], names[-1], names[:2]) == tuple(names[1:-1])
    assert [place(name) for name in names] == sorted(
        (p for name in names if (p := place(name))), key=lambda p: p.ordinal
    )
