"""Drift of all columns together: it sees what no column shows, and is right as often as stated."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from engine.monitor.conf import MonitorConf
from engine.monitor.drift import Finding, Reference, compare
from engine.monitor.joint import COLUMN, ROWS, Joint
from engine.records import ColumnDrift, DriftOutcome, DriftReport
from tests.proofs import pieces

Record = Callable[[str, object], None]
METHODS = ("pca", "mmd")


def rows(seed: list[int], n: int, correlation: float, columns: int = 4) -> pa.Table:
    """Normal numbers of which the first two go together, a heavy tail with gaps, and a category."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns))
    x[:, 1] = correlation * x[:, 0] + math.sqrt(1 - correlation**2) * x[:, 1]
    table = {f"x{k}": pa.array(x[:, k]) for k in range(columns)}
    table["tail"] = pa.array(rng.standard_cauchy(n), mask=rng.random(n) < 0.05)
    table["shop"] = pa.array(rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]))
    return pa.table(table)


def reference(table: pa.Table) -> Reference:
    numeric = tuple(name for name in table.column_names if name != "shop")
    return Reference(name="before", table=table, numeric=numeric, categorical=("shop",))


def joint(held: Reference, live: pa.Table, method: str, conf: MonitorConf | None = None) -> Finding:
    return Joint(reference=held, method=method).finding(live, conf or MonitorConf())


def judged(held: Reference, live: pa.Table, method: str) -> tuple[DriftReport, ColumnDrift]:
    report = compare(held, live, "now", MonitorConf(), None, [joint(held, live, method)])
    return report, next(c for c in report.columns if c.kind == "multivariate")


@pytest.mark.parametrize(
    ("method", "correlations"), [("pca", (0.9, 0.0)), ("pca", (0.0, 0.9)), ("pca", (0.9, -0.9)), ("mmd", (0.0, 0.9))]
)
def test_it_sees_a_correlation_that_no_column_shows(method: str, correlations: tuple[float, float]) -> None:
    held = reference(rows([0], 3000, correlations[0], 2))
    report, found = judged(held, rows([1], 3000, correlations[1], 2), method)
    assert [c.column for c in report.drifted] == [COLUMN]
    assert (found.outcome, found.statistic) == (
        DriftOutcome.DRIFT,
        {"pca": "pca_reconstruction_error", "mmd": "mmd"}[method],
    )
    assert found.n_reference == found.n_live <= ROWS[method]
    _, still = judged(held, rows([2], 3000, correlations[0], 2), method)
    assert still.outcome is DriftOutcome.NO_DRIFT


def test_one_pair_of_fifty_columns_is_seen_going_and_coming() -> None:
    for old, new in ((0.9, 0.0), (0.0, 0.9)):
        report, found = judged(reference(rows([0], 6000, old, 48)), rows([1], 6000, new, 48), "pca")
        assert [c.column for c in report.drifted] == [COLUMN], found


@pytest.mark.parametrize("method", METHODS)
def test_categories_that_go_with_others_are_seen(method: str) -> None:
    rng = np.random.default_rng(0)
    first, luck = rng.choice(["a", "b"], 2000), rng.choice(["p", "q"], 2000)
    bound = np.where(first == "a", "p", "q")
    old, new = (pa.table({"first": first, "second": second}) for second in (luck, bound))
    held = Reference(name="before", table=old, numeric=(), categorical=("first", "second"))
    report, _ = judged(held, new, method)
    assert [c.column for c in report.drifted] == [COLUMN]


@pytest.mark.parametrize("method", METHODS)
def test_the_same_window_gives_the_same_answer(method: str) -> None:
    held, live = reference(rows([0], 9000, 0.5)), rows([1], 8000, 0.5)
    first = joint(held, live, method)
    assert first == joint(reference(rows([0], 9000, 0.5)), live, method)
    third = ROWS[method] // 3 if method == "pca" else 0
    assert first.n == (ROWS[method] - third, ROWS[method] - third)  # a third of the rows has the axes fitted
    assert first.missing == (0, 0)


@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_compared_is_left_out(method: str) -> None:
    held = reference(rows([0], 600, 0.9))
    live = rows([1], 600, 0.9)
    bad = live.drop_columns(["x2"]).set_column(0, "x0", pa.array(["text"] * 600))
    assert math.isfinite(joint(held, bad, method).pvalue)
    spoilt = live["x3"].to_numpy().copy()
    spoilt[:3] = [np.inf, -np.inf, np.nan]
    assert math.isfinite(joint(held, live.set_column(3, "x3", pa.array(spoilt)), method).pvalue)


@pytest.mark.parametrize("method", METHODS)
def test_few_rows_or_columns_are_undecidable(method: str) -> None:
    held = reference(rows([0], 600, 0.9))
    _, few = judged(held, rows([1], 40, 0.9), method)
    assert few.outcome is DriftOutcome.UNDECIDABLE
    assert few.reason.endswith("values in the live window, 50 are needed")
    alone = Reference(name="before", table=held.table, numeric=("x0", "gone"), categorical=())
    _, one = judged(alone, rows([1], 600, 0.9), method)
    assert (one.outcome, one.reason) == (DriftOutcome.UNDECIDABLE, "fewer than two columns have values that differ")
    constant = pa.table({"x0": np.zeros(600), "x1": np.zeros(600)})
    _, none = judged(Reference(name="before", table=constant, numeric=("x0", "x1"), categorical=()), constant, method)
    assert none.outcome is DriftOutcome.UNDECIDABLE


def false_alarms(method: str, n: int, columns: int, windows: range, alpha: float) -> list[int]:
    """[windows with any alarm, those in which all columns together alone would be one], of windows without drift."""
    conf = MonitorConf(
        alpha=alpha, numeric_floor=0.0, categorical_floor=0.0, missing_floor=0.0, multivariate_floor=0.0
    )  # fmt: skip
    alarms = alone = 0
    for w in windows:
        held, live = reference(rows([n, columns, w, 0], 2 * n, 0.6, columns)), rows([n, columns, w, 1], n, 0.6, columns)
        found = joint(held, live, method, conf)
        alarms += bool(compare(held, live, "now", conf, None, [found]).drifted)
        alone += found.pvalue <= alpha
    return [alarms, alone]


def check(method: str, n: int, columns: int, windows: int, record: Record) -> None:
    alpha, name = 0.05, f"{method} {n} x {columns}"
    alarms, alone = pieces(__file__, name, windows, 5, lambda part: false_alarms(method, n, columns, part, alpha))
    error = math.sqrt(alpha * (1 - alpha) / windows)
    record(
        f"false alarms a window with all columns together ({method}), {n:,} rows x {columns + 2} columns",
        f"{100 * alarms / windows:.2f} % of {windows:,} windows, {100 * alone / windows:.2f} % by that test alone, "
        f"{100 * alpha:g} % stated, SE {100 * error:.2f} %",
    )
    assert max(alarms, alone) / windows <= alpha + 2 * error


@pytest.mark.parametrize(
    ("method", "n", "columns", "windows"), [("pca", 200, 4, 150), ("pca", 1000, 18, 60), ("mmd", 200, 4, 50)]
)
def test_false_alarms_stay_below_what_is_stated(
    method: str, n: int, columns: int, windows: int, record_property: Record
) -> None:
    check(method, n, columns, windows, record_property)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "columns", "windows"), [(160, 4, 1500), (1000, 18, 800), (8000, 48, 100)])
def test_false_alarms_at_full_size(
    method: str, n: int, columns: int, windows: int, record_property: Record
) -> None:  # fmt: skip
    check(method, n, columns, windows, record_property)
