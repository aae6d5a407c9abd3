"""Records: frozen, keyword-only, whole after a trip through JSON, and what they say of themselves."""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import records
from engine.records import (
    ActionItem,
    Cycle,
    Decision,
    DriftOutcome,
    DriftReport,
    Estimate,
    Severity,
    StageChange,
    ValidationReport,
    Verdict,
    Window,
    estimates,
    find,
)
from engine.records import CheckOutcome as Checked
from engine.records.plain import canonical, from_plain
from tests.engine.cycles import check, cycle, drift, estimate

RECORDS: list[Any] = [
    found
    for module in (records, estimates)
    for _, found in inspect.getmembers(module, inspect.isclass)
    if found.__module__ == module.__name__ and dataclasses.is_dataclass(found)
]


def test_a_whole_cycle_comes_back() -> None:
    whole = cycle()
    assert from_plain(Cycle, json.loads(canonical(whole))) == whole
    bare = cycle(monitor=None, decision=None, candidate=None, evaluation=None, verdicts=(), changes=(), actions=())
    assert from_plain(Cycle, json.loads(canonical(bare))) == bare


def strategy(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type; floats are finite, for NaN equals nothing."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if origin is tuple:
        return st.lists(strategy(args[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(*map(strategy, args), max_size=2)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(strategy, args))
    if dataclasses.is_dataclass(hint):
        return st.builds(hint, **{name: strategy(part) for name, part in typing.get_type_hints(hint).items()})
    return st.from_type(hint)


@pytest.mark.parametrize("kind", [Estimate, Decision, DriftReport, Verdict, StageChange, ValidationReport, ActionItem])
@settings(max_examples=30)
@given(data=st.data())
def test_any_record_comes_back(kind: type[Any], data: st.DataObject) -> None:
    made = data.draw(strategy(kind))
    assert from_plain(kind, json.loads(canonical(made))) == made


@pytest.mark.parametrize("kind", RECORDS)
def test_records_are_frozen_and_take_names_only(kind: Any) -> None:
    assert kind.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(kind))
    assert kind.__doc__


def test_nothing_is_changed_afterwards() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        cycle().n_rows = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("outcome", "severity", "usable"),
    [
        (Checked.OK, Severity.BLOCK, True),
        (Checked.VIOLATED, Severity.BLOCK, False),
        (Checked.UNDECIDABLE, Severity.BLOCK, False),
        (Checked.VIOLATED, Severity.WARN, True),
        (Checked.UNDECIDABLE, Severity.INFO, True),
    ],
)
def test_only_a_good_check_lets_a_blocking_one_through(outcome: Checked, severity: Severity, usable: bool) -> None:
    report = ValidationReport(window="w", fingerprint="f", n_rows=1, checks=(check(outcome, severity),))
    assert report.usable is usable
    assert len(report.blocked) == (0 if usable else 1)


def test_drifted_columns_come_by_their_excess_over_the_floor() -> None:
    moved = DriftOutcome.DRIFT
    columns = (
        drift("quiet", DriftOutcome.NO_DRIFT, 0.9),
        drift("small", moved, 0.2, 0.1),
        drift("unfloored", moved, 0.01, 0.0),
        drift("unknown", DriftOutcome.UNDECIDABLE, 0.9),
        drift("large", moved, 0.15, 0.05),
        drift("unfloored, larger", moved, 0.02, 0.0),
    )
    report = DriftReport(reference="a", live="b", alpha=0.01, method="bh", backend="cpu", columns=columns)
    assert [c.column for c in report.drifted] == ["unfloored, larger", "unfloored", "large", "small"]


def test_estimates_are_found_by_name() -> None:
    both = (estimate(), estimate(0.4, "log_loss"))
    assert find(both, "log_loss").value == 0.4
    with pytest.raises(KeyError, match="accuracy"):
        find(both, "accuracy")
    assert cycle().evaluation.metric("roc_auc_score").value == 0.74  # type: ignore[union-attr]
    assert cycle().monitor.performance.metric("log_loss").value == 0.4  # type: ignore[union-attr]


def test_a_window_counts_its_rows() -> None:
    window = Window(name="w", index=0, table=pa.table({"a": [1, 2]}), fingerprint="", path="", labelled=False)
    assert window.n_rows == 2
